"""The store is one file for one process, with one commit for concurrent operations."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stride_async.bot import Bot, BotError, StoreBusy, _rows, _store
from stride_async.bot._read import Incoming, read_delivery
from stride_async.bot._rows import Mark
from stride_async.bot._store import Store, StoreFailed
from tests.bot.delivering import served, until

NOW = 1_500_000_000.0


def message(number: int, *, room: str = "V", ts: int = 0) -> Incoming:
    return Incoming(
        kind="mention",
        module="bot",
        cloud_id="C",
        conversation_id=room,
        user_id="U",
        body=b"{}",
        order=ts or number,
        identity=number.to_bytes(16),
    )


@pytest.fixture
async def store():
    opened = await Store.open(":memory:", 0.0)
    yield opened
    await opened.close()


async def keep(store: Store, incoming: Incoming, at: float = NOW) -> int | None:
    kept = await store.run(_rows.keep(incoming, at, 120.0))
    return None if kept is None else kept.number


async def test_operations_that_wait_together_share_a_commit(tmp_path):
    """A hundred concurrent deliveries need a few commits, and each gets its own result."""
    store = await Store.open(tmp_path / "s", 0.0)
    transactions: list[str] = []
    await store.run(lambda db: db.set_trace_callback(transactions.append))
    try:
        numbers = await asyncio.gather(*(keep(store, message(n % 50)) for n in range(100)))
    finally:
        await store.close()

    assert 50 == len({number for number in numbers if number is not None})
    assert 50 == numbers.count(None)
    assert len([statement for statement in transactions if statement == "COMMIT"]) < 20


async def test_an_operation_that_fails_harms_no_other(store):
    """Operations that share its transaction are done once."""

    def broken(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO account VALUES ('broken')")
        db.execute("INSERT INTO nowhere VALUES (1)")

    results = await asyncio.gather(
        keep(store, message(1)), store.run(broken), keep(store, message(2)), return_exceptions=True
    )

    assert [1, 2] == [results[0], results[2]]
    assert isinstance(results[1], StoreFailed)
    assert await store.run(_rows.account_id) is None
    assert 2 == len(await store.run(_rows.pending(NOW)))


async def test_an_operation_is_done_even_if_its_caller_is_cancelled(store):
    """A delivery is on disk although its response was never sent."""
    task = asyncio.create_task(keep(store, message(1)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert 1 == len(await store.run(_rows.pending(NOW)))


async def test_what_follows_from_an_operation_follows_even_if_its_caller_is_cancelled(store):
    """A delivery that is on disk is handled by this process, although its response was never sent."""
    results: list[Any] = []
    future = store.submit(_rows.keep(message(1), NOW, 120.0), then=results.append)
    future.cancel()
    await store.run(_rows.pending(NOW))

    assert future.cancelled()
    assert [1] == [kept.number for kept in results]


async def test_what_follows_from_an_operation_sees_its_error(store):
    """Then the caller gets the same error."""
    results: list[Any] = []
    await store.close()

    with pytest.raises(StoreFailed):
        await store.submit(_rows.keep(message(1), NOW, 120.0), then=results.append)

    assert [StoreFailed] == [type(error) for error in results]


async def test_an_equal_body_much_later_is_another_event(store):
    """The two minutes are counted from the first delivery, not from its last redelivery."""
    incoming = read_delivery("installed", "lifecycle", b'{"cloudId":"C","resourceId":"V","userId":"U"}')

    kept = [await keep(store, incoming, NOW + seconds) for seconds in (0.0, 119.0, 121.0, 122.0)]

    assert [1, None, 2, None] == kept


async def test_an_equal_body_is_another_event_if_the_clock_was_set_back(store):
    """Two hours on a clock that was set back by three must not hide an event."""
    incoming = read_delivery("installed", "lifecycle", b'{"cloudId":"C","resourceId":"V","userId":"U"}')

    kept = [await keep(store, incoming, NOW + seconds) for seconds in (0.0, -3600.0, -3599.0)]

    assert [1, 2, None] == kept


class Redelivering:
    """Delivers each change of a roster one or more times, in order."""

    def __init__(self, changes: list[tuple[str, bool, int]]) -> None:
        self.bodies = []
        self.events = []
        last: dict[str, bool] = {}
        for person, joins, copies in changes:
            if last.get(person) == joins:
                continue  # No one joins twice.
            last[person] = joins
            self.events.append((person, joins))
            self.bodies += [self.body(person, joins)] * (1 + copies)

    @staticmethod
    def body(person: str, joins: bool) -> bytes:
        action = "add" if joins else "remove"
        return f'{{"cloudId":"C","conversation":{{"id":"V"}},"user":{{"id":"{person}"}},"action":"{action}"}}'.encode()


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), st.integers(0, 3)), max_size=12))
def test_redelivered_changes_are_counted_once(changes):
    """The number of events equals the number of changes, however often each is delivered."""
    service = Redelivering(changes)
    connection = sqlite3.connect(":memory:")
    connection.executescript(_store._SCHEMA)

    kept = [
        _rows.keep(read_delivery("roster", "roster", body), NOW + number, 120.0)(connection)
        for number, body in enumerate(service.bodies)
    ]
    connection.close()

    assert len(service.events) == len([each for each in kept if each is not None])


async def test_what_ended_long_ago_is_forgotten(store):
    """Its replies are deleted, too. Waiting events are kept however old they are."""
    for number in (1, 2, 3):
        await keep(store, message(number), NOW - 8 * 86_400)
    await store.run(_rows.note_reply(1, 1, "reply"))
    await store.run(_rows.end(1, NOW - 8 * 86_400))
    await store.run(_rows.fail(2, NOW, "ValueError", "x"))
    await store.run(_rows.forget(NOW - 7 * 86_400))

    assert frozenset() == await store.run(_rows.noted(["reply"]))
    assert [2] == [failure.event.number for failure in await store.run(_rows.failures)]
    assert [3] == [event.number for event in await store.run(_rows.pending(NOW))]
    assert [4, None] == [await keep(store, message(1)), await keep(store, message(2))]


async def test_a_mark_moves_to_what_was_accepted_only_after_a_complete_look(store):
    """An interrupted look has not read the messages before the accepted one."""
    for room, complete in (("cut", False), ("read", True)):
        await store.run(_rows.set_mark(("C", room), Mark(1_000, "M", complete)))
        await keep(store, message(len(room), room=room, ts=50_000))
    await keep(store, message(9, room="new", ts=50_000))
    await keep(store, message(10, room="ahead", ts=2**62))

    sites = await store.run(_rows.advance_marks(60_000, 10_000))

    assert ["C"] == sites
    assert {
        "cut": Mark(1_000, "M", False),
        "read": Mark(40_000, "", False),
        "new": Mark(40_000, "", False),
        "ahead": Mark(50_000, "", False),
    } == await store.run(_rows.marks("C"))


# Files that cannot be used


async def opened(path: Path, wait: float = 0.0) -> None:
    await (await Store.open(path, wait)).close()


async def test_a_new_store_is_on_disk_with_its_name(tmp_path, monkeypatch):
    """The entry of its folder is synced, or a power cut could lose the file with every event in it."""
    synced: list[Path] = []
    monkeypatch.setattr(_store, "sync_folder", synced.append)
    for _ in range(2):
        await (await Store.open(tmp_path / "bot.sqlite", 0.0)).close()

    assert [tmp_path] == synced


async def test_a_store_whose_name_cannot_be_made_durable_is_closed(tmp_path, monkeypatch):
    """The next attempt does not find it in use."""

    def broken(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", broken)
        with pytest.raises(OSError, match=f"Input/output error: '{tmp_path}'") as caught:
            await opened(tmp_path / "bot.sqlite")

    assert errno.EIO == caught.value.errno
    await opened(tmp_path / "bot.sqlite")


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_store_that_was_deleted_or_replaced_accepts_nothing(tmp_path, monkeypatch, replaced):
    """SQLite would go on writing, and the next start would not find what was accepted."""
    monkeypatch.chdir(tmp_path)
    store = await Store.open("bot.sqlite", 0.0)
    monkeypatch.chdir("/")
    accepted = await keep(store, message(1))
    (tmp_path / "bot.sqlite").unlink()
    if replaced:
        (tmp_path / "bot.sqlite").touch()

    with pytest.raises(StoreFailed, match=r"bot\.sqlite was deleted or replaced while the bot used it"):
        await keep(store, message(2))
    await store.close()

    assert 1 == accepted


async def test_a_store_in_use_is_busy(tmp_path, monkeypatch):
    """A second process gets `StoreBusy`, which names the path; on a file system without locks, it would never end."""

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    path = tmp_path / "bot.sqlite"
    store = await Store.open(path, 0.0)
    try:
        with pytest.raises(StoreBusy, match=r"bot\.sqlite"):
            await opened(path)
        code = (
            "import asyncio, sys; from stride_async.bot._store import Store; asyncio.run(Store.open(sys.argv[1], 0.0))"
        )
        ran = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
        )
        assert "StoreBusy" in ran.stderr
        monkeypatch.setattr(fcntl, "lockf", refuse)
        with pytest.raises(BotError, match=r"bot\.sqlite cannot be used: its file system offers no locks"):
            await opened(path)
    finally:
        await store.close()
    await opened(path)


async def test_a_start_waits_for_another_process_to_release_the_store(tmp_path, caplog):
    """The new process of a rolling restart waits for the old one, and says so."""
    path = tmp_path / "bot.sqlite"
    first = await Store.open(path, 0.0)
    second = asyncio.create_task(Store.open(path, 30.0))
    await until(lambda: "another process uses the store" in caplog.text)
    assert not second.done()

    await first.close()

    store = await second
    assert [] == await store.run(_rows.failures)
    await store.close()


@pytest.mark.parametrize(
    "content", [b"no database, but long enough to be one" * 100, b"SQLite format 3\0" + b"\0" * 100]
)
async def test_a_file_that_is_not_a_database_is_refused(tmp_path, content):
    """The file is not changed."""
    path = tmp_path / "bot.sqlite"
    path.write_bytes(content)

    with pytest.raises(BotError, match=r"bot\.sqlite"):
        await opened(path)
    assert content == path.read_bytes()


async def test_another_programs_database_is_refused(tmp_path):
    """The file is not changed, not even its journal mode."""
    path = tmp_path / "bot.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    before = path.read_bytes()

    with pytest.raises(BotError, match="not the store of a bot"):
        await opened(path)
    assert before == path.read_bytes()


async def test_a_store_of_another_version_is_refused(tmp_path):
    """The error names the version of the file and the one that is read."""
    path = tmp_path / "bot.sqlite"
    await opened(path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()

    with pytest.raises(BotError, match=r"version 7; .* version 1"):
        await opened(path)


@pytest.mark.parametrize("path", ["missing/bot.sqlite", "."])
async def test_a_path_that_cannot_be_a_file_is_refused(tmp_path, path):
    """A missing folder is not created."""
    with pytest.raises(BotError, match="cannot be used"):
        await opened(tmp_path / path)


async def test_a_bot_whose_store_is_in_use_does_not_start(scene):
    """The start of the application raises the error."""
    options: dict[str, Any] = {"store_wait": 0.0}
    async with served(Bot("one"), scene, **options):
        with pytest.raises(StoreBusy):
            async with served(Bot("two"), scene, **options):
                pass
