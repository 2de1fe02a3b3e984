"""What an interruption, a window or damage leaves is noticed by the next run, and mended where it can be."""

from __future__ import annotations

import json
import os
import time
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import zstandard

from stride_async import DecodeError, ServerError, TransportError
from stride_async.export import (
    ConversationDone,
    ExportOptions,
    NotAnArchive,
    NothingSelected,
    PagesFetched,
    Selection,
    export,
    read,
    verify,
)
from stride_async.export._archive.chain import Chain
from stride_async.export._archive.commits import Sealed
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
    state_of,
)

MARCH = datetime(2018, 3, 15, tzinfo=UTC)


class Killed(BaseException):
    """Stands for the end of a process."""


async def killed_within_sealing(monkeypatch, client, folder, **options) -> None:
    """An export that ends right after the first commit of sealed months."""
    commit = Chain.commit

    def then_die(self, run, ops):
        commit(self, run, ops)
        if any(isinstance(op, Sealed) for op in ops):
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Chain, "commit", then_die)
        with pytest.raises(Killed):
            await exported(client, folder, **options)


@pytest.fixture
def small_steps(monkeypatch):
    """Months are sealed a hundred messages at a time, and a run that was interrupted is not gone on with."""
    monkeypatch.setattr("stride_async.export._fetch.history.SEALED_AT_ONCE", 100)
    monkeypatch.setattr("stride_async.export._fetch.run.CONTINUED_WITHIN", 0.0)


async def test_a_wider_window_after_a_kill_between_two_sealing_steps_loses_nothing(
    server: LocalServer, client, tmp_path, monkeypatch, small_steps
):
    """A month that was sealed from the middle on is completed by a run that reads the beginning, too."""
    room = server.add_conversation("room")
    for day, messages in (("03-02", 50), ("03-20", 150), ("04-20", 150)):
        server.fill(room, messages, ts=f"2018-{day}T00:00:00Z")
    await killed_within_sealing(monkeypatch, client, tmp_path / "a", since=MARCH)

    run = await exported(client, tmp_path / "a")

    assert 350 == run.messages
    assert await fresh_digest(server, tmp_path / "b") == run.content_digest


async def test_an_update_killed_between_two_sealing_steps_takes_no_month_for_done_by_another_walk(
    server: LocalServer, client, tmp_path, monkeypatch, small_steps
):
    """What changed after the kill in a month that had been sealed is found by the next look as deep."""
    room = server.add_conversation("room")
    ids = [id for month in (1, 2, 3) for id in server.fill(room, 100, ts=f"2018-0{month}-10T00:00:00Z")]
    await exported(client, tmp_path / "a")
    for number in (5, 105, 205):
        server.edit_message(room, ids[number], "edited")
    await killed_within_sealing(monkeypatch, client, tmp_path / "a", rescan="all")
    server.edit_message(room, ids[7], "edited, too")
    server.delete_message(room, ids[9])

    run = await exported(client, tmp_path / "a", rescan="all")

    assert 299 == run.messages
    assert await fresh_digest(server, tmp_path / "b") == run.content_digest


async def test_windows_that_meet_leave_no_gap(server: LocalServer, client, tmp_path):
    """A window holds its beginning and not its end; a message at the very border is in the later one."""
    years = [datetime(year, 1, 1, tzinfo=UTC) for year in (2018, 2019, 2020)]
    room = server.add_conversation("room")
    server.fill(room, 20, ts="2018-06-01T00:00:00Z")
    server.fill(room, 1, ts="2019-01-01T00:00:00Z")
    server.fill(room, 20, ts="2019-06-01T00:00:00Z")

    first = await exported(client, tmp_path / "a", since=years[0], until=years[1])
    second = await exported(client, tmp_path / "a", since=years[1], until=years[2])

    assert (20, 41) == (first.messages, second.messages)
    assert () == (await verify(tmp_path / "a")).findings


async def test_what_cannot_begin_leaves_no_trace(server: LocalServer, client, tmp_path):
    """A slip of the pen, or a service that is away: no folder is made, and a sound archive stays one."""
    server.fill(server.add_conversation("room"), 10)
    await exported(client, tmp_path / "a")
    for folder in ("a", "new"):
        with pytest.raises(NothingSelected):
            await exported(client, tmp_path / folder, selection=Selection(("romo",)))
    away = server.faults.add("GET", "*", drop="before")
    for folder in ("a", "new"):
        with pytest.raises(TransportError):
            await exported(client, tmp_path / folder)
    away.remove()

    assert not (tmp_path / "new").exists()
    assert () == (await verify(tmp_path / "a")).findings


