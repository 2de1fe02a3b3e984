"""Conversations: which apps may use them, who is on their rosters, and the list of them."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Sequence

from attrs import frozen

from stride_async.server._limits import App
from stride_async.server._records import Conversation, compact_json

_COLUMNS = "c.number, c.id, c.type, c.archived, c.json, c.direct_user"
_SELECT = f"SELECT {_COLUMNS} FROM conversation c"  # noqa: S608 -- the columns above, nothing from outside


@frozen
class StoredConversation:
    """A conversation in the store.

    `number` identifies it in the tables. `json` is its object without what a response adds to it.
    """

    number: int
    id: str
    type: str
    archived: bool
    json: str
    direct_user: str | None


@frozen(kw_only=True)
class ListQuery:
    """Which conversations to list; `after` is the folded name and the id of the last one already listed."""

    query: str
    private: bool
    archived: bool
    direct: bool
    descending: bool
    after: tuple[str, str] | None
    limit: int


class Conversations:
    """The conversations of the site."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def insert(self, record: Conversation, *, app: App | None, direct_user: str | None = None) -> int:
        """Add a conversation with its roster, and return its number.

        A direct conversation becomes the app's direct conversation with a person, unless there is one already.
        """
        direct_user = direct_user or record.direct_user
        client_id = app.client_id if app is not None and direct_user is not None else None
        if client_id is not None and direct_user is not None and self.direct(client_id, direct_user) is not None:
            client_id = None
        cursor = self._db.execute(
            "INSERT INTO conversation"
            " (id, name, folded, type, privacy, archived, created, json, direct_app, direct_user)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                record.id,
                record.name,
                record.name.casefold(),
                record.type,
                record.privacy,
                record.archived,
                str(json.loads(record.json).get("created", "")),
                record.json,
                client_id,
                None if client_id is None else direct_user,
            ),
        )
        number = cursor.lastrowid
        assert number is not None
        self.join(number, record.roster)
        return number

    def find(self, id: str) -> StoredConversation | None:
        """Return the conversation with this id."""
        return self._one(_SELECT + " WHERE c.id = ?", (id,))

    def direct(self, client_id: str, user_id: str) -> StoredConversation | None:
        """Return the app's direct conversation with the person."""
        return self._one(_SELECT + " WHERE c.direct_app = ? AND c.direct_user = ?", (client_id, user_id))

    def change(self, number: int, content: dict[str, object]) -> None:
        """Replace the object of a conversation."""
        name = str(content["name"])
        self._db.execute(
            "UPDATE conversation SET name = ?, folded = ?, privacy = ?, archived = ?, json = ? WHERE number = ?",
            (
                name,
                name.casefold(),
                content["privacy"],
                bool(content["isArchived"]),
                compact_json(content),
                number,
            ),
        )

    def numbers(self) -> dict[str, int]:
        """Return the number of every conversation by id, in the order they were added."""
        return dict(self._db.execute("SELECT id, number FROM conversation ORDER BY number"))

    def add_member(self, client_id: str, numbers: Iterable[int], *, since: float = 0.0) -> None:
        """Make the app a member of these conversations, from a time in seconds since 1970."""
        rows = ((client_id, number, since) for number in numbers)
        self._db.executemany("INSERT OR REPLACE INTO member VALUES (?, ?, ?)", rows)

    def remove_member(self, client_id: str, number: int) -> None:
        """End the app's membership in a conversation."""
        self._db.execute("DELETE FROM member WHERE app = ? AND conversation = ?", (client_id, number))

    def is_member(self, client_id: str, number: int) -> bool:
        """Return whether the app may use the conversation now."""
        query = "SELECT since FROM member WHERE app = ? AND conversation = ?"
        row = self._db.execute(query, (client_id, number)).fetchone()
        return row is not None and row[0] <= time.time()

    def join(self, number: int, user_ids: Iterable[str]) -> list[str]:
        """Append people to the roster, and return who was not on it; the others keep their place."""
        command = "INSERT OR IGNORE INTO roster (conversation, user) VALUES (?, ?)"
        return [user_id for user_id in user_ids if self._db.execute(command, (number, user_id)).rowcount]

    def leave(self, number: int, user_ids: Iterable[str]) -> list[str]:
        """Remove people from the roster, and return who was on it."""
        command = "DELETE FROM roster WHERE conversation = ? AND user = ?"
        return [user_id for user_id in user_ids if self._db.execute(command, (number, user_id)).rowcount]

    def roster(self, number: int, *, start: int = 0, limit: int = -1, by_id: bool = False) -> list[str]:
        """Return user ids of the roster, in the order people joined or by id; a negative limit means no limit."""
        order = "user" if by_id else "place"
        query = f"SELECT user FROM roster WHERE conversation = ? ORDER BY {order} LIMIT ? OFFSET ?"  # noqa: S608 -- own
        return [row[0] for row in self._db.execute(query, (number, limit, start))]

    def list_page(self, client_id: str, query: ListQuery) -> list[tuple[str, StoredConversation]]:
        """Return the next conversations that the app may use, each with its folded name, which is the sort key.

        There is one more than the limit if the list continues. The order is by folded name, then by id (protocol 5.2).
        """
        conditions = ["m.app = ?", "m.since <= ?"]
        values: list[object] = [client_id, time.time()]
        if not query.private:
            conditions.append("c.privacy <> 'private'")
        if not query.archived:
            conditions.append("c.archived = 0")
        if not query.direct:
            conditions.append("c.type <> 'direct'")
        if query.query:
            conditions.append("instr(c.folded, ?) > 0")  # in any case (protocol 5.2)
            values.append(query.query.casefold())
        if query.after is not None:
            conditions.append(f"(c.folded, c.id) {'<' if query.descending else '>'} (?, ?)")
            values.extend(query.after)
        order = "DESC" if query.descending else "ASC"
        rows = self._db.execute(
            f"SELECT c.folded, {_COLUMNS} FROM member m JOIN conversation c ON c.number = m.conversation"  # noqa: S608 -- built from the words above only
            f" WHERE {' AND '.join(conditions)} ORDER BY c.folded {order}, c.id {order} LIMIT ?",
            (*values, query.limit + 1),
        )
        return [(row[0], _stored(row[1:])) for row in rows]

    def _one(self, query: str, values: tuple[str, ...]) -> StoredConversation | None:
        row = self._db.execute(query, values).fetchone()
        return None if row is None else _stored(row)


def _stored(row: Sequence[object]) -> StoredConversation:
    number, conversation_id, kind, archived, content, direct_user = row
    return StoredConversation(number, conversation_id, kind, bool(archived), content, direct_user)  # type: ignore[arg-type] # as in the schema
