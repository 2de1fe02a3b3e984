"""The Parquet files of a site, read by programs that know nothing of it."""

from __future__ import annotations

import pytest

pytest.importorskip("pyarrow")

import pyarrow.parquet as pq

from stride_async.export import read
from stride_async.export.formats import convert, parquet
from tests.export.exporting import exported
from tests.formats.archives import snapshot


async def test_duckdb_reads_the_tables(archive, tmp_path):
    """The months are a column, and the tables can be joined."""
    duckdb = pytest.importorskip("duckdb")
    convert(archive, "parquet", tmp_path / "tables")
    with duckdb.connect() as db:
        for table in ("conversations", "users", "memberships", "media", "messages", "mentions", "links"):
            db.execute(f"CREATE VIEW {table} AS SELECT * FROM '{tmp_path}/tables/{table}/**/*.parquet'")

        assert (127, 0) == db.execute(
            "SELECT count(*), count(*) FILTER (month <> strftime(sent_at, '%Y-%m')) FROM messages"
        ).fetchone()
        assert [("Ann Adler", "Bob Brown")] == db.execute(
            "SELECT s.name, m.name FROM mentions JOIN messages ON messages.id = message_id "
            "JOIN users s ON s.id = sender_id JOIN users m ON m.id = user_id"
        ).fetchall()
        assert [("https://example.invalid/", "the page")] == db.execute("SELECT url, text FROM links").fetchall()
        assert [("plan.txt", 4)] == db.execute("SELECT name, size FROM media").fetchall()
        assert (3, 3) == db.execute(
            "SELECT (SELECT count(*) FROM memberships), (SELECT count(*) FROM users)"
        ).fetchone()


async def test_polars_reads_the_messages_in_order(archive, tmp_path):
    """Within a month they are sorted by conversation, time and id, and each has its original text."""
    polars = pytest.importorskip("polars")
    convert(archive, "parquet", tmp_path / "tables")
    site = read(archive)

    frame = polars.read_parquet(f"{tmp_path}/tables/messages/**/*.parquet", hive_partitioning=True)

    rows = frame.select("month", "conversation_id", "ts_ns", "id", "raw").rows()
    assert sorted(rows[:], key=lambda row: row[:4]) == rows
    assert {(room.id, m.id, m.raw.decode()) for room in site.conversations() for m in site.messages(room.id)} == {
        (row[1], row[3], row[4]) for row in rows
    }
    assert {"Datetime(time_unit='us', time_zone='UTC')"} == {str(frame.schema["sent_at"])}


async def test_an_update_makes_only_changed_months_again(server, client, archive, tmp_path):
    """The result equals that of a fresh conversion, and files of other months keep their time."""
    convert(archive, "parquet", tmp_path / "tables")
    before = snapshot(tmp_path / "tables")
    room = next(iter(read(archive).conversations())).id
    server.fill(room, 2, ts="2018-09-01T00:00:00Z")
    await exported(client, archive)

    updated = convert(archive, "parquet", tmp_path / "tables")
    fresh = convert(archive, "parquet", tmp_path / "fresh")

    after = snapshot(tmp_path / "tables")
    assert fresh == updated
    assert {name: sha256 for name, (_, sha256) in snapshot(tmp_path / "fresh").items()} == {
        name: sha256 for name, (_, sha256) in after.items()
    }
    changed = {name for name in after if before.get(name) != after[name]}
    assert {"messages/month=2018-09/part-0.parquet"} <= changed
    assert not {name for name in changed if "month=2018-05" in name or "month=2018-07" in name}


async def test_row_groups_are_small_and_compressed(archive, tmp_path, monkeypatch):
    """So a reader can skip most of a file, and memory is bounded when it is written."""
    monkeypatch.setattr(parquet, "_ROWS", 16)

    convert(archive, "parquet", tmp_path / "tables")

    files = [pq.read_metadata(path) for path in (tmp_path / "tables/messages").rglob("*.parquet")]
    groups = [file.row_group(number) for file in files for number in range(file.num_row_groups)]
    assert (127, 16) == (sum(group.num_rows for group in groups), max(group.num_rows for group in groups))
    assert {"ZSTD"} == {group.column(0).compression for group in groups}