async def test_a_retry_of_an_interrupted_run_completes_it(server: LocalServer, client, tmp_path, monkeypatch):
    """Conversations that it had not reached, or not read to their end, are what it could not get."""
    monkeypatch.setattr("stride_async.export._fetch.run.CONTINUED_WITHIN", 0.0)
    for number in range(4):
        server.fill(server.add_conversation(f"room {number}"), 240)
    async with aclosing(export(client, tmp_path / "a", ExportOptions(concurrency=1))) as events:
        pages = 0
        async for event in events:
            pages += isinstance(event, PagesFetched)
            if pages == 6:
                break

    run = await exported(client, tmp_path / "a", retry_failed=True)

    assert 960 == run.messages
    assert await fresh_digest(server, tmp_path / "b") == run.content_digest


async def test_a_retry_asks_for_nothing_but_what_failed(server: LocalServer, client, tmp_path):
    """Not for files that were not wanted, nor for conversations that are new."""
    room = server.add_conversation("room")
    show_file(server, room, "a.bin", b"a")
    server.faults.add("GET", f"*/{room}/roster", status=403, times=1)
    await exported(client, tmp_path / "a", media="none")
    server.fill(server.add_conversation("new"), 10)
    server.calls.clear()

    run = await exported(client, tmp_path / "a", retry_failed=True)

    assert ["conversation", "roster"] == sorted(call.path.rpartition("/")[2] for call in server.calls)
    assert (1, 0, 0) == (run.conversations, run.media, run.failures)


async def test_there_is_nothing_to_retry_where_nothing_was_exported(server: LocalServer, client, tmp_path):
    """It is said, and no empty archive is called complete."""
    server.fill(server.add_conversation("room"), 10)

    with pytest.raises(NotAnArchive, match="nothing to try again"):
        await exported(client, tmp_path / "a", retry_failed=True)

    assert not (tmp_path / "a").exists()


async def test_a_message_that_came_right_is_read_once(server: LocalServer, client, tmp_path):
    """What it was before is not given beside it."""
    room = server.add_conversation("room")
    server.fill(room, 20)
    page = await client.request("GET", f"/site/{server.cloud_id}/conversation/{room}/message")
    del page["messages"][3]["ts"]
    server.faults.add("GET", f"*/{room}/message", body=json.dumps(page), times=1)
    odd = await exported(client, tmp_path / "a")
    before = len(list(read(tmp_path / "a").raw_messages(room)))

    mended = await exported(client, tmp_path / "a", retry_failed=True)

    assert (1, 0) == (odd.failures, mended.failures)
    assert (20, 20) == (before, len(list(read(tmp_path / "a").messages(room))))


async def interrupted_when_done(client, folder, name: str) -> None:
    """An export that is left when a conversation is done."""
    async with aclosing(export(client, folder, ExportOptions(concurrency=1))) as events:
        async for event in events:
            if isinstance(event, ConversationDone) and event.name == name:
                return


