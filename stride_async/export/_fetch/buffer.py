"""What a leg has read and not yet written: pages in order, and what was found in them. Pure.

Each page is added, and then either kept or dropped. Pages arrive newest first and are turned around, so that every page
is sorted by key, oldest first.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from operator import itemgetter

import attrs

from stride_async._errors import DecodeError
from stride_async._models import Key, RawMessage, key_of
from stride_async._wire.convert import key_at, undecodable
from stride_async.export._archive.commits import Failed
from stride_async.export._archive.months import Line, Stretch, as_line, line_digest
from stride_async.export._archive.state import is_storable
from stride_async.export._fetch.references import add_references

_ts_of = itemgetter(0)


@attrs.frozen
class BufferedPage:
    """Consecutive messages, oldest first."""

    # The lines of all messages, each with its line break, as one piece of memory: one for each would fragment it.
    block: bytes
    times: array[int]
    low: Key
    high: Key

    @classmethod
    def of(cls, keys: Sequence[Key], block: bytes) -> BufferedPage:
        """Make a page of lines that have these keys."""
        return cls(block, array("q", map(_ts_of, keys)), keys[0], keys[-1])


@attrs.define
class LegBuffer:
    """The pages of a leg that are not written yet."""

    leg: int
    floor: Key
    """The lowest key that is asked for."""
    top: Key | None
    """The newest message of the leg, written or not."""
    low: Key | None
    """Everything from here to the upper end of the leg was read; None before the first page."""
    written_to: Key | None
    """Everything from here to the upper end of the leg is written."""
    pages: list[BufferedPage] = attrs.field(factory=list)
    """Newest first."""
    users: set[str] = attrs.field(factory=set)
    media: set[str] = attrs.field(factory=set)
    undecodable: list[Failed] = attrs.field(factory=list)
    unplaced: dict[str, bytes] = attrs.field(factory=dict)
    """Elements without a readable key, by digest."""
    # The page that is being added: keys and lines of its messages, and the undecodable ones that have a key.
    _keys: list[Key] = attrs.field(factory=list)
    _block: bytes = b""
    _undecodable_lines: dict[Key, bytes] = attrs.field(factory=dict)
    _undecodable_before: int = 0

    def add(self, messages: Sequence[RawMessage]) -> Key | None:
        """Add the messages of a page. Return its lowest key, None if nothing of the page has a key that was asked for.

        Undecodable elements of the page are added before, with `add_undecodable`.
        """
        ordered = list(reversed(messages))
        keys = list(map(key_of, ordered))
        if keys != sorted(keys):
            ordered.sort(key=key_of)
            keys.sort()
        if keys and not (is_storable(keys[0]) and is_storable(keys[-1])):
            ordered = self._storable(ordered)
            keys = list(map(key_of, ordered))
        if keys and (keys[0] < self.floor or (self.low is not None and keys[-1] >= self.low)):
            # A page that is requested by time may have messages beyond either end.
            ordered = [message for message in ordered if self._is_new(key_of(message))]
            keys = list(map(key_of, ordered))
        raws = [message.raw for message in ordered]
        block = b"".join(raws)
        if b"\n" in block or b"\r" in block:
            raws = [as_line(bytes(raw)) for raw in raws]
        block = b"\n".join([*raws, b""])
        add_references(ordered, block, self.users, self.media)
        self._keys, self._block = keys, block
        if self._undecodable_lines:
            self._merge_undecodable()
        return self._keys[0] if self._keys else None

    def add_undecodable(self, error: DecodeError) -> None:
        """Add an element that is not a message: in its place if it has a readable key, else apart."""
        key, line = key_at(error.raw), as_line(error.raw)
        if key is not None and not is_storable(key):
            key = None
        if key is None:
            id, ts = line_digest(line).hex(), None
            self.unplaced[id] = line
        elif self._is_new(key):
            ts, id = key
            self._undecodable_lines[key] = line
        else:
            return
        self.undecodable.append(Failed("message", id, str(error), final=True, ts=ts, leg=self.leg))

    def lines(self) -> list[Line]:
        """Return the page that is being added."""
        return list(zip(self._keys, self._block.split(b"\n")[:-1], strict=True)) if self._keys else []

    def keep_page(self) -> None:
        """Keep the page: it becomes part of what the leg has read."""
        page = BufferedPage.of(self._keys, self._block)
        self.pages.append(page)
        self.low = page.low
        self.top = max(self.top or page.high, page.high)
        self._forget_page()

    def drop_page(self) -> None:
        """Drop the page, because its messages are held already. Elements without a key stay."""
        before = self._undecodable_before
        self.undecodable[before:] = [failed for failed in self.undecodable[before:] if failed.ts is None]
        self._forget_page()

    def clear(self) -> None:
        """Forget everything, because it is written."""
        self.pages.clear()
        self.undecodable.clear()
        self.unplaced.clear()
        self.users, self.media = set(), set()
        self.written_to = self.low
        self._undecodable_before = 0

    @property
    def rows(self) -> int:
        """The number of messages kept."""
        return sum(len(page.times) for page in self.pages)

    def stretches(self) -> list[Stretch]:
        """Return the times and lines of all pages, oldest first."""
        return [(page.times, page.block) for page in reversed(self.pages)]

    def _is_new(self, key: Key) -> bool:
        return self.floor <= key and (self.low is None or key < self.low)

    def _storable(self, messages: Iterable[RawMessage]) -> list[RawMessage]:
        """Return the messages whose time can be stored; the others count as undecodable."""
        storable = []
        for message in messages:
            if is_storable(key_of(message)):
                storable.append(message)
            else:
                self.add_undecodable(undecodable("$.ts", bytes(message.raw), "the time is before 1678 or after 2261"))
        return storable

    def _merge_undecodable(self) -> None:
        """Put undecodable elements in their places. A message with the same key replaces one."""
        lines = sorted((self._undecodable_lines | dict(self.lines())).items())
        self._keys = [key for key, _ in lines]
        self._block = b"".join([line + b"\n" for _, line in lines])

    def _forget_page(self) -> None:
        self._keys, self._block = [], b""
        self._undecodable_lines.clear()
        self._undecodable_before = len(self.undecodable)
