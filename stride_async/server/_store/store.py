"""The database of a site: open it, fill it once, and read everything in it."""

from __future__ import annotations

import sqlite3
import stat
import uuid
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from stride_async.server._bodies import CHUNK_BYTES, Bodies
from stride_async.server._limits import ALL_SCOPES, App
from stride_async.server._loading import Loading, Origin
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

    def __init__(self, db: sqlite3.Connection, bodies: Bodies, new_file: Path | None) -> None:
        self._db = db
        self._bodies = bodies
        self._new_file = new_file
        self.people = People(db)
        self.conversations = Conversations(db)
        self.messages = Messages(db)
        self.files = Files(db, bodies)
        self.modules = Modules(db)
        self.cloud_id: str
        self.name: str
        self.cloud_id, self.name, client_id, _ = db.execute("SELECT * FROM site").fetchone()
        app = self.people.app(client_id)
        assert app is not None
        self.app: App = app

    @classmethod
    def open(cls, path: Path | None, origin: Origin | None, loading: Loading) -> Store:
        """Open the store at the path, or in memory without a path.

        A new store is filled from its origin; without an origin it is an empty site. This is one transaction: if a
        record is invalid, nothing is left, not even the file. An existing store must have the same origin, if one is
        given. It is opened as it is, with everything that has changed since it was filled.

        Raises:
            ValueError: The file cannot be used, or it contains a site of another origin.
            LoadingStopped: `loading` was stopped.
        """
        bodies = Bodies(None if path is None else _media_folder(path))
        new_file = path if path is not None and not path.exists() else None
        with _deleted_on_failure(new_file):
            db = connect(path)
            try:
                if is_empty(db):
                    _fill(db, path, bodies, origin, loading)
                elif origin is not None:
                    _check_origin(db, path, origin, loading)
                return cls(db, bodies, new_file)
            except BaseException:
                if is_empty(db):
                    bodies.delete_all()
                db.close()
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

    def discard(self) -> None:
        """Close the database, and delete it if it did not exist before."""
        self._db.close()
        if self._new_file is not None:
            self._bodies.delete_all()
            self._new_file.unlink(missing_ok=True)


def _media_folder(path: Path) -> Path:
    """Return the folder for the media of a database file.

    Raises:
        ValueError: The path, or that of the folder, cannot be used.
    """
    if (mode := _mode(path)) is not None and not stat.S_ISREG(mode):
        raise ValueError(f"cannot open {path}: it is not a file")
    folder = path.with_name(f"{path.name}.media")
    if (mode := _mode(folder)) is not None and not stat.S_ISDIR(mode):
        raise ValueError(f"cannot open {folder}: it is not a folder")
    return folder


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(f"cannot open {path}: {error.strerror}") from None


@contextmanager
def _deleted_on_failure(new_file: Path | None) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if new_file is not None:
            new_file.unlink(missing_ok=True)
        raise


def _check_origin(db: sqlite3.Connection, path: Path | None, origin: Origin, loading: Loading) -> None:
    known = db.execute("SELECT origin FROM site").fetchone()[0]
    if known != origin.digest(loading.checkpoint):
        raise ValueError(f"{path} already contains a site from elsewhere; use a new file for this seed or plan")


def _fill(db: sqlite3.Connection, path: Path | None, bodies: Bodies, origin: Origin | None, loading: Loading) -> None:
    # SQLite calls this every few milliseconds, also while it creates an index.
    db.set_progress_handler(lambda: loading.is_stopped, 10_000)
    try:
        with transaction(db):
            create_tables(db)
            records = [Site(str(uuid.uuid4()), "local")] if origin is None else origin.records(loading.checkpoint)
            _Import(db, bodies, loading).take(records)
            db.execute(MESSAGE_INDEX)
            if origin is not None:
                db.execute("UPDATE site SET origin = ?", (origin.digest(loading.checkpoint),))
    except sqlite3.OperationalError as error:
        raise ValueError(f"cannot write {path or 'the site'}: {error}") from None
    finally:
        db.set_progress_handler(None, 0)


class _Import:
    """Inserts records into the tables."""

    def __init__(self, db: sqlite3.Connection, bodies: Bodies, loading: Loading) -> None:
        self._db = db
        self._loading = loading
        self._app = People(db).add_app("Local app", ALL_SCOPES)
        self._people = People(db)
        self._conversations = Conversations(db)
        self._files = Files(db, bodies)
        self._messages = Messages(db)
        self._batch: list[tuple[int, int, str, str, bytes]] = []
        self._numbers: dict[str, int] = {}

    def take(self, records: Iterable[Record]) -> None:
        for record in records:
            match record:
                case Message(conversation_id=conversation_id, id=id, sender_id=sender, ts=ts, json=text):
                    self._batch.append((self._numbers[conversation_id], ts, id, sender, text.encode()))
                    if len(self._batch) == _BATCH:
                        self._flush()
                case Conversation():
                    self._add_conversation(record)
                case User():
                    self._people.insert(record)
                case Media():
                    self._add_file(record)
                case Site(cloud_id=cloud_id, name=name):
                    self._db.execute("INSERT INTO site VALUES (?, ?, ?, '')", (cloud_id, name, self._app.client_id))
            self._loading.count(record)
        self._flush()

    def _flush(self) -> None:
        self._messages.insert(self._batch)
        self._batch.clear()

    def _add_conversation(self, record: Conversation) -> None:
        number = self._conversations.insert(record, app=self._app)
        self._conversations.add_member(self._app.client_id, [number])
        self._numbers[record.id] = number

    def _add_file(self, record: Media) -> None:
        if record.path is not None:
            self._files.refer(record, self._numbers[record.conversation_id])
            self._loading.checkpoint()
            return
        with record.open() as source, self._files.receive() as body:
            while chunk := source.read(CHUNK_BYTES):
                body.write(chunk)
                self._loading.checkpoint()
        if (body.size, body.sha256) != (record.size, record.sha256):
            raise ValueError(
                f"media {record.id}: expected {record.size} bytes with SHA-256 {record.sha256}, "
                f"found {body.size} bytes with {body.sha256}"
            )
        self._files.insert(body, self._numbers[record.conversation_id], record.name, record.mime_type, id=record.id)
