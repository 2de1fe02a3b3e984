"""Media: a record of each file; its body is stored by `_bodies`."""

from __future__ import annotations

import os
import sqlite3
import uuid
from pathlib import Path

from attrs import astuple, frozen

from stride_async.server._bodies import Bodies, ByteRange, IncomingBody
from stride_async.server._records import Media


@frozen
class MediaFile:
    """A stored file; `conversation` is the number of its conversation.

    With a `path`, its body is a file elsewhere, which is only read.
    """

    number: int
    id: str
    conversation: int
    name: str
    mime_type: str
    size: int
    sha256: str
    path: bytes | None = None
    """As the system has it, because a path need not be text."""


class Files:
    """The files of all conversations."""

    def __init__(self, db: sqlite3.Connection, bodies: Bodies) -> None:
        self._db = db
        self._bodies = bodies
        self._next = 1 + int(db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").fetchone()[0])

    def receive(self) -> IncomingBody:
        """Return the body of a new file, to be written in chunks and then given to `insert`."""
        number = self._next
        self._next += 1
        return self._bodies.receive(number)

    def insert(
        self, body: IncomingBody, conversation: int, name: str, mime_type: str, *, id: str | None = None
    ) -> MediaFile:
        """Add a file with a complete body; a new id is made unless one is given."""
        file_id = id or str(uuid.uuid4())
        file = MediaFile(body.number, file_id, conversation, name, mime_type, body.size, body.sha256)
        self._insert(file)
        return file

    def refer(self, record: Media, conversation: int) -> None:
        """Add a file whose body stays where it is."""
        number = self._next
        self._next += 1
        where = os.fsencode(record.path) if record.path is not None else None
        self._insert(
            MediaFile(number, record.id, conversation, record.name, record.mime_type, record.size, record.sha256, where)
        )

    def _insert(self, file: MediaFile) -> None:
        self._db.execute("INSERT INTO media VALUES (?, ?, ?, ?, ?, ?, ?, ?)", astuple(file))

    def find(self, id: str) -> MediaFile | None:
        """Return the file with this id, of any conversation."""
        row = self._db.execute("SELECT * FROM media WHERE id = ?", (id,)).fetchone()
        return None if row is None else MediaFile(*row)

    def of(self, conversation: int) -> list[MediaFile]:
        """Return the files of a conversation, in the order they were added."""
        rows = self._db.execute("SELECT * FROM media WHERE conversation = ? ORDER BY number", (conversation,))
        return [MediaFile(*row) for row in rows]

    def byte_range(self, file: MediaFile, start: int, size: int) -> ByteRange:
        """Return a part of the file's body, to be sent."""
        path = file.path
        if path is not None:
            return ByteRange(lambda: Path(os.fsdecode(path)).open("rb"), start, size)
        return ByteRange(lambda: self._bodies.open(file.number), start, size)

    def delete(self, file: MediaFile) -> None:
        """Delete the file and its body, if the body is ours."""
        self._db.execute("DELETE FROM media WHERE number = ?", (file.number,))
        self._bodies.delete(file.number)
