"""A conversation's messages, newest or oldest first, without loss. Pure.

The service gives at most `limit` of the *latest* messages that fit the bounds (protocol 5.15): walking forward with
`afterMessage` skips whatever lies between. The only safe walk goes backwards from the oldest message seen, until a
page is empty. Order is by `(ts, id)`, made here and never taken from the service.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

import attrs
import msgspec

from stride_async._errors import DecodeError, PaginationLoop, StaleBookmark
from stride_async._models import Key, Message, just_above, key_of
from stride_async._moments import NANOSECONDS, format_nanoseconds, to_nanoseconds
from stride_async._wire.bookmark import Bookmark, Scalar, can_be_written, number_in, text_in
from stride_async._wire.convert import key_at, message_at, undecodable
from stride_async._wire.pages import Page, Undecodable, read_each, split_history, tell, whole
from stride_async._wire.request import Request

HELD_PAGES = 16
"""Pages an oldest-first walk keeps whole on its way back, so that catching up costs no second asking."""

_KIND = "history"
_DAY = 86_400 * NANOSECONDS
# The first and the last whole second that can be written with a year of four digits.
_EARLIEST = to_nanoseconds(datetime.min.replace(tzinfo=UTC))
_LATEST = to_nanoseconds(datetime.max.replace(microsecond=0, tzinfo=UTC))

Bound = str | Message | datetime | Key | Bookmark
"""Where a history begins or ends, exclusive.

- A message id, or a `Message`.
- An aware datetime. Messages of that very microsecond are excluded.
- A key, `(ts, id)`: the position of a message that need not exist. With an empty id it is the position before every
  message of that nanosecond, so `after=(ts, "")` includes them and `before=(ts, "")` does not.
- A `Bookmark` of a history of the same conversation, whatever its bounds and order: the position of the bookmarked
  message.
