"""One conversation's history into the archive: walk down, keep what came, seal the months."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from itertools import chain, groupby
from typing import TypeVar

import attrs
import msgspec

from stride_async._conversation import ConversationClient
from stride_async._errors import DecodeError
from stride_async._models import EPOCH, Message
from stride_async._wire.convert import key_at
from stride_async.export._archive import Archive
from stride_async.export._plan import (
    BEGINNING,
    HIGHEST,
    Differences,
    Failed,
    Held,
    Key,
    LegBegun,
    LegEnded,
    Met,
    Op,
    Raw,
    Sealed,
    Span,
    State,
    agrees,
    digest_of,
    merged,
    month_of,
)

GROUP_PAGES = 8
"""Pages gathered before they are written: what a kill may cost of one conversation."""
LAST_ID = "\U0010ffff"
"""Not below any id."""
EMPTY, AGREED = "an empty page", "a page that agrees with what is held"
"""Why a leg may end."""
_MENTIONS_SOMEBODY = (b'"mention"', b'"media"', b"\\u00")
Line = tuple[Key, bytes]
R = TypeVar("R")


async def whole(work: Callable[[], R]) -> R:
    """Do work on files in a thread, to its end even when the caller is cancelled meanwhile."""
    running = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


def line_of(raw: bytes) -> bytes:
    """A message as one line: the service's own bytes, white space between tokens aside where it breaks lines."""
    return msgspec.json.format(raw, indent=-1) if b"\n" in raw or b"\r" in raw else raw


def key_of(message: Message) -> Key:
    """`(ts, id)`."""
    return message.ts, message.id


@attrs.define
class Walked:
    """What a leg brought that is not yet written: lines newest first, users and media met, what was no message."""

    lines: list[Line] = attrs.field(factory=list)
    pages: int = 0
    _page_from: int = 0
    users: set[str] = attrs.field(factory=set)
    media: set[str] = attrs.field(factory=set)
    odd: list[DecodeError] = attrs.field(factory=list)

    def add(self, message: Message) -> None:
        """One message."""
        self.lines.append((key_of(message), line_of(message.raw)))
        self.users.add(message.sender_id)
        if any(sign in message.raw for sign in _MENTIONS_SOMEBODY):
            try:
                self.users.update(message.body.mentions())
                self.media.update(message.body.media())
            except ValueError:
                pass  # A body that is no document speaks of nobody; the message is kept as it is.

    def end_page(self) -> list[Line]:
        """The lines since the page before."""
        self.pages += 1
        lines, self._page_from = self.lines[self._page_from :], len(self.lines)
        return lines

    def forget(self, lines: list[Line]) -> None:
        """Take the last page back: all of it is held already."""
        del self.lines[len(self.lines) - len(lines) :]
        self._page_from = len(self.lines)

    def written(self) -> None:
        """Everything gathered is in the archive."""
        self.lines.clear()
        self.pages = self._page_from = 0

    def add_undecodable(self, error: DecodeError) -> None:
        """An element that is no message: kept by its key where it has one."""
        self.odd.append(error)
        key = key_at(error.raw)
        if key is not None:
            self.lines.append((key, line_of(error.raw)))


