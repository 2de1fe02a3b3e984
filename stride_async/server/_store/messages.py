"""Messages, in the order of their keys."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from attrs import frozen

# The time of a message in nanoseconds since 1970, and its id: the order of a history.
Key = tuple[int, str]

# No id sorts before the empty string or after the last code point.
FIRST_ID = ""
LAST_ID = "\U0010ffff"
FIRST_KEY: Key = (-(1 << 63), FIRST_ID)
LAST_KEY: Key = ((1 << 63) - 1, LAST_ID)


@frozen
class StoredMessage:
    """A message in the store; `json` is what the service returns."""

    conversation: int
    ts: int
    id: str
    sender: str
    json: bytes

    @property
    def key(self) -> Key:
        """Its position in the history of its conversation."""
        return self.ts, self.id


class Messages:
    """The messages of all conversations."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def insert(self, rows: Iterable[tuple[int, int, str, str, bytes]]) -> None:
        """Add messages, each as (conversation, ts, id, sender, JSON)."""
        self._db.executemany("INSERT INTO message VALUES (?, ?, ?, ?, ?)", rows)

    def find(self, conversation: int, id: str) -> StoredMessage | None:
        """Return the message of this conversation with this id."""
        query = "SELECT * FROM message WHERE id = ? AND conversation = ?"
        row = self._db.execute(query, (id, conversation)).fetchone()
        return None if row is None else StoredMessage(*row)

    def change(self, message: StoredMessage, json: bytes) -> None:
        """Replace the content of a message."""
        self._db.execute(
            "UPDATE message SET json = ? WHERE conversation = ? AND ts = ? AND id = ?",
            (json, message.conversation, message.ts, message.id),
        )

    def delete(self, message: StoredMessage) -> None:
        """Delete the message."""
        self._db.execute(
            "DELETE FROM message WHERE conversation = ? AND ts = ? AND id = ?",
            (message.conversation, message.ts, message.id),
        )

    def latest(self, conversation: int, *, above: Key = FIRST_KEY, below: Key = LAST_KEY, limit: int) -> list[bytes]:
        """Return the latest messages between two keys, both exclusive, newest first."""
        rows = self._db.execute(
            "SELECT json FROM message WHERE conversation = ? AND (ts, id) > (?, ?) AND (ts, id) < (?, ?)"
            " ORDER BY ts DESC, id DESC LIMIT ?",
            (conversation, *above, *below, limit),
        )
        return [row[0] for row in rows]

    def next(self, conversation: int, above: Key, limit: int) -> list[bytes]:
        """Return the messages that follow a key, oldest first."""
        rows = self._db.execute(
            "SELECT json FROM message WHERE conversation = ? AND (ts, id) > (?, ?) ORDER BY ts, id LIMIT ?",
            (conversation, *above, limit),
        )
        return [row[0] for row in rows]

    def all(self, conversation: int) -> Iterable[bytes]:
        """Iterate over all messages of the conversation, oldest first."""
        query = "SELECT json FROM message WHERE conversation = ? ORDER BY ts, id"
        return (row[0] for row in self._db.execute(query, (conversation,)))
