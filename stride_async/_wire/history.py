"""A conversation's messages, newest or oldest first, without loss. Pure.

The service gives at most `limit` of the *latest* messages that fit the bounds (protocol 5.15): walking forward with
`afterMessage` skips whatever lies between. The only safe walk goes backwards from the oldest message seen, until a
page is empty. Order is by `(ts, id)`, made here and never taken from the service.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from operator import attrgetter

import attrs
import msgspec

from stride_async._errors import PaginationLoop
from stride_async._models import EPOCH, Message
from stride_async._wire.bookmark import Bookmark, Word
from stride_async._wire.convert import instant, key_at, message_at, undecodable
from stride_async._wire.pages import Page, Undecodable, read_all, split_history, whole
from stride_async._wire.request import Request

HELD_PAGES = 16
"""Pages an oldest-first walk keeps whole on its way back, so that catching up costs no second asking."""

Key = tuple[int, str]
"""`(ts, id)`: the order of messages."""

_SECOND = 1_000_000_000
_LAST_ID = "\U0010ffff"
_key_of = attrgetter("ts", "id")

Bound = str | Message | datetime
"""Where a history begins or ends, exclusive: a message id, a message, or an aware moment."""


@attrs.frozen
class _Edge:
    """A bound as far as it is known: the message to ask with, and its place in time."""

    id: str | None
    ts: int | None

    @classmethod
    def of(cls, bound: Bound | None, name: str) -> _Edge | None:
        if bound is None:
            return None
        if isinstance(bound, Message):
            return cls(bound.id, bound.ts)
        if isinstance(bound, datetime):
            if bound.tzinfo is None:
                raise ValueError(f"{name}={bound.isoformat()} has no time zone: give an aware datetime")
            return cls(None, (bound - EPOCH) // timedelta(microseconds=1) * 1000)
        if not bound:
            raise ValueError(f"{name} is an empty message id")
        return cls(bound, None)

    @property
    def word(self) -> Word:
        """For the fingerprint of a listing: the id where there is one, else the moment."""
        return self.id if self.id is not None else instant(self.ts or 0)

    def lower_key(self) -> Key | None:
        """Everything given lies above this."""
        return None if self.ts is None else (self.ts, self.id or _LAST_ID)

    def upper_key(self) -> Key | None:
        """Everything given lies below this."""
        return None if self.ts is None else (self.ts, self.id or "")


@attrs.frozen(kw_only=True)
class HistoryListing:
    """The messages of one conversation between two exclusive bounds."""

    path: str
    limit_key: str
    after: _Edge | None
    before: _Edge | None
    oldest_first: bool

    @property
    def query(self) -> Mapping[str, Word]:
        """Kind, path, bounds and order."""
        return {
            "kind": "history",
            "path": self.path,
            "after": self.after.word if self.after else None,
            "before": self.before.word if self.before else None,
            "order": "oldest first" if self.oldest_first else "newest first",
        }

    def walk(self, page_size: int, bookmark: Bookmark | None) -> HistoryWalk | OldestFirstWalk:
        """From the end the order names, or from behind the bookmarked message."""
        at = None
        if bookmark is not None and bookmark.place:
            at = _Edge(str(bookmark.word("id", str)), int(bookmark.word("ts", int)))
        if self.oldest_first:
            return OldestFirstWalk(self, page_size, at)
        return HistoryWalk(self, page_size, at)

    def place(self, key: Key | None) -> Bookmark:
        """The bookmark behind the message with this key; None: at the start."""
        return Bookmark(self.query, {} if key is None else {"ts": key[0], "id": key[1]})


def history(
    path: str, limit_key: str, after: Bound | None, before: Bound | None, *, oldest_first: bool
) -> HistoryListing:
    """A listing of the messages between two bounds.

    Raises:
        ValueError: a datetime without zone, an empty id, or `after` later than `before` where both carry a time.
    """
    low, high = _Edge.of(after, "after"), _Edge.of(before, "before")
    if low and high and low.ts is not None and high.ts is not None and low.ts > high.ts:
        raise ValueError(f"after={instant(low.ts)} is later than before={instant(high.ts)}")
    return HistoryListing(path=path, limit_key=limit_key, after=low, before=high, oldest_first=oldest_first)


@attrs.frozen
class _Window:
    """What lies between two edges, as far as their times are known."""

    low: Key | None
    high: Key | None
    edges: frozenset[str]
    """Ids of the bounds themselves, which are excluded whatever their time."""

    @classmethod
    def of(cls, listing: HistoryListing) -> _Window:
        after, before = listing.after, listing.before
        edges = frozenset(edge.id for edge in (after, before) if edge and edge.id is not None)
        return cls(after.lower_key() if after else None, before.upper_key() if before else None, edges)

    def holds(self, key: Key) -> bool:
        return (
            (self.low is None or key > self.low) and (self.high is None or key < self.high) and key[1] not in self.edges
        )


class _Backwards:
    """Asks for one page after the other, each older than the last, between two edges."""

    def __init__(self, listing: HistoryListing, page_size: int, *, after: _Edge | None, before: _Edge | None) -> None:
        self._listing = listing
        self._page_size = page_size
        self._after = after
        self._before = before
        self._by_id = (True, True)
        """Whether the lower and the upper edge are asked for by message id; a deleted one is asked for by time."""
        self.ended = False

    def request(self, limit: int) -> Request[bytes]:
        query: list[tuple[str, str]] = []
        low, high = self._after, self._before
        low_by_id, high_by_id = self._by_id
        if low is not None:
            if low.id is not None and (low_by_id or low.ts is None):
                query.append(("afterMessage", low.id))
            elif low.ts is not None:
                query.append(("afterTimestamp", instant(_second_before(low))))
        if high is not None:
            if high.id is not None and (high_by_id or high.ts is None):
                query.append(("beforeMessage", high.id))
            elif high.ts is not None:
                query.append(("beforeTimestamp", instant(_second_after(high))))
        # Whole seconds take in more than was asked for: a small page might hold nothing but that.
        exact = "Timestamp" not in "".join(name for name, _ in query)
        query.append(("limit", str(limit if exact else self._page_size)))
        return Request(
            method="GET",
            path=self._listing.path,
            query=tuple(query),
            read=whole,
            limit_key=self._listing.limit_key,
        )

    def edge_is_gone(self) -> bool:
        """Ask by time from now on for every edge whose time is known; False when that changes nothing."""
        low, high = self._after, self._before
        by_id = (
            self._by_id[0] and not (low and low.id is not None and low.ts is not None),
            self._by_id[1] and not (high and high.id is not None and high.ts is not None),
        )
        changed, self._by_id = by_id != self._by_id, by_id
        return changed

    def check(self, oldest: Key) -> None:
        """A page must hold something older than what it was asked with.

        Raises:
            PaginationLoop: it does not, so going on would never end.
        """
        edge = self._before
        if edge is None or edge.ts is None or edge.id is None or not self._by_id[1]:
            return
        if oldest >= (edge.ts, edge.id):
            raise PaginationLoop(
                f"GET {self._listing.path}: asked for messages before {edge.id}, the service gave none that is older"
            )

    def go_on_below(self, oldest: Key | None) -> None:
        """The next page is the one below the oldest message of this one; None: the page was empty."""
        low = self._after.lower_key() if self._after else None
        if oldest is None or (low is not None and oldest <= low):
            self.ended = True
            return
        self._before = _Edge(oldest[1], oldest[0])
        self._by_id = (self._by_id[0], True)


def _second_before(edge: _Edge) -> int:
    """A whole second not above the edge, strictly below it where messages of that very moment count."""
    assert edge.ts is not None
    ts = edge.ts - 1 if edge.id is not None else edge.ts
    return ts // _SECOND * _SECOND


def _second_after(edge: _Edge) -> int:
    """A whole second not below the edge, strictly above it where messages of that very moment count."""
    assert edge.ts is not None
    ts = edge.ts + 1 if edge.id is not None else edge.ts
    return -(-ts // _SECOND) * _SECOND


def _oldest_key(elements: Sequence[msgspec.Raw], path: str, body: bytes) -> Key | None:
    """The least key of a page, from whatever part of its elements can be read; None for an empty page."""
    keys = [key for raw in elements if (key := key_at(bytes(raw))) is not None]
    if elements and not keys:
        raise undecodable(path, body, "no message of this page has a readable id and ts, so the walk cannot go on")
    return min(keys, default=None)


class HistoryWalk:
    """Newest first: page by page backwards, until an empty one."""

    def __init__(self, listing: HistoryListing, page_size: int, at: _Edge | None) -> None:
        self._listing = listing
        self._page_size = page_size
        self._back = _Backwards(listing, page_size, after=listing.after, before=at or listing.before)
        self._window = _Window.of(listing)
        self._last: Key | None = None if at is None else (at.ts or 0, at.id or "")
        """The last message given."""
        self._ready: Page[Message] | None = None

    def next(self, wanted: int | None) -> Request[bytes] | Page[Message] | None:
        """The ready page, else the request for the next one back."""
        if self._ready is not None:
            page, self._ready = self._ready, None
            return page
        if self._back.ended:
            return None
        return self._back.request(self._page_size if wanted is None else min(self._page_size, wanted))

    def place_is_gone(self) -> bool:
        """The message the walk stands on was deleted: go on by time."""
        return self._back.edge_is_gone()

    def take(self, body: bytes, on_undecodable: Undecodable | None) -> None:
        """One page back, given newest first."""
        elements, path = split_history(body)
        messages = read_all(elements, path, message_at, on_undecodable)
        messages.sort(key=_key_of, reverse=True)
        if len(messages) == len(elements):
            oldest = _key_of(messages[-1]) if messages else None
        else:
            oldest = _oldest_key(elements, path, body)
        if oldest is not None:
            self._back.check(oldest)
        last = self._last
        items = [m for m in messages if self._window.holds((m.ts, m.id)) and (last is None or (m.ts, m.id) < last)]
        self._ready = Page(items, body, _places(self._listing, items, last))
        if items:
            self._last = _key_of(items[-1])
        self._back.go_on_below(oldest)


def _places(listing: HistoryListing, items: Sequence[Message], last: Key | None) -> Callable[[int], Bookmark]:
    return lambda count: listing.place(_key_of(items[count - 1]) if count else last)


@attrs.frozen
class _Span:
    """Where a page lay on the way back: below `upper`, down to `oldest`."""

    upper: Key
    oldest: Key


class OldestFirstWalk:
    """The same messages in the other order, in bounded memory.

    On the way back one anchor a page is kept, the first page and the last `HELD_PAGES` whole. Then the held pages are
    given, oldest first, and those between are asked for again from anchor to anchor: at most twice the calls. The
    upper end is fixed by the first page.
    """

    def __init__(self, listing: HistoryListing, page_size: int, at: _Edge | None) -> None:
        self._listing = listing
        self._page_size = page_size
        self._after = at or listing.after
        self._back = _Backwards(listing, page_size, after=self._after, before=listing.before)
        self._spans: list[_Span] = []
        """Anchors of pages not held, newest first."""
        self._held: deque[tuple[_Span, bytes]] = deque()
        self._newest: bytes | None = None
        self._lowest: Key = (0, "")
        """The oldest message seen on the way back."""
        self._window = _Window.of(listing)
        self._last: Key | None = None if at is None else (at.ts or 0, at.id or "")
        self._again: _Backwards | None = None
        self._span: _Span | None = None
        self._found: list[Message] = []
        self._ready: Page[Message] | None = None
        self._on_undecodable: Undecodable | None = None

    def next(self, wanted: int | None) -> Request[bytes] | Page[Message] | None:
        """Back to the beginning first; then the held pages, then those asked for again, then the newest."""
        del wanted  # The walk back must reach the beginning whatever is wanted.
        if self._ready is not None:
            page, self._ready = self._ready, None
            return page
        if not self._back.ended:
            return self._back.request(self._page_size)
        if self._held:
            page = self._page(self._read(self._held[-1][1]), self._held[-1][1])
            self._held.pop()
            return self._given(page)
        if self._again is None and self._spans:
            self._span = self._spans[-1]
            self._again = _Backwards(
                self._listing,
                self._page_size,
                after=self._after,
                before=_Edge(self._span.upper[1], self._span.upper[0]),
            )
        if self._again is not None:
            return self._again.request(self._page_size)
        if self._newest is not None:
            page = self._page(self._read(self._newest), self._newest)
            self._newest = None
            return self._given(page)
        return None

    def place_is_gone(self) -> bool:
        """A message the walk stands on was deleted: go on by time."""
        return (self._again or self._back).edge_is_gone()

    def take(self, body: bytes, on_undecodable: Undecodable | None) -> None:
        """A page of the way back, or one asked for again."""
        self._on_undecodable = on_undecodable
        if self._again is None:
            self._take_back(body)
        else:
            self._take_again(body)

    def _take_back(self, body: bytes) -> None:
        elements, path = split_history(body)
        oldest = _oldest_key(elements, path, body)
        if oldest is not None:
            self._back.check(oldest)
            if self._newest is None:
                self._newest = body
            else:
                self._held.append((_Span(self._lowest, oldest), body))
                if len(self._held) > HELD_PAGES:
                    self._spans.append(self._held.popleft()[0])
            self._lowest = oldest
        self._back.go_on_below(oldest)

    def _take_again(self, body: bytes) -> None:
        assert self._again is not None
        assert self._span is not None
        elements, path = split_history(body)
        oldest = _oldest_key(elements, path, body)
        if oldest is not None:
            self._again.check(oldest)
        found = self._found + self._read(body)
        self._again.go_on_below(oldest)
        # More messages than a page may lie here by now: the span is whole when its old lower end is reached.
        if self._again.ended or (oldest is not None and oldest <= self._span.oldest):
            page = self._page([m for m in found if _key_of(m) < self._span.upper], body)
            self._spans.pop()
            self._again, self._span, self._found = None, None, []
            self._ready = self._given(page)
        else:
            self._found = found

    def _read(self, body: bytes) -> list[Message]:
        elements, path = split_history(body)
        return read_all(elements, path, message_at, self._on_undecodable)

    def _page(self, messages: list[Message], body: bytes) -> Page[Message]:
        last = self._last
        fresh = [m for m in messages if self._window.holds((m.ts, m.id)) and (last is None or (m.ts, m.id) > last)]
        items = sorted({m.id: m for m in fresh}.values(), key=_key_of)
        return Page(items, body, _places(self._listing, items, last))

    def _given(self, page: Page[Message]) -> Page[Message]:
        if page.items:
            self._last = _key_of(page.items[-1])
        return page
