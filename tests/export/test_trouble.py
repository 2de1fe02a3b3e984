"""What goes wrong is reported, recorded and repaired later. Everything else is complete."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import tempfile
from collections import Counter
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stride_async import AuthError, Forbidden, StrideClient
from stride_async.export import (
    ArchiveBusy,
    ExportOptions,
    Failure,
    NewerArchive,
    NotAnArchive,
    NothingSelected,
    PagesFetched,
    Selection,
    Summary,
    export,
    read,
)
from stride_async.export._archive.archive import Archive
from stride_async.export._archive.files import Log
from stride_async.server import LocalServer
from tests.conftest import client_of
from tests.export.exporting import (
    events_of,
    exported,
    failures,
    files_of,
    fresh_digest,
    history_calls,
    open_in,
    show_file,
    state_of,
)


@pytest.fixture
def rooms(server: LocalServer) -> list[str]:
    """Return three rooms of four pages, with a file in each."""
    rooms = [server.add_conversation(f"room {number}") for number in range(3)]
    for room in rooms:
        server.fill(room, 240)
        show_file(server, room, "file.bin", room.encode())
    return rooms


def listed(folder: Path) -> set[tuple[str, str, str]]:
    """Return the failures that the last run recorded."""
    path = max((folder / "runs").glob("*/settings.json")).with_name("failures.jsonl")
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    return {(line["conversation_id"], line["what"], line["id"]) for line in lines}


async def full_disk(monkeypatch, at: int, client: StrideClient, folder: Path) -> None:
    """Export to a disk that is full when the n-th file gets its name."""
    link, seen = os.link, 0

    def or_full(file: Path, name: Path) -> None:
        nonlocal seen
        seen += 1
        if seen == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        link(file, name)

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", or_full)
        await exported(client, folder)


@pytest.mark.parametrize("at", [1, 2, 3, 5, 8, 12])
async def test_a_full_disk_ends_the_run_and_the_next_one_completes_it(
    server: LocalServer, client, rooms, tmp_path, monkeypatch, at
):
    """The error is that of the system, and no partial file stays behind."""
    with pytest.raises(OSError, match="No space left"):
        await full_disk(monkeypatch, at, client, tmp_path / "a")
    strays = list(tmp_path.rglob(".tmp-*"))
    run = await exported(client, tmp_path / "a")

    assert [] == strays
    assert await fresh_digest(server, tmp_path / "b") == run.content_digest


@pytest.mark.parametrize("at", [1, 2, 5, 8])
async def test_a_disk_that_refuses_to_record_a_call_ends_the_run(
    server: LocalServer, client, rooms, tmp_path, monkeypatch, caplog, at
):
    """Otherwise the next run could exceed the rate limit. No call fails because of it, and nothing stays open."""
    write, seen = Log.write, 0

    def or_full(log: Log, data: bytes) -> None:
        nonlocal seen
        seen += 1
        if seen == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(log, data)

    with monkeypatch.context() as patched:
        patched.setattr(Log, "write", or_full)
        with pytest.raises(OSError, match="No space left"):
            await exported(client, tmp_path / "a")
    run = await exported(client, tmp_path / "a")

    assert [] == caplog.records
    assert set() == open_in(tmp_path)
    assert await fresh_digest(server, tmp_path / "b") == run.content_digest


@contextmanager
def unwritable(folder: Path):
    """Deny writing into a folder, even to the superuser, who gives up that role meanwhile."""
    superuser = os.geteuid() == 0
    folder.chmod(0o555)
    if superuser:
        os.seteuid(65534)
    try:
        yield
    finally:
        if superuser:
            os.seteuid(0)
        folder.chmod(0o755)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="this system has other permissions")
async def test_an_unwritable_folder_is_a_permission_error(server: LocalServer, client, rooms):
    """No message is fetched."""
    with tempfile.TemporaryDirectory() as parent, unwritable(Path(parent)), pytest.raises(PermissionError):
        await exported(client, Path(parent) / "a")

    assert [] == history_calls(server)


async def test_a_second_export_of_the_same_archive_is_refused(server: LocalServer, client, rooms, tmp_path):
    """It would use the same limit. It changes nothing, and the first one goes on."""
    async with aclosing(export(client, tmp_path / "a")) as first:
        await anext(first)
        held = files_of(tmp_path / "a").keys()
        with pytest.raises(ArchiveBusy):
            await exported(client, tmp_path / "a")
        untouched = {name for name in files_of(tmp_path / "a").keys() - held if name.startswith("runs/")}
        async for event in first:
            last = event

    assert set() == untouched
    assert isinstance(last, Summary)


@pytest.mark.parametrize("rescan", [None, "all"])
async def test_two_writers_without_a_lease_produce_one_correct_archive(
    server: LocalServer, rooms, tmp_path, monkeypatch, rescan
):
    """Some file systems have no locks. The loser of a commit reads what the other wrote and continues from there."""
    monkeypatch.setattr(Archive, "acquire_lease", lambda _, __: None)
    for room in rooms:
        server.fill(room, 600, ts="2018-09-01T08:00:00Z")
    async with client_of(server, page_size=20) as one, client_of(server, page_size=20) as other:
        first, second = await asyncio.gather(
            events_of(one, tmp_path / "a"), events_of(other, tmp_path / "a", rescan=rescan)
        )
        last = await exported(one, tmp_path / "a", rescan="all")

    assert isinstance(first[-1], Summary)
    assert isinstance(second[-1], Summary)
    assert (0, 0, 0, 0) == (last.new, last.changed, last.gone, last.failures)
    assert await fresh_digest(server, tmp_path / "b") == last.content_digest


async def test_a_folder_that_is_not_an_archive_is_refused(client, rooms, tmp_path):
    """Nothing in it is changed."""
    (tmp_path / "photo.jpg").write_bytes(b"photo")

    with pytest.raises(NotAnArchive, match="not empty"):
        await exported(client, tmp_path)
    with pytest.raises(NotAnArchive, match="not a folder"):
        await exported(client, tmp_path / "photo.jpg")

    assert {"photo.jpg": b"photo"} == files_of(tmp_path)


async def test_the_archive_of_another_site_is_refused(client, rooms, tmp_path):
    """Nothing in it is changed."""
    async with LocalServer(generate="conversations=1,messages=3,media=0,seed=3") as other, client_of(other) as its:
        await exported(its, tmp_path / "a")
    before = files_of(tmp_path / "a")

    with pytest.raises(NotAnArchive, match="holds the site"):
        await exported(client, tmp_path / "a")

    assert before == files_of(tmp_path / "a")


async def test_a_newer_archive_is_refused(client, rooms, tmp_path):
    """Nothing in it is changed."""
    (tmp_path / "archive.json").write_text(json.dumps({"format": 2, "id": "x", "cloud_id": client.cloud_id}))
    before = files_of(tmp_path)

    with pytest.raises(NewerArchive, match="format 2"):
        await exported(client, tmp_path)

    assert before == files_of(tmp_path)


async def test_a_selector_without_a_match_is_an_error_with_similar_names(client, rooms, tmp_path):
    """It may be misspelled."""
    with pytest.raises(NothingSelected) as error:
        await exported(client, tmp_path / "a", selection=Selection(("rooom 1",)))

    assert "room 1" in error.value.nearest


@pytest.mark.parametrize("status", [403, 404])
async def test_a_room_that_closes_during_its_export_is_completed_by_a_retry(
    server: LocalServer, client, rooms, tmp_path, status
):
    """What was received is kept and the other rooms are complete.

    The retry resumes that room where it stopped, and looks for news in the others.
    """
    door = server.faults.add("GET", f"*/{rooms[1]}/message", status=status, after=2)
    events = await events_of(client, tmp_path / "a")
    door.remove()
    recorded = listed(tmp_path / "a")
    low = state_of(tmp_path / "a", rooms[1]).raw_groups[-1].low[1]
    server.calls.clear()

    retried = await exported(client, tmp_path / "a", retry_failed=True)

    assert {(rooms[1], "history", "")} == failures(events) == recorded
    assert (rooms[1], low) == next(call for call in history_calls(server) if call[0] == rooms[1])
    assert {rooms[0]: 1, rooms[2]: 1} == Counter(room for room, _ in history_calls(server) if room != rooms[1])
    assert 0 == retried.failures
    assert await fresh_digest(server, tmp_path / "b") == retried.content_digest


async def test_undecodable_messages_are_kept_recorded_and_repaired(server: LocalServer, client, rooms, tmp_path):
    """One without a sender keeps its place, one without a time is kept apart. Neither stops its conversation."""
    page = await client.request("GET", f"/site/{server.cloud_id}/conversation/{rooms[0]}/message")
    no_sender, no_time = page["messages"][30], page["messages"][40]
    del no_sender["sender"], no_time["ts"]
    body = json.dumps(page, separators=(",", ":"), ensure_ascii=False)

    server.faults.add("GET", f"*/{rooms[0]}/message", body=body, times=1)
    events = await events_of(client, tmp_path / "a")
    state = state_of(tmp_path / "a", rooms[0])
    apart = [json.loads(line) for file in state.unplaced for line in Archive.open(tmp_path / "a").lines(file.path)]
    kept = [json.loads(line) for line in read(tmp_path / "a").raw_messages(rooms[0])]
    server.faults.add("GET", f"*/{rooms[0]}/message", body=body, times=1)
    again = await exported(client, tmp_path / "a")
    repaired = await exported(client, tmp_path / "a", retry_failed=True)

    assert {"message"} == {what for _, what, _ in failures(events)}
    assert 2 == len(failures(events)) == again.failures
    assert no_sender["id"] in {id for _, _, id in failures(events)}
    assert [no_time] == apart
    assert (240, 241) == (state.sealed_messages, len(kept))
    assert no_sender in kept
    assert 0 == repaired.failures
    assert await fresh_digest(server, tmp_path / "b") == repaired.content_digest


async def test_a_message_with_a_time_that_cannot_be_stored_is_kept_apart(server: LocalServer, client, tmp_path):
    """Some programs write the first moment of year 1 for no time at all."""
    room = server.add_conversation("room")
    server.fill(room, 20)
    page = await client.request("GET", f"/site/{server.cloud_id}/conversation/{room}/message")
    page["messages"][0]["ts"] = "0001-01-01T00:00:00Z"
    server.faults.add("GET", f"*/{room}/message", body=json.dumps(page), times=1)

    events = await events_of(client, tmp_path / "a")

    assert {"message"} == {what for _, what, _ in failures(events)}
    assert 19 == events[-1].messages
    assert page["messages"][0] in [json.loads(line) for line in read(tmp_path / "a").raw_messages(room)]


async def test_the_widest_bounds_include_the_complete_history(server: LocalServer, client, rooms, tmp_path):
    """Years that commits cannot store are moved to the ends."""
    run = await exported(
        client,
        tmp_path / "a",
        since=datetime.min.replace(tzinfo=UTC),
        until=datetime.max.replace(tzinfo=UTC),
    )

    assert 3 * 241 == run.messages


async def test_a_file_that_fails_temporarily_is_fetched_by_the_next_run(server: LocalServer, client, rooms, tmp_path):
    """No option is needed."""
    server.faults.add("GET", f"*/{rooms[0]}/media/*", status=503, times=4)
    first = await exported(client, tmp_path / "a")
    second = await exported(client, tmp_path / "a")

    assert (1, 2) == (first.failures, first.media)
    assert (0, 1) == (second.failures, second.media)


async def test_a_file_that_does_not_exist_is_reported_by_every_run_and_fetched_by_a_retry(
    server: LocalServer, client, rooms, tmp_path
):
    """A usual run does not try again what was refused for good, but still reports it."""
    gone = server.faults.add("GET", "*/media/*", status=404, times=1)
    first = await events_of(client, tmp_path / "a")
    server.calls.clear()
    second = await events_of(client, tmp_path / "a")
    calls = len(server.calls.matching("GET", "*/media/*"))
    gone.remove()
    third = await exported(client, tmp_path / "a", retry_failed=True)

    assert 1 == len(failures(first))
    assert failures(first) == failures(second)
    assert 0 == calls
    assert (0, 1) == (third.failures, third.media)


async def test_a_file_larger_than_wanted_is_skipped_until_it_is_wanted(server: LocalServer, client, tmp_path):
    """It is not a failure, and its size is requested once."""
    room = server.add_conversation("room")
    show_file(server, room, "small.bin", bytes(10))
    show_file(server, room, "large.bin", bytes(1000))
    first = await exported(client, tmp_path / "a", media=100)
    server.calls.clear()
    await exported(client, tmp_path / "a", media=100)
    calls = len(server.calls.matching("GET", "*/media/*"))
    everything = await exported(client, tmp_path / "a")

    assert (1, 0) == (first.media, first.failures)
    assert 0 == calls
    assert 1000 == everything.media_bytes


async def test_with_fail_fast_the_first_failure_is_raised(server: LocalServer, client, rooms, tmp_path):
    """What was received is committed."""
    server.faults.add("GET", f"*/{rooms[2]}/message", status=403, after=2)

    with pytest.raises(Forbidden):
        await exported(client, tmp_path / "a", fail_fast=True)

    server.faults.clear()
    assert 150 <= state_of(tmp_path / "a", rooms[2]).raw_groups[-1].file.rows
    assert await fresh_digest(server, tmp_path / "b") == (await exported(client, tmp_path / "a")).content_digest


async def test_refused_credentials_end_the_run(server: LocalServer, client, rooms, tmp_path):
    """No other call would succeed either."""
    await exported(client, tmp_path / "a")
    server.faults.add("*", "*", status=401, after=1)
    server.faults.add("*", "/oauth/token", status=401)

    with pytest.raises(AuthError):
        await exported(client, tmp_path / "a")


async def test_a_page_that_does_not_join_the_one_before_is_not_accepted(server: LocalServer, client, rooms, tmp_path):
    """If the service returns the newest page again, the leg stops there. The next run continues it."""
    page = await client.request("GET", f"/site/{server.cloud_id}/conversation/{rooms[0]}/message")
    server.faults.add("GET", f"*/{rooms[0]}/message", body=json.dumps(page), after=1, times=1)

    events = await events_of(client, tmp_path / "a")
    state = state_of(tmp_path / "a", rooms[0])
    second = await exported(client, tmp_path / "a")

    assert {(rooms[0], "history", "")} == failures(events)
    assert state.leg is not None
    assert [] == state.spans
    assert await fresh_digest(server, tmp_path / "b") == second.content_digest


async def test_a_conversation_with_damaged_commits_is_a_failure_and_the_rest_is_exported(
    server: LocalServer, client, rooms, tmp_path
):
    """Nothing is added to a chain that has lost a part."""
    await exported(client, tmp_path / "a")
    await exported(client, tmp_path / "a")
    (commit,) = [path for path in (tmp_path / "a").rglob("commit/00000002.json") if rooms[0] in str(path)]
    commit.unlink()
    server.fill(rooms[1], 5, ts="2018-12-01T08:00:00Z")

    events = await events_of(client, tmp_path / "a")

    (failure,) = [event for event in events if isinstance(event, Failure)]
    assert (rooms[0], "archive") == (failure.conversation_id, failure.what)
    assert 5 == events[-1].new


@pytest.mark.parametrize("how", [lambda data: data[:-1], lambda data: data.replace(b"\n", b" ")], ids=["cut", "joined"])
async def test_pages_that_are_altered_before_their_months_are_sealed_are_fetched_again(
    server: LocalServer, client, rooms, tmp_path, how
):
    """The run that wrote them notices it, and the next one is complete."""
    server.fill(rooms[0], 500, ts="2018-05-30T08:00:00Z")

    def alter(_: object) -> None:
        for file in (tmp_path / "a" / "data").rglob("raw/*"):
            file.write_bytes(how(file.read_bytes()))

    server.faults.add("GET", f"*/{rooms[0]}/message", after=9, times=1, do=alter)
    events = await events_of(client, tmp_path / "a")
    second = await exported(client, tmp_path / "a")

    assert {(rooms[0], "archive", "")} == failures(events)
    assert 0 == second.failures
    assert await fresh_digest(server, tmp_path / "b") == second.content_digest


async def test_leaving_the_loop_keeps_what_was_received(server: LocalServer, client, rooms, tmp_path):
    """Pages that were reported are not fetched again."""
    seen = 0
    async with aclosing(export(client, tmp_path / "a", ExportOptions(concurrency=1))) as events:
        async for event in events:
            seen += isinstance(event, PagesFetched)
            if seen == 3:
                break
    (kept,) = [state for room in rooms if (state := state_of(tmp_path / "a", room)).raw_groups]
    server.calls.clear()
    await exported(client, tmp_path / "a", concurrency=1)

    assert 225 <= sum(raw.file.rows for raw in kept.raw_groups)
    assert kept.raw_groups[-1].low[1] == history_calls(server)[0][1]


async def test_tasks_and_locks_do_not_outlive_an_export(server: LocalServer, client, rooms, tmp_path):
    """After the loop is left, another export can start at once."""
    async with aclosing(export(client, tmp_path / "a")) as events:
        await anext(events)

    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("stride_async export")]
    assert 3 == (await exported(client, tmp_path / "a")).conversations
