"""Messages, in order of (time, id)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from attrs import frozen

Place = tuple[int, str]
"""A place among a conversation's messages: nanoseconds since 1970, and an id."""

# Ids are text; nothing sorts before the empty one or after the last code point.
FIRST_ID = ""
LAST_ID = "\U0010ffff"
START: Place = (-(1 << 63), FIRST_ID)
END: Place = ((1 << 63) - 1, LAST_ID)


@frozen
class Stored:
    """A message as stored; `json` is what the service answers."""

    conversation: int
    ts: int
    id: str
    sender: str
    json: bytes

    @property
    def place(self) -> Place:
        """Where it stands in its conversation."""
        return self.ts, self.id


class Messages:
    """The messages of all conversations."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def insert(self, rows: Iterable[tuple[int, int, str, str, bytes]]) -> None:
        """Add messages, each (conversation, ts, id, sender, JSON)."""
        self._db.executemany("INSERT INTO message VALUES (?, ?, ?, ?, ?)", rows)

    def find(self, conversation: int, id: str) -> Stored | None:
        """The message of this conversation with this id."""
        query = "SELECT * FROM message WHERE id = ? AND conversation = ?"
        row = self._db.execute(query, (id, conversation)).fetchone()
        return None if row is None else Stored(*row)

    def change(self, message: Stored, json: bytes) -> None:
        """Store other content for a message."""
        self._db.execute(
            "UPDATE message SET json = ? WHERE conversation = ? AND ts = ? AND id = ?",
            (json, message.conversation, message.ts, message.id),
        )

    def delete(self, message: Stored) -> None:
        """Forget the message."""
        self._db.execute(
            "DELETE FROM message WHERE conversation = ? AND ts = ? AND id = ?",
            (message.conversation, message.ts, message.id),
        )

    def latest(self, conversation: int, *, above: Place = START, below: Place = END, limit: int) -> list[bytes]:
        """The latest messages between two places, both excluded, newest first."""
        rows = self._db.execute(
            "SELECT json FROM message WHERE conversation = ? AND (ts, id) > (?, ?) AND (ts, id) < (?, ?)"
            " ORDER BY ts DESC, id DESC LIMIT ?",
            (conversation, *above, *below, limit),
        )
        return [row[0] for row in rows]

    def next(self, conversation: int, above: Place, limit: int) -> list[bytes]:
        """The messages that follow a place, oldest first."""
        rows = self._db.execute(
            "SELECT json FROM message WHERE conversation = ? AND (ts, id) > (?, ?) ORDER BY ts, id LIMIT ?",
            (conversation, *above, limit),
        )
        return [row[0] for row in rows]

    def all(self, conversation: int) -> Iterable[bytes]:
        """Every message of the conversation, oldest first, read as they are asked for."""
        query = "SELECT json FROM message WHERE conversation = ? ORDER BY ts, id"
        return (row[0] for row in self._db.execute(query, (conversation,)))
