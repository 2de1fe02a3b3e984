"""The site as Parquet files, for DuckDB, Polars, pandas and everything else that reads tables.

Messages, mentions and links have a file for each month, so that an update makes only the files of changed months again.
What such a file has lost is in its own metadata, and is counted from there if the file is kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import ExitStack
from typing import BinaryIO, Self

import attrs
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from stride_async._json import NOT_DECODABLE
from stride_async.export.formats._options import ConvertOptions
from stride_async.export.formats._output import Output, OutputFolder
from stride_async.export.formats._report import Loss, Parts, Tally
from stride_async.export.formats._rows import conversation_row, media_row, message_rows, user_row
from stride_async.export.formats._source import Source

_VERSION = "1"
"""Of the tables. A folder with another version is made anew."""
_ROWS = 4_096
"""In one row group, and in memory."""
_CHARACTERS = 8 * 1024 * 1024
"""Long messages make a row group smaller."""
_METADATA = b"stride"
_TIME = pa.timestamp("us", tz="UTC")
_SCHEMAS = {
    "conversations": pa.schema(
        {
            **dict.fromkeys(("id", "name", "topic", "type", "privacy"), pa.string()),
            "is_archived": pa.bool_(),
            "created": _TIME,
            "modified": _TIME,
            **dict.fromkeys(("verdict", "raw"), pa.string()),
        }
    ),
    "users": pa.schema(
        {
            **dict.fromkeys(("id", "name", "email", "nick_name", "title", "timezone"), pa.string()),
            "active": pa.bool_(),
            "has_profile": pa.bool_(),
            "raw": pa.string(),
        }
    ),
    "memberships": pa.schema({"conversation_id": pa.string(), "user_id": pa.string(), "taken_at": _TIME}),
    "media": pa.schema(
        {
            **dict.fromkeys(("conversation_id", "id", "name", "mime_type"), pa.string()),
            "size": pa.int64(),
            **dict.fromkeys(("sha256", "path"), pa.string()),
        }
    ),
    "messages": pa.schema(
        {
            **dict.fromkeys(("conversation_id", "id", "sender_id"), pa.string()),
            "sent_at": _TIME,
            "ts_ns": pa.int64(),
            **dict.fromkeys(("text", "markdown", "raw"), pa.string()),
        }
    ),
    "mentions": pa.schema(dict.fromkeys(("conversation_id", "message_id", "user_id"), pa.string())),
    "links": pa.schema(dict.fromkeys(("conversation_id", "message_id", "url", "text"), pa.string())),
}
_OF_MONTHS = ("messages", "mentions", "links")


class _Made(msgspec.Struct):
    """What is known of a month's files besides their rows."""

    messages: int
    people: list[str]
    """Ids that only these messages name."""
    lost: list[tuple[str, int, list[str]]]


def write(source: Source, output: Output, options: ConvertOptions, tally: Tally) -> None:
    """Write all tables, or those parts of them that have changed."""
    assert isinstance(output, OutputFolder)
    before = _by_month(output.before)
    parts = {room.id: {month.month: month.sha256 for month in room.months} for room in source.rooms()}
    output.begin(parts, basis=f"{_VERSION} {pa.__version__}")
    months = _by_month(parts)
    for month in sorted(months):
        is_current = months[month] == before.get(month) and all(output.is_current(id, month) for id in months[month])
        made = _kept(output, month) if is_current else None
        _count(made or _write_month(source, output, month, sorted(months[month])), source, tally)
        tally.step()
    _write_small(source, output, tally)


def _by_month(parts: Parts) -> dict[str, dict[str, str]]:
    """Return for each month the digests of its conversations, by conversation id."""
    months: dict[str, dict[str, str]] = defaultdict(dict)
    for id, digests in parts.items():
        for month, digest in digests.items():
            months[month][id] = digest
    return months


def _name(table: str, month: str) -> str:
    return f"{table}/month={month}/part-0.parquet"


