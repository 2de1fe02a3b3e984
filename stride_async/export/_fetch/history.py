"""One conversation's history into the archive: walk down, keep what came, seal the months."""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from itertools import chain, groupby
from operator import itemgetter
from typing import TypeVar

from stride_async._conversation import ConversationClient
from stride_async._models import Key, just_above
from stride_async.export._archive.chain import Overtaken, keyed, sealed_lines
from stride_async.export._archive.commits import (
    BEGINNING,
    HIGHEST,
    Held,
    LegBegun,
    LegEnded,
    Mended,
    Met,
    Op,
    Raw,
    Sealed,
    Unplaced,
    Walked,
)
from stride_async.export._archive.files import Archive, DamagedArchive
from stride_async.export._archive.months import Differences, digest_of, merged, month_of
from stride_async.export._archive.state import Span, State, touches
from stride_async.export._fetch.buffer import Pages, Stretch, by_month
from stride_async.export._fetch.plan import Window

GROUP_PAGES = 8
GROUP_SECONDS = 0.25
"""Pages are written after so many, or after so long: what a kill may cost of one conversation."""
UNWRITTEN_PAGES = 64
"""Of all conversations together at most, so that memory does not grow with how many are worked on at once."""
SEALED_AT_ONCE = 50_000
"""Messages; a longer leg is sealed in several steps, each of which outlives a kill."""
CLOCKS_APART = 600_000_000_000
"""Nanoseconds; the service's clock and this one's may differ by so much."""
EMPTY, AGREED, BOUND = "an empty page", "a page that agrees with what is held", "the bound asked for"
"""Why a leg may end."""
_TIMES_KEPT = 5_000
"""Of messages in raw groups of this process, so that those of smaller conversations are not decoded twice."""
R = TypeVar("R")


class _Index:
    """Keys and digests of the sealed messages a walk comes by, a few months at a time."""

    def __init__(self, archive: Archive, state: State) -> None:
        self._archive = archive
        self._state = state
        self._months: dict[str, tuple[list[Key], list[bytes]]] = {}

    def between(self, low: Key, upper: Key) -> list[tuple[Key, bytes]]:
        """What is held from `low` (included) to `upper` (excluded), oldest first."""
        first, last = month_of(low[0]), month_of(upper[0])
        wanted = [month for month in sorted(self._state.months) if first <= month <= last]
        self._months = {month: self._months.get(month) or self._read(month) for month in wanted}
        found: list[tuple[Key, bytes]] = []
        for keys, digests in self._months.values():
            part = slice(bisect_left(keys, low), bisect_left(keys, upper))
            found += zip(keys[part], digests[part], strict=True)
        return found

    def _read(self, month: str) -> tuple[list[Key], list[bytes]]:
        rows = [(key, digest_of(line)) for key, line in sealed_lines(self._archive, self._state, month)]
        return [key for key, _ in rows], [digest for _, digest in rows]


