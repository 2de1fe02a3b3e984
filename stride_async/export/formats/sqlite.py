"""The site as a SQLite database with full-text search, which Datasette and sqlite-utils recognize by themselves."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import timedelta
from itertools import islice

import attrs

from stride_async._moments import EPOCH
from stride_async.export.formats._database import database_errors, private_database
from stride_async.export.formats._options import ConvertOptions
from stride_async.export.formats._output import Output, OutputFile
from stride_async.export.formats._report import Tally
from stride_async.export.formats._rows import (
    ConversationRow,
    MessageRow,
    References,
    conversation_row,
    media_row,
    message_rows,
    user_row,
)
from stride_async.export.formats._source import Room, Source

_APPLICATION_ID = 0x53545244
_USER_VERSION = 1
_BATCH = 1000

# The quotes around the content table of the search are double: sqlite-utils and Datasette recognize it by this text.
_TABLES = """
CREATE TABLE conversations (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, topic TEXT NOT NULL, type TEXT NOT NULL, privacy TEXT NOT NULL,
    is_archived INTEGER NOT NULL, created TEXT, modified TEXT, verdict TEXT NOT NULL, raw TEXT NOT NULL
);
CREATE TABLE users (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL, nick_name TEXT, title TEXT, timezone TEXT,
    active INTEGER NOT NULL, has_profile INTEGER NOT NULL, raw TEXT
);
CREATE TABLE memberships (
    conversation_id TEXT NOT NULL REFERENCES conversations(id), user_id TEXT NOT NULL REFERENCES users(id),
    taken_at TEXT, PRIMARY KEY (conversation_id, user_id)
);
CREATE TABLE messages (
    rowid INTEGER PRIMARY KEY, conversation_id TEXT NOT NULL REFERENCES conversations(id), id TEXT NOT NULL,
    sender_id TEXT NOT NULL REFERENCES users(id), sent_at TEXT NOT NULL, ts_ns INTEGER NOT NULL, text TEXT NOT NULL,
    markdown TEXT NOT NULL, raw TEXT NOT NULL, UNIQUE (conversation_id, id)
);
CREATE TABLE media (
    conversation_id TEXT NOT NULL REFERENCES conversations(id), id TEXT NOT NULL, name TEXT, mime_type TEXT,
    size INTEGER NOT NULL, sha256 TEXT NOT NULL, path TEXT NOT NULL, PRIMARY KEY (conversation_id, id)
);
CREATE TABLE mentions (
    conversation_id TEXT NOT NULL, message_id TEXT NOT NULL, user_id TEXT NOT NULL REFERENCES users(id),
    FOREIGN KEY (conversation_id, message_id) REFERENCES messages(conversation_id, id)
);
CREATE TABLE links (
    conversation_id TEXT NOT NULL, message_id TEXT NOT NULL, url TEXT NOT NULL, text TEXT NOT NULL,
    FOREIGN KEY (conversation_id, message_id) REFERENCES messages(conversation_id, id)
);
CREATE VIEW readable AS
    SELECT messages.sent_at AS time, conversations.name AS conversation, users.name AS person, messages.text AS text
    FROM messages
    JOIN conversations ON conversations.id = messages.conversation_id
    JOIN users ON users.id = messages.sender_id
    ORDER BY messages.rowid;
