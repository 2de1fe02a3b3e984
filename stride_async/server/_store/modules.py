"""Modules that were added to conversations, and the states of glances and configurations."""

from __future__ import annotations

import json
import sqlite3

from stride_async.server._records import compact_json


class Modules:
    """Module descriptors by conversation, type and key; states by type, key, conversation and user."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def put(self, conversation: int, type: str, key: str, descriptor: dict[str, object]) -> None:
        """Create or replace a module."""
        row = (conversation, type, key, compact_json(descriptor))
        self._db.execute("INSERT OR REPLACE INTO module VALUES (?, ?, ?, ?)", row)

    def delete(self, conversation: int, type: str, key: str) -> bool:
        """Delete a module, and return whether there was one."""
        where = "DELETE FROM module WHERE conversation = ? AND type = ? AND key = ?"
        return self._db.execute(where, (conversation, type, key)).rowcount > 0

    def list_page(self, conversation: int, type: str, *, start: int, limit: int) -> list[dict[str, object]]:
        """Return the modules of a type, each with its key, ordered by key."""
        query = "SELECT key, json FROM module WHERE conversation = ? AND type = ? ORDER BY key LIMIT ? OFFSET ?"
        rows = self._db.execute(query, (conversation, type, limit, start))
        return [{**json.loads(text), "key": key} for key, text in rows]

    def set_state(self, type: str, key: str, conversation_id: str, user_id: str, state: dict[str, object]) -> None:
        """Set the state of a glance or configuration; an empty id stands for the site, or for everyone."""
        row = (type, key, conversation_id, user_id, compact_json(state))
        self._db.execute("INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?, ?)", row)

    def state(self, type: str, key: str, conversation_id: str, user_id: str) -> dict[str, object] | None:
        """Return the state last set for exactly this conversation and person, or None."""
        query = "SELECT json FROM state WHERE type = ? AND key = ? AND conversation = ? AND user = ?"
        row = self._db.execute(query, (type, key, conversation_id, user_id)).fetchone()
        return None if row is None else dict(json.loads(row[0]))
