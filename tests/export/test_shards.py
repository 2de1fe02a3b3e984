"""Exports of shards: separate processes that share the work, and leave the archive that one process would have made."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import aclosing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stride_async.export import (
    ArchiveBusy,
    ArchiveError,
    ExportOptions,
    RunStarted,
    Selection,
    Shard,
    Summary,
    estimate,
    export,
    read,
    status,
    verify,
)
from stride_async.export._archive.archive import Archive
from stride_async.export._archive.chain import Chain
from stride_async.export._archive.layout import PEOPLE
from stride_async.export._archive.run_record import RunRecord
from stride_async.export.formats import convert
from stride_async.server import LocalServer
from tests.conftest import client_of
from tests.export.exporting import (
    events_of,
    exported,
    failures,
    fresh_digest,
    history_calls,
    media_of,
    show_file,
)
from tests.export.killing import Site, assert_within_the_limit, furnish

HALVES = (Shard(0, 2), Shard(1, 2))


@pytest.fixture
def rooms(server: LocalServer) -> dict[Shard, list[str]]:
    """Add conversations until each half has three, with messages, members that they share, and a file."""
    people = [server.add_user(f"Person {number}") for number in range(5)]
    rooms: dict[Shard, list[str]] = {half: [] for half in HALVES}
    while min(map(len, rooms.values())) < 3:
        room = server.add_conversation("room", roster=people)
        server.fill(room, 160)
        show_file(server, room, "file.bin", b"the same in all of them")
        rooms[next(half for half in HALVES if half.includes(room))].append(room)
    return rooms


@given(st.text(), st.integers(1, 40))
def test_a_conversation_is_in_one_shard(id, count):
    """Whatever its id is."""
    assert 1 == sum(Shard(index, count).includes(id) for index in range(count))


@given(st.integers(1, 999_999_999), st.data())
def test_a_shard_is_written_as_it_is_parsed(count, data):
    """The first one is 0."""
    shard = Shard(data.draw(st.integers(0, count - 1)), count)

    assert shard == Shard.parse(str(shard))


@pytest.mark.parametrize(
    "text", ["", "4", "4/4", "5/4", "-1/4", "0/0", "1/", "/2", "a/b", "0/4/4", "0 / 4", "٠/٤", "0/1e9"]
)
def test_text_that_is_not_a_shard_is_refused(text):
    """In a sentence."""
    with pytest.raises(ValueError, match=r"shard|count"):
        Shard.parse(text)


async def test_shards_at_the_same_time_make_the_archive_of_a_single_export(server, rooms, tmp_path):
    """People who are in both are stored once, and so is a file."""
    async with client_of(server) as one, client_of(server) as other:
        summaries = await asyncio.gather(
            *(exported(client, tmp_path / "a", shard=half) for client, half in zip((one, other), HALVES, strict=True))
        )
        calls = history_calls(server)
        of_shards = status(tmp_path / "a").content_digest
        whole = await exported(one, tmp_path / "a")

    assert [len(rooms[half]) for half in HALVES] == [summary.conversations for summary in summaries]
    assert len(calls) == len(set(calls))
    assert (0, 0, 0, 0) == (whole.new, whole.changed, whole.gone, whole.failures)
    assert await fresh_digest(server, tmp_path / "b") == whole.content_digest == of_shards
    assert media_of(tmp_path / "b") == media_of(tmp_path / "a")
    people = [id for group in Chain(Archive.open(tmp_path / "a"), PEOPLE).state.profiles for id in group.ids]
    assert len(people) == len(set(people))
    assert (await verify(tmp_path / "a")).ok


async def test_the_digest_of_a_shard_is_that_of_its_conversations(server, client, rooms, tmp_path):
    """It does not depend on the other shards."""
    first = await exported(client, tmp_path / "a", shard=HALVES[0])
    await exported(client, tmp_path / "a", shard=HALVES[1])

    selected = Selection(tuple(rooms[HALVES[0]]))

    assert await fresh_digest(server, tmp_path / "b", selection=selected) == first.content_digest
    assert first.content_digest == (await exported(client, tmp_path / "a", shard=HALVES[0])).content_digest


async def test_a_run_of_shards_without_changes_costs_one_call_a_conversation(server, client, rooms, tmp_path):
    """As for an export of the complete site."""
    for half in HALVES * 2:
        before = len(history_calls(server))
        await exported(client, tmp_path / "a", shard=half)

    assert len(rooms[HALVES[1]]) == len(history_calls(server)) - before


async def test_a_shard_without_conversations_is_complete(client, rooms, tmp_path):
    """A selection that matches nothing is an error, but not one whose conversations are in other shards."""
    room = rooms[HALVES[0]][0]

    events = await events_of(client, tmp_path / "a", selection=Selection((room,)), shard=HALVES[1])

    assert isinstance(events[-1], Summary)
    assert (0, 0) == (events[-1].conversations, events[-1].failures)
    assert (await verify(tmp_path / "a")).ok


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (Shard(0, 2), None, "shard 0/2 is working .* an export of all shards cannot run at the same time"),
        (None, Shard(0, 2), "another export or a conversion is working"),
        (Shard(0, 2), Shard(1, 3), "shard 0/2 is working .* shard 1/3 cannot run at the same time"),
        (Shard(0, 2), Shard(0, 2), "another export of shard 0/2"),
    ],
    ids=str,
)
async def test_exports_that_could_share_a_conversation_do_not_run_at_once(
    client, rooms, tmp_path, first, second, message
):
    """The second one is refused, has changed nothing, and can run afterwards."""
    async with aclosing(export(client, tmp_path / "a", ExportOptions(shard=first))) as running:
        await anext(running)
        runs = {path.parent for path in (tmp_path / "a" / "runs").rglob("*/*")}
        with pytest.raises(ArchiveBusy, match=message):
            await exported(client, tmp_path / "a", shard=second)
        assert runs == {path.parent for path in (tmp_path / "a" / "runs").rglob("*/*")}
        with pytest.raises(ArchiveBusy):
            convert(tmp_path / "a", "seed", tmp_path / "seed")
        async for event in running:
            last = event

    assert isinstance(last, Summary)
    await exported(client, tmp_path / "a", shard=second)


async def test_a_conversion_keeps_shards_out(client, rooms, tmp_path):
    """Also one of another number, which has never run."""
    await exported(client, tmp_path / "a", shard=HALVES[0])

    with Archive.open(tmp_path / "a").kept_unchanged():
        for shard in (*HALVES, Shard(0, 3), None):
            with pytest.raises(ArchiveBusy):
                await exported(client, tmp_path / "a", shard=shard)


async def test_shards_need_locks(client, rooms, tmp_path, monkeypatch):
    """Without them, an export of the same shard or of the complete site would not be noticed."""

    def refuse(*_: object) -> None:
        raise OSError(95, "not supported")

    monkeypatch.setattr("fcntl.flock", refuse)

    with pytest.raises(ArchiveError, match="offers no locks"):
        await exported(client, tmp_path / "a", shard=HALVES[0])
    await exported(client, tmp_path / "a")


async def test_what_a_shard_reports_is_about_its_own_conversations(server, client, rooms, tmp_path):
    """A conversation that is not listed any more, and one that fails, are reported by one shard each."""
    for half in HALVES:
        await exported(client, tmp_path / "a", shard=half)
    gone, broken = rooms[HALVES[0]][0], rooms[HALVES[1]][0]
    listing = await client.request("GET", f"/site/{server.cloud_id}/conversation")
    left = {"values": [each for each in listing["values"] if each["id"] != gone], "cursor": ""}
    server.faults.add("GET", "/site/*/conversation", body=json.dumps(left))
    server.faults.add("GET", f"*/conversation/{broken}/message", status=403)

    results = [await events_of(client, tmp_path / "a", shard=half) for half in HALVES]

    assert [set(), {(broken, "history", "")}] == [failures(events) for events in results]
    assert [1, 0] == [events[-1].no_longer_listed for events in results]
    assert [(broken, "history")] == [(each.conversation_id, each.what) for each in status(tmp_path / "a").failures]


async def test_an_archive_is_finished_when_all_its_shards_are(client, rooms, tmp_path):
    """An interrupted shard is unfinished until the same shard has run again, whatever the others do."""
    site = tmp_path / "a"
    await exported(client, site, shard=HALVES[0])
    assert not status(site).finished
    async with aclosing(export(client, site, ExportOptions(shard=HALVES[1]))) as running:
        first = await anext(running)
    assert not status(site).finished
    await exported(client, site, shard=HALVES[0])
    assert not status(site).finished
    assert any("did not finish" in finding.what for finding in (await verify(site)).findings)

    again = await events_of(client, site, shard=HALVES[1])

    assert isinstance(first, RunStarted)
    assert RunStarted(first.run, continued=True) == again[0]
    assert status(site).finished
    assert (await verify(site)).ok
    await exported(client, site, shard=Shard(0, 3))
    assert not status(site).finished
    await exported(client, site)
    assert status(site).finished
    assert (await verify(site)).ok


@pytest.mark.parametrize("stem", ["29990228T235959.999999-ffffff", "99991231T235959.999999-ffffff"])
async def test_a_later_run_counts_even_if_the_clock_of_an_earlier_one_was_ahead(client, rooms, tmp_path, stem):
    """A machine whose clock is years ahead began a shard and was killed. Another one exports the site."""
    site = tmp_path / "a"
    archive = Archive.open_or_create(site, client.cloud_id)
    ahead = RunRecord.start(archive, ExportOptions(shard=HALVES[0]), dict.fromkeys(rooms[HALVES[0]], ""), stem=stem)
    can_be_later = not stem.startswith("9999")

    last = await exported(client, site)

    assert (last.run > ahead.run) is can_be_later
    assert status(site).finished is can_be_later
    assert (await verify(site)).ok is can_be_later


async def test_an_estimate_of_a_shard_is_for_its_conversations(client, rooms, tmp_path):
    """The estimates of all shards are those of the complete site."""
    halves = [await estimate(client, tmp_path / "a", ExportOptions(shard=half)) for half in HALVES]

    assert [set(rooms[half]) for half in HALVES] == [{one.conversation_id for one in half} for half in halves]


async def test_shards_store_what_is_held_once(server, client, rooms, tmp_path):
    """Their runs after each other add no profile and no file again."""
    for half in HALVES:
        await exported(client, tmp_path / "a", shard=half)
    files = Archive.open(tmp_path / "a").files
    held = {path for path in files.walk() if path.startswith(("data/users/sealed", "media/sha256"))}
    for half in HALVES:
        await exported(client, tmp_path / "a", shard=half, rescan="all")

    assert held == {path for path in files.walk() if path.startswith(("data/users/sealed", "media/sha256"))}
    assert 6 <= len(list(read(tmp_path / "a").conversations()))


@pytest.mark.parametrize("kills", [1, pytest.param(6, marks=pytest.mark.slow)])
async def test_a_shard_that_is_killed_changes_nothing_in_the_result(tmp_path: Path, kills):
    """The archive is the one of an undisturbed export, and the limit holds, also for an export of everything next."""
    rng = random.Random(9)
    async with LocalServer(rate_limit=40, window=2.0, latency=0.01) as server:
        furnish(server)
        site = Site(server, tmp_path / "a")

        async def shard(index: int, disturbed: int) -> None:
            for number in range(disturbed):
                await site.round(rng, ("event", "touch")[number % 2], "--shard", f"{index}/2")
            assert not (await site.round(rng, "end", "--shard", f"{index}/2")).killed

        await asyncio.gather(shard(0, 0), shard(1, kills))
        verified = await verify(site.archive)
        whole = await site.round(rng, "end")
        assert_within_the_limit(server)
        server.faults.clear()
        digest = await fresh_digest(server, tmp_path / "b", concurrency=32)

    assert verified.ok
    assert status(site.archive).finished
    assert digest == whole.digest
    assert media_of(tmp_path / "b") == media_of(site.archive)
    assert {"0/2", "1/2", None} == {
        json.loads(path.read_text())["shard"] for path in site.archive.glob("runs/*/settings.json")
    }