async def test_what_an_interrupted_run_finished_long_ago_is_looked_at_again(
    server: LocalServer, client, tmp_path, monkeypatch
):
    """However often it was interrupted since; what it finished just now is not."""
    rooms = [server.add_conversation(f"room {number}") for number in range(3)]
    for room in rooms:
        server.fill(room, 100)
    now = [1_800_000_000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    first, second, _ = [room.name async for room in client.conversations()]
    by_name = dict(zip((f"room {number}" for number in range(3)), rooms, strict=True))
    await interrupted_when_done(client, tmp_path / "a", first)
    for path in (tmp_path / "a/runs").rglob("*"):
        os.utime(path, (now[0], now[0]))
    server.fill(by_name[first], 5, ts="2019-01-01T00:00:00Z")
    now[0] += 400
    await interrupted_when_done(client, tmp_path / "a", second)
    for path in (tmp_path / "a/runs").rglob("*"):
        os.utime(path, (now[0], now[0]))
    now[0] += 400
    server.calls.clear()

    run = await exported(client, tmp_path / "a")

    assert 305 == run.messages
    assert by_name[second] not in {room for room, _ in history_calls(server)}
    assert 1 == len([path for path in (tmp_path / "a/runs").iterdir() if path.is_dir()])


async def test_bodies_that_are_missing_or_altered_are_fetched_again(server: LocalServer, client, tmp_path):
    """A missing one by the next run, an altered one when all is read again or when its content comes once more."""
    room = server.add_conversation("room")
    for name in ("missing", "altered", "cut"):
        show_file(server, room, name, name.encode() * 100)
    await exported(client, tmp_path / "a")
    for body in (tmp_path / "a/media/sha256").rglob("*"):
        if body.is_file():
            data = body.read_bytes()
            if data.startswith(b"missing"):
                body.unlink()
            else:
                body.write_bytes(data[:-1] if data.startswith(b"cut") else b"A" + data[1:])

    usual = await exported(client, tmp_path / "a")
    deep = await exported(client, tmp_path / "a", rescan="all")

    assert (2, 1) == (usual.media, deep.media)
    assert () == (await verify(tmp_path / "a")).findings


async def test_an_altered_body_is_replaced_when_its_content_comes_again(server: LocalServer, client, tmp_path):
    """Another conversation shows the same file."""
    first, second = (server.add_conversation(name) for name in ("first", "second"))
    show_file(server, first, "a.bin", b"content")
    await exported(client, tmp_path / "a")
    (body,) = [path for path in (tmp_path / "a/media/sha256").rglob("*") if path.is_file()]
    body.write_bytes(b"CONTENT")
    show_file(server, second, "b.bin", b"content")

    await exported(client, tmp_path / "a")

    assert b"content" == body.read_bytes()
    assert {body.name} == media_of(tmp_path / "a")


def altered(path: Path) -> bytes:
    """A sealed file with other words in it, packed as it should be."""
    lines = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
    assert b'"version":1' in lines
    return zstandard.ZstdCompressor().compress(lines.replace(b'"version":1', b'"version":2', 1))


@pytest.mark.parametrize("how", ["altered", "missing"])
async def test_nothing_is_built_on_a_damaged_month_and_reading_all_again_mends_it(
    server: LocalServer, client, tmp_path, how
):
    """A usual run lists it, and what it read is not lost; `rescan="all"` needs nothing of what was there."""
    room = server.add_conversation("room")
    server.fill(room, 100, ts="2018-06-01T08:00:00Z")
    server.fill(room, 50, ts="2018-07-01T08:00:00Z")
    other = server.add_conversation("other")
    await exported(client, tmp_path / "a")
    (sealed,) = (tmp_path / f"a/data/conversations/{room}/sealed/2018-06").iterdir()
    if how == "altered":
        sealed.write_bytes(altered(sealed))
    else:
        sealed.unlink()
    server.fill(room, 100, ts="2018-06-20T08:00:00Z")
    server.fill(other, 5)

    listed = await events_of(client, tmp_path / "a", rescan=datetime.now(UTC) - datetime(2018, 6, 15, tzinfo=UTC))
    again = await events_of(client, tmp_path / "a", retry_failed=True)
    mended = await exported(client, tmp_path / "a", rescan="all")

    assert {(room, "archive", "")} == failures(listed) == failures(again)
    assert 5 == state_of(tmp_path / "a", other).rows
    assert (250 + 5, 0) == (mended.messages, mended.failures)
    assert await fresh_digest(server, tmp_path / "b") == mended.content_digest
    assert () == (await verify(tmp_path / "a")).findings


async def test_profiles_that_are_damaged_are_fetched_again(server: LocalServer, client, tmp_path):
    """By reading all again."""
    server.add_conversation("room", roster=[server.add_user("Person")])
    await exported(client, tmp_path / "a")
    (profiles,) = (tmp_path / "a/data/users/sealed").iterdir()
    profiles.unlink()

    await exported(client, tmp_path / "a", rescan="all")

    assert "Person" in {user.display_name for user in read(tmp_path / "a").users()}
    assert () == (await verify(tmp_path / "a")).findings


async def test_a_conversation_that_cannot_be_decoded_stops_nothing(server: LocalServer, client, tmp_path):
    """It is exported as it came, and told of."""
    odd, good = (server.add_conversation(name) for name in ("odd", "good"))
    for room in (odd, good):
        server.fill(room, 10)
    page = await client.request("GET", f"/site/{server.cloud_id}/conversation")
    for each in page["values"]:
        if each["id"] == odd:
            each["type"] = 17
    server.faults.add("GET", f"/site/{server.cloud_id}/conversation", body=json.dumps(page))

    events = await events_of(client, tmp_path / "a")
    undecodable: list[Exception] = []
    readable = list(read(tmp_path / "a").conversations(on_undecodable=undecodable.append))

    with pytest.raises(DecodeError):
        await exported(client, tmp_path / "b", fail_fast=True)

    assert {(odd, "conversation", "")} == failures(events)
    assert 20 == events[-1].messages
    assert not (tmp_path / "b").exists()
    assert ([good], 1) == ([room.id for room in readable], len(undecodable))


@pytest.mark.parametrize("fault", [{"drop": "before"}, {"status": 503}], ids=["drop", "503"])
async def test_a_service_that_goes_away_ends_the_run_and_the_next_one_completes_it(
    server: LocalServer, client, tmp_path, fault
):
    """A list of every conversation as failed would help nobody; what came before is kept."""
    for number in range(8):
        server.fill(server.add_conversation(f"room {number}"), 200)
    server.faults.add("GET", "/site/*", after=10, **fault)

    with pytest.raises((TransportError, ServerError)):
        await exported(client, tmp_path / "a", concurrency=2)
    calls = len(server.calls)
    server.faults.clear()
    run = await exported(client, tmp_path / "a")

    assert 60 > calls
    assert (1600, 0) == (run.messages, run.failures)


async def test_rooms_that_fail_one_after_the_other_end_the_run(server: LocalServer, client, tmp_path):
    """The list of conversations is answered, no conversation is."""
    for number in range(8):
        server.fill(server.add_conversation(f"room {number}"), 20)
    server.faults.add("GET", "/site/*/conversation/*", status=503)

    with pytest.raises(ServerError):
        await exported(client, tmp_path / "a", concurrency=1)


async def test_rooms_that_fail_when_another_was_answered_for_are_listed(server: LocalServer, client, tmp_path):
    """However many they are, they cannot keep a run from its end for ever."""
    for number in range(6):
        server.fill(server.add_conversation(f"room {number}"), 20)
    _, *rest = [room.id async for room in client.conversations()]
    for room in rest:
        server.faults.add("GET", f"*/{room}/*", status=503)

    events = await events_of(client, tmp_path / "a", concurrency=1)

    assert {(room, what, "") for room in rest for what in ("roster", "history")} == failures(events)
    assert 20 == events[-1].messages


async def test_one_room_that_fails_is_listed(server: LocalServer, client, tmp_path):
    """The service answers for all others."""
    rooms = [server.add_conversation(f"room {number}") for number in range(3)]
    for room in rooms:
        server.fill(room, 20)
    server.faults.add("GET", f"*/{rooms[1]}/*", status=503)

    events = await events_of(client, tmp_path / "a", concurrency=1)

    assert {(rooms[1], "roster", ""), (rooms[1], "history", "")} == failures(events)
    assert 40 == events[-1].messages


async def test_an_archive_is_read_while_an_export_goes_on(server: LocalServer, client, tmp_path):
    """Pages that are sealed meanwhile are given all the same, each message once."""
    room = server.add_conversation("room")
    ids = server.fill(room, 300, ts="2018-03-01T00:00:00Z")
    async with aclosing(export(client, tmp_path / "a")) as events:
        pages = 0
        while pages < 3:
            pages += isinstance(await anext(events), PagesFetched)
    rows = iter(read(tmp_path / "a").raw_messages(room))
    first = next(rows)

    await exported(client, tmp_path / "a")
    given = [json.loads(line)["id"] for line in (first, *rows)]

    assert ids[-225:] == given


async def test_damaged_pages_of_an_open_walk_are_fetched_again(server: LocalServer, client, tmp_path):
    """The walk begins anew where it had begun; nothing that is damaged is sealed."""
    room = server.add_conversation("room")
    server.fill(room, 300, ts="2018-03-01T00:00:00Z")
    async with aclosing(export(client, tmp_path / "a")) as events:
        pages = 0
        while pages < 3:
            pages += isinstance(await anext(events), PagesFetched)
    raw = max((tmp_path / f"a/data/conversations/{room}/raw").iterdir())
    raw.write_bytes(raw.read_bytes().replace(b'"version":1', b'"version":2', 1))
    damaged = await verify(tmp_path / "a")

    run = await exported(client, tmp_path / "a")

    assert raw.name in {finding.path.rpartition("/")[2] for finding in damaged.findings}
    assert (300, 0) == (run.messages, run.failures)
    assert await fresh_digest(server, tmp_path / "b") == run.content_digest
    assert () == (await verify(tmp_path / "a")).findings


async def test_failures_are_listed_once_and_whole_however_often_a_run_is_interrupted(
    server: LocalServer, client, tmp_path
):
    """Also behind a line that was cut off."""
    first, second = (server.add_conversation(name) for name in ("first", "second"))
    for room in (first, second):
        server.faults.add("GET", f"*/{room}/roster", status=403)
        server.fill(room, 10)
    async with aclosing(export(client, tmp_path / "a", ExportOptions(concurrency=1))) as events:
        while not isinstance(await anext(events), ConversationDone):
            pass
    (listed,) = (tmp_path / "a/runs").glob("*/failures.jsonl")
    with listed.open("ab") as file:
        file.write(b'{"conversation_id": "cut o')

    told = await events_of(client, tmp_path / "a", concurrency=1)

    lines = listed.read_bytes().splitlines()
    assert {(first, "roster", ""), (second, "roster", "")} == failures(told)
    assert [first, second] == sorted(
        (json.loads(line)["conversation_id"] for line in lines if line.endswith(b"}")), key=[first, second].index
    )
    assert 3 == len(lines)


async def test_files_that_are_refused_beside_others_are_all_listed(server: LocalServer, client, tmp_path, monkeypatch):
    """Commits of those that came take a while, and meanwhile others fail."""
    room = server.add_conversation("room")
    files = [show_file(server, room, f"{number}.bin", b"%d" % number) for number in range(24)]
    refused = set(files[::2])
    for file in refused:
        server.faults.add("GET", f"*/media/{file}*", status=404)
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (time.sleep(0.003), sync(descriptor)))

    events = await events_of(client, tmp_path / "a")

    assert {(room, "media", file) for file in refused} == failures(events)
    assert refused == {id for what, id in state_of(tmp_path / "a", room).failed if what == "media"}


