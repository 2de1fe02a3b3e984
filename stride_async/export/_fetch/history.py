"""Walk the history of one conversation, leg by leg, until everything that is asked for is held.

The history is an axis of keys, `(ts, id)`. The service gives pages from a message backwards only (protocol 5.15), so a
*leg* walks down from its upper end. `plan.next_leg` chooses the legs: first one from the newest message that is asked
for, because only that shows what is new or has changed; then one for each gap, newest first.

    BEGINNING                                                                  HIGHEST
    |==== span ====|        gap        |====== span ======|   new messages   |
                                               <--- leg 1, from the newest --|
                   <------- leg 2 -----|

What a leg commits, and therefore the states that a kill can leave:

    (nothing) -> LegStarted, RawGroup, RawGroup … -> [WalkEnded, Sealed …] -> Sealed …, LegEnded

A short leg commits all of it at once. Pages are gathered in a `LegBuffer` and written as raw groups every few pages or
fractions of a second. `WalkEnded` is only needed if sealing takes several commits. The next run resumes an open leg
where its commits end: below its last raw group, or at its first month that is not sealed.

Invariants:

1. Between the upper end of the leg and the lowest key read, every message is in the raw groups or in the buffer: each
   page is requested below the lowest key of the page before. The pager refuses a page that does not lead further down.
2. Months are sealed from complete legs only. Within the range that the leg read, what it read replaces what was held,
   so a message that is missing there was deleted; outside of the range, what was held stays.
3. Only `LegEnded` extends the spans, so a leg can join only what completed legs have read.

A leg ends at the first of three things, and its range then reaches down to

- an empty page: to `BEGINNING`, or to the lower bound that was asked for;
- a page that has exactly the messages that are held between its ends, within a span: to the lowest key of that page,
  where it joins the span. What changed deeper is found only if a rescan forbids this end above a certain time;
- the lower bound, if an interrupted leg has come that far when it is resumed.

It does end: each page is lower than the one before, and messages that are sent meanwhile are above its upper end.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from stride_async._conversation import ConversationClient, raw_history
from stride_async._models import Key
from stride_async.export._archive.chain import CommitConflict
from stride_async.export._archive.commits import BEGINNING, HIGHEST, WalkEnded
from stride_async.export._archive.state import State
from stride_async.export._fetch.buffer import LegBuffer
from stride_async.export._fetch.job import Job
from stride_async.export._fetch.leg_writer import LegWriter
from stride_async.export._fetch.plan import Bounds, next_leg

GROUP_PAGES = 8
GROUP_SECONDS = 0.25
"""Pages are written after this many, or after this long: what a kill may cost of one conversation."""
UNWRITTEN_PAGES = 64
"""The most pages that all conversations together keep in memory, however many are exported at the same time."""

# Why a leg ended, as commits say it.
_EMPTY, _MATCHED, _BOUND = "an empty page", "a page that agrees with what is held", "the bound asked for"

ReportPage = Callable[[int, int], Awaitable[None]]
"""Takes the number of messages and the size in bytes of each page."""


class HistoryExport:
    """Brings the history of one conversation up to date, within bounds."""

    def __init__(
        self,
        job: Job,
        room: ConversationClient,
        writer: LegWriter,
        state: State,
        bounds: Bounds,
        report: ReportPage,
        *,
        rescan: int | None,
    ) -> None:
        self._room = room
        self._archive = job.archive
        self._fail_fast = job.options.fail_fast
        self._group_pages = min(max(UNWRITTEN_PAGES // job.at_once, 1), GROUP_PAGES)
        self._writer = writer
        self._state = state
        self._bounds = bounds
        self._report = report
        self._rescan = rescan  # Above this time, in nanoseconds, a page that matches does not end a leg.
        self._written_at = 0.0

    async def run(self, *, newest_read: bool) -> None:
        """Walk one leg after another. `newest_read` says that this run has walked the first one already.

        Raises:
            StrideError: A page could not be fetched. Those before it are written.
            CommitConflict: Another export has committed to this conversation.
            DamagedArchive: A file that is needed is damaged.
        """
        await self._archive.run(self._writer.delete_old_groups)
        while True:
            leg = next_leg(self._state, self._bounds, newest_read=newest_read)
            # A leg that an earlier run left open is walked to its end first, then the one from the newest message.
            if self._state.leg is None and leg is None:
                return
            newest_read = newest_read or self._state.leg is None
            await self._walk(leg.upper if leg is not None else None)

    async def _walk(self, upper: Key | None) -> None:
        """Walk a leg from below `upper`, or the one that is open, and seal its months."""
        if self._state.leg is not None:
            await self._archive.run(self._writer.restart_if_needed, self._bounds)
        buffer = self._writer.start(upper, self._bounds)
        end = self._state.walk_end or await self._walk_to_end(buffer)
        await self._archive.run(self._writer.seal, end)

    async def _walk_to_end(self, buffer: LegBuffer) -> WalkEnded:
        reached, floor = buffer.low, self._bounds.floor
        self._written_at = time.monotonic()
        if reached is not None and reached <= floor:
            return WalkEnded(buffer.leg, reached, reached, _BOUND)
        try:
            matched = await self._fetch_pages(buffer)
        except CommitConflict:
            raise
        except BaseException:
            # Whatever stops the walk, even a cancellation: what was read is not fetched again.
            buffer.drop_page()
            self._writer.write()
            raise
        if matched is None:
            return WalkEnded(buffer.leg, floor, floor, _EMPTY if floor == BEGINNING else _BOUND)
        return WalkEnded(buffer.leg, HIGHEST if buffer.low is None else buffer.low, matched, _MATCHED)

    async def _fetch_pages(self, buffer: LegBuffer) -> Key | None:
        """Fetch pages to the end of the leg.

        Return the lowest key of the page that matched, None if the leg ended at an empty page.
        """
        since = None if self._bounds.since is None else self._bounds.floor
        pager = raw_history(self._room, before=buffer.low, after=since)
        async for page in pager.pages(on_undecodable=None if self._fail_fast else buffer.add_undecodable):
            lowest = buffer.add(page.items)
            if lowest is None:
                continue
            if self._may_end_at(lowest) and await self._archive.run(self._writer.matches):
                buffer.drop_page()
                await self._report(len(page.items), len(page.raw))
                return lowest
            buffer.keep_page()
            if len(buffer.pages) >= self._group_pages or time.monotonic() - self._written_at >= GROUP_SECONDS:
                await self._archive.run(self._writer.write)
                self._written_at = time.monotonic()
            messages, size = len(page.items), len(page.raw)
            del page  # Its memory is free while the next one is fetched.
            await self._report(messages, size)
        if buffer.add(()) is not None:
            buffer.keep_page()  # Nothing in the last page could be decoded.
        return None

    def _may_end_at(self, key: Key) -> bool:
        """Return whether a page down to this key may end the leg: it is within a span, and not to be read again."""
        must_go_on = self._rescan is not None and key[0] >= self._rescan
        return not must_go_on and any(span.contains(key) for span in self._state.spans)
