"""What an interruption or damage leaves is noticed by the next run, and repaired where that is possible."""

from __future__ import annotations

import json
import os
import shutil
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
    NothingSelected,
    PagesFetched,
    Selection,
    export,
    read,
    verify,
)
from stride_async.export._archive.chain import Chain
from stride_async.export._archive.commits import Sealed
from stride_async.export._archive.files import Folder
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
    """Stands for the end of the process."""


async def killed_within_sealing(monkeypatch, client, folder, **options) -> None:
    """Export, and stop right after the first commit with sealed months."""
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
    """Seal months a hundred messages at a time, and never continue an interrupted run."""
    monkeypatch.setattr("stride_async.export._fetch.leg_writer.SEALED_AT_ONCE", 100)
    monkeypatch.setattr("stride_async.export._archive.run_record.CONTINUED_WITHIN", 0.0)


async def test_wider_bounds_after_a_kill_between_two_sealing_steps_lose_nothing(
    server: LocalServer, client, tmp_path, monkeypatch, small_steps
):
    """A run that reads the beginning completes a month that was sealed from its middle on."""
    room = server.add_conversation("room")
    for day, messages in (("03-02", 50), ("03-20", 150), ("04-20", 150)):
        server.fill(room, messages, ts=f"2018-{day}T00:00:00Z")
    await killed_within_sealing(monkeypatch, client, tmp_path / "a", since=MARCH)

    run = await exported(client, tmp_path / "a")

    assert 350 == run.messages
    assert await fresh_digest(server, tmp_path / "b") == run.content_digest


async def test_a_month_sealed_before_a_kill_is_sealed_again_by_a_later_leg(
    server: LocalServer, client, tmp_path, monkeypatch, small_steps
):
    """A rescan finds what changed after the kill in a month that had been sealed."""
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


async def test_adjacent_bounds_leave_no_gap(server: LocalServer, client, tmp_path):
    """A lower bound is inclusive and an upper one exclusive, so a message at the border belongs to the later part."""
    years = [datetime(year, 1, 1, tzinfo=UTC) for year in (2018, 2019, 2020)]
    room = server.add_conversation("room")
    server.fill(room, 20, ts="2018-06-01T00:00:00Z")
    server.fill(room, 1, ts="2019-01-01T00:00:00Z")
    server.fill(room, 20, ts="2019-06-01T00:00:00Z")

    first = await exported(client, tmp_path / "a", since=years[0], until=years[1])
    second = await exported(client, tmp_path / "a", since=years[1], until=years[2])

    assert (20, 41) == (first.messages, second.messages)
    assert () == (await verify(tmp_path / "a")).findings


async def test_a_run_that_cannot_start_leaves_no_trace(server: LocalServer, client, tmp_path):
    """If a selector is misspelled or the service is unavailable, no folder is made and an archive stays as it was."""
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
    """It exports the conversations that the run had not reached or not read to their end."""
    monkeypatch.setattr("stride_async.export._archive.run_record.CONTINUED_WITHIN", 0.0)
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


async def test_a_retry_also_fetches_what_was_refused_for_good(server: LocalServer, client, tmp_path):
    """Otherwise it does what any run does: it fetches what is new, and what may have been refused for a while."""
    room = server.add_conversation("room")
    files = [show_file(server, room, f"{name}.bin", name.encode()) for name in "ab"]
    server.faults.add("GET", f"*/media/{files[0]}", status=404, times=1)
    server.faults.add("GET", f"*/media/{files[1]}", status=500, times=4)
    first = await exported(client, tmp_path / "a")
    server.fill(server.add_conversation("new"), 10)

    plain = await exported(client, tmp_path / "a")
    retried = await exported(client, tmp_path / "a", retry_failed=True)

    assert (2, 1, 0) == (first.failures, plain.failures, retried.failures)
    assert (12, 1, 1) == (plain.messages, plain.media, retried.media)


async def test_a_first_export_has_nothing_to_retry(server: LocalServer, client, tmp_path):
    """It is an export like any other."""
    server.fill(server.add_conversation("room"), 10)

    run = await exported(client, tmp_path / "a", retry_failed=True)

    assert (10, 0) == (run.messages, run.failures)


async def test_a_message_that_was_repaired_is_read_once(server: LocalServer, client, tmp_path):
    """Its undecodable form is no longer read."""
    room = server.add_conversation("room")
    server.fill(room, 20)
    page = await client.request("GET", f"/site/{server.cloud_id}/conversation/{room}/message")
    del page["messages"][3]["ts"]
    server.faults.add("GET", f"*/{room}/message", body=json.dumps(page), times=1)
    first = await exported(client, tmp_path / "a")
    before = len(list(read(tmp_path / "a").raw_messages(room)))

    repaired = await exported(client, tmp_path / "a", retry_failed=True)

    assert (1, 0) == (first.failures, repaired.failures)
    assert (20, 20) == (before, len(list(read(tmp_path / "a").messages(room))))