async def test_an_end_that_is_still_to_come_claims_nothing_that_is_not_sent_yet(server: LocalServer, tmp_path):
    """What is sent between a run and its `until` is brought by the runs that follow."""
    now = datetime.now(UTC)
    until = now + timedelta(hours=1)
    room = server.add_conversation("room")
    server.fill(room, 20, ts=(now - timedelta(days=1)).isoformat().replace("+00:00", "Z"))
    async with client_of(server, page_size=10) as client:
        await exported(client, tmp_path / "a", until=until)
        server.fill(room, 30, ts=(now + timedelta(minutes=10)).isoformat().replace("+00:00", "Z"))
        server.fill(room, 30, ts=(until + timedelta(minutes=10)).isoformat().replace("+00:00", "Z"))
        await exported(client, tmp_path / "a", since=until)
        between = await verify(tmp_path / "a")
        run = await exported(client, tmp_path / "a")

    assert ["gap"] == [verdict.kind for verdict in between.verdicts]
    assert 80 == run.messages
    assert () == (await verify(tmp_path / "a")).findings


async def test_an_element_without_a_time_is_listed_though_its_page_is_held(server: LocalServer, client, tmp_path):
    """Once: a run that meets it again tells it again, and commits nothing new."""
    room = server.add_conversation("room")
    server.fill(room, 20)
    await exported(client, tmp_path / "a")
    page = await client.request("GET", f"/site/{server.cloud_id}/conversation/{room}/message")
    page["messages"].append({"id": "odd", "sender": {"id": "x"}})
    server.faults.add("GET", f"*/{room}/message", body=json.dumps(page), times=1)
    first = await exported(client, tmp_path / "a")
    server.faults.add("GET", f"*/{room}/message", body=json.dumps(page), times=1)
    second = await exported(client, tmp_path / "a")

    assert (1, 1) == (first.failures, second.failures)
    assert 21 == len(list(read(tmp_path / "a").raw_messages(room)))
    assert 1 == len(state_of(tmp_path / "a", room).unplaced)


