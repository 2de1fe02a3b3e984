"""An export that is killed at any instant and started again ends as if nothing had happened, and repeats few calls."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from stride_async.export._fetch.history import GROUP_PAGES
from stride_async.server import LocalServer
from tests.conftest import client_of
from tests.export.exporting import exported, media_of, show_file, state_of
from tests.export.killable import LIMIT, WINDOW
from tests.export.killing import Round, Site, assert_within_the_limit, furnish

WAYS = ("touch", "event", "body")


@pytest.mark.parametrize("least", [2, pytest.param(44, marks=pytest.mark.slow)])
async def test_a_killed_export_ends_like_an_undisturbed_one(tmp_path, least):
    """Content and media are the same, nothing that was committed is fetched again, and the limit is never exceeded."""
    rng = random.Random(6)
    async with LocalServer(rate_limit=LIMIT, window=WINDOW, latency=0.01) as server:
        furnish(server)
        rounds: list[Round] = []
        for number in count(1):
            site = Site(server, tmp_path / f"archive {number}")
            asked: set[tuple[str, str | None]] = set()
            for how in _ways(rng, rounds, least):
                committed = _committed(site)
                each = await site.round(rng, how)
                rounds.append(each)
                _check_calls(each.calls, committed)
                again = Counter(room for room, before in each.calls if (room, before) in asked)
                assert max(again.values(), default=0) <= GROUP_PAGES + 1
                asked |= set(each.calls)
                if not each.killed:
                    break
            if _enough(rounds, least):
                break
        assert_within_the_limit(server)
        digest = await _undisturbed(server, tmp_path / "undisturbed")

    assert digest == rounds[-1].digest
    assert media_of(tmp_path / "undisturbed") == media_of(site.archive)


def _ways(rng: random.Random, rounds: list[Round], least: int) -> Iterator[str]:
    """Kill until it is enough, in each of the ways, then let one process end."""
    while not _enough(rounds, least):
        missing = [way for way in WAYS if way not in _kills(rounds)]
        yield rng.choice(missing or ("touch", *WAYS))
    yield "end"


def _kills(rounds: list[Round]) -> list[str]:
    return [each.how for each in rounds if each.killed]


def _enough(rounds: list[Round], least: int) -> bool:
    """Return whether there were enough kills, and at least one of each kind."""
    return len(_kills(rounds)) >= least and {*WAYS} == {*_kills(rounds)}


def _committed(site: Site) -> dict[str, str | None]:
    """Return the oldest message that is committed of each conversation, None for one that is done."""
    if not (site.archive / "archive.json").exists():
        return {}
    low: dict[str, str | None] = {}
    for room in site.server.truth().conversations:
        state = state_of(site.archive, room)
        if state.raw_groups:
            low[room] = state.raw_groups[-1].low[1]
        elif state.legs or state.done_by:
            low[room] = None
    return low


def _check_calls(calls: list[tuple[str, str | None]], committed: dict[str, str | None]) -> None:
    """Check that the first page is the one below what is committed, and that nothing is fetched of what is done."""
    first: dict[str, str | None] = {}
    for room, before in calls:
        first.setdefault(room, before)
    for room, low in committed.items():
        assert room not in first or (low is not None and first[room] == low)


async def _undisturbed(server: LocalServer, folder: Path) -> str:
    async with client_of(server, calls_per_minute=None) as client:
        server.faults.clear()
        return (await exported(client, folder)).content_digest


@pytest.mark.parametrize("rounds", [2, pytest.param(12, marks=pytest.mark.slow)])
async def test_a_killed_update_ends_like_a_first_export(tmp_path, rounds):
    """It reads everything again and is killed several times."""
    rng = random.Random(7)
    async with LocalServer(rate_limit=LIMIT, window=WINDOW, latency=0.005) as server:
        rooms = furnish(server)
        site = Site(server, tmp_path / "archive")
        await site.round(rng, "end")
        for room, ids in rooms.items():
            for id in rng.sample(ids, len(ids) // 20):
                if rng.random() < 0.5:
                    server.edit_message(room, id, "edited")
                else:
                    server.delete_message(room, id)
            server.fill(room, 40, ts="2018-05-31T23:59:40Z")
            show_file(server, room, "late.bin", rng.randbytes(1000))
        kills = [await site.round(rng, "touch", "--rescan", "all") for _ in range(rounds)]
        last = await site.round(rng, "end", "--rescan", "all")
        digest = await _undisturbed(server, tmp_path / "undisturbed")

    assert digest == last.digest
    assert media_of(tmp_path / "undisturbed") == media_of(site.archive)
    assert rounds - 2 <= sum(each.killed for each in kills)