async def interrupted_when_done(client, folder, name: str) -> None:
    """Export, and stop when a conversation is done."""
    async with aclosing(export(client, folder, ExportOptions(concurrency=1))) as events:
        async for event in events:
            if isinstance(event, ConversationDone) and event.name == name:
                return


async def test_a_continued_run_checks_again_what_it_finished_long_ago(
    server: LocalServer, client, tmp_path, monkeypatch
):
    """This holds however often it was interrupted since. It does not check again what it has just finished."""
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


async def test_missing_and_altered_bodies_are_fetched_again(server: LocalServer, client, tmp_path):
    """The next run fetches a missing one; a rescan also fetches an altered one."""
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


async def test_an_altered_body_is_replaced_when_its_content_is_fetched_again(server: LocalServer, client, tmp_path):
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
    """Return a sealed file with other content, compressed as it should be."""
    lines = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
    assert b'"version":1' in lines
    return zstandard.ZstdCompressor().compress(lines.replace(b'"version":1', b'"version":2', 1))


@pytest.mark.parametrize("how", ["altered", "missing"])
async def test_a_damaged_month_is_reported_until_a_rescan_repairs_it(server: LocalServer, client, tmp_path, how):
    """A usual run reports it and keeps what it has read; `rescan="all"` needs nothing of the old file."""
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
    repaired = await exported(client, tmp_path / "a", rescan="all")

    assert {(room, "archive", "")} == failures(listed) == failures(again)
    assert 5 == state_of(tmp_path / "a", other).sealed_messages
    assert (250 + 5, 0) == (repaired.messages, repaired.failures)
    assert await fresh_digest(server, tmp_path / "b") == repaired.content_digest
    assert () == (await verify(tmp_path / "a")).findings


async def test_damaged_profiles_are_fetched_again(server: LocalServer, client, tmp_path):
    """A rescan does it."""
    server.add_conversation("room", roster=[server.add_user("Person")])
    await exported(client, tmp_path / "a")
    (profiles,) = (tmp_path / "a/data/users/sealed").iterdir()
    profiles.unlink()

    await exported(client, tmp_path / "a", rescan="all")

    assert "Person" in {user.display_name for user in read(tmp_path / "a").users()}
    assert () == (await verify(tmp_path / "a")).findings


async def test_an_undecodable_conversation_is_exported_as_received(server: LocalServer, client, tmp_path):
    """It is a failure, and nothing else stops."""
    malformed, good = (server.add_conversation(name) for name in ("malformed", "good"))
    for room in (malformed, good):
        server.fill(room, 10)
    page = await client.request("GET", f"/site/{server.cloud_id}/conversation")
    for each in page["values"]:
        if each["id"] == malformed:
            each["type"] = 17
    server.faults.add("GET", f"/site/{server.cloud_id}/conversation", body=json.dumps(page))

    events = await events_of(client, tmp_path / "a")
    undecodable: list[Exception] = []
    readable = list(read(tmp_path / "a").conversations(on_undecodable=undecodable.append))

    with pytest.raises(DecodeError):
        await exported(client, tmp_path / "b", fail_fast=True)

    assert {(malformed, "conversation", "")} == failures(events)
    assert 20 == events[-1].messages
    assert not (tmp_path / "b").exists()
    assert ([good], 1) == ([room.id for room in readable], len(undecodable))


@pytest.mark.parametrize("fault", [{"drop": "before"}, {"status": 503}], ids=["drop", "503"])
async def test_a_run_ends_when_the_service_becomes_unavailable(server: LocalServer, client, tmp_path, fault):
    """It does not list every conversation as failed. The next run completes it."""
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


async def test_a_run_ends_if_no_conversation_is_answered(server: LocalServer, client, tmp_path):
    """The list of conversations was answered."""
    for number in range(8):
        server.fill(server.add_conversation(f"room {number}"), 20)
    server.faults.add("GET", "/site/*/conversation/*", status=503)

    with pytest.raises(ServerError):
        await exported(client, tmp_path / "a", concurrency=1)


