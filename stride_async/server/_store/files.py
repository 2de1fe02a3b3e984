"""Media: what is known of each file, beside its body."""

from __future__ import annotations

import sqlite3

from attrs import frozen

from stride_async.server._bodies import Bodies, Incoming, Stretch


@frozen
class File:
    """A stored file."""

    number: int
    id: str
    conversation: int
    name: str
    mime_type: str
    size: int
    sha256: str


class Files:
    """The files of all conversations."""

    def __init__(self, db: sqlite3.Connection, bodies: Bodies) -> None:
        self._db = db
        self._bodies = bodies
        self._next = 1 + int(db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").fetchone()[0])

    def receive(self) -> tuple[int, Incoming]:
        """A number for a new file, and where its body is written to; `insert` makes it known."""
        number = self._next
        self._next += 1
        return number, self._bodies.receive(number)

    def insert(self, file: File) -> None:
        """Make known a file whose body is there."""
        row = (file.number, file.id, file.conversation, file.name, file.mime_type, file.size, file.sha256)
        self._db.execute("INSERT INTO media VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def find(self, id: str) -> File | None:
        """The file with this id, of whatever conversation."""
        row = self._db.execute("SELECT * FROM media WHERE id = ?", (id,)).fetchone()
        return None if row is None else File(*row)

    def of(self, conversation: int) -> list[File]:
        """The files of the conversation, in the order they came."""
        rows = self._db.execute("SELECT * FROM media WHERE conversation = ? ORDER BY number", (conversation,))
        return [File(*row) for row in rows]

    def stretch(self, file: File, start: int, size: int) -> Stretch:
        """Part of the file's body, to be sent."""
        return Stretch(lambda: self._bodies.open(file.number), start, size)

    def delete(self, file: File) -> None:
        """Forget the file and its body."""
        self._db.execute("DELETE FROM media WHERE number = ?", (file.number,))
        self._bodies.delete(file.number)
