"""Conversations: who may use them, who is in them, and their listing."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Sequence

from attrs import frozen

from stride_async.server._records import Conversation

_COLUMNS = "c.number, c.id, c.type, c.archived, c.json, c.direct_user"
_SELECT = f"SELECT {_COLUMNS} FROM conversation c"  # noqa: S608 -- the columns above, nothing from outside


@frozen
class Room:
    """A conversation as stored: `json` is all of it but what an answer adds, `number` its place in the tables."""

    number: int
    id: str
    type: str
    archived: bool
    json: str
    direct_user: str | None


@frozen(kw_only=True)
class Wanted:
    """Which conversations a listing is about; `after` is the sort key and id of the last one already listed."""

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

    def insert(self, record: Conversation, *, app: str, direct_user: str | None = None) -> int:
        """Add a conversation and its roster; `direct_user` makes it the app's direct conversation with that person."""
        if direct_user is not None and self.direct(app, direct_user) is not None:
            direct_user = None
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
                None if direct_user is None else app,
                direct_user,
            ),
        )
        number = cursor.lastrowid
        assert number is not None
        self.join(number, record.roster)
        return number

    def find(self, id: str) -> Room | None:
        """The conversation with this id."""
        return self._one(_SELECT + " WHERE c.id = ?", (id,))

    def direct(self, app: str, user: str) -> Room | None:
        """The app's direct conversation with the person."""
        return self._one(_SELECT + " WHERE c.direct_app = ? AND c.direct_user = ?", (app, user))

    def change(self, number: int, content: dict[str, object]) -> None:
        """Store the conversation's object anew."""
        name = str(content["name"])
        self._db.execute(
            "UPDATE conversation SET name = ?, folded = ?, privacy = ?, archived = ?, json = ? WHERE number = ?",
            (
                name,
                name.casefold(),
                content["privacy"],
                bool(content["isArchived"]),
                json.dumps(content, ensure_ascii=False, separators=(",", ":")),
                number,
            ),
        )

    def numbers(self) -> dict[str, int]:
        """The number of every conversation by id, in the order they were added."""
        return dict(self._db.execute("SELECT id, number FROM conversation ORDER BY number"))

    def admit(self, app: str, numbers: Iterable[int], *, since: float = 0.0) -> None:
        """Make the app a member, from an instant in seconds since 1970 on."""
        rows = ((app, number, since) for number in numbers)
        self._db.executemany("INSERT OR REPLACE INTO member VALUES (?, ?, ?)", rows)

    def is_member(self, app: str, number: int) -> bool:
        """Whether the app may use the conversation by now."""
        row = self._db.execute("SELECT since FROM member WHERE app = ? AND conversation = ?", (app, number)).fetchone()
        return row is not None and row[0] <= time.time()

    def join(self, number: int, users: Iterable[str]) -> None:
        """Put people at the end of the roster; those already there keep their place."""
        rows = ((number, user) for user in users)
        self._db.executemany("INSERT OR IGNORE INTO roster (conversation, user) VALUES (?, ?)", rows)

    def leave(self, number: int, users: Iterable[str]) -> None:
        """Take people off the roster."""
        rows = ((number, user) for user in users)
        self._db.executemany("DELETE FROM roster WHERE conversation = ? AND user = ?", rows)

    def clear_roster(self, number: int) -> None:
        """Take everybody off the roster."""
        self._db.execute("DELETE FROM roster WHERE conversation = ?", (number,))

    def roster(self, number: int, *, start: int = 0, limit: int = -1, by_id: bool = False) -> list[str]:
        """Ids of the people in the conversation, in the order they joined or by id; a negative limit is none."""
        order = "user" if by_id else "place"
        query = f"SELECT user FROM roster WHERE conversation = ? ORDER BY {order} LIMIT ? OFFSET ?"  # noqa: S608 -- own
        return [row[0] for row in self._db.execute(query, (number, limit, start))]

    def listing(self, app: str, wanted: Wanted) -> list[tuple[str, Room]]:
        """The next conversations the app may use, each with its sort key; one more than the limit if there are more."""
        conditions = ["m.app = ?", "m.since <= ?"]
        values: list[object] = [app, time.time()]
        if not wanted.private:
            conditions.append("c.privacy <> 'private'")
        if not wanted.archived:
            conditions.append("c.archived = 0")
        if not wanted.direct:
            conditions.append("c.type <> 'direct'")
        if wanted.query:
            conditions.append("instr(c.folded, ?) > 0")  # in any case of letters (protocol 5.2)
            values.append(wanted.query.casefold())
        if wanted.after is not None:
            conditions.append(f"(c.folded, c.id) {'<' if wanted.descending else '>'} (?, ?)")
            values.extend(wanted.after)
        order = "DESC" if wanted.descending else "ASC"
        rows = self._db.execute(
            f"SELECT c.folded, {_COLUMNS} FROM member m JOIN conversation c ON c.number = m.conversation"  # noqa: S608 -- built from the words above only
            f" WHERE {' AND '.join(conditions)} ORDER BY c.folded {order}, c.id {order} LIMIT ?",
            (*values, wanted.limit + 1),
        )
        return [(row[0], _room(row[1:])) for row in rows]

    def _one(self, query: str, values: tuple[str, ...]) -> Room | None:
        row = self._db.execute(query, values).fetchone()
        return None if row is None else _room(row)


def _room(row: Sequence[object]) -> Room:
    number, room_id, kind, archived, content, direct_user = row
    return Room(number, room_id, kind, bool(archived), content, direct_user)  # type: ignore[arg-type] # as in the schema
