"""The walk through the history of a conversation, in both orders. Pure.

The service answers a request for messages with at most `limit` of the *newest* ones between the bounds (protocol 5.15).
It promises no order within a page, and it may return fewer than `limit` although there are more. A message is
identified by its key, `(ts, id)`; keys are unique and give the order. Here, *above* means newer and *below* means
older. The *previous* and the *next* page follow the order of the requests.

**The walk back** (`_WalkBack`) reads pages from the upper bound down; both orders are built on it. With three messages
a page, "after k2" returns k7 k8 k9 and skips what follows k2, so a walk forward would lose messages. "Before k7"
returns k4 k5 k6, which adjoin k7. So each request names the oldest message of the previous page, its *anchor*:

            k1   k2   k3   k4   k5   k6   k7   k8   k9
    1                                    [ no bound  ]      anchor k7
    2                     [ before k7  ]                    anchor k4
    3      [ before k4  ]                                   anchor k1
    4   [ ] before k1: empty, the end

- An empty page ends it, or a page that reaches below a lower bound whose time is known. A short page does not.
- It terminates. If a request names the id of a message whose key is known, the oldest readable key of its page must be
  below that key; otherwise it is a `PaginationLoop`. So the anchors of such requests strictly fall. All other requests
  are limited in number: the first one, those by time (once for each deleted id), those by an id without a key (once
  for each id) and those that repeat an unreadable page (once for each).

**Newest first** (`HistoryWalk`) returns each page of the walk back when it arrives. The *window* is the range of keys
that may still be returned. Its upper end falls to the lowest anchor so far; what the service repeats lies above it and
is dropped, so nothing is returned twice. Only the window, the last key returned, the elements without a key of the
previous page, and the ids of deleted anchors and of anchors without a key are remembered.

**A deleted anchor.** If the anchor has been deleted, the service refuses its id. The same page is then requested by
time: before the next whole second, because the service documents no finer time. The client cannot tell which id was
refused, so a lower bound whose time is known is requested by time too, from then on: after a whole second below it. The
window drops what lies outside. The page may begin above the anchor again, even more than a page above it if that second
is crowded. The walk then continues below the oldest message of the page, again by id. Each id is replaced by its time
only once. A bound that is only an id has no time; if it is refused, the error is raised.

**Oldest first** (`OldestFirstWalk`). It must reach the beginning before it can return anything, so it first makes a
complete walk back and remembers each page as a *span*: the range from its oldest key to below the oldest key of the
page above it. It keeps the content of 17 pages only.

    beginning                                                      end
    │ held: 16 pages │ spans: two keys for each page │ newest page │
    ◁─────────────────────────────── 1 walk back ──────────────────┤
    ├─ 2 return ────▷├─ 3 request again, return ────▷├─ 4 return ─▷│

- Spans adjoin each other, so together they cover the history. The newest page is kept, which fixes the upper end:
  messages that arrive later belong to the next listing.
- A span is requested again as a walk back from its upper end, until its old lower end is reached, because by now it may
  hold more than a page. No lower bound is sent: that message may have been deleted.
- The lower end of the window rises with each page, so nothing is returned twice. Every step handles one held page or
  one span, so the walk terminates.
- In a history that does not change, each span takes one request, so there are fewer than twice the requests of the walk
  back. Spans that have grown and deleted anchors take more. The memory grows by two keys for each page.

**An element that cannot be decoded** is reported once. If its key is readable, it is reported when the window reaches
it, and it can be the anchor. An element without a readable key belongs to no window or span. It is compared, byte for
byte, with the elements of the previous page only, because adjacent pages may hold the same one. Oldest first, it is
reported during the walk back.

If no element of a page has a readable key, the anchor is the first one whose id is readable and was not used yet.
Nothing is lost, whichever element it is: what lies above it came with this page, and the next page continues directly
below it, with repetitions at most. If there is no such id either, the same page is requested again; a short page that
comes back equal is the end, and otherwise the error is raised.

**A bookmark** holds the query of the listing and the key of the last message returned. Resumed newest first, that key
is the first anchor; resumed oldest first, it is the lower bound of the walk back. Since it has a time, its message may
be deleted in the meantime.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from operator import lt
from typing import Any, Generic, Literal, TypeGuard, TypeVar

import msgspec

from stride_async._arguments import of_type
from stride_async._errors import DecodeError, PaginationLoop, StaleBookmark
from stride_async._json import NOT_DECODABLE, decoder
from stride_async._models import HasKey, Key, Message, RawMessage, just_above, key_of
from stride_async._moments import NANOSECONDS, format_nanoseconds, to_nanoseconds
from stride_async._wire.bookmark import Bookmark, Scalar, can_be_encoded, number_in, text_in
from stride_async._wire.convert import key_at, message_at, messages_in, raw_message_at, raw_messages_in, undecodable
from stride_async._wire.pages import (
    Element,
    Page,
    SharedPage,
    Undecodable,
    raw_body,
    read_each,
    report,
    split_history,
)
from stride_async._wire.request import Request

M = TypeVar("M", bound=HasKey)

HELD_PAGES = 16
"""Pages that an oldest-first walk keeps, besides the newest one, so that catching up costs no second request."""

_KIND = "history"
_DAY = 86_400 * NANOSECONDS
# The first and the last whole second that can be written with a year of four digits.
_EARLIEST = to_nanoseconds(datetime.min.replace(tzinfo=UTC))
_LATEST = to_nanoseconds(datetime.max.replace(microsecond=0, tzinfo=UTC))

Bound = str | Message | datetime | Key | Bookmark
"""Where a history begins or ends, exclusive.

