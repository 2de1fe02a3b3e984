"""An export that is killed at any instant and started again ends as if nothing had happened, and repeats few calls."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import attrs
import pytest

from stride_async.export._fetch.history import GROUP_PAGES
from stride_async.server import LocalServer
from tests.conftest import client_of, variables_of
from tests.export.exporting import exported, media_of, show_file, state_of

LIMIT, WINDOW = 40, 2.0
WAYS = ("touch", "event", "body")
MEGABYTE = 1_000_000


@attrs.define
class Round:
    """One process: how it ended, and the history calls it made."""

    how: str
    killed: bool
    digest: str | None
    calls: list[tuple[str, str | None]]


class Site:
    """A server, an archive, and processes that export the one into the other."""

    def __init__(self, server: LocalServer, archive: Path) -> None:
        self.server = server
        self.archive = archive

    async def round(self, rng: random.Random, how: str, *options: str) -> Round:
        """Start `stride export`. Kill it at a `touch` of the archive, after an `event`, in a media `body`, or not."""
        before = len(self.server.calls)
        parameters = {"archive": str(self.archive), "limit": LIMIT, "window": WINDOW}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.export.killable",
            json.dumps(parameters | {"kill_at": rng.randint(1, 120) if how == "touch" else 0}),
            *options,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=os.environ | variables_of(self.server),
        )
        assert process.stdout is not None
        lines: list[bytes] = []
        reading = asyncio.create_task(_read(process.stdout, lines, rng.randint(1, 12) if how == "event" else 0))
        if how == "body":
            await self._within_a_body(rng, reading)
        else:
            await reading
        if how in ("event", "body"):
            await asyncio.sleep(rng.uniform(0.0, 0.03))
            with suppress(ProcessLookupError):
                process.kill()
        lines += (await reading, await process.stdout.read())[1].splitlines()
        code = await process.wait()
        assert code in (0, -signal.SIGKILL)
        digest = None if code else json.loads(lines[-1])["contentDigest"]
        return Round(how, code != 0, digest, history_calls_since(self.server, before))

    async def _within_a_body(self, rng: random.Random, ended: asyncio.Task[None]) -> None:
        """Wait until the server stalls within a media body, or until there is none left to fetch."""
        reached = asyncio.Event()
        fault = self.server.faults.add(
            "GET", "*/media/*", stall="body", cut_after=rng.randint(1, MEGABYTE), do=lambda _: reached.set()
        )
        silent = asyncio.create_task(reached.wait())
        await asyncio.wait([ended, silent], return_when=asyncio.FIRST_COMPLETED)
        silent.cancel()
        self.server.faults.remove(fault)


async def _read(stdout: asyncio.StreamReader, lines: list[bytes], most: int) -> None:
    """Read lines of a process, up to `most` of them; all for 0."""
    while (not most or len(lines) < most) and (line := await stdout.readline()):
        lines.append(line)


def history_calls_since(server: LocalServer, number: int) -> list[tuple[str, str | None]]:
    return [
        (call.path.split("/")[4], dict(call.query).get("beforeMessage"))
        for call in server.calls[number:]
        if call.method == "GET" and call.path.endswith("/message")
    ]


def furnish(server: LocalServer) -> dict[str, list[str]]:
    """Add rooms with several pages over several months, some with large files.

    Return their message ids, oldest first.
    """
    rooms = {}
    for number, messages in enumerate((1500, 700, 400, 150, 75, 20, 0)):
        room = server.add_conversation(f"room {number}", roster=[server.add_user(f"Person {number}")])
        ids = []
        for month in range(3):
            ids += server.fill(room, messages // 3, ts=f"2018-0{month + 1}-27T23:58:00Z")
        rooms[room] = ids
        for file in range(3 if messages else 0):
            show_file(server, room, f"{file}.bin", random.Random(number * 10 + file).randbytes(MEGABYTE))
    return rooms


def assert_within_the_limit(server: LocalServer, limit: int = LIMIT) -> None:
    """Check that no call was refused, and that no window has more calls to a conversation than are allowed."""
    times = defaultdict(list)
    for call in server.calls:
        parts = call.path.split("/")
        if len(parts) > 4 and parts[3] == "conversation":
            times[parts[4]].append(call.time)
    assert not [call for call in server.calls if call.status == 429]
    for called in times.values():
        assert all(later - at >= WINDOW for at, later in zip(called, called[limit:], strict=False))


@pytest.mark.parametrize("least", [4, pytest.param(44, marks=pytest.mark.slow)])
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


@pytest.mark.parametrize("rounds", [3, pytest.param(12, marks=pytest.mark.slow)])
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
