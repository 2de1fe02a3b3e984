"""The messages of a conversation in parts: its sealed months, and what is not sealed yet.

The parts together are the messages of the conversation, each of them once. A leg under way has read messages of its
range anew, so within that range its raw groups count and the sealed months do not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import attrs

from stride_async.export._archive.archive import Archive
from stride_async.export._archive.commits import BEGINNING, HIGHEST
from stride_async.export._archive.errors import DamagedArchive
from stride_async.export._archive.months import Differences, Line, line_digest, merge, month_of, with_keys
from stride_async.export._archive.state import Span, State

UNSEALED = "unsealed"
"""The part of a conversation that is in no month."""


@attrs.frozen(kw_only=True)
class ArchivedMonth:
    """The messages of a conversation in one month, or those that are in no month yet."""

    month: str
    """Such as `2018-03`, in UTC; `unsealed` for what is in no month."""
    rows: int
    """The number of messages."""
    sha256: str
    """The digest of the messages as lines, each with its line break."""


def months_of(archive: Archive, state: State) -> tuple[ArchivedMonth, ...]:
    """Return the parts that have messages, in order. Only those that a leg under way has changed are read."""
    read = _read_by_leg(state)
    found = []
    for month in sorted(state.months):
        file = state.months[month].file
        if file is None:
            continue
        if read is None or month < month_of(read.low[0]) or month_of(read.high[0]) < month:
            found.append(ArchivedMonth(month=month, rows=file.rows, sha256=file.sha256))
        else:
            found.append(_counted(month, (line for _, line in lines_of(archive, state, month))))
    if state.raw_groups or state.unplaced:
        found.append(_counted(UNSEALED, _unsealed(archive, state)))
    return tuple(part for part in found if part.rows)


def lines_of(archive: Archive, state: State, month: str) -> Iterator[Line]:
    """Yield the messages of one part with their keys, in order. Elements without a key are `unplaced`."""
    read = _read_by_leg(state)
    if month == UNSEALED:
        yield from _lines_read(archive, state)
    elif month in state.months:
        for line in _sealed(archive, state, month):
            if read is None or not read.contains(line[0]):
                yield line


def messages_of(archive: Archive, state: State) -> Iterator[Line]:
    """Yield the messages of all parts in order: the sealed months, with the pages of a leg under way merged in."""
    sealed = (line for month in sorted(state.months) for line in _sealed(archive, state, month))
    read = _read_by_leg(state)
    if read is None:
        return sealed
    return with_keys(merge(sealed, _lines_read(archive, state), read, Differences()))


def unplaced(archive: Archive, state: State) -> Iterator[bytes]:
    """Yield elements without a readable key, each once, except those that were valid messages later."""
    seen = set(state.resolved_unplaced)
    for file in state.unplaced:
        for line in archive.checked_lines(file):
            if (digest := line_digest(line).hex()) not in seen:
                seen.add(digest)
                yield line


def _read_by_leg(state: State) -> Span | None:
    """Return the range that the leg under way has read, None if there is none."""
    if state.leg is None or not state.raw_groups:
        return None
    return Span(state.raw_groups[-1].low, state.leg.upper or HIGHEST)


def _sealed(archive: Archive, state: State, month: str) -> Iterator[Line]:
    file = state.months[month].file
    if file is not None:
        for line in _in_order(archive.messages(file), file.path):
            if month_of(line[0][0]) != month:
                raise DamagedArchive(f"{file.path} has a message of another month: {line[0][1]}")
            yield line


def _lines_read(archive: Archive, state: State) -> Iterator[Line]:
    lines = (line for raw in reversed(state.raw_groups) for line in archive.messages(raw.file))
    return _in_order(lines, state.raw_groups[0].file.path) if state.raw_groups else lines


def _in_order(lines: Iterator[Line], path: str) -> Iterator[Line]:
    last = BEGINNING
    for line in lines:
        if not last < line[0] < HIGHEST:
            raise DamagedArchive(f"{path} has a message that is not in order: {line[0][1]}")
        last = line[0]
        yield line


def _unsealed(archive: Archive, state: State) -> Iterator[bytes]:
    yield from (line for _, line in _lines_read(archive, state))
    yield from unplaced(archive, state)


def _counted(month: str, lines: Iterable[bytes]) -> ArchivedMonth:
    digest = hashlib.sha256()
    rows = 0
    for line in lines:
        digest.update(line + b"\n")
        rows += 1
    return ArchivedMonth(month=month, rows=rows, sha256=digest.hexdigest())