- A message id, or a `Message`.
- An aware datetime. It excludes a message of exactly that moment.
- A key, `(ts, id)`: the position of a message that need not exist. With an empty id it is the position before every
  message of that nanosecond, so `after=(ts, "")` includes them and `before=(ts, "")` does not.
- A `Bookmark` of a history of the same conversation, whatever its bounds and order: the position of the bookmarked
  message.
"""


class _OnlyId(msgspec.Struct):
    id: str


_only_id = decoder(_OnlyId)


def _id_at(raw: Element) -> str | None:
    """Return the id of a message of which nothing else may be readable."""
    try:
        return _only_id(raw).id
    except NOT_DECODABLE:
        return None


class _Edge(msgspec.Struct, frozen=True, eq=False):
    """One bound of a request, as far as it is known: a message id, a time, or both."""

    id: str | None
    ts: int | None

    @property
    def key(self) -> Key | None:
        """The key of the message, if both parts are known."""
        return None if self.ts is None or self.id is None else (self.ts, self.id)

    @property
    def scalar(self) -> Scalar:
        """The edge in the query of a bookmark: the id if there is one, else the time."""
        return self.id if self.id is not None else format_nanoseconds(self.ts or 0)

    def floor(self) -> Key | None:
        """Return the least key above this lower bound, if its time is known."""
        if self.ts is None:
            return None
        return (self.ts + 1, "") if self.id is None else just_above((self.ts, self.id))

    def ceiling(self) -> Key | None:
        """Return the least key that this upper bound excludes, if its time is known."""
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
    ts, id = bound if _is_key(bound) else (None, bound)
    if not isinstance(id, str):
        raise TypeError(
            f"{name} must be a message id, a Message, an aware datetime, a key (ts, id) or a Bookmark, "
            f"not {type(bound).__name__}: {bound!r:.100}"
        )
    if ts is not None and not _EARLIEST - _DAY <= ts <= _LATEST + _DAY:
        raise ValueError(f"{name}={bound!r} is outside the years 1 to 9999; expected (nanoseconds, message id)")
    if not can_be_encoded(id):
        raise ValueError(f"{name}={bound!r} cannot be encoded as UTF-8")
    if id:
        return _Edge(id, ts)
    if ts is None:
        raise ValueError(f"{name} is an empty message id")
    # Between the messages of this nanosecond and those before. An edge without an id excludes its own moment.
    return _Edge(None, _writable(ts - 1 if name == "after" else ts))


def _is_key(bound: object) -> TypeGuard[Key]:
    return isinstance(bound, tuple) and len(bound) == 2 and isinstance(bound[0], int)


def _bookmarked(bookmark: Bookmark, name: str, path: str) -> Key:
    """Return the key of a bookmarked message."""
    if (bookmark.query.get("kind"), bookmark.query.get("path")) != (_KIND, path):
        raise StaleBookmark(f"{name} is a bookmark of another listing, not of {path}")
    if not bookmark.place:
        raise ValueError(f"{name} is a bookmark of the start of a listing, which names no message")
    return _key_in(bookmark)


def _key_in(bookmark: Bookmark) -> Key:
    # An offset from UTC may put a message up to a day outside the years that can be written.
    ts, id = number_in(bookmark, "ts", _EARLIEST - _DAY, _LATEST + _DAY), text_in(bookmark, "id")
    if not id:
        raise StaleBookmark("the bookmark has an empty id")
    return ts, id


class HistoryListing(msgspec.Struct, Generic[M], frozen=True, kw_only=True, eq=False):
    """The messages of one conversation between two exclusive bounds."""

    path: str
    limit_key: str
    after: _Edge | None
    before: _Edge | None
    oldest_first: bool
    read: Callable[[bytes], _ReadPage[M]]

    @property
    def query(self) -> Mapping[str, Scalar]:
        """Kind, path, bounds and order."""
        return {
            "kind": _KIND,
            "path": self.path,
            "after": self.after.scalar if self.after else None,
            "before": self.before.scalar if self.before else None,
            "order": "oldest first" if self.oldest_first else "newest first",
        }

    def walk(self, page_size: int, bookmark: Bookmark | None) -> HistoryWalk[M] | OldestFirstWalk[M]:
        """Return a walk from the end that the order names, or from directly after the bookmarked message."""
        at = None
        if bookmark is not None and bookmark.place:
            ts, id = _key_in(bookmark)
            at = _Edge(id, ts)
        if self.oldest_first:
            return OldestFirstWalk(self, page_size, at)
        return HistoryWalk(self, page_size, at)

    def bookmarks(self, items: Sequence[M], last: Key | None) -> Callable[[int], Bookmark]:
        """Return the `bookmark_after` of a page. `last` is the key of the last message before the page, if any."""
        query = self.query

        def bookmark_after(count: int) -> Bookmark:
            key = key_of(items[count - 1]) if count else last
            return Bookmark(query, {} if key is None else {"ts": key[0], "id": key[1]})

        return bookmark_after


def history(
    path: str, limit_key: str, after: Bound | None, before: Bound | None, *, oldest_first: bool
) -> HistoryListing[Message]:
    """Return a listing of the messages between two bounds.

    Raises:
        TypeError: A bound is of another type.
        ValueError: A bound is a naive datetime, an empty id, a key outside the years 1 to 9999, or a bookmark without
            a message; or `after` is later than `before`.
        StaleBookmark: A bound is a bookmark of another listing.
    """
    low, high = _edge_of(after, "after", path), _edge_of(before, "before", path)
    if low and high and low.ts is not None and high.ts is not None and low.ts > high.ts:
        later, earlier = format_nanoseconds(_writable(low.ts)), format_nanoseconds(_writable(high.ts))
        raise ValueError(f"after={later} is later than before={earlier}")
    of_type(oldest_first, "oldest_first", bool)
    return HistoryListing(
        path=path, limit_key=limit_key, after=low, before=high, oldest_first=oldest_first, read=_read_messages
    )


def of_raw_messages(listing: HistoryListing[Message]) -> HistoryListing[RawMessage]:
    """Return the same listing of messages as bytes, which are cheaper to make and to store."""
    return HistoryListing(
        path=listing.path,
        limit_key=listing.limit_key,
        after=listing.after,
        before=listing.before,
        oldest_first=listing.oldest_first,
        read=_read_raw_messages,
    )


class _Window(msgspec.Struct, frozen=True, eq=False):
    """The range of keys that may still be returned: from `floor` to below `ceiling`, where these are known."""

    floor: Key | None
    ceiling: Key | None
    ids: frozenset[str]  # of the bounds, which are excluded even if their time is unknown

    @classmethod
    def of(cls, listing: HistoryListing[Any]) -> _Window:
        after, before = listing.after, listing.before
        ids = frozenset(edge.id for edge in (after, before) if edge and edge.id is not None)
        return cls(after.floor() if after else None, before.ceiling() if before else None, ids)

    def above(self, floor: Key) -> _Window:
        """Return the part from a key up."""
        return self if self.floor is not None and self.floor >= floor else _Window(floor, self.ceiling, self.ids)

    def below(self, ceiling: Key) -> _Window:
        """Return the part below a key."""
        if self.ceiling is not None and self.ceiling <= ceiling:
            return self
        return _Window(self.floor, ceiling, self.ids)

    def holds(self, key: Key) -> bool:
        return (
            (self.floor is None or key >= self.floor)
            and (self.ceiling is None or key < self.ceiling)
            and key[1] not in self.ids
        )

    def part(self, messages: list[M]) -> list[M]:
        """Return those of the sorted messages that lie within."""
        if not messages:
            return messages
        if not self.ids and self.holds(key_of(messages[0])) and self.holds(key_of(messages[-1])):
            return messages
        return [message for message in messages if self.holds(key_of(message))]


class _WalkBack:
    """The requests of a walk back: each names the anchor of the previous page."""

    def __init__(
        self, listing: HistoryListing[Any], page_size: int, *, after: _Edge | None, before: _Edge | None
    ) -> None:
        self._listing = listing
        self._page_size = page_size
        self._after = after
        self._before = before
        self._by_id = (True, True)  # whether the lower and the upper edge are requested by id, or else by time
        self._used: set[str] = set()  # ids that were deleted, or were the anchor without a known time
        self._limit = page_size  # of the last request
        self._unreadable: bytes | None = None  # the last page, if it had no readable id
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
                # A whole second includes more than was wanted: a small page might hold nothing else.
                limit = self._page_size
        query.append(("limit", str(limit)))
        self._limit = limit
        return Request(
            method="GET",
            path=self._listing.path,
            query=tuple(query),
            read=raw_body,
            limit_key=self._listing.limit_key,
        )

    def recover_from_gone(self) -> bool:
        """Request every edge by time whose time is known. Return False if that changes nothing."""
        low, high = self._after, self._before
        by_id = (
            self._by_id[0] and not (low and low.key),
            self._by_id[1] and not (high and high.key and high.id not in self._used),
        )
        if high and high.id and not by_id[1]:
            self._used.add(high.id)
        changed, self._by_id = by_id != self._by_id, by_id
        return changed

    def anchor(self, elements: Sequence[Element], path: str, body: bytes) -> _Edge | None:
        """Return the oldest message of a page, judged by what is readable of it, or None at the end.

        Where no time is readable, it is the first message that was not the anchor yet, of which only the id is known.
        Where no id is readable either, it is `_NOWHERE`, and the same page is requested once more.

        Raises:
            DecodeError: No id is readable for the second time.
        """
        key = min((key for raw in elements if (key := key_at(bytes(raw))) is not None), default=None)
        if key is not None:
            return _Edge(key[1], key[0])
        for raw in elements:
            id = _id_at(raw)
            if id and id not in self._used:
                return _Edge(id, None)
        if not elements or (body == self._unreadable and len(elements) < self._limit):
            return None
        if self._unreadable is None:
            return _NOWHERE
        raise undecodable(path, body, "no message of this page has a readable id, so the history cannot continue")

    def check(self, anchor: _Edge | None) -> None:
        """Check that a page holds something older than the message that it was requested with.

        Raises:
            PaginationLoop: It does not, so the walk would never end.
        """
        edge = self._before.key if self._before and self._by_id[1] else None
        found = anchor.key if anchor else None
        if edge is not None and found is not None and found >= edge:
            raise PaginationLoop(
                f"GET {self._listing.path}: the page before message {edge[1]} contains no older message"
            )

    def continue_below(self, anchor: _Edge | None, body: bytes) -> None:
        """Let the next request be for the page below this one."""
        self._unreadable = body if anchor == _NOWHERE else None
        if anchor == _NOWHERE:
            return
        floor = self._after.floor() if self._after else None
        if anchor is None or (anchor.key is not None and floor is not None and anchor.key < floor):
            self.ended = True
            return
        if anchor.ts is None and anchor.id is not None:
            self._used.add(anchor.id)
        self._before = anchor
        self._by_id = (self._by_id[0], True)


def _second_before(edge: _Edge) -> int:
    """Return a whole second that is not above the edge, and is below it if messages of that moment are included."""
    assert edge.ts is not None
    ts = edge.ts - 1 if edge.id is not None else edge.ts
    return _writable(ts // NANOSECONDS * NANOSECONDS)


def _second_after(edge: _Edge) -> int:
    """Return a whole second that is not below the edge, and is above it if messages of that moment are included."""
    assert edge.ts is not None
    ts = edge.ts + 1 if edge.id is not None else edge.ts
    return _writable(-(-ts // NANOSECONDS) * NANOSECONDS)


def _writable(ts: int) -> int:
    return min(max(ts, _EARLIEST), _LATEST)


class _ReadPage(msgspec.Struct, Generic[M], frozen=True, eq=False):
    """A page of a history as decoded, newest first, each message once."""

    messages: list[M]
    errors: Sequence[tuple[int, DecodeError]] = ()
    elements: Sequence[Element] = ()  # of a page with errors, and their path
    path: str = ""

    def anchor(self, back: _WalkBack, body: bytes) -> _Edge | None:
        """Return the oldest message, or None at the end."""
        if self.errors:
            return back.anchor(self.elements, self.path, body)
        return _Edge(self.messages[-1].id, self.messages[-1].ts) if self.messages else None


def _read_messages(body: bytes) -> _ReadPage[Message]:
    """Read all messages in one pass, or each by itself if anything in the page is unusual."""
    messages = messages_in(body, SharedPage(body).element)
    return _read_with_care(body, message_at) if messages is None else _ReadPage(_newest_first(messages))


def _read_raw_messages(body: bytes) -> _ReadPage[RawMessage]:
    messages = raw_messages_in(body, lambda body: split_history(body)[0])
    return _read_with_care(body, raw_message_at) if messages is None else _ReadPage(_newest_first(messages))


def _read_with_care(body: bytes, read: Callable[[bytes, str], M]) -> _ReadPage[M]:
    elements, path = split_history(body)
    decoded = read_each(elements, path, read)
    return _ReadPage(_newest_first(decoded.items), decoded.errors, elements, path)


def _newest_first(messages: list[M]) -> list[M]:
    """Sort the messages of a page, without repeated ones.

    The service sends the oldest first, and to find that out is faster than to sort.
    """
    keys = [(message.ts, message.id) for message in messages]  # `key_of` would take twice as long.
    if all(map(lt, keys, keys[1:])):
        messages.reverse()
        return messages
    messages.sort(key=key_of, reverse=True)
    return list({key_of(message): message for message in messages}.values())


class _WithoutKey:
    """Undecodable elements without a readable key. Two adjacent pages may hold the same one; it is reported once."""

    def __init__(self) -> None:
        self._before: frozenset[bytes] = frozenset()

    def new(self, errors: Sequence[tuple[int, DecodeError]]) -> list[DecodeError]:
        """Return the errors of those that the previous page did not hold."""
        return [error for _, error in errors if key_at(error.raw) is None and error.raw not in self._before]

    def reported(self, errors: Sequence[tuple[int, DecodeError]]) -> None:
        """Remember those of the page that is complete now."""
        self._before = frozenset(error.raw for _, error in errors if key_at(error.raw) is None)


def _within(errors: Sequence[tuple[int, DecodeError]], window: _Window) -> list[DecodeError]:
    """Return the errors of elements whose key is readable and lies in the window."""
    return [error for _, error in errors if (key := key_at(error.raw)) is not None and window.holds(key)]


class HistoryWalk(Generic[M]):
    """The walk newest first; see the module docstring."""

    def __init__(self, listing: HistoryListing[M], page_size: int, at: _Edge | None) -> None:
        self._listing = listing
        self._page_size = page_size
        self._back = _WalkBack(listing, page_size, after=listing.after, before=at or listing.before)
        self._last = at.key if at else None  # the last message returned
        self._window = _Window.of(listing) if self._last is None else _Window.of(listing).below(self._last)
        # The last page held nothing new. Many such pages may follow a deleted anchor, so they are requested in full.
        self._catching_up = False
        self._without_key = _WithoutKey()
        self._ready: Page[M] | None = None

    def next(self, wanted: int | None) -> Request[bytes] | Page[M] | None:
        """Return the page that is ready, else the request for the next page back, else None at the end."""
        if self._ready is not None:
            page, self._ready = self._ready, None
            return page
        if self._back.ended:
            return None
        limit = self._page_size if wanted is None or self._catching_up else min(self._page_size, wanted)
        return self._back.request(limit)

    def recover_from_gone(self) -> bool:
        """Request by time what was requested by a deleted id. Return False if that changes nothing."""
        return self._back.recover_from_gone()

    def receive(self, body: bytes, on_undecodable: Undecodable | None) -> None:
        """Process one page of the walk back.

        Raises:
            PaginationLoop: The page contains nothing older than what it was requested with.
            DecodeError: The page, or without a callback one of its messages, cannot be decoded.
        """
        page = self._listing.read(body)
        if page.errors:
            report([*self._without_key.new(page.errors), *_within(page.errors, self._window)], on_undecodable)
        anchor = page.anchor(self._back, body)
        self._back.check(anchor)
        self._without_key.reported(page.errors)
        items = self._window.part(page.messages)
        self._catching_up = not items
        self._ready = Page(items, body, self._listing.bookmarks(items, self._last))
        if items:
            self._last = key_of(items[-1])
        if anchor is not None and anchor.key is not None:
            self._window = self._window.below(anchor.key)
        self._back.continue_below(anchor, body)


class _Span(msgspec.Struct, frozen=True, eq=False):
    """The range of keys of one page of the walk back: from `oldest` to below `upper`. The newest has no `upper`."""

    upper: Key | None
    oldest: Key


class OldestFirstWalk(Generic[M]):
    """The walk oldest first; see the module docstring."""

    def __init__(self, listing: HistoryListing[M], page_size: int, at: _Edge | None) -> None:
        self._listing = listing
        self._page_size = page_size
        self._back = _WalkBack(listing, page_size, after=at or listing.after, before=listing.before)
        self._newest: tuple[_Span, bytes] | None = None
        self._held: deque[tuple[_Span, bytes]] = deque()  # newest first, as are the spans
        self._spans: list[_Span] = []
        self._lowest: Key | None = None  # the oldest key of the walk back
        self._window = _Window.of(listing)
        floor = at.floor() if at else None
        if floor is not None:
            self._window = self._window.above(floor)
        self._last = at.key if at else None  # the last message returned
        self._again: _SpanWalk[M] | None = None
        self._ready: Page[M] | None = None
        self._without_key = _WithoutKey()
        self._on_undecodable: Undecodable | None = None

    def next(self, wanted: int | None) -> Request[bytes] | Page[M] | None:
        """Return the next step: walk back first, then the held pages, then the spans, then the newest page."""
        del wanted  # The walk back must reach the beginning, however few messages are wanted.
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
                self._again = _SpanWalk(self._listing, self._page_size, self._spans[-1], self._window)
            return self._again.back.request(self._page_size)
        if self._newest is not None:
            page = self._held_page(*self._newest)
            self._newest = None
            return page
        return None

    def recover_from_gone(self) -> bool:
        """Request by time what was requested by a deleted id. Return False if that changes nothing."""
        return (self._again.back if self._again else self._back).recover_from_gone()

    def receive(self, body: bytes, on_undecodable: Undecodable | None) -> None:
        """Process one page of the walk back, or of a span that was requested again.

        Raises:
            PaginationLoop: The page contains nothing older than what it was requested with.
            DecodeError: The page, or without a callback one of its messages, cannot be decoded.
        """
        self._on_undecodable = on_undecodable
        if self._again is None:
            self._receive_back(body)
        elif self._again.receive(body, on_undecodable):
            self._ready = self._page(self._again.span, self._again.found, body)
            self._again = None
            self._spans.pop()

    def _receive_back(self, body: bytes) -> None:
        elements, path = split_history(body)
        anchor = self._back.anchor(elements, path, body)
        self._back.check(anchor)
        if any(key_at(bytes(raw)) is None for raw in elements):
            # Without a key an element belongs to no span, so it is reported now.
            errors = read_each(elements, path, message_at).errors
            report(self._without_key.new(errors), self._on_undecodable)
            self._without_key.reported(errors)
        if anchor is not None and anchor.key is not None:
            self._keep(anchor.key, body)
        self._back.continue_below(anchor, body)

    def _keep(self, oldest: Key, body: bytes) -> None:
        if self._newest is None:
            self._newest = _Span(None, oldest), body
        elif self._lowest is not None and oldest < self._lowest:
            self._held.append((_Span(self._lowest, oldest), body))
            if len(self._held) > HELD_PAGES:
                self._spans.append(self._held.popleft()[0])
        else:
            return  # A page requested by time brought nothing older.
        self._lowest = oldest

    def _held_page(self, span: _Span, body: bytes) -> Page[M]:
        page = self._listing.read(body)
        window = self._window if span.upper is None else self._window.below(span.upper)
        report(_within(page.errors, window), self._on_undecodable)
        return self._page(span, [m for m in page.messages if window.holds(key_of(m))], body)

    def _page(self, span: _Span, messages: list[M], body: bytes) -> Page[M]:
        items = sorted({key_of(m): m for m in messages}.values(), key=key_of)
        page = Page(items, body, self._listing.bookmarks(items, self._last))
        if items:
            self._last = key_of(items[-1])
        if span.upper is not None:
            self._window = self._window.above(span.upper)
        return page


class _SpanWalk(Generic[M]):
    """The walk back through one span that is requested again."""

    def __init__(self, listing: HistoryListing[M], page_size: int, span: _Span, window: _Window) -> None:
        assert span.upper is not None
        # No lower bound is requested: that message may have been deleted. What lies below the span is dropped.
        self.back = _WalkBack(listing, page_size, after=None, before=_Edge(span.upper[1], span.upper[0]))
        self.span = span
        self.found: list[M] = []
        self._window = window.below(span.upper)
        self._listing = listing

    def receive(self, body: bytes, on_undecodable: Undecodable | None) -> bool:
        """Process one page. Return whether the span is complete, that is, its old lower end was reached."""
        page = self._listing.read(body)
        anchor = page.anchor(self.back, body)
        self.back.check(anchor)
        report(_within(page.errors, self._window), on_undecodable)
        self.found += [m for m in page.messages if self._window.holds(key_of(m))]
        self.back.continue_below(anchor, body)
        if anchor is not None and anchor.key is not None:
            self._window = self._window.below(anchor.key)
            return anchor.key <= self.span.oldest
        return self.back.ended