class HistoryExport:
    """Walks one leg of a conversation after the other; counts what is `new`, `changed` and `gone`."""

    def __init__(
        self,
        archive: Archive,
        folder: str,
        state: State,
        room: ConversationClient,
        commit: Callable[[Sequence[Op]], None],
        *,
        rescan: int | None,
        fail_fast: bool,
        at_once: int,
    ) -> None:
        self.new = self.changed = self.gone = 0
        self._archive = archive
        self._folder = folder
        self._state = state
        self._room = room
        self._commit = commit
        self._rescan = rescan
        """Down to here, in nanoseconds, a page that agrees ends nothing."""
        self._fail_fast = fail_fast
        self._group_pages = min(max(UNWRITTEN_PAGES // at_once, 1), GROUP_PAGES)
        self._index = _Index(archive, state)
        self._leg = LegBegun(0, None, looks=True)
        self._walked = Pages(0, BEGINNING, None, None, None)
        self._written_at = 0.0
        self._sound: set[str] = set()
        """Raw groups that this process wrote, or found to be as they were written."""
        self._times: dict[str, array[int]] = {}
        """When the messages of raw groups were sent, by path and in their order."""

    def tidy(self) -> None:
        """Remove raw groups of legs that are over: a kill may have left them."""
        open_leg = self._state.leg.number if self._state.leg is not None else self._state.legs + 1
        left = []
        for name in self._archive.names(f"{self._folder}/raw"):
            number = name.partition("-")[0]
            if number.isdigit() and int(number) < open_leg:
                left.append(f"{self._folder}/raw/{name}")
        if left:
            self._archive.remove(self._folder, left)

    async def walk(self, upper: Key | None, window: Window, tell: Callable[[int, int], Awaitable[None]]) -> None:
        """Walk a leg from below `upper`, or go on with the one that is open; `tell` messages and bytes of each page.

        Raises:
            StrideError: the service did not give a page; what came before it is written.
        """
        state = self._state
        if state.leg is not None:
            await self._archive.whole(partial(self._renew, window))
        leg = self._leg = state.leg or LegBegun(state.legs + 1, upper, looks=upper == window.ceiling)
        raws = state.raws
        reached = raws[-1].low if raws else leg.upper
        walked = Pages(leg.number, window.floor, raws[0].high if raws else None, reached, reached)
        self._walked = walked
        end = state.walked or await self._end(walked, window, tell)
        await self._archive.whole(partial(self._settle, end))

    def _renew(self, window: Window) -> None:
        """Begin the open leg anew where what lies there of it is damaged, or where all is to be read again anyway."""
        leg, state = self._state.leg, self._state
        assert leg is not None
        top = window.ceiling if self._rescan == BEGINNING[0] else leg.upper
        if top != leg.upper or not self._pages_are_sound():
            self._commit([LegBegun(state.legs + 1, top, looks=top == window.ceiling)])
            self.tidy()

    def _pages_are_sound(self) -> bool:
        """Whether the pages of the leg that is open are as they were written."""
        unread = [raw.file for raw in self._state.raws if raw.file.path not in self._sound]
        self._sound |= {file.path for file in unread if self._archive.is_sound(file.path, file.sha256)}
        return all(file.path in self._sound for file in unread)

    async def _end(self, walked: Pages, window: Window, tell: Callable[[int, int], Awaitable[None]]) -> Walked:
        """Walk to where nothing more is to be read."""
        reached = walked.low
        self._written_at = time.monotonic()
        try:
            if reached is not None and reached <= window.floor:
                return Walked(walked.leg, reached, reached, BOUND)
            agreed = await self._pages(walked, window, tell)
        except Overtaken:
            raise
        except BaseException:
            walked.drop_page()
            self.keep()  # Whatever stops the walk: what came is not fetched again.
            raise
        if agreed is None:
            return Walked(walked.leg, window.floor, window.floor, EMPTY if window.floor == BEGINNING else BOUND)
        return Walked(walked.leg, HIGHEST if walked.low is None else walked.low, agreed, AGREED)

    async def _pages(self, walked: Pages, window: Window, tell: Callable[[int, int], Awaitable[None]]) -> Key | None:
        """Walk to the end; the lowest key of the page that agreed, None after an empty one."""
        since = None if window.since is None else (window.since, "")
        pager = self._room.history(before=walked.low, after=since)
        undecodable = None if self._fail_fast else walked.add_undecodable
        async for page in pager.pages(on_undecodable=undecodable):
            bottom = walked.add(page.items)
            if bottom is None:
                continue  # Nothing of it has a place.
            if self._may_end_at(bottom) and await self._archive.whole(partial(self._agrees, walked)):
                walked.drop_page()
                await tell(len(page.items), len(page.raw))
                return bottom
            walked.end_page()
            if len(walked.pages) >= self._group_pages or time.monotonic() - self._written_at >= GROUP_SECONDS:
                await self._archive.whole(self.keep)
            messages, size = len(page.items), len(page.raw)
            del page  # Its memory is free while the next one is fetched.
            await tell(messages, size)
        if walked.add(()) is not None:
            walked.end_page()  # Of the last page, nothing could be decoded.
        return None

    def _may_end_at(self, key: Key) -> bool:
        """Whether what lies below is held, and need not be read again."""
        return not (self._rescan is not None and key[0] >= self._rescan) and any(
            span.holds(key) for span in self._state.spans
        )

    def _agrees(self, walked: Pages) -> bool:
        """Whether a page says just what is held of its stretch: the same messages, and nothing missing in between."""
        page = [(key, digest_of(line)) for key, line in walked.lines()]
        return page == self._index.between(page[0][0], walked.low or HIGHEST)

    def keep(self) -> None:
        """Write what was walked and not yet written; a kill from here on costs nothing of it."""
        walked, state = self._walked, self._state
        ops = self._beside()
        if walked.pages:
            name = f"{self._leg.number:04d}-{len(state.raws):06d}"
            stored = self._archive.stage_blocks(f"{self._folder}/raw", name, walked.blocks(), packed=False)
            self._sound.add(stored.path)
            if sum(map(len, self._times.values())) < _TIMES_KEPT:
                self._times[stored.path] = array("q", [ts for page in reversed(walked.pages) for ts in page.times])
            held = Held(stored.path, stored.sha256, stored.rows, stored.packed)
            begun = self._beginning()
            high, low = walked.pages[0].high, walked.pages[-1].low
            ops = [*begun, Raw(self._leg.number, held, walked.written_to, high, low, len(walked.pages)), *ops]
        if ops:
            self._commit(ops)
        walked.clear()
        self._written_at = time.monotonic()

    def _beside(self) -> list[Op]:
        """What the walk met beside messages."""
        walked, state = self._walked, self._state
        users, media = walked.users - state.users, walked.media - state.media_met
        ops: list[Op] = [Met(tuple(sorted(users)), tuple(sorted(media)))] if users or media else []
        known = state.unplaced_digests - state.unplaced_mended
        unplaced = {digest: line for digest, line in walked.unplaced.items() if digest not in known}
        if unplaced:
            stored = self._archive.stage_lines(f"{self._folder}/unplaced", "u", unplaced.values())
            ops.append(Unplaced(Held(stored.path, stored.sha256, stored.rows, stored.packed), tuple(unplaced)))
        known_odd = {failed.id for failed in state.failed_messages() if failed.ts is None}
        return [*ops, *(odd for odd in walked.odd if odd.ts is not None or odd.id not in known_odd)]

    def _settle(self, end: Walked) -> None:
        """Seal every month the leg crossed, then make the leg part of what is held."""
        walked, state, leg = self._walked, self._state, self._leg
        covered = Span(end.bottom, leg.upper or HIGHEST)
        if state.walked is None and self._rows_to_seal(covered) > SEALED_AT_ONCE:
            # It will take several commits. After a kill between them, the walk must end where it ended now.
            self.keep()
            self._commit([*self._beginning(), end])
        ended = LegEnded(leg.number, end.low, max(end.low, self._high(end)), end.why)
        ops = [*self._beside(), *self._mended(covered)]
        ops += self._seal_months(covered)
        first_look = leg.upper is None and not state.newest
        new = not any(span.covers(Span(end.low, ended.high)) for span in state.spans)
        if ops or state.leg is not None or first_look or new or ("history", "") in state.failed:
            used = [raw.file.path for raw in state.raws]
            self._commit([*self._beginning(), *ops, ended])
            if used:
                self._archive.remove(self._folder, used)
        walked.clear()

    def _beginning(self) -> list[Op]:
        """The leg, where no commit tells of it yet."""
        return [] if self._state.leg is not None else [self._leg]

    def _high(self, end: Walked) -> Key:
        """Below here, all is known that was asked for; what is not sent yet is not known."""
        upper, top = self._leg.upper, self._walked.top
        highest = just_above(top) if top is not None else end.low
        if upper is None:
            return highest
        now = (time.time_ns() - CLOCKS_APART, "")
        return upper if upper <= now or touches(upper, self._state.spans) else max(highest, now)

    def _rows_to_seal(self, covered: Span) -> int:
        """At most so many."""
        held = (sealed.file for month, sealed in self._state.months.items() if _touches(month, covered))
        walked = self._walked.rows + sum(raw.file.rows for raw in self._state.raws)
        return walked + sum(file.rows for file in held if file is not None)

    def _mended(self, covered: Span) -> list[Op]:
        """Messages that were odd when they were met before, and this leg met as good ones or not at all."""
        everything = covered == Span(BEGINNING, HIGHEST)
        odd = {failed.id for failed in self._walked.odd}
        return [
            Mended("message", failed.id)
            for failed in self._state.failed_messages()
            if failed.id not in odd
            and failed.leg != self._leg.number
            and (everything if failed.ts is None else covered.holds((failed.ts, failed.id)))
        ]

    def _seal_months(self, covered: Span) -> list[Op]:
        """Seal what the leg brought, committing long legs in steps; gives what is not committed yet."""
        state, number = self._state, self._leg.number
        done = state.sealed_in(number)
        ops: list[Op] = []
        rows = 0
        walked = groupby(by_month(chain(self._walked.stretches(), self._raw_stretches())), key=itemgetter(0))
        months = ((month, (lines for _, lines in pieces)) for month, pieces in walked)
        for month, pieces in _every_month(
            months, [month for month in sorted(state.months) if _touches(month, covered)]
        ):
            if month in done:
                continue
            for sealed in self._sealed(month, pieces, covered):
                ops.append(sealed)
                rows += sealed.file.rows if sealed.file is not None else 0
            if rows > SEALED_AT_ONCE:
                self._commit(ops)
                ops, rows = [], 0
        return ops

    def _raw_stretches(self) -> Iterator[Stretch]:
        """What is written of the leg, oldest first."""
        for raw in reversed(self._state.raws):
            path = raw.file.path
            lines = list(self._archive.lines(path))
            if len(lines) != raw.file.rows:
                raise DamagedArchive(f"{path} has {len(lines)} lines, {raw.file.rows} were committed")
            times: Sequence[int] | None = self._times.pop(path, None)
            yield times or [ts for (ts, _), _ in keyed(lines)], lines

    def _sealed(self, month: str, pieces: Iterator[list[bytes]], covered: Span) -> list[Sealed]:
        before = self._state.months.get(month)
        rev = before.rev + 1 if before is not None else 1
        lost = before is not None and self._is_lost(month, covered)
        found = Differences()
        folder, name = f"{self._folder}/sealed/{month}", f"r{rev}"
        if before is None or lost:
            blocks = (b"\n".join(lines) + b"\n" for lines in pieces)
            stored = self._archive.stage_blocks(folder, name, blocks)
        else:
            held, walked = sealed_lines(self._archive, self._state, month), keyed(chain.from_iterable(pieces))
            stored = self._archive.stage_lines(folder, name, merged(held, walked, covered, found))
        if before is None:
            found.new = stored.rows
        self.new += found.new
        self.changed += len(found.changed)
        self.gone += len(found.gone)
        file = Held(stored.path, stored.sha256, stored.rows, stored.packed) if stored.rows else None
        old = before.file if before is not None else None
        same = not lost and (file.sha256 if file else None) == (old.sha256 if old else None)
        if same or file is None:
            self._archive.discard(stored)
        if same:
            return []
        leg, changed, gone = self._leg.number, tuple(found.changed), tuple(found.gone)
        return [Sealed(month, rev, file, leg, covered.low, covered.high, changed, gone)]

    def _is_lost(self, month: str, covered: Span) -> bool:
        """Whether a month is damaged that was read again as a whole, so that nothing held of it is needed."""
        everything = self._rescan == BEGINNING[0] and covered.low == BEGINNING and month < month_of(covered.high[0])
        held = self._state.months[month].file
        return everything and held is not None and not self._archive.is_sound(held.path, held.sha256)


def _touches(month: str, covered: Span) -> bool:
    return month_of(covered.low[0]) <= month <= month_of(covered.high[0])


def _every_month(
    walked: Iterator[tuple[str, Iterator[list[bytes]]]], held: list[str]
) -> Iterator[tuple[str, Iterator[list[bytes]]]]:
    """Months of the walk and months that are held, in order, each once; held ones the walk did not meet are empty."""
    waiting = list(reversed(held))
    for month, pieces in walked:
        while waiting and waiting[-1] < month:
            yield waiting.pop(), iter(())
        if waiting and waiting[-1] == month:
            waiting.pop()
        yield month, pieces
    while waiting:
        yield waiting.pop(), iter(())