async def test_a_look_at_the_newest_that_failed_is_not_made_up_for_by_one_at_older_ones(
    server: LocalServer, client, tmp_path
):
    """It stays listed, and the verdict says how far the messages are known."""
    room = server.add_conversation("room")
    server.fill(room, 20, ts="2018-06-01T08:00:00Z")
    await exported(client, tmp_path / "a")
    server.fill(room, 15, ts="2018-07-01T08:00:00Z")
    server.faults.add("GET", f"*/{room}/message", status=403, times=1)
    await exported(client, tmp_path / "a")

    older = await exported(client, tmp_path / "a", until=datetime(2018, 6, 15, tzinfo=UTC))
    told = await verify(tmp_path / "a")
    retried = await exported(client, tmp_path / "a", retry_failed=True)

    assert 1 == older.failures
    assert ["complete up to"] == [verdict.kind for verdict in told.verdicts]
    assert (35, 0) == (retried.messages, retried.failures)


async def test_a_look_between_old_and_new_makes_the_verdict_end_there(server: LocalServer, client, tmp_path):
    """What was complete before is complete up to the later bound."""
    room = server.add_conversation("room")
    server.fill(room, 20, ts="2018-06-01T08:00:00Z")
    await exported(client, tmp_path / "a")
    server.fill(room, 10, ts="2018-07-01T08:00:00Z")
    server.fill(room, 10, ts="2018-08-01T08:00:00Z")

    await exported(client, tmp_path / "a", until=datetime(2018, 7, 15, tzinfo=UTC))
    bounded = await verify(tmp_path / "a")
    await exported(client, tmp_path / "a")

    assert ["complete up to 2018-07-15T00:00:00Z"] == [verdict.text for verdict in bounded.verdicts]
    assert ["complete"] == [verdict.text for verdict in (await verify(tmp_path / "a")).verdicts]


