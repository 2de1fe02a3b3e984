"""The store: what a bot received and handled, in one SQLite file. `_rows` has its operations.

A thread of its own runs every operation, so the event loop never waits for a disk. Operations that wait for it at the
same time run in one transaction and share its commit: an operation is done when that commit is on disk (WAL,
`synchronous=FULL`). If one of them fails, the transaction is rolled back and each is run in one of its own.

The file is locked by SQLite's exclusive mode for as long as the store is open, and released by the system if the
process is killed. Its format is private; `user_version` says which.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import attrs

from stride_async._files import offers_record_locks, run_to_completion, sync_folder
from stride_async.bot._errors import BotError, StoreBusy
from stride_async.bot._reports import LOG
from stride_async.bot._rows import Job

T = TypeVar("T")

IN_MEMORY = ":memory:"
# `StrD`, as SQLite's own header field names the kind of a file.
APPLICATION_ID = 0x53747244
VERSION = 1

_SECONDS_BETWEEN_TRIES = 0.1
_BUSY_CODES = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})

# The state of an event is 0 while it waits or is under way, 1 when it is handled, and 2 when it failed.
_SCHEMA = """
CREATE TABLE event (
    number INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    module TEXT NOT NULL,
    cloud_id TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    ordering INTEGER NOT NULL,
    received_at REAL NOT NULL,
    body BLOB,
    identity BLOB,
    subject TEXT,
    digest BLOB,
    state INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    under_way INTEGER NOT NULL DEFAULT 0,
    not_before REAL NOT NULL DEFAULT 0,
    ended_at REAL,
    error TEXT,
    message TEXT
) STRICT;
CREATE UNIQUE INDEX event_identity ON event (identity) WHERE identity IS NOT NULL;
CREATE INDEX event_subject ON event (subject, number) WHERE subject IS NOT NULL;
CREATE INDEX event_waiting ON event (received_at) WHERE state = 0;
CREATE INDEX event_failed ON event (number) WHERE state = 2;
CREATE TABLE reply (
    number INTEGER NOT NULL REFERENCES event (number) ON DELETE CASCADE,
    position INTEGER,
    message_id TEXT NOT NULL UNIQUE
) STRICT;
CREATE INDEX reply_number ON reply (number);
CREATE TABLE installation (
    cloud_id TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    oauth_client_id TEXT,
    version TEXT,
    relay_state TEXT,
    installed_at REAL NOT NULL,
    PRIMARY KEY (cloud_id, conversation_id)
) STRICT;
CREATE TABLE bookmark (
    cloud_id TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    ts INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    complete INTEGER NOT NULL,
    PRIMARY KEY (cloud_id, conversation_id)
) STRICT;
CREATE TABLE account (account_id TEXT NOT NULL) STRICT;
"""


class StoreFailed(BotError):
    """The store cannot be read or written, for example because the disk is full."""


@attrs.frozen
class _Asked:
    """An operation and the future of its caller."""

    job: Job[object]
    done: asyncio.Future[object]
    then: Callable[[Any], None] | None


class Store:
    """An open store."""

    def __init__(self, connection: sqlite3.Connection, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        # The program may change its folder.
        self._file = None if name == IN_MEMORY else os.path.abspath(name)  # noqa: PTH100 -- quicker to check as text
        self._identity = None if self._file is None else _identity_of(self._file)
        self._loop = loop
        self._asked: SimpleQueue[_Asked | None] = SimpleQueue()
        self._closed = False
        self._abandoned = False
        self._thread = threading.Thread(target=self._work, name="stride_async bot store", daemon=True)
        self._thread.start()

    @classmethod
    async def open(cls, path: str | os.PathLike[str], wait: float) -> Store:
        """Open a store, or create it. Wait up to `wait` seconds for another process to release it.

        Raises:
            StoreBusy: Another process still uses it.
            BotError: The file is not a store, is of another version, or cannot be opened.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        waits = False
        while True:
            try:
                name = os.fspath(path)
                connection = await run_to_completion(partial(_opened, name), discard=sqlite3.Connection.close)
                return cls(connection, name, loop)
            except StoreBusy:
                if loop.time() >= until:
                    raise
            if not waits:
                LOG.warning("another process uses the store %s; waiting up to %g s for it to end", path, wait)
                waits = True
            await asyncio.sleep(_SECONDS_BETWEEN_TRIES)

    async def close(self) -> None:
        """Run the operations that were submitted, then close the file."""
        self._closed = True
        self._asked.put(None)
        await run_to_completion(self._thread.join)

    def abandon(self) -> None:
        """Run no further operation, as when the process is killed. `close` must follow."""
        self._closed = self._abandoned = True

    def submit(self, job: Job[T], then: Callable[[T | Exception], None] | None = None) -> asyncio.Future[T]:
        """Submit an operation. The future is done once its commit is on disk.

        Its exception is `StoreFailed` if the store cannot be read or written. The operation runs even if the future is
        cancelled meanwhile. `then` is called with the result or the exception in either case.
        """
        done: asyncio.Future[Any] = self._loop.create_future()
        if self._closed:
            _resolve([_Asked(job, done, then)], [StoreFailed("the store is closed")])
        else:
            self._asked.put(_Asked(job, done, then))
        return done

    async def run(self, job: Job[T]) -> T:
        """Run an operation and return its result. It runs even if the caller is cancelled meanwhile.

        Raises:
            StoreFailed: The store cannot be read or written.
        """
        return await self.submit(job)

    def _work(self) -> None:
        ended = False
        while not ended:
            waiting = [self._asked.get()]
            with suppress(Empty):
                while True:
                    waiting.append(self._asked.get_nowait())
            batch = [asked for asked in waiting if asked is not None]
            ended = len(batch) < len(waiting)
            results = self._results([asked.job for asked in batch])
            with suppress(RuntimeError):  # The loop was closed, so no caller waits any more.
                self._loop.call_soon_threadsafe(_resolve, batch, results)
        self._connection.close()

    def _results(self, jobs: list[Job[object]]) -> list[object]:
        """Return the results of operations, or the exceptions they raise."""
        if self._abandoned:
            return [StoreFailed("the store is closed")] * len(jobs)
        if self._is_gone:
            return [StoreFailed(f"the store {self._file} was deleted or replaced while the bot used it")] * len(jobs)
        try:
            return self._transaction(jobs)
        except Exception as error:  # noqa: BLE001 -- it belongs to the caller of the operation
            if len(jobs) == 1:
                return [StoreFailed(f"the store failed: {error}") if isinstance(error, sqlite3.Error) else error]
            return [result for job in jobs for result in self._results([job])]

    @property
    def _is_gone(self) -> bool:
        if self._file is None:
            return False
        found = _identity_of(self._file)
        return found is None or found != self._identity

    def _transaction(self, jobs: list[Job[object]]) -> list[object]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            results = [job(self._connection) for job in jobs]
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # Some errors have rolled the transaction back already.
                self._connection.execute("ROLLBACK")
            raise
        return results