CREATE VIRTUAL TABLE messages_fts USING fts5(
    text, content="messages", content_rowid="rowid", tokenize="unicode61 remove_diacritics 2"
);
"""
_COLUMNS = {
    "conversations": 10,
    "users": 9,
    "memberships": 3,
    "messages": 9,
    "media": 7,
    "mentions": 3,
    "links": 4,
}
_INDEXES = """
CREATE INDEX messages_by_time ON messages (ts_ns);
CREATE INDEX messages_by_sender ON messages (sender_id, ts_ns);
CREATE INDEX mentions_by_message ON mentions (conversation_id, message_id);
CREATE INDEX mentions_by_user ON mentions (user_id);
CREATE INDEX links_by_message ON links (conversation_id, message_id);
INSERT INTO messages_fts (messages_fts) VALUES ('rebuild');
INSERT INTO messages_fts (messages_fts) VALUES ('optimize');
"""


def write(source: Source, output: Output, options: ConvertOptions, tally: Tally) -> None:
    """Write the database."""
    assert isinstance(output, OutputFile)
    with database_errors(output.path), closing(private_database(output.path)) as db:
        _Database(db, source, tally).fill()


@attrs.define
class _Database:
    """A database while it is filled."""

    db: sqlite3.Connection
    source: Source
    tally: Tally
    rows: int = 0
    """The number of the last message."""

    def fill(self) -> None:
        # The file is temporary until it is complete, so SQLite need not be able to recover it.
        for pragma in ("page_size = 16384", "journal_mode = off", "synchronous = off", "locking_mode = exclusive"):
            self.db.execute(f"PRAGMA {pragma}")
        self.db.execute("PRAGMA cache_size = -32768")  # KiB
        self.db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        self.db.execute(f"PRAGMA user_version = {_USER_VERSION}")
        self.db.execute("BEGIN")
        self._run(_TABLES)
        for room in self.source.rooms():
            self._add_room(room)
            self.tally.conversation()
        for person in self.source.people:
            self._insert("users", [attrs.astuple(user_row(person, self.source.people))])
        self._run(_INDEXES)
        self.db.execute("COMMIT")

    def _run(self, script: str) -> None:
        for statement in script.split(";\n"):
            if statement.strip():
                self.db.execute(statement)
                self.tally.step()

    def _add_room(self, room: Room) -> None:
        people = self.source.people
        self._insert("conversations", [_conversation(conversation_row(room))])
        taken_at = None if room.roster_taken_at is None else iso_time(round(room.roster_taken_at * 1_000_000))
        self._insert("memberships", ((room.id, people[id].id, taken_at) for id in dict.fromkeys(room.user_ids)))
        for medium in room.media():
            self.tally.file(medium.size)
            self._insert("media", [attrs.astuple(media_row(medium))])
        rows = message_rows(room, self.tally)
        while batch := list(islice(rows, _BATCH)):
            self._add_messages(batch)

    def _add_messages(self, batch: list[tuple[MessageRow, References]]) -> None:
        people = self.source.people
        numbered = [
            (self.rows + number, *_message(row, people[row.sender_id].id)) for number, (row, _) in enumerate(batch, 1)
        ]
        self.rows += len(batch)
        if self._insert("messages", numbered) < len(batch):
            batch = self._without_repeated(batch, numbered)
        self._insert(
            "mentions", ((row.conversation_id, row.id, people[id].id) for row, found in batch for id in found.user_ids)
        )
        self._insert("links", ((row.conversation_id, row.id, *link) for row, found in batch for link in found.links))

    def _without_repeated(
        self, batch: list[tuple[MessageRow, References]], numbered: Sequence[tuple[object, ...]]
    ) -> list[tuple[MessageRow, References]]:
        """Return the messages that were inserted; others have the id of an earlier one."""
        low, high = numbered[0][0], numbered[-1][0]
        query = "SELECT rowid FROM messages WHERE rowid BETWEEN ? AND ?"
        inserted = {number for (number,) in self.db.execute(query, (low, high))}
        kept = []
        for each, row in zip(batch, numbered, strict=True):
            if row[0] in inserted:
                kept.append(each)
            else:
                self.tally.lose("message with a repeated id", each[0].id)
                self.tally.message(-1)
        return kept

    def _insert(self, table: str, rows: Iterable[tuple[object, ...]]) -> int:
        """Insert rows, except those whose key is taken, and return how many were inserted."""
        marks = ", ".join("?" * _COLUMNS[table])
        return self.db.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", rows).rowcount  # noqa: S608 -- own


def _message(row: MessageRow, sender_id: str) -> tuple[object, ...]:
    sent_at = iso_time(row.sent_us)
    return row.conversation_id, row.id, sender_id, sent_at, row.ts_ns, row.text, row.markdown, row.raw


def _conversation(row: ConversationRow) -> tuple[object, ...]:
    created, modified = (None if us is None else iso_time(us) for us in (row.created_us, row.modified_us))
    about = (row.id, row.name, row.topic, row.type, row.privacy, row.is_archived)
    return (*about, created, modified, row.verdict, row.raw)


def iso_time(microseconds: int) -> str:
    """Return microseconds since the epoch as ISO 8601 in UTC, always with six digits."""
    return f"{(EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec='microseconds')[:-6]}Z"