class HistoryExport:
    """Walks one leg of a conversation after the other."""

    def __init__(
        self,
        archive: Archive,
        folder: str,
        state: State,
        room: ConversationClient,
        commit: Callable[[list[Op]], None],
        rescan: int | None,
    ) -> None:
        self.new = self.changed = self.gone = 0
        self._archive = archive
        self._folder = folder
        self._state = state
        self._room = room
        self._commit = commit
        self._rescan = rescan
        self._walked = Walked()
        self._index: dict[str, dict[Key, bytes]] = {}
        self._asked: Key | None = None
        self._high: Key | None = None
        self._low: Key | None = None

    async def walk(self, upper: Key | None, since: datetime | None) -> AsyncIterator[tuple[int, int]]:
        """Walk a leg from below `upper`, or go on with the one that is open; gives messages and bytes of each page."""
        if self._state.leg is None:
            await whole(partial(self._commit, [LegBegun(self._state.legs + 1, upper)]))
        leg = self._state.leg
        assert leg is not None
        raws, walked = self._state.raws, Walked()
        self._walked = walked
        self._high = raws[0].high if raws else None
        self._low = self._asked = raws[-1].low if raws else leg.upper
        low: Key = BEGINNING if since is None else (_nanoseconds(since), LAST_ID)
        why = EMPTY
        pager = self._room.history(before=_below(self._low), after=since)
        try:
            async for page in pager.pages(on_undecodable=walked.add_undecodable):
                for message in page.items:
                    walked.add(message)
                lines = walked.end_page()
                bottom, top = min(key for key, _ in lines), max(key for key, _ in lines)
                self._high = max(self._high or top, top)
                agreed = await whole(partial(self._agrees, bottom, lines))
                if agreed:
                    walked.forget(lines)
                    low, why = bottom, AGREED
                else:
                    self._low = bottom
                    if walked.pages >= GROUP_PAGES:
                        await whole(self.keep)
                yield len(lines), len(page.raw)
                if agreed:
                    break
        except BaseException:
            self.keep()  # Whatever stops the walk: what came is not fetched again.
            raise
        await whole(partial(self._settle, leg, low, why))

    def _agrees(self, low: Key, lines: list[Line]) -> bool:
        """Whether a page says what is held of its stretch, where that counts."""
        if self._rescan is not None and low[0] >= self._rescan:
            return False
        if not any(span.low <= low <= span.high for span in self._state.spans):
            return False
        page = {key: digest_of(line) for key, line in lines}
        return agrees(page, self._held_between(low, self._low or HIGHEST))

    def _held_between(self, low: Key, upper: Key) -> Mapping[Key, bytes]:
        first = month_of(low[0])
        last = "9999-99" if upper == HIGHEST else month_of(upper[0])
        found: dict[Key, bytes] = {}
        for month in self._state.months:
            if first <= month <= last:
                if month not in self._index:
                    self._index[month] = {key: digest_of(line) for key, line in self._sealed_lines(month)}
                found.update({key: d for key, d in self._index[month].items() if low <= key < upper})
        return found

    def _sealed_lines(self, month: str) -> Iterator[Line]:
        sealed = self._state.months.get(month)
        if sealed is None or sealed.file is None:
            return
        for line in self._archive.lines(sealed.file.path):
            key = key_at(line)
            assert key is not None
            yield key, line

    def keep(self) -> None:
        """Write what was walked and not yet written; a kill from here on costs nothing of it."""
        walked, leg = self._walked, self._state.leg
        if leg is None or not walked.lines or self._low is None or self._high is None:
            return
        lines = sorted(walked.lines, reverse=True)
        name = f"{leg.number:04d}-{len(self._state.raws):06d}"
        stored = self._archive.put_lines(f"{self._folder}/raw", name, (line for _, line in lines))
        held = Held(stored.path, stored.sha256, stored.rows)
        self._commit(
            [
                Raw(leg.number, held, self._asked, lines[0][0], lines[-1][0], walked.pages),
                *self._met(),
            ]
        )
        self._asked = self._low = lines[-1][0]
        walked.written()

    def _met(self) -> list[Op]:
        walked, state = self._walked, self._state
        users, media = walked.users - state.users, walked.media - state.media_met
        ops: list[Op] = [Met(tuple(sorted(users)), tuple(sorted(media)))] if users or media else []
        ops += [Failed("message", error.path, str(error), final=True) for error in walked.odd]
        walked.users, walked.media = set(), set()
        walked.odd.clear()
        return ops

    def _settle(self, leg: LegBegun, low: Key, why: str) -> None:
        """Seal every month the leg crossed, then make the leg part of what is held."""
        state = self._state
        tail = sorted(self._walked.lines)
        high = leg.upper if leg.upper is not None else self._high
        ops: list[Op] = []
        if tail or state.raws or why == EMPTY:
            bottom = low if why == EMPTY else min(tail[0][0] if tail else HIGHEST, self._asked or HIGHEST)
            covered = Span(bottom, HIGHEST if leg.upper is None else (self._high or leg.upper))
            sealed_already = state.sealed_in(leg.number)
            walked = groupby(chain(tail, self._raw_lines_ascending()), key=lambda line: month_of(line[0][0]))
            for month, lines in _every_month(walked, sorted(m for m in state.months if _touches(m, covered))):
                if month not in sealed_already:
                    ops += self._sealed(month, lines, covered, leg)
        used = [raw.file.path for raw in state.raws]
        self._commit([*self._met(), *ops, LegEnded(leg.number, low, max(low, high or low), why)])
        for path in used:
            self._archive.remove(path)
        self._index.clear()

    def _raw_lines_ascending(self) -> Iterator[Line]:
        for raw in reversed(self._state.raws):
            lines = list(self._archive.lines(raw.file.path))
            for line in reversed(lines):
                key = key_at(line)
                assert key is not None
                yield key, line

    def _sealed(self, month: str, lines: Iterator[Line], covered: Span, leg: LegBegun) -> list[Op]:
        before = self._state.months.get(month)
        found = Differences()
        stored = self._archive.put_lines(
            f"{self._folder}/sealed/{month}",
            f"r{(before.rev if before else 0) + 1}",
            merged(self._sealed_lines(month), lines, covered, found),
        )
        self.new += found.new
        self.changed += len(found.changed)
        self.gone += len(found.gone)
        if before is not None and before.file is not None and before.file.sha256 == stored.sha256:
            self._archive.remove(stored.path)
            return []
        if before is None and not stored.rows:
            self._archive.remove(stored.path)
            return []
        return [
            Sealed(
                month,
                (before.rev if before else 0) + 1,
                Held(stored.path, stored.sha256, stored.rows),
                leg.number,
                covered.low,
                covered.high,
                tuple(found.changed),
                tuple(found.gone),
            )
        ]


def _touches(month: str, covered: Span) -> bool:
    first = "" if covered.low == BEGINNING else month_of(covered.low[0])
    last = "9999-99" if covered.high == HIGHEST else month_of(covered.high[0])
    return first <= month <= last


def _every_month(walked: Iterator[tuple[str, Iterator[Line]]], held: list[str]) -> Iterator[tuple[str, Iterator[Line]]]:
    """Months of the walk and months that are held, in order, each once; held ones the walk did not meet are empty."""
    waiting = list(reversed(held))
    for month, lines in walked:
        while waiting and waiting[-1] < month:
            yield waiting.pop(), iter(())
        if waiting and waiting[-1] == month:
            waiting.pop()
        yield month, lines
    while waiting:
        yield waiting.pop(), iter(())


def _below(key: Key | None) -> Message | datetime | None:
    """A bound for the pager: the message with this key, or the moment where the key names none."""
    if key is None:
        return None
    ts, id = key
    if not id:
        return EPOCH + timedelta(microseconds=-(-ts // 1000))
    return Message(id, "", ts, "", b"")


def _nanoseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000