@pytest.mark.parametrize("options", [{}, {"retry_failed": True}, {"rescan": "all"}], ids=["usual", "retry", "rescan"])
async def test_a_profile_that_was_refused_when_it_was_read_again_is_mended(
    server: LocalServer, client, tmp_path, options
):
    """Though it is held, and says the same."""
    server.add_conversation("room", roster=[server.add_user("Person")])
    await exported(client, tmp_path / "a")
    server.faults.add("GET", "/scim/*", status=500, times=4)
    refused = await exported(client, tmp_path / "a", rescan="all")

    mended = await exported(client, tmp_path / "a", **options)

    assert (1, 0) == (refused.failures, mended.failures)


async def pages_of(client, folder, count: int, **options) -> None:
    """An export that is left when so many pages came."""
    async with aclosing(export(client, folder, ExportOptions(**options))) as events:
        while count:
            count -= isinstance(await anext(events), PagesFetched)


async def test_reading_all_again_mends_a_month_in_which_a_walk_stands_still(
    server: LocalServer, client, tmp_path, monkeypatch
):
    """The walk begins anew from the newest message, so that nothing of the damaged month is needed."""
    monkeypatch.setattr("stride_async.export._fetch.run.CONTINUED_WITHIN", 0.0)
    room = server.add_conversation("room")
    server.fill(room, 300, ts="2018-03-02T00:00:00Z")
    server.fill(room, 30, ts="2018-03-20T00:00:00Z")
    await exported(client, tmp_path / "a", since=MARCH)
    await pages_of(client, tmp_path / "a", 3)
    (sealed,) = (tmp_path / f"a/data/conversations/{room}/sealed/2018-03").iterdir()
    sealed.unlink()

    run = await exported(client, tmp_path / "a", rescan="all")

    assert (330, 0) == (run.messages, run.failures)
    assert () == (await verify(tmp_path / "a")).findings


async def test_a_walk_begun_anew_below_a_bound_is_no_look_at_the_newest(server: LocalServer, client, tmp_path):
    """A run that goes on still has that before it."""
    room = server.add_conversation("room")
    server.fill(room, 230, ts="2018-03-02T00:00:00Z")
    server.fill(room, 10, ts="2018-04-20T00:00:00Z")
    await pages_of(client, tmp_path / "a", 2, until=datetime(2018, 4, 1, tzinfo=UTC))
    for raw in (tmp_path / f"a/data/conversations/{room}/raw").iterdir():
        raw.write_bytes(b"damaged")
    await pages_of(client, tmp_path / "a", 1)

    run = await exported(client, tmp_path / "a")

    assert 240 == run.messages
    assert ["complete"] == [verdict.text for verdict in (await verify(tmp_path / "a")).verdicts]


async def test_a_retry_knows_of_interrupted_runs_before_the_last(server: LocalServer, client, tmp_path):
    """A run of one conversation in between does not make it forget the others."""
    for number in range(4):
        server.fill(server.add_conversation(f"room {number}"), 20)
    first, *_ = [room.name async for room in client.conversations()]
    await interrupted_when_done(client, tmp_path / "a", first)
    await exported(client, tmp_path / "a", selection=Selection((first,)))

    run = await exported(client, tmp_path / "a", retry_failed=True)

    assert 0 == run.failures
    assert await fresh_digest(server, tmp_path / "b") == run.content_digest
    assert () == (await verify(tmp_path / "a")).findings