def _kept(output: OutputFolder, month: str) -> _Made | None:
    """Keep the files of a month, and return what is known of them; None if one is missing or damaged."""
    if not all(output.keep(_name(table, month)) for table in _OF_MONTHS):
        return None
    try:
        metadata = pq.read_metadata(output.root / _name("messages", month)).metadata or {}
        return msgspec.json.decode(metadata.get(_METADATA, b""), type=_Made)
    except (pa.ArrowInvalid, OSError, *NOT_DECODABLE):  # pyarrow raises OSError for a damaged footer
        return None


def _count(made: _Made, source: Source, tally: Tally) -> None:
    for id in made.people:
        source.people[id]
    tally.add_losses(Loss(kind, count, tuple(examples)) for kind, count, examples in made.lost)
    tally.message(made.messages)


def _write_month(source: Source, output: OutputFolder, month: str, ids: list[str]) -> _Made:
    """Write the messages of a month, sorted by conversation and time, with their mentions and links."""
    counted = Tally()
    named: set[str] = set()
    with ExitStack() as stack:
        messages, mentions, links = (
            stack.enter_context(_Table(table, stack.enter_context(output.open(_name(table, month)))))
            for table in _OF_MONTHS
        )
        for id in ids:
            for row, found in message_rows(attrs.evolve(source.room(id), tally=counted), counted, month):
                messages.add(attrs.astuple(row))
                mentions.add_all((id, row.id, user_id) for user_id in found.user_ids)
                links.add_all((id, row.id, url, text) for url, text in found.links)
                named.update((row.sender_id, *found.user_ids))
        losses = [(loss.kind, loss.count, list(loss.examples)) for loss in counted.losses()]
        unlisted = sorted(id for id in named if id not in source.people)
        made = _Made(counted.messages, unlisted, losses)
        messages.describe(made)
    return made


def _write_small(source: Source, output: OutputFolder, tally: Tally) -> None:
    """Write the tables that have one file each."""
    with ExitStack() as stack:
        conversations, memberships, media, users = (
            stack.enter_context(_Table(table, stack.enter_context(output.open(f"{table}/part-0.parquet"))))
            for table in ("conversations", "memberships", "media", "users")
        )
        for room in source.rooms():
            conversations.add(attrs.astuple(conversation_row(room)))
            taken_at = None if room.roster_taken_at is None else round(room.roster_taken_at * 1_000_000)
            memberships.add_all((room.id, source.people[id].id, taken_at) for id in dict.fromkeys(room.user_ids))
            for medium in room.media():
                media.add(attrs.astuple(media_row(medium, source)))
                tally.file(medium.size)
            tally.conversation()
        users.add_all(attrs.astuple(user_row(person, source.people)) for person in source.people)


class _Table:
    """One file of a table while it is written, a row group at a time."""

    def __init__(self, table: str, file: BinaryIO) -> None:
        self._schema = _SCHEMAS[table]
        self._writer = pq.ParquetWriter(file, self._schema, compression="zstd")
        self._rows: list[tuple[object, ...]] = []
        self._characters = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush()
        self._writer.close()

    def add(self, row: tuple[object, ...]) -> None:
        """Add a row."""
        self._rows.append(row)
        self._characters += sum(len(value) for value in row if isinstance(value, str))
        if len(self._rows) >= _ROWS or self._characters >= _CHARACTERS:
            self._flush()

    def add_all(self, rows: Iterable[tuple[object, ...]]) -> None:
        """Add several rows."""
        for row in rows:
            self.add(row)

    def describe(self, made: _Made) -> None:
        """Add what is known of the rows to the metadata."""
        self._writer.add_key_value_metadata({_METADATA: msgspec.json.encode(made)})

    def _flush(self) -> None:
        if self._rows:
            columns = zip(*self._rows, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
            self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
            self._rows, self._characters = [], 0
