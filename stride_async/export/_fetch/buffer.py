"""What a walk has brought and nobody has written yet: pages, in order, and what was met beside messages. Pure."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter

import attrs
import msgspec

from stride_async._errors import DecodeError
from stride_async._models import Key, Message, key_of
from stride_async._wire.convert import key_at, undecodable
from stride_async.export._archive.commits import Failed
from stride_async.export._archive.months import digest_of, end_of_month, month_of
from stride_async.export._archive.state import can_be_placed
from stride_async.export._fetch.references import add_met

Line = tuple[Key, bytes]
Stretch = tuple[Sequence[int], list[bytes]]
"""When messages were sent, and their lines, oldest first."""
_FIRST = itemgetter(0)


def line_of(raw: bytes) -> bytes:
    """A message as one line: the service's own bytes, white space between tokens aside where it breaks lines."""
    if b"\n" not in raw and b"\r" not in raw:
        return raw
    try:
        return msgspec.json.format(raw, indent=-1)
    except (msgspec.DecodeError, RecursionError):
        return raw.replace(b"\r", b" ").replace(b"\n", b" ")  # Line breaks stand between tokens only.


def by_month(stretches: Iterable[Stretch]) -> Iterator[tuple[str, list[bytes]]]:
    """The same lines, cut where a month ends."""
    for times, lines in stretches:
        at = 0
        while at < len(times):
            month = month_of(times[at])
            end = bisect_left(times, end_of_month(month), at)
            yield month, lines[at:end]
            at = end


@attrs.frozen
class Page:
    """Messages that follow each other, oldest first."""

    block: bytes
    """A line each, with its line break. One piece of memory: a piece for each message would leave holes."""
    times: array[int]
    low: Key
    high: Key

    @classmethod
    def of(cls, keys: Sequence[Key], block: bytes) -> Page:
        """Of lines with these keys."""
        return cls(block, array("q", map(_FIRST, keys)), keys[0], keys[-1])


@attrs.define
class Pages:
    """What a leg brought that is not yet written."""

    leg: int
    floor: Key
    """The least key asked for."""
    top: Key | None
    """The newest message of the leg, written or not."""
    low: Key | None
    """Everything from here to the leg's upper end came; None at the newest end."""
    written_to: Key | None
    """The same of what is written."""
    pages: list[Page] = attrs.field(factory=list)
    """Newest first."""
    users: set[str] = attrs.field(factory=set)
    media: set[str] = attrs.field(factory=set)
    odd: list[Failed] = attrs.field(factory=list)
    """What was no message."""
    unplaced: dict[str, bytes] = attrs.field(factory=dict)
    """What had not even a key, by digest."""
    _keys: list[Key] = attrs.field(factory=list)
    """Of the page that is being taken, oldest first."""
    _lines: list[bytes] = attrs.field(factory=list)
    _block: bytes = b""
    _odd_lines: dict[Key, bytes] = attrs.field(factory=dict)
    _odd_before: int = 0
    """How many odd ones there were before this page."""

    def add(self, messages: Sequence[Message]) -> Key | None:
        """A page's messages; gives the least key of what of the page has its place, None for nothing."""
        ordered = list(reversed(messages))  # They come newest first.
        keys = list(map(key_of, ordered))
        if keys != sorted(keys):
            ordered.sort(key=key_of)
            keys.sort()
        if keys and not (can_be_placed(keys[0]) and can_be_placed(keys[-1])):
            ordered = self._placed(ordered)
            keys = list(map(key_of, ordered))
        if keys and (keys[0] < self.floor or (self.low is not None and keys[-1] >= self.low)):
            # What lies below was not asked for; what lies above came already.
            ordered = [message for message in ordered if self._is_new(key_of(message))]
            keys = list(map(key_of, ordered))
        lines = [message.raw for message in ordered]
        block = b"\n".join(lines)
        if b"\r" in block or block.count(b"\n") >= max(len(lines), 1):
            lines = list(map(line_of, lines))
            block = b"\n".join(lines)
        add_met(ordered, block, self.users, self.media)
        self._keys, self._lines, self._block = keys, lines, block + b"\n"
        if self._odd_lines:
            self._mix()
        return self._keys[0] if self._keys else None

    def _is_new(self, key: Key) -> bool:
        return self.floor <= key and (self.low is None or key < self.low)

    def _placed(self, messages: Iterable[Message]) -> list[Message]:
        """Those that have a place; the others count as odd."""
        placed = []
        for message in messages:
            if can_be_placed(key_of(message)):
                placed.append(message)
            else:
                self.add_undecodable(undecodable("$.ts", message.raw, "the time is before 1678 or after 2261"))
        return placed

    def add_undecodable(self, error: DecodeError) -> None:
        """An element that is no message, told before its page's messages: kept by its key if it has one, else apart."""
        key, line = key_at(error.raw), line_of(error.raw)
        if key is not None and not can_be_placed(key):
            key = None
        if key is None:
            id, ts = digest_of(line).hex(), None
            self.unplaced[id] = line
        elif self._is_new(key):
            ts, id = key
            self._odd_lines[key] = line
        else:
            return
        self.odd.append(Failed("message", id, str(error), final=True, ts=ts, leg=self.leg))

    def _mix(self) -> None:
        """The odd ones take their places; where one came beside a good one, the good one counts."""
        lines = sorted((self._odd_lines | dict(self.lines())).items())
        self._keys, self._lines = [key for key, _ in lines], [line for _, line in lines]
        self._block = b"\n".join(self._lines) + b"\n"

    def lines(self) -> list[Line]:
        """The page that is being taken."""
        return list(zip(self._keys, self._lines, strict=True))

    def end_page(self) -> None:
        """It is part of what came."""
        page = Page.of(self._keys, self._block)
        self.pages.append(page)
        self.low = page.low
        self.top = max(self.top or page.high, page.high)
        self._forget_page()

    def drop_page(self) -> None:
        """All of it that has a place is held already."""
        self.odd[self._odd_before :] = [odd for odd in self.odd[self._odd_before :] if odd.ts is None]
        self._forget_page()

    def _forget_page(self) -> None:
        self._keys, self._lines, self._block = [], [], b""
        self._odd_lines.clear()
        self._odd_before = len(self.odd)

    def clear(self) -> None:
        """Everything is written."""
        self.pages.clear()
        self.odd.clear()
        self.unplaced.clear()
        self.users, self.media = set(), set()
        self.written_to = self.low
        self._odd_before = 0

    @property
    def rows(self) -> int:
        """Messages that are not written."""
        return sum(len(page.times) for page in self.pages)

    def blocks(self) -> list[bytes]:
        """Lines of all pages, oldest first."""
        return [page.block for page in reversed(self.pages)]

    def stretches(self) -> Iterator[Stretch]:
        """All pages, oldest first."""
        for page in reversed(self.pages):
            yield page.times, page.block[:-1].split(b"\n")
