"""The database of a site: open it, fill it once, and read everything in it."""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NoReturn

from stride_async.server._bodies import CHUNK_BYTES, Bodies
from stride_async.server._limits import ALL_SCOPES, App
from stride_async.server._records import Conversation, Media, Message, Record, Site, User
from stride_async.server._store.conversations import Conversations
from stride_async.server._store.files import Files
from stride_async.server._store.messages import Messages
from stride_async.server._store.modules import Modules
from stride_async.server._store.people import People
from stride_async.server._store.schema import MESSAGE_INDEX, connect, create_tables, is_empty, transaction
from stride_async.server._store.truth import ConversationTruth, MediaTruth, Truth, digest

_BATCH = 5_000


class Store:
    """The conversations, messages, people, files and modules of one site; `Store.open` opens it."""

    def __init__(self, db: sqlite3.Connection, bodies: Bodies) -> None:
        self._db = db
        self.people = People(db)
        self.conversations = Conversations(db)
        self.messages = Messages(db)
        self.files = Files(db, bodies)
        self.modules = Modules(db)
        self.cloud_id: str
        self.name: str
        self.cloud_id, self.name, client_id = db.execute("SELECT * FROM site").fetchone()
        app = self.people.app(client_id)
        assert app is not None
        self.app: App = app

    @classmethod
    async def open(cls, path: Path | None, records: Iterable[Record] | None) -> Store:
        """Open the store at the path, or in memory without a path.

        A new store is filled with the records; without records it is an empty site. This is one transaction: if a
        record is invalid, nothing is left, not even the file.

        Raises:
            ValueError: The file cannot be used, or there are records and the file already contains a site.
        """
        new_file = _new_file(path)
        db = connect(path)
        bodies = Bodies(None if path is None else path.with_name(f"{path.name}.media"))
        try:
            if is_empty(db):
                await _fill(db, bodies, records)
            elif records is not None:
                _refuse_filling(path)
            return cls(db, bodies)
        except BaseException:
            empty = is_empty(db)
            db.close()
            if empty:
                bodies.delete_all()
                _delete(new_file)
            raise

    def transaction(self) -> AbstractContextManager[None]:
        """Commit what the block stores, or roll it back if the block raises."""
        return transaction(self._db)

    def truth(self) -> Truth:
        """Return what the site contains now."""
        conversations = {}
        rows = self._db.execute("SELECT number, id, name, type, privacy, archived FROM conversation ORDER BY number")
        for number, conversation_id, name, kind, privacy, archived in rows.fetchall():
            count, sha256 = digest(self.messages.all(number))
            conversations[conversation_id] = ConversationTruth(
                id=conversation_id,
                name=name,
                type=kind,
                privacy=privacy,
                archived=bool(archived),
                roster=tuple(self.conversations.roster(number)),
                messages=count,
                sha256=sha256,
                media={file.id: MediaTruth(file.name, file.size, file.sha256) for file in self.files.of(number)},
            )
        return Truth(self.cloud_id, self.name, conversations, self.people.ids())

    def close(self) -> None:
        """Close the database."""
        self._db.close()


def _new_file(path: Path | None) -> Path | None:
    """Return the path if opening it will create a file."""
    return None if path is None or path.exists() else path


def _delete(path: Path | None) -> None:
    if path is not None:
        path.unlink(missing_ok=True)


def _refuse_filling(path: Path | None) -> NoReturn:
    raise ValueError(f"{path} already contains a site; a seed or a generated site needs a new file")


async def _fill(db: sqlite3.Connection, bodies: Bodies, records: Iterable[Record] | None) -> None:
    with transaction(db):
        create_tables(db)
        await _Import(db, bodies).take(records if records is not None else [Site(str(uuid.uuid4()), "local")])
        db.execute(MESSAGE_INDEX)


class _Import:
    """Inserts records into the tables, and lets other tasks run between batches."""

    def __init__(self, db: sqlite3.Connection, bodies: Bodies) -> None:
        self._db = db
        self._app = People(db).add_app("Local app", ALL_SCOPES)
        self._people = People(db)
        self._conversations = Conversations(db)
        self._files = Files(db, bodies)
        self._messages = Messages(db)
        self._batch: list[tuple[int, int, str, str, bytes]] = []
        self._numbers: dict[str, int] = {}

    async def take(self, records: Iterable[Record]) -> None:
        for record in records:
            match record:
                case Message(conversation_id=conversation_id, id=id, sender_id=sender, ts=ts, json=text):
                    self._batch.append((self._numbers[conversation_id], ts, id, sender, text.encode()))
                    if len(self._batch) == _BATCH:
                        await self._flush()
                case Conversation():
                    self._add_conversation(record)
                case User():
                    self._people.insert(record)
                case Media():
                    self._add_file(record)
                    await asyncio.sleep(0)
                case Site(cloud_id=cloud_id, name=name):
                    self._db.execute("INSERT INTO site VALUES (?, ?, ?)", (cloud_id, name, self._app.client_id))
        await self._flush()

    async def _flush(self) -> None:
        self._messages.insert(self._batch)
        self._batch.clear()
        await asyncio.sleep(0)

    def _add_conversation(self, record: Conversation) -> None:
        number = self._conversations.insert(record, app=self._app)
        self._conversations.add_member(self._app.client_id, [number])
        self._numbers[record.id] = number

    def _add_file(self, record: Media) -> None:
        with record.open() as source, self._files.receive() as body:
            while chunk := source.read(CHUNK_BYTES):
                body.write(chunk)
        if (body.size, body.sha256) != (record.size, record.sha256):
            raise ValueError(
                f"media {record.id}: expected {record.size} bytes with SHA-256 {record.sha256}, "
                f"found {body.size} bytes with {body.sha256}"
            )
        self._files.insert(body, self._numbers[record.conversation_id], record.name, record.mime_type, id=record.id)