async def test_conversations_without_a_response_are_failures_once_another_was_answered(
    server: LocalServer, client, tmp_path
):
    """However many they are, they do not end the run."""
    for number in range(6):
        server.fill(server.add_conversation(f"room {number}"), 20)
    _, *rest = [room.id async for room in client.conversations()]
    for room in rest:
        server.faults.add("GET", f"*/{room}/*", status=503)

    events = await events_of(client, tmp_path / "a", concurrency=1)

    assert {(room, what, "") for room in rest for what in ("roster", "history")} == failures(events)
    assert 20 == events[-1].messages


async def test_one_conversation_without_a_response_is_a_failure(server: LocalServer, client, tmp_path):
    """The service answers for all others."""
    rooms = [server.add_conversation(f"room {number}") for number in range(3)]
    for room in rooms:
        server.fill(room, 20)
    server.faults.add("GET", f"*/{rooms[1]}/*", status=503)

    events = await events_of(client, tmp_path / "a", concurrency=1)

    assert {(rooms[1], "roster", ""), (rooms[1], "history", "")} == failures(events)
    assert 40 == events[-1].messages


async def test_an_archive_can_be_read_during_an_export(server: LocalServer, client, tmp_path):
    """Messages that are sealed meanwhile are still read, each once."""
    room = server.add_conversation("room")
    ids = server.fill(room, 300, ts="2018-03-01T00:00:00Z")
    await left_after_three_pages(client, tmp_path / "a")
    rows = iter(read(tmp_path / "a").raw_messages(room))
    first = next(rows)

    await exported(client, tmp_path / "a")
    given = [json.loads(line)["id"] for line in (first, *rows)]

    assert ids[-225:] == given


async def left_after_three_pages(client, folder) -> None:
    """Begin an export, and leave it."""
    async with aclosing(export(client, folder)) as events:
        pages = 0
        while pages < 3:
            pages += isinstance(await anext(events), PagesFetched)


