"""The months of a history: which month a message belongs to, and how a new revision is made. Pure."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from functools import lru_cache

import attrs
import msgspec

from stride_async._json import NOT_DECODABLE, repaired
from stride_async._models import Key
from stride_async._wire.convert import key_at
from stride_async.export._archive.compression import Block
from stride_async.export._archive.errors import DamagedArchive
from stride_async.export._archive.state import Span

Line = tuple[Key, bytes]
"""A message as one line, with its key."""
Stretch = tuple[Sequence[int], bytes]
"""The times of consecutive messages and their lines, each with its line break, oldest first."""

_DAY = 86_400_000_000_000  # nanoseconds
_EPOCH_DAY = date(1970, 1, 1).toordinal()


def month_of(ts: int) -> str:
    """Return the UTC month of a time in nanoseconds, such as `2018-03`.

    Times before year 1 or after year 9999, which an offset from UTC can produce, belong to the first or last month.
    """
    return _month_of_day(ts // _DAY)


@lru_cache
def _month_of_day(day: int) -> str:
    moment = date.fromordinal(min(max(day + _EPOCH_DAY, 1), date.max.toordinal()))
    return f"{moment.year:04d}-{moment.month:02d}"


@lru_cache
def end_of_month(month: str) -> int:
    """Return the first nanosecond after a month."""
    year, number = map(int, month.split("-"))
    after = date(year + number // 12, number % 12 + 1, 1)
    return (after.toordinal() - _EPOCH_DAY) * _DAY


def split_by_month(stretches: Iterable[Stretch]) -> Iterator[tuple[str, Block]]:
    """Yield the lines of stretches, cut where a month ends. Most stretches lie in one month, and stay as they are."""
    for times, lines in stretches:
        start, rest = 0, lines
        while start < len(times):
            month = month_of(times[start])
            end = bisect_left(times, end_of_month(month), start)
            rows = end - start
            cut = len(rest) if end == len(times) else length_of(rows, rest)
            yield month, (rows, rest[:cut])
            start, rest = end, rest[cut:]


def length_of(rows: int, lines: bytes) -> int:
    """Return the length of the first lines; 0 if there are fewer. `bytes.count` would take longer on Python 3.11."""
    length = 0
    for _ in range(rows):
        length = lines.find(b"\n", length) + 1
        if not length:
            break
    return length


def as_line(raw: bytes) -> bytes:
    """Return a message as one line: the bytes that the service sent, with line breaks between tokens removed."""
    if b"\n" not in raw and b"\r" not in raw:
        return raw
    try:
        return msgspec.json.format(repaired(raw), indent=-1)
    except NOT_DECODABLE:
        return repaired(raw).replace(b"\r", b" ").replace(b"\n", b" ")  # They are between tokens now.


def with_keys(lines: Iterable[bytes]) -> Iterator[Line]:
    """Yield each line with its key.

    Raises:
        DamagedArchive: A line has no readable key.
    """
    for line in lines:
        key = key_at(line)
        if key is None:
            raise DamagedArchive(f"a line is not a message: {line[:80]!r}")
        yield key, line


def line_digest(line: bytes) -> bytes:
    """Return a short digest of a line, to compare messages by content."""
    return hashlib.blake2b(line, digest_size=16).digest()


@attrs.define
class Differences:
    """How a new revision of a month differs from the one before."""

    changed: list[Key] = attrs.field(factory=list)
    gone: list[Key] = attrs.field(factory=list)
    new: int = 0


def merge(held: Iterator[Line], read: Iterator[Line], span: Span, differences: Differences) -> Iterator[bytes]:
    """Yield the lines of a month: within the span those just read, outside of it those already held.

    Both inputs are sorted by key, and so is the result, with each key once. Fills in `differences`.
    """
    old, new = next(held, None), next(read, None)
    while old is not None or new is not None:
        if new is None or (old is not None and old[0] < new[0]):
            assert old is not None
            if span.contains(old[0]):
                differences.gone.append(old[0])
            else:
                yield old[1]
            old = next(held, None)
        elif old is None or new[0] < old[0]:
            differences.new += 1
            yield new[1]
            new = next(read, None)
        else:
            if old[1] != new[1]:
                differences.changed.append(new[0])
            yield new[1]
            old, new = next(held, None), next(read, None)
