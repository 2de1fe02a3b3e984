"""Write one leg after another: its pages while it is walked, its months when it has ended.

`history` defines a leg and its invariants. Everything here works on files, so it runs in a thread.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, groupby, islice
from operator import itemgetter

from stride_async._models import Key, just_above
from stride_async.export._archive.archive import Archive
from stride_async.export._archive.commits import (
    BEGINNING,
    HIGHEST,
    LegEnded,
    LegStarted,
    Op,
    RawGroup,
    Referenced,
    Resolved,
    Sealed,
    Stored,
    Unplaced,
    WalkEnded,
)
from stride_async.export._archive.compression import Block
from stride_async.export._archive.errors import DamagedArchive
from stride_async.export._archive.layout import leg_of_raw, month_stem, raw_folder, raw_stem, unplaced_stem
from stride_async.export._archive.months import (
    Differences,
    Stretch,
    length_of,
    line_digest,
    merge,
    month_of,
    split_by_month,
    with_keys,
)
from stride_async.export._archive.state import Span, State, touches
from stride_async.export._fetch.buffer import LegBuffer
from stride_async.export._fetch.plan import Bounds

SEALED_AT_ONCE = 50_000
"""Messages. A leg with more is sealed in several commits, each of which survives a kill."""

# Nanoseconds by which the clocks of the service and of this machine may differ.
_CLOCK_DIFFERENCE = 600_000_000_000
# Pages of which it keeps the times once they are written, so that it decodes no short conversation twice.
_PAGES_KEPT = 64
_DECODED_AT_ONCE = 64  # messages


class LegWriter:
    """Writes the legs of one conversation. Counts the messages that are `new`, `changed` and `gone`."""

    def __init__(
        self,
        archive: Archive,
        folder: str,
        state: State,
        commit: Callable[[Sequence[Op]], None],
        *,
        rescan: int | None,
    ) -> None:
        self.new = self.changed = self.gone = 0
        self._archive = archive
        self._folder = folder
        self._state = state
        self._commit = commit
        self._rescan_all = rescan == BEGINNING[0]
        self._held = _HeldMessages(archive, state)
        self._leg = LegStarted(0, None, from_newest=True)
        self._buffer = LegBuffer(0, BEGINNING, None, None, None)
        # Raw groups that this process wrote, or has found undamaged, and the pages in some of them, oldest first: the
        # times of their messages, and their lengths in bytes.
        self._sound: set[str] = set()
        self._pages: dict[str, list[tuple[Sequence[int], int]]] = {}

    def delete_old_groups(self) -> None:
        """Delete raw groups of legs that have ended, which a kill may have left."""
        first_in_use = self._state.leg.number if self._state.leg is not None else self._state.legs + 1
        folder = raw_folder(self._folder)
        old = []
        for name in self._archive.files.list(folder).files:
            leg = leg_of_raw(name)
            if leg is not None and leg < first_in_use:
                old.append(f"{folder}/{name}")
        if old:
            self._archive.delete(self._folder, old)

    def restart_if_needed(self, bounds: Bounds) -> None:
        """Start the open leg anew if one of its raw groups is damaged, or if everything is to be read again."""
        leg, state = self._state.leg, self._state
        assert leg is not None
        upper = bounds.ceiling if self._rescan_all else leg.upper
        if upper != leg.upper or not self._groups_are_sound():
            self._commit([LegStarted(state.legs + 1, upper, from_newest=upper == bounds.ceiling)])
            self.delete_old_groups()

    def _groups_are_sound(self) -> bool:
        files = [raw.file for raw in self._state.raw_groups if raw.file.path not in self._sound]
        self._sound |= {file.path for file in files if self._archive.is_sound(file)}
        return all(file.path in self._sound for file in files)

    def start(self, upper: Key | None, bounds: Bounds) -> LegBuffer:
        """Start a leg below `upper`, or take up the one that is open. Return the buffer for its pages."""
        state = self._state
        self._leg = state.leg or LegStarted(state.legs + 1, upper, from_newest=upper == bounds.ceiling)
        groups = state.raw_groups
        reached = groups[-1].low if groups else self._leg.upper
        top = groups[0].high if groups else None
        self._buffer = LegBuffer(self._leg.number, bounds.floor, top, reached, reached)
        return self._buffer

    def matches(self) -> bool:
        """Return whether the page that is being added has exactly the messages that are held between its ends."""
        page = [(key, line_digest(line)) for key, line in self._buffer.lines()]
        return page == self._held.between(page[0][0], self._buffer.low or HIGHEST)

    def write(self) -> None:
        """Write the pages of the buffer, so that a kill does not cost them."""
        buffer, state = self._buffer, self._state
        ops = self._found()
        if buffer.pages:
            stem = raw_stem(self._folder, self._leg.number, len(state.raw_groups))
            stretches = buffer.stretches()
            blocks = [(len(times), lines) for times, lines in stretches]
            file = self._archive.stage_blocks(stem, blocks, compressed=False)
            self._sound.add(file.path)
            if sum(map(len, self._pages.values())) < _PAGES_KEPT:
                self._pages[file.path] = [(times, len(lines)) for times, lines in stretches]
            high, low = buffer.pages[0].high, buffer.pages[-1].low
            raw = RawGroup(self._leg.number, file, buffer.written_to, high, low, len(buffer.pages))
            ops = [*self._start_of_leg(), raw, *ops]
        if ops:
            self._commit(ops)
        buffer.clear()

    def seal(self, end: WalkEnded) -> None:
        """Seal every month that the leg crossed, then make its range part of the spans."""
        state, leg = self._state, self._leg
        read = Span(end.bottom, leg.upper or HIGHEST)
        if state.walk_end is None and self._most_rows_in(read) > SEALED_AT_ONCE:
            # It will take several commits. After a kill between them, the walk must not end anywhere else.
            self.write()
            self._commit([*self._start_of_leg(), end])
        ended = LegEnded(leg.number, end.low, max(end.low, self._complete_up_to(end)), end.reason)
        ops = [*self._found(), *self._resolved(read), *self._seal_months(read)]
        first_from_newest = leg.upper is None and not state.reaches_newest
        extends = not any(span.covers(Span(end.low, ended.high)) for span in state.spans)
        if ops or state.leg is not None or first_from_newest or extends or ("history", "") in state.failed:
            groups = [raw.file.path for raw in state.raw_groups]
            self._commit([*self._start_of_leg(), *ops, ended])
            if groups:
                self._archive.delete(self._folder, groups)
        self._buffer.clear()

    def _start_of_leg(self) -> list[Op]:
        """Return the start of the leg, if no commit has it yet."""
        return [] if self._state.leg is not None else [self._leg]

    def _found(self) -> list[Op]:
        """Return what was found in pages besides messages, as far as it is not known."""
        buffer, state = self._buffer, self._state
        users, media = buffer.users - state.referenced_users, buffer.media - state.referenced_media
        ops: list[Op] = [Referenced(tuple(sorted(users)), tuple(sorted(media)))] if users or media else []
        known = state.unplaced_digests - state.resolved_unplaced
        unplaced = {digest: line for digest, line in buffer.unplaced.items() if digest not in known}
        if unplaced:
            file = self._archive.stage_lines(unplaced_stem(self._folder), unplaced.values())
            ops.append(Unplaced(file, tuple(unplaced)))
        failed_unplaced = {failed.id for failed in state.failed_messages() if failed.ts is None}
        return [*ops, *(one for one in buffer.undecodable if one.ts is not None or one.id not in failed_unplaced)]

    def _resolved(self, read: Span) -> list[Op]:
        """Return earlier undecodable messages that this leg received as valid ones, or not at all."""
        everything = read == Span(BEGINNING, HIGHEST)
        still_undecodable = {failed.id for failed in self._buffer.undecodable}
        return [
            Resolved("message", failed.id)
            for failed in self._state.failed_messages()
            if failed.id not in still_undecodable
            and failed.leg != self._leg.number
            and (everything if failed.ts is None else read.contains((failed.ts, failed.id)))
        ]

    def _complete_up_to(self, end: WalkEnded) -> Key:
        """Return the key below which everything is known. Messages that are still to be sent are not."""
        upper, top = self._leg.upper, self._buffer.top
        above_top = just_above(top) if top is not None else end.low
        if upper is None:
            return above_top
        now = (time.time_ns() - _CLOCK_DIFFERENCE, "")
        return upper if upper <= now or touches(upper, self._state.spans) else max(above_top, now)

    def _most_rows_in(self, read: Span) -> int:
        """Return the most messages that the months of the leg can have."""
        held = (sealed.file for month, sealed in self._state.months.items() if _crosses(read, month))
        new = self._buffer.rows + sum(raw.file.rows for raw in self._state.raw_groups)
        return new + sum(file.rows for file in held if file is not None)

    def _seal_months(self, read: Span) -> list[Op]:
        """Seal the months of the leg. A long leg is committed in steps; return what is not committed yet."""
        sealed_before = self._state.sealed_by(self._leg.number)
        ops: list[Op] = []
        rows = 0
        stretches = chain(self._buffer.stretches(), self._written_stretches())  # The buffer has the oldest pages.
        by_month = groupby(split_by_month(stretches), itemgetter(0))
        months = ((month, (block for _, block in parts)) for month, parts in by_month)
        held = [month for month in sorted(self._state.months) if _crosses(read, month)]
        for month, parts in _with_held(months, held):
            if month in sealed_before:
                continue
            for sealed in self._sealed(month, parts, read):
                ops.append(sealed)
                rows += sealed.file.rows if sealed.file is not None else 0
            if rows > SEALED_AT_ONCE:
                self._commit(ops)
                ops, rows = [], 0
        return ops

    def _written_stretches(self) -> Iterator[Stretch]:
        """Yield what is in raw groups, oldest first."""
        for raw in reversed(self._state.raw_groups):
            pages = self._pages.pop(raw.file.path, None)
            yield from self._decoded(raw.file) if pages is None else self._pages_in(raw.file.path, pages)

    def _decoded(self, file: Stored) -> Iterator[Stretch]:
        """Yield what is in a raw group whose times are to be decoded."""
        rows, lines = 0, with_keys(self._archive.lines(file.path))
        while batch := list(islice(lines, _DECODED_AT_ONCE)):
            rows += len(batch)
            yield [ts for (ts, _), _ in batch], b"\n".join([line for _, line in batch]) + b"\n"
        if rows != file.rows:
            raise DamagedArchive(f"{file.path} has {rows} lines, {file.rows} were committed")

    def _pages_in(self, path: str, pages: Iterable[tuple[Sequence[int], int]]) -> Iterator[Stretch]:
        """Yield the pages of a raw group whose times are kept."""
        with self._archive.files.open(path) as file:
            for times, length in pages:
                lines = file.read(length)
                if not len(lines) == length == length_of(len(times), lines):
                    raise DamagedArchive(f"{path} is not what was written: it is shorter, or has other lines")
                yield times, lines

    def _sealed(self, month: str, parts: Iterator[Block], read: Span) -> list[Sealed]:
        """Write a revision of a month. Return nothing if it has the content of the one before."""
        before = self._state.months.get(month)
        revision = before.revision + 1 if before is not None else 1
        can_be_replaced = before is not None and self._is_lost(month, read)
        differences = Differences()
        stem = month_stem(self._folder, month, revision)
        if before is None or can_be_replaced:
            stored = self._archive.stage_blocks(stem, parts)
        else:
            lines = (line for _, block in parts for line in block[:-1].split(b"\n"))
            held, new = self._archive.messages(before.file), with_keys(lines)
            stored = self._archive.stage_lines(stem, merge(held, new, read, differences))
        if before is None:
            differences.new = stored.rows
        self.new += differences.new
        self.changed += len(differences.changed)
        self.gone += len(differences.gone)
        file = stored if stored.rows else None
        old = before.file if before is not None else None
        is_same = not can_be_replaced and (file.sha256 if file else None) == (old.sha256 if old else None)
        if is_same or file is None:
            self._archive.discard(stored)
        if is_same:
            return []
        changed, gone = tuple(differences.changed), tuple(differences.gone)
        return [Sealed(month, revision, file, self._leg.number, read.low, read.high, changed, gone)]

    def _is_lost(self, month: str, read: Span) -> bool:
        """Return whether a month is damaged, and was read again completely so that nothing held of it is needed."""
        is_complete = self._rescan_all and read.low == BEGINNING and month < month_of(read.high[0])
        held = self._state.months[month].file
        return is_complete and held is not None and not self._archive.is_sound(held)


class _HeldMessages:
    """Keys and digests of the sealed messages that a walk passes, a few months at a time."""

    def __init__(self, archive: Archive, state: State) -> None:
        self._archive = archive
        self._state = state
        self._months: dict[str, tuple[list[Key], list[bytes]]] = {}

    def between(self, low: Key, high: Key) -> list[tuple[Key, bytes]]:
        """Return what is held from `low` (inclusive) to `high` (exclusive), oldest first."""
        first, last = month_of(low[0]), month_of(high[0])
        wanted = [month for month in sorted(self._state.months) if first <= month <= last]
        self._months = {month: self._months.get(month) or self._read(month) for month in wanted}
        found: list[tuple[Key, bytes]] = []
        for keys, digests in self._months.values():
            part = slice(bisect_left(keys, low), bisect_left(keys, high))
            found += zip(keys[part], digests[part], strict=True)
        return found

    def _read(self, month: str) -> tuple[list[Key], list[bytes]]:
        rows = [(key, line_digest(line)) for key, line in self._archive.messages(self._state.months[month].file)]
        return [key for key, _ in rows], [digest for _, digest in rows]


def _crosses(read: Span, month: str) -> bool:
    return month_of(read.low[0]) <= month <= month_of(read.high[0])


def _with_held(months: Iterator[tuple[str, Iterator[Block]]], held: list[str]) -> Iterator[tuple[str, Iterator[Block]]]:
    """Yield months that were read and months that are held, in order, each once; one that was not read has no lines."""
    waiting = list(reversed(held))
    for month, parts in months:
        while waiting and waiting[-1] < month:
            yield waiting.pop(), iter(())
        if waiting and waiting[-1] == month:
            waiting.pop()
        yield month, parts
    while waiting:
        yield waiting.pop(), iter(())
