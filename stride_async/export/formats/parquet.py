"""The site as Parquet files, for DuckDB, Polars, pandas and everything else that reads tables.

Messages, mentions and links have a file for each month, so that an update makes only the files of changed months again.
What such a file has lost is in its own metadata, and is counted from there if the file is kept.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Self

import attrs
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from stride_async._json import NOT_DECODABLE
from stride_async.export._archive.archive import Archive
from stride_async.export._archive.errors import ArchiveError
from stride_async.export._engine import Engine, EngineError, import_for_engine
from stride_async.export.formats._options import ConvertOptions
from stride_async.export.formats._output import Output, OutputFolder
from stride_async.export.formats._report import Loss, Parts, Tally
from stride_async.export.formats._rows import conversation_row, media_row, message_rows, user_row
from stride_async.export.formats._source import RecentRooms, Source

# The version of the tables. A folder with another one is made anew.
_VERSION = "2"
# The most rows in one row group, and in memory. Long messages make a group smaller.
_ROWS = 4_096
_CHARACTERS = 8 * 1024 * 1024
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
    """Ids in these messages that their conversations do not list."""
    lost: list[tuple[str, int, list[str]]]


@attrs.frozen(kw_only=True)
class MonthTask:
    """A month that a worker of an engine writes."""

    conversion: str
    """Different for each conversion."""
    expected: Expected
    month: str
    conversation_ids: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Expected:
    """What a worker must have in common with the process that hands out the months."""

    archive: str
    archive_id: str
    out: str


def write(
    source: Source, output: Output, options: ConvertOptions, tally: Tally, *, engine: Engine | None = None
) -> None:
    """Write all tables, or those parts of them that have changed; with an engine, its workers write the months."""
    assert isinstance(output, OutputFolder)
    before = _by_month(output.before)
    parts = {room.id: {month.month: month.sha256 for month in room.months} for room in source.rooms()}
    output.begin(parts, basis=f"{_VERSION} {pa.__version__}")
    months = _by_month(parts)
    made: dict[str, _Made] = {}
    for month in months:
        is_current = months[month] == before.get(month) and all(output.is_current(id, month) for id in months[month])
        if is_current and (kept := _kept(output, month)) is not None:
            made[month] = kept
            tally.message(kept.messages)
    wanted = {month: sorted(months[month]) for month in sorted(months) if month not in made}
    for month, new in _write_months(source, output, wanted, engine):
        made[month] = new
        tally.message(new.messages)
        tally.step()
    for month in sorted(made):
        _count(made[month], source, tally)
    _write_small(source, output, tally)


def _write_months(
    source: Source, output: OutputFolder, months: Mapping[str, list[str]], engine: Engine | None
) -> Iterator[tuple[str, _Made]]:
    """Write months, given with their conversations, and yield each as it is complete."""
    if engine is None or not months:
        for month, ids in months.items():
            yield month, _write_month(source, output, month, ids)
        return
    expected = Expected(
        archive=source.archive_address,
        archive_id=source.archive_id,
        out=str(output.root.absolute()),
    )
    conversion = secrets.token_hex(8)
    tasks = [
        MonthTask(conversion=conversion, expected=expected, month=month, conversation_ids=tuple(ids))
        for month, ids in months.items()
    ]
    run_each = import_for_engine("stride_async.export._cluster").run_each
    for month, made, digests in run_each(engine, misfit, expected, write_month, tasks):
        output.add(digests)
        yield month, made


def misfit(expected: Expected) -> str | None:
    """Return why this process cannot write months, as a predicate of the worker; None if it can."""
    try:
        found = Archive.open(expected.archive)
    except ArchiveError as error:
        return f"cannot see the archive: {error}"
    if found.id != expected.archive_id:
        return f"has another archive at {expected.archive}: the place must be the same for all workers"
    return (
        None
        if Path(expected.out).is_dir()
        else f"cannot see {expected.out}: the output must be the same for all workers"
    )


def write_month(task: MonthTask) -> tuple[str, _Made, Mapping[str, str]]:
    """Write the files of a month in a worker. Return the month, what is known of the files, and their digests."""
    if (reason := misfit(task.expected)) is not None:
        raise EngineError(f"a worker {reason}")
    output = OutputFolder(Path(task.expected.out))
    rooms = _rooms(task.conversion, task.expected.archive)
    made = _write_month(rooms, output, task.month, list(task.conversation_ids))
    return task.month, made, output.digests()


@lru_cache(maxsize=1)
def _rooms(_conversion: str, archive: str) -> RecentRooms:
    return RecentRooms(Archive.open(archive), Tally())


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


def _write_month(source: Source | RecentRooms, output: OutputFolder, month: str, ids: list[str]) -> _Made:
    """Write the messages of a month, sorted by conversation and time, with their mentions and links."""
    counted = Tally()
    unlisted: set[str] = set()
    with ExitStack() as stack:
        messages, mentions, links = (
            stack.enter_context(_Table(table, stack.enter_context(output.open(_name(table, month)))))
            for table in _OF_MONTHS
        )
        for id in ids:
            room = attrs.evolve(source.room(id), tally=counted)
            named: set[str] = set()
            for row, found in message_rows(room, counted, month):
                messages.add(attrs.astuple(row))
                mentions.add_all((id, row.id, user_id) for user_id in found.user_ids)
                links.add_all((id, row.id, url, text) for url, text in found.links)
                named.update((row.sender_id, *found.user_ids))
            unlisted |= named - room.referenced_ids
        losses = [(loss.kind, loss.count, list(loss.examples)) for loss in counted.losses()]
        made = _Made(counted.messages, sorted(unlisted), losses)
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
                media.add(attrs.astuple(media_row(medium)))
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