"""


class _Named(msgspec.Struct):
    id: str


_named = msgspec.json.Decoder(_Named).decode


def _name_of(raw: msgspec.Raw) -> str | None:
    """The id of a message of which nothing else may be readable."""
    try:
        return _named(raw).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


@attrs.frozen(eq=False, repr=False)
class _Edge:
    """A bound as far as it is known: the message to ask with, and its place in time."""

    id: str | None
    ts: int | None

    @property
    def key(self) -> Key | None:
        """The place of the message, where both parts of it are known."""
        return None if self.ts is None or self.id is None else (self.ts, self.id)

    @property
    def word(self) -> Scalar:
        """For the fingerprint of a listing: the id where there is one, else the moment."""
        return self.id if self.id is not None else format_nanoseconds(self.ts or 0)

    def floor(self) -> Key | None:
        """The least key above this lower bound."""
        if self.ts is None:
            return None
        return (self.ts + 1, "") if self.id is None else just_above((self.ts, self.id))

    def ceiling(self) -> Key | None:
        """All keys below this upper bound are less than this one."""
        return None if self.ts is None else (self.ts, self.id or "")


_NOWHERE = _Edge(None, None)


def _edge_of(bound: Bound | None, name: Literal["after", "before"], path: str) -> _Edge | None:
    if bound is None:
        return None
    if isinstance(bound, Message):
        return _Edge(bound.id, bound.ts)
    if isinstance(bound, datetime):
        if bound.utcoffset() is None:
            raise ValueError(f"{name}={bound.isoformat()} has no time zone; use an aware datetime")
        return _Edge(None, min(max(to_nanoseconds(bound), _EARLIEST), _LATEST + NANOSECONDS - 1))
    if isinstance(bound, Bookmark):
        bound = _bookmarked(bound, name, path)
    ts, id = bound if isinstance(bound, tuple) else (None, bound)
    if ts is not None and not _EARLIEST - _DAY <= ts <= _LATEST + _DAY:
        raise ValueError(f"{name}={bound!r} is outside the years 1 to 9999; expected (nanoseconds, message id)")
    if not can_be_written(id):
        raise ValueError(f"{name}={bound!r} cannot be written in UTF-8")
    if id:
        return _Edge(id, ts)
    if ts is None:
        raise ValueError(f"{name} is an empty message id")
    # Between the messages of this nanosecond and those before. An edge without an id excludes its own moment.
    return _Edge(None, _writable(ts - 1 if name == "after" else ts))


def _bookmarked(bookmark: Bookmark, name: str, path: str) -> Key:
    """Return the key of a bookmarked message."""
    if (bookmark.query.get("kind"), bookmark.query.get("path")) != (_KIND, path):
        raise StaleBookmark(f"{name} is a bookmark of another listing, not of {path}")
    if not bookmark.place:
        raise ValueError(f"{name} is a bookmark of the start of a listing, which names no message")
    return _key_in(bookmark)


def _key_in(bookmark: Bookmark) -> Key:
    # Its offset from UTC may put a message up to a day outside the years that can be written.
    ts, id = number_in(bookmark, "ts", _EARLIEST - _DAY, _LATEST + _DAY), text_in(bookmark, "id")
    if not id:
        raise StaleBookmark("the bookmark has an empty id")
    return ts, id


@attrs.frozen(kw_only=True, eq=False, repr=False)
class HistoryListing:
    """The messages of one conversation between two exclusive bounds."""

    path: str
    limit_key: str
    after: _Edge | None
    before: _Edge | None
    oldest_first: bool

    @property
    def query(self) -> Mapping[str, Scalar]:
        """Kind, path, bounds and order."""
        return {
            "kind": _KIND,
            "path": self.path,
            "after": self.after.word if self.after else None,
            "before": self.before.word if self.before else None,
            "order": "oldest first" if self.oldest_first else "newest first",
        }

    def walk(self, page_size: int, bookmark: Bookmark | None) -> HistoryWalk | OldestFirstWalk:
        """From the end the order names, or from behind the bookmarked message."""
        at = None
        if bookmark is not None and bookmark.place:
            ts, id = _key_in(bookmark)
            at = _Edge(id, ts)
        if self.oldest_first:
            return OldestFirstWalk(self, page_size, at)
        return HistoryWalk(self, page_size, at)

    def places(self, items: Sequence[Message], last: Key | None) -> Callable[[int], Bookmark]:
        """The bookmark behind the first n items of a page; behind none of them it is that of the `last` before it."""
        query = self.query

        def place_after(count: int) -> Bookmark:
            key = key_of(items[count - 1]) if count else last
            return Bookmark(query, {} if key is None else {"ts": key[0], "id": key[1]})

        return place_after


def history(
    path: str, limit_key: str, after: Bound | None, before: Bound | None, *, oldest_first: bool
) -> HistoryListing:
    """A listing of the messages between two bounds.

    Raises:
        ValueError: A bound is a naive datetime, an empty id, a key outside the years 1 to 9999, or a bookmark without
            a message, or `after` is later than `before`.
        StaleBookmark: A bound is a bookmark of another conversation.
    """
    low, high = _edge_of(after, "after", path), _edge_of(before, "before", path)
    if low and high and low.ts is not None and high.ts is not None and low.ts > high.ts:
        later, earlier = format_nanoseconds(_writable(low.ts)), format_nanoseconds(_writable(high.ts))
        raise ValueError(f"after={later} is later than before={earlier}")
    return HistoryListing(path=path, limit_key=limit_key, after=low, before=high, oldest_first=oldest_first)


@attrs.frozen(eq=False, repr=False)
class _Window:
    """What may be given: from `floor` on, below `ceiling`, as far as these are known."""

    floor: Key | None
    ceiling: Key | None
    edges: frozenset[str]
    """Ids of the bounds themselves, which are excluded whatever their time."""

    @classmethod
    def of(cls, listing: HistoryListing) -> _Window:
        after, before = listing.after, listing.before
        edges = frozenset(edge.id for edge in (after, before) if edge and edge.id is not None)
        return cls(after.floor() if after else None, before.ceiling() if before else None, edges)

    def above(self, floor: Key) -> _Window:
        """Its part from a key on."""
        return self if self.floor is not None and self.floor >= floor else _Window(floor, self.ceiling, self.edges)

    def below(self, ceiling: Key) -> _Window:
        """Its part below a key."""
        if self.ceiling is not None and self.ceiling <= ceiling:
            return self
        return _Window(self.floor, ceiling, self.edges)

    def holds(self, key: Key) -> bool:
        return (
            (self.floor is None or key >= self.floor)
            and (self.ceiling is None or key < self.ceiling)
            and key[1] not in self.edges
        )

    def part(self, messages: list[Message]) -> list[Message]:
        """Those of sorted messages that lie within, each once."""
        if not messages:
            return messages
        within = not self.edges and self.holds(key_of(messages[0])) and self.holds(key_of(messages[-1]))
        if within and len({message.id for message in messages}) == len(messages):
            return messages
        return list({message.id: message for message in messages if self.holds(key_of(message))}.values())


class _Backwards:
    """Asks for one page after the other, each older than the last, between two edges."""

    def __init__(self, listing: HistoryListing, page_size: int, *, after: _Edge | None, before: _Edge | None) -> None:
        self._listing = listing
        self._page_size = page_size
        self._after = after
        self._before = before
        self._by_id = (True, True)
        """Whether the lower and the upper edge are asked for by message id; a deleted one is asked for by time."""
        self._left: set[str] = set()
        """Ids that led nowhere: of messages that were gone, or stood on without knowing their time."""
        self._asked = page_size
        self._unreadable: bytes | None = None
        """The last page, if there was nothing in it to stand on."""
        self.ended = False

    def request(self, limit: int) -> Request[bytes]:
        query: list[tuple[str, str]] = []
        low, high = self._after, self._before
        low_by_id, high_by_id = self._by_id
        if low is not None:
            if low.id is not None and (low_by_id or low.ts is None):
                query.append(("afterMessage", low.id))
            elif low.ts is not None:
                query.append(("afterTimestamp", format_nanoseconds(_second_before(low))))
        if high is not None:
            if high.id is not None and (high_by_id or high.ts is None):
                query.append(("beforeMessage", high.id))
            elif high.ts is not None:
                query.append(("beforeTimestamp", format_nanoseconds(_second_after(high))))
                # A whole second takes in more than was asked for: a small page might hold nothing but that.
                limit = self._page_size
        query.append(("limit", str(limit)))
        self._asked = limit
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
            self._by_id[0] and not (low and low.key),
            self._by_id[1] and not (high and high.key and high.id not in self._left),
        )
        if high and high.id and not by_id[1]:
            self._left.add(high.id)
        changed, self._by_id = by_id != self._by_id, by_id
        return changed

    def oldest(self, elements: Sequence[msgspec.Raw], path: str, body: bytes) -> _Edge | None:
        """The oldest message of a page, from whatever part of its elements can be read; None at the end.

        Where no time can be read, it is the first message not stood on yet, of which only the id is known. Where no
        id can be read either, it is nowhere, and the same page is asked for once more: a short one that comes again
        is the end.

        Raises:
            DecodeError: nothing can be stood on for the second time.
        """
        key = min((key for raw in elements if (key := key_at(bytes(raw))) is not None), default=None)
        if key is not None:
            return _Edge(key[1], key[0])
        for raw in elements:
            name = _name_of(raw)
            if name and name not in self._left:
                return _Edge(name, None)
        if not elements or (body == self._unreadable and len(elements) < self._asked):
            return None
        if self._unreadable is None:
            return _NOWHERE
        raise undecodable(path, body, "no message of this page has a readable id, so the walk cannot go on")

    def check(self, oldest: _Edge | None) -> None:
        """A page must hold something older than what it was asked with.

        Raises:
            PaginationLoop: it does not, so going on would never end.
        """
        edge = self._before.key if self._before and self._by_id[1] else None
        found = oldest.key if oldest else None
        if edge is not None and found is not None and found >= edge:
            raise PaginationLoop(
                f"GET {self._listing.path}: asked for messages before {edge[1]}, the service gave none that is older"
            )

    def go_on_below(self, oldest: _Edge | None, body: bytes) -> None:
        """The next page is the one below the oldest message of this one."""
        self._unreadable = body if oldest == _NOWHERE else None
        if oldest == _NOWHERE:
            return
        floor = self._after.floor() if self._after else None
        if oldest is None or (oldest.key is not None and floor is not None and oldest.key < floor):
            self.ended = True
            return
        if oldest.ts is None and oldest.id is not None:
            self._left.add(oldest.id)
        self._before = oldest
        self._by_id = (self._by_id[0], True)


def _second_before(edge: _Edge) -> int:
    """A whole second not above the edge, strictly below it where messages of that very moment count."""
    assert edge.ts is not None
    ts = edge.ts - 1 if edge.id is not None else edge.ts
    return _writable(ts // NANOSECONDS * NANOSECONDS)


def _second_after(edge: _Edge) -> int:
    """A whole second not below the edge, strictly above it where messages of that very moment count."""
    assert edge.ts is not None
    ts = edge.ts + 1 if edge.id is not None else edge.ts
    return _writable(-(-ts // NANOSECONDS) * NANOSECONDS)


def _writable(ts: int) -> int:
    return min(max(ts, _EARLIEST), _LATEST)


class _Unplaced:
    """Elements without a readable time, which a page and the next may both have: each is told once."""

    def __init__(self) -> None:
        self._before: frozenset[bytes] = frozenset()

    def of(self, errors: Sequence[tuple[int, DecodeError]]) -> list[DecodeError]:
        """Those that the page before did not have."""
        return [error for _, error in errors if key_at(error.raw) is None and error.raw not in self._before]

    def passed(self, errors: Sequence[tuple[int, DecodeError]]) -> None:
        """The page with these is done."""
        self._before = frozenset(error.raw for _, error in errors if key_at(error.raw) is None)


def _within(errors: Sequence[tuple[int, DecodeError]], window: _Window) -> list[DecodeError]:
    """Those of messages whose place can be read and lies in the window."""
    return [error for _, error in errors if (key := key_at(error.raw)) is not None and window.holds(key)]


class HistoryWalk:
    """Newest first: page by page backwards, until an empty one."""

    def __init__(self, listing: HistoryListing, page_size: int, at: _Edge | None) -> None:
        self._listing = listing
        self._page_size = page_size
        self._back = _Backwards(listing, page_size, after=listing.after, before=at or listing.before)
        self._last = at.key if at else None
        """The last message given."""
        self._window = _Window.of(listing) if self._last is None else _Window.of(listing).below(self._last)
        """What is still to come."""
        self._catching_up = False
        """The last page held nothing that was not given before: its like may fill many pages."""
        self._unplaced = _Unplaced()
        self._ready: Page[Message] | None = None

    def next(self, wanted: int | None) -> Request[bytes] | Page[Message] | None:
        """The ready page, else the request for the next one back."""
        if self._ready is not None:
            page, self._ready = self._ready, None
            return page
        if self._back.ended:
            return None
        limit = self._page_size if wanted is None or self._catching_up else min(self._page_size, wanted)
        return self._back.request(limit)

    def place_is_gone(self) -> bool:
        """The message the walk stands on was deleted: go on by time."""
        return self._back.edge_is_gone()

    def take(self, body: bytes, on_undecodable: Undecodable | None) -> None:
        """One page back, given newest first."""
        elements, path = split_history(body)
        decoded = read_each(elements, path, message_at)
        messages = decoded.items
        messages.sort(key=key_of, reverse=True)
        if decoded.errors:
            tell([*self._unplaced.of(decoded.errors), *_within(decoded.errors, self._window)], on_undecodable)
            oldest = self._back.oldest(elements, path, body)
        else:
            oldest = _Edge(messages[-1].id, messages[-1].ts) if messages else None
        self._back.check(oldest)
        self._unplaced.passed(decoded.errors)
        items = self._window.part(messages)
        self._catching_up = not items
        self._ready = Page(items, body, self._listing.places(items, self._last))
        if items:
            self._last = key_of(items[-1])
        if oldest is not None and oldest.key is not None:
            self._window = self._window.below(oldest.key)
        self._back.go_on_below(oldest, body)


@attrs.frozen(eq=False, repr=False)
class _Span:
    """Where a page lay on the way back: below `upper` (None: it was the newest), from `oldest` on."""

    upper: Key | None
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
        self._back = _Backwards(listing, page_size, after=at or listing.after, before=listing.before)
        self._newest: tuple[_Span, bytes] | None = None
        self._held: deque[tuple[_Span, bytes]] = deque()
        """Newest first, as are the spans."""
        self._spans: list[_Span] = []
        """Pages not held."""
        self._lowest: Key | None = None
        """The oldest message seen on the way back."""
        self._window = _Window.of(listing)
        """What is still to come."""
        floor = at.floor() if at else None
        if floor is not None:
            self._window = self._window.above(floor)
        self._last = at.key if at else None
        """The last message given."""
        self._again: _Again | None = None
        self._ready: Page[Message] | None = None
        self._unplaced = _Unplaced()
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
            page = self._held_page(*self._held[-1])
            self._held.pop()
            return page
        if self._spans:
            if self._again is None:
                self._again = _Again(self._listing, self._page_size, self._spans[-1], self._window)
            return self._again.back.request(self._page_size)
        if self._newest is not None:
            page = self._held_page(*self._newest)
            self._newest = None
            return page
        return None

    def place_is_gone(self) -> bool:
        """A message the walk stands on was deleted: go on by time."""
        return (self._again.back if self._again else self._back).edge_is_gone()

    def take(self, body: bytes, on_undecodable: Undecodable | None) -> None:
        """A page of the way back, or one asked for again."""
        self._on_undecodable = on_undecodable
        if self._again is None:
            self._take_back(body)
        elif self._again.take(body, on_undecodable):
            self._ready = self._page(self._again.span, self._again.found, body)
            self._again = None
            self._spans.pop()

    def _take_back(self, body: bytes) -> None:
        elements, path = split_history(body)
        oldest = self._back.oldest(elements, path, body)
        self._back.check(oldest)
        if any(key_at(bytes(raw)) is None for raw in elements):
            # What has no time has no place to be told at later.
            errors = read_each(elements, path, message_at).errors
            tell(self._unplaced.of(errors), self._on_undecodable)
            self._unplaced.passed(errors)
        if oldest is not None and oldest.key is not None:
            self._keep(oldest.key, body)
        self._back.go_on_below(oldest, body)

    def _keep(self, oldest: Key, body: bytes) -> None:
        if self._newest is None:
            self._newest = _Span(None, oldest), body
        elif self._lowest is not None and oldest < self._lowest:
            self._held.append((_Span(self._lowest, oldest), body))
            if len(self._held) > HELD_PAGES:
                self._spans.append(self._held.popleft()[0])
        else:
            return  # Asked for by time, this page brought nothing older.
        self._lowest = oldest

    def _held_page(self, span: _Span, body: bytes) -> Page[Message]:
        elements, path = split_history(body)
        decoded = read_each(elements, path, message_at)
        window = self._window if span.upper is None else self._window.below(span.upper)
        tell(_within(decoded.errors, window), self._on_undecodable)
        return self._page(span, [m for m in decoded.items if window.holds(key_of(m))], body)

    def _page(self, span: _Span, messages: list[Message], body: bytes) -> Page[Message]:
        items = sorted({m.id: m for m in messages}.values(), key=key_of)
        page = Page(items, body, self._listing.places(items, self._last))
        if items:
            self._last = key_of(items[-1])
        if span.upper is not None:
            self._window = self._window.above(span.upper)
        return page


class _Again:
    """A span of the way back that was not held, asked for once more."""

    def __init__(self, listing: HistoryListing, page_size: int, span: _Span, window: _Window) -> None:
        assert span.upper is not None
        # No lower bound is asked with: that could be a message deleted by now. What lies too low is dropped.
        self.back = _Backwards(listing, page_size, after=None, before=_Edge(span.upper[1], span.upper[0]))
        self.span = span
        self.found: list[Message] = []
        self._window = window.below(span.upper)

    def take(self, body: bytes, on_undecodable: Undecodable | None) -> bool:
        """Whether the span is whole: its old lower end was reached, since more than a page may lie in it by now."""
        elements, path = split_history(body)
        oldest = self.back.oldest(elements, path, body)
        self.back.check(oldest)
        decoded = read_each(elements, path, message_at)
        tell(_within(decoded.errors, self._window), on_undecodable)
        self.found += [m for m in decoded.items if self._window.holds(key_of(m))]
        self.back.go_on_below(oldest, body)
        if oldest is not None and oldest.key is not None:
            self._window = self._window.below(oldest.key)
            return oldest.key <= self.span.oldest
        return self.back.ended
