"""Modules that were added to conversations, and the states of glances and configurations."""

from __future__ import annotations

import json
import sqlite3

from stride_async.server._records import compact_json


class Modules:
    """Module descriptors by app, conversation, type and key; states by type, key, conversation and user."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def put(self, client_id: str, conversation: int, type: str, key: str, descriptor: dict[str, object]) -> None:
        """Create or replace a module of an app."""
        row = (client_id, conversation, type, key, compact_json(descriptor))
        self._db.execute("INSERT OR REPLACE INTO module VALUES (?, ?, ?, ?, ?)", row)

    def delete(self, client_id: str, conversation: int, type: str, key: str) -> bool:
        """Delete a module of an app, and return whether there was one."""
        where = "DELETE FROM module WHERE app = ? AND conversation = ? AND type = ? AND key = ?"
        return self._db.execute(where, (client_id, conversation, type, key)).rowcount > 0

    def list_page(
        self, client_id: str, conversation: int, type: str, *, start: int, limit: int
    ) -> list[dict[str, object]]:
        """Return the app's modules of a type, each with its key, ordered by key."""
        query = (
            "SELECT key, json FROM module WHERE app = ? AND conversation = ? AND type = ? ORDER BY key LIMIT ? OFFSET ?"
        )
        rows = self._db.execute(query, (client_id, conversation, type, limit, start))
        return [{**json.loads(text), "key": key} for key, text in rows]

    def all(self, client_id: str, conversation: int) -> list[tuple[str, str, dict[str, object]]]:
        """Return type, key and descriptor of the app's modules of all types."""
        query = "SELECT type, key, json FROM module WHERE app = ? AND conversation = ? ORDER BY type, key"
        rows = self._db.execute(query, (client_id, conversation))
        return [(type, key, json.loads(text)) for type, key, text in rows]

    def set_state(self, type: str, key: str, conversation_id: str, user_id: str, state: dict[str, object]) -> None:
        """Set the state of a glance or configuration; an empty id stands for the site, or for everyone."""
        row = (type, key, conversation_id, user_id, compact_json(state))
        self._db.execute("INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?, ?)", row)

    def state(self, type: str, key: str, conversation_id: str, user_id: str) -> dict[str, object] | None:
        """Return the state last set for exactly this conversation and person, or None."""
        query = "SELECT json FROM state WHERE type = ? AND key = ? AND conversation = ? AND user = ?"
        row = self._db.execute(query, (type, key, conversation_id, user_id)).fetchone()
        return None if row is None else dict(json.loads(row[0]))