@pytest.fixture
async def sealed_when_read(server: LocalServer, client, tmp_path, monkeypatch) -> str:
    """Return a conversation whose pages an export seals, and removes, when they are about to be read."""
    room = server.add_conversation("room")
    server.fill(room, 300, ts="2018-03-01T00:00:00Z")
    await left_after_three_pages(client, tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    await exported(client, tmp_path / "b")
    opened = Folder.open

    def open_late(folder: Folder, path: str):
        if "/raw/" in path and (tmp_path / "b").exists():
            shutil.rmtree(tmp_path / "a")
            (tmp_path / "b").rename(tmp_path / "a")
        return opened(folder, path)

    monkeypatch.setattr(Folder, "open", open_late)
    return room


async def test_months_can_be_counted_during_an_export(sealed_when_read, tmp_path):
    """Pages that are sealed meanwhile count with their month."""
    months = read(tmp_path / "a").months(sealed_when_read)

    assert not (tmp_path / "b").exists()
    assert [("2018-03", 300)] == [(month.month, month.rows) for month in months]


async def test_an_archive_can_be_verified_during_an_export(sealed_when_read, tmp_path):
    """The run is unfinished, and nothing is damaged."""
    report = await verify(tmp_path / "a")

    assert not (tmp_path / "b").exists()
    assert [300] == [verdict.messages for verdict in report.verdicts]
    assert ["did not finish: run the export again"] == [finding.what for finding in report.findings]


async def test_damaged_pages_of_an_open_leg_are_fetched_again(server: LocalServer, client, tmp_path):
    """The leg starts anew at its upper end, and nothing damaged is sealed."""
    room = server.add_conversation("room")
    server.fill(room, 300, ts="2018-03-01T00:00:00Z")
    await left_after_three_pages(client, tmp_path / "a")
    raw = max((tmp_path / f"a/data/conversations/{room}/raw").iterdir())
    raw.write_bytes(raw.read_bytes().replace(b'"version":1', b'"version":2', 1))
    damaged = await verify(tmp_path / "a")

    run = await exported(client, tmp_path / "a")

    assert raw.name in {finding.path.rpartition("/")[2] for finding in damaged.findings}
    assert (300, 0) == (run.messages, run.failures)
    assert await fresh_digest(server, tmp_path / "b") == run.content_digest
    assert () == (await verify(tmp_path / "a")).findings


async def test_failures_are_recorded_once_however_often_a_run_is_interrupted(server: LocalServer, client, tmp_path):
    """A line that was cut off does not spoil the next one."""
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

    events = await events_of(client, tmp_path / "a", concurrency=1)

    lines = listed.read_bytes().splitlines()
    assert {(first, "roster", ""), (second, "roster", "")} == failures(events)
    assert [first, second] == sorted(
        (json.loads(line)["conversation_id"] for line in lines if line.endswith(b"}")), key=[first, second].index
    )
    assert 3 == len(lines)


async def test_files_that_are_refused_while_others_are_committed_are_all_recorded(
    server: LocalServer, client, tmp_path, monkeypatch
):
    """Commits take a while, and more files fail meanwhile."""
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


async def test_an_upper_bound_in_the_future_does_not_claim_messages_that_are_not_sent_yet(
    server: LocalServer, tmp_path
):
    """Later runs fetch what is sent between a run and its `until`."""
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


async def test_an_element_without_a_time_is_a_failure_even_if_its_page_is_held(server: LocalServer, client, tmp_path):
    """A run that receives it again reports it again, and commits nothing new."""
    room = server.add_conversation("room")
    server.fill(room, 20)
    await exported(client, tmp_path / "a")
    page = await client.request("GET", f"/site/{server.cloud_id}/conversation/{room}/message")
    page["messages"].append({"id": "malformed", "sender": {"id": "x"}})
    server.faults.add("GET", f"*/{room}/message", body=json.dumps(page), times=1)
    first = await exported(client, tmp_path / "a")
    server.faults.add("GET", f"*/{room}/message", body=json.dumps(page), times=1)
    second = await exported(client, tmp_path / "a")

    assert (1, 1) == (first.failures, second.failures)
    assert 21 == len(list(read(tmp_path / "a").raw_messages(room)))
    assert 1 == len(state_of(tmp_path / "a", room).unplaced)


async def test_reading_older_messages_does_not_resolve_a_failure_to_read_the_newest(
    server: LocalServer, client, tmp_path
):
    """It stays recorded, and the verdict says how far the messages are known."""
    room = server.add_conversation("room")
    server.fill(room, 20, ts="2018-06-01T08:00:00Z")
    await exported(client, tmp_path / "a")
    server.fill(room, 15, ts="2018-07-01T08:00:00Z")
    server.faults.add("GET", f"*/{room}/message", status=403, times=1)
    await exported(client, tmp_path / "a")

    older = await exported(client, tmp_path / "a", until=datetime(2018, 6, 15, tzinfo=UTC))
    report = await verify(tmp_path / "a")
    retried = await exported(client, tmp_path / "a", retry_failed=True)

    assert 1 == older.failures
    assert ["complete up to"] == [verdict.kind for verdict in report.verdicts]
    assert (35, 0) == (retried.messages, retried.failures)


async def test_a_verdict_ends_at_the_bound_of_a_run_above_what_was_complete(server: LocalServer, client, tmp_path):
    """A run without bounds makes it complete again."""
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
async def test_a_profile_that_could_not_be_fetched_again_is_retried(server: LocalServer, client, tmp_path, options):
    """This holds although an unchanged profile is held."""
    server.add_conversation("room", roster=[server.add_user("Person")])
    await exported(client, tmp_path / "a")
    server.faults.add("GET", "/scim/*", status=500, times=4)
    refused = await exported(client, tmp_path / "a", rescan="all")

    again = await exported(client, tmp_path / "a", **options)

    assert (1, 0) == (refused.failures, again.failures)


async def pages_of(client, folder, count: int, **options) -> None:
    """Export, and stop after this many pages."""
    async with aclosing(export(client, folder, ExportOptions(**options))) as events:
        while count:
            count -= isinstance(await anext(events), PagesFetched)


async def test_a_rescan_repairs_a_month_that_an_open_leg_has_entered(
    server: LocalServer, client, tmp_path, monkeypatch
):
    """The leg starts anew at the newest message, so that nothing of the damaged month is needed."""
    monkeypatch.setattr("stride_async.export._archive.run_record.CONTINUED_WITHIN", 0.0)
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


async def test_a_leg_that_starts_anew_below_a_bound_does_not_count_as_reading_the_newest(
    server: LocalServer, client, tmp_path
):
    """A run that continues still has that to do."""
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


async def test_a_retry_completes_interrupted_runs_before_the_last(server: LocalServer, client, tmp_path):
    """A run of one conversation in between does not hide the others."""
    for number in range(4):
        server.fill(server.add_conversation(f"room {number}"), 20)
    first, *_ = [room.name async for room in client.conversations()]
    await interrupted_when_done(client, tmp_path / "a", first)
    await exported(client, tmp_path / "a", selection=Selection((first,)))

    run = await exported(client, tmp_path / "a", retry_failed=True)

    assert 0 == run.failures
    assert await fresh_digest(server, tmp_path / "b") == run.content_digest
    assert () == (await verify(tmp_path / "a")).findings
