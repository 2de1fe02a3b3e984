"""The database of a site: what it holds, and that other programs find the search by themselves."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from stride_async.export import read
from stride_async.export.formats import convert
from tests.export.exporting import exported


@pytest.fixture
def database(archive, tmp_path):
    """Convert the archive and yield a connection to the result."""
    convert(archive, "sqlite", tmp_path / "site.sqlite")
    with closing(sqlite3.connect(tmp_path / "site.sqlite")) as db:
        yield db


async def test_every_message_is_there_in_order(database, archive):
    """Rows have the order of conversations by age, then of messages by time, and each has its original bytes."""
    site = read(archive)
    rooms = [id for (id,) in database.execute("SELECT id FROM conversations ORDER BY rowid")]

    rows = database.execute("SELECT conversation_id, id, ts_ns, text, raw FROM messages ORDER BY rowid").fetchall()

    expected = [(room, m.id, m.ts, m.text, m.raw.decode()) for room in rooms for m in site.messages(room)]
    assert expected == rows


async def test_the_tables_belong_together(database):
    """Every reference leads somewhere, and the schema has a version."""
    assert [] == database.execute("PRAGMA foreign_key_check").fetchall()
    assert [("ok",)] == database.execute("PRAGMA integrity_check").fetchall()
    assert (1,) == database.execute("PRAGMA user_version").fetchone()
    assert [("Bob Brown",)] == database.execute(
        "SELECT users.name FROM mentions JOIN users ON users.id = mentions.user_id"
    ).fetchall()
    assert [("https://example.invalid/", "the page")] == database.execute("SELECT url, text FROM links").fetchall()
    assert [("plan.txt", 4)] == database.execute("SELECT name, size FROM media").fetchall()
    assert 3 == database.execute("SELECT count(*) FROM memberships").fetchone()[0]


async def test_the_view_shows_what_people_read(database):
    """It has times, and names in place of ids."""
    [row] = database.execute("SELECT * FROM readable WHERE text LIKE '%reads%'").fetchall()

    assert ("general", "Ann Adler", "@Bob Brown reads the page") == row[1:]
    assert row[0].endswith("Z")
    assert len("2018-06-01T08:00:00.000000Z") == len(row[0])


async def test_the_search_ignores_case_and_accents(server, client, tmp_path):
    """It finds whole words."""
    room = server.add_conversation("general")
    for text in ("Ein schönes Café", "nothing here"):
        server.add_message(room, {"version": 1, "type": "doc", "content": [
            {"type": "paragraph", "content": [{"type": "text", "text": text}]}]})  # fmt: skip
    await exported(client, tmp_path / "site")
    convert(tmp_path / "site", "sqlite", tmp_path / "site.sqlite")

    with closing(sqlite3.connect(tmp_path / "site.sqlite")) as db:
        query = "SELECT text FROM messages WHERE rowid IN (SELECT rowid FROM messages_fts WHERE messages_fts MATCH ?)"
        assert [("Ein schönes Café",)] == db.execute(query, ("CAFE schones",)).fetchall()
        assert [] == db.execute(query, ("caf",)).fetchall()


async def test_sqlite_utils_finds_the_search_by_itself(archive, tmp_path):
    """It recognizes the content table by the text of the schema."""
    sqlite_utils = pytest.importorskip("sqlite_utils")
    convert(archive, "sqlite", tmp_path / "site.sqlite")

    database = sqlite_utils.Database(tmp_path / "site.sqlite")
    try:
        table = database["messages"]
        assert "messages_fts" == table.detect_fts()
        assert ["@Bob Brown reads the page"] == [row["text"] for row in table.search("bob")]
        assert 127 == table.count
    finally:
        database.close()


async def test_a_message_that_cannot_be_decoded_is_carried_as_its_text(server, client, tmp_path):
    """Its sender is a person without a profile; a repeated id and an unreadable element are counted."""
    room = server.add_conversation("general", roster=[server.add_user("Ann Adler")])
    malformed = [
        {"id": "one", "ts": "2030-01-02T00:00:00Z", "sender": "no object", "text": "carried"},
        {"id": "two", "ts": "2030-01-01T00:00:00Z", "sender": "no object"},
        {"id": "three", "text": "no time"},
    ]
    server.faults.add("GET", f"*/{room}/message", body=json.dumps({"messages": malformed}).encode(), times=1)
    await exported(client, tmp_path / "site")

    report = convert(tmp_path / "site", "sqlite", tmp_path / "site.sqlite")

    lost = {loss.kind: (loss.count, loss.examples) for loss in report.lost}
    assert (1, ("one",)) == lost["message carried as its text"]
    assert (2, ("two", "three")) == lost["undecodable message"]
    with closing(sqlite3.connect(tmp_path / "site.sqlite")) as db:
        assert [("one", "unknown", "carried", "carried")] == db.execute(
            "SELECT id, sender_id, text, markdown FROM messages"
        ).fetchall()
        assert [] == db.execute("PRAGMA foreign_key_check").fetchall()
