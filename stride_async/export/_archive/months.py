"""The months of a history: which a message is of, and how a new revision of one is made. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import date
from functools import lru_cache

import attrs

from stride_async._models import Key
from stride_async.export._archive.state import Span

_DAY = 86_400_000_000_000
_EPOCH_DAY = date(1970, 1, 1).toordinal()


def month_of(ts: int) -> str:
    """The UTC month of a moment in nanoseconds, `2018-03`; the first or last where an offset led beyond the years."""
    return _month_of_day(ts // _DAY)


@lru_cache
def _month_of_day(day: int) -> str:
    moment = date.fromordinal(min(max(day + _EPOCH_DAY, 1), date.max.toordinal()))
    return f"{moment.year:04d}-{moment.month:02d}"


@lru_cache
def end_of_month(month: str) -> int:
    """The first moment after a month, in nanoseconds."""
    year, number = map(int, month.split("-"))
    after = date(year + number // 12, number % 12 + 1, 1)
    return (after.toordinal() - _EPOCH_DAY) * _DAY


def digest_of(line: bytes) -> bytes:
    """Sixteen bytes that stand for a message's content."""
    return hashlib.blake2b(line, digest_size=16).digest()


@attrs.define
class Differences:
    """What a new revision of a month changes."""

    changed: list[Key] = attrs.field(factory=list)
    gone: list[Key] = attrs.field(factory=list)
    new: int = 0


def merged(
    held: Iterator[tuple[Key, bytes]], walked: Iterator[tuple[Key, bytes]], span: Span, found: Differences
) -> Iterator[bytes]:
    """A month's lines: within the span what the walk brought, elsewhere what is held; both sorted, each key once."""
    old, new = next(held, None), next(walked, None)
    while old is not None or new is not None:
        if new is None or (old is not None and old[0] < new[0]):
            assert old is not None
            if span.holds(old[0]):
                found.gone.append(old[0])
            else:
                yield old[1]
            old = next(held, None)
        elif old is None or new[0] < old[0]:
            found.new += 1
            yield new[1]
            new = next(walked, None)
        else:
            if old[1] != new[1]:
                found.changed.append(new[0])
            yield new[1]
            old, new = next(held, None), next(walked, None)