def _identity_of(path: str) -> tuple[int, int] | None:
    """Return what distinguishes a file from every other one, or None if it is not there."""
    try:
        found = os.stat(path)  # noqa: PTH116 -- as above
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _resolve(batch: list[_Asked], results: list[object]) -> None:
    for asked, result in zip(batch, results, strict=True):
        if asked.then is not None:
            asked.then(result)
        if asked.done.cancelled():
            continue
        if isinstance(result, Exception):
            asked.done.set_exception(result)
        else:
            asked.done.set_result(result)


def _opened(name: str) -> sqlite3.Connection:
    new = name != IN_MEMORY and not Path(name).exists()
    try:
        if not new and name != IN_MEMORY:
            with closing(sqlite3.connect(name, isolation_level=None, timeout=0.0)) as connection:
                _must_be_store(connection, name)
        # Used by one thread at a time: this one now, the store's own from then on.
        connection = sqlite3.connect(name, isolation_level=None, timeout=0.0, check_same_thread=False)
        try:
            _prepare(connection)
            if new:
                sync_folder(Path(name).absolute().parent)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        if name != IN_MEMORY and not offers_record_locks(Path(name).absolute().parent):
            raise BotError(f"the store {name} cannot be used: its file system offers no locks") from None
        if error.sqlite_errorcode & 0xFF in _BUSY_CODES:
            raise StoreBusy(f"the store {name} is used by another process") from None
        raise BotError(f"the store {name} cannot be used: {error}") from None
    return connection


def _must_be_store(connection: sqlite3.Connection, name: str) -> None:
    """Check what a file is before anything in it is changed.

    Raises:
        BotError: It is another database, or a store of another version.
    """
    (kind,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if kind != APPLICATION_ID and (kind or tables):
        raise BotError(f"the file {name} is a database, but not the store of a bot")
    if kind == APPLICATION_ID and version != VERSION:
        raise BotError(f"the store {name} is of version {version}; this release reads version {VERSION}")


def _prepare(connection: sqlite3.Connection) -> None:
    """Lock the file, and give a new one its tables."""
    execute = connection.execute
    execute("PRAGMA locking_mode = EXCLUSIVE")
    execute("PRAGMA journal_mode = WAL")
    execute("PRAGMA synchronous = FULL")
    execute("PRAGMA foreign_keys = ON")
    execute("BEGIN IMMEDIATE")
    if not execute("PRAGMA application_id").fetchone()[0]:
        for statement in _SCHEMA.split(";")[:-1]:
            execute(statement)
        execute(f"PRAGMA application_id = {APPLICATION_ID}")
        execute(f"PRAGMA user_version = {VERSION}")
    execute("COMMIT")
