"""Modules added to conversations, and the state of glances and configurations."""

from __future__ import annotations

import json
import sqlite3


class Modules:
    """Module descriptors by conversation, type and key; states by type, key and what they are about."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def put(self, conversation: int, type: str, key: str, descriptor: dict[str, object]) -> None:
        """Create or replace a module."""
        row = (conversation, type, key, json.dumps(descriptor, ensure_ascii=False))
        self._db.execute("INSERT OR REPLACE INTO module VALUES (?, ?, ?, ?)", row)

    def delete(self, conversation: int, type: str, key: str) -> bool:
        """Forget a module; False when there was none."""
        where = "DELETE FROM module WHERE conversation = ? AND type = ? AND key = ?"
        return self._db.execute(where, (conversation, type, key)).rowcount > 0

    def listing(self, conversation: int, type: str, *, start: int, limit: int) -> list[dict[str, object]]:
        """The modules of a type by key, each with its key."""
        query = "SELECT key, json FROM module WHERE conversation = ? AND type = ? ORDER BY key LIMIT ? OFFSET ?"
        rows = self._db.execute(query, (conversation, type, limit, start))
        return [{**json.loads(text), "key": key} for key, text in rows]

    def set_state(self, type: str, key: str, conversation_id: str, user_id: str, state: dict[str, object]) -> None:
        """Keep the state of a glance or configuration; empty ids stand for the whole site, or everybody."""
        row = (type, key, conversation_id, user_id, json.dumps(state, ensure_ascii=False))
        self._db.execute("INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?, ?)", row)

    def state(self, type: str, key: str, conversation_id: str, user_id: str) -> dict[str, object] | None:
        """The state last kept for exactly this place."""
        query = "SELECT json FROM state WHERE type = ? AND key = ? AND conversation = ? AND user = ?"
        row = self._db.execute(query, (type, key, conversation_id, user_id)).fetchone()
        return None if row is None else dict(json.loads(row[0]))
