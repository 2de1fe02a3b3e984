"""The kinds of page, the request that follows each, and the place behind each item. Pure.

A `Walk` is asked for its next step: a request to send, a page that is ready, or None at the end. What comes in
for a request is given to `take`; a walk that raises there has not moved, so the same request may be sent again.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Generic, Protocol, TypeVar

import attrs
import msgspec

from stride_async._errors import DecodeError, PaginationLoop, TooManyEmptyPages
from stride_async._wire.bookmark import Bookmark, Word
from stride_async._wire.convert import undecodable
from stride_async._wire.request import Answer, Query, Request

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

MOST_EMPTY_PAGES = 100
"""Empty pages in a row that are followed while the service still gives a cursor."""

Undecodable = Callable[[DecodeError], None]
"""Is given the error of each element that cannot be decoded, so that the listing goes on."""


@attrs.frozen(eq=False)
class Page(Generic[T]):
    """One page of a listing as it came."""

    items: Sequence[T]
    """In the listing's order; elements that could not be decoded, and repeats, are left out."""
    raw: bytes = attrs.field(repr=False)
    """The service's own answer."""
    place_after: Callable[[int], Bookmark] = attrs.field(repr=False)
    """The bookmark behind the first n items."""

    @property
    def bookmark(self) -> Bookmark:
        """Behind the last item of this page."""
        return self.place_after(len(self.items))

    def cut(self, most: int) -> Page[T]:
        """This page with its first `most` items at most."""
        return self if len(self.items) <= most else Page(self.items[:most], self.raw, self.place_after)


class Walk(Protocol[T_co]):
    """A listing under way."""

    @abstractmethod
    def next(self, wanted: int | None) -> Request[bytes] | Page[T_co] | None:
        """The next step; `wanted` is how many more items are asked for at most, None: all."""

    @abstractmethod
    def take(self, body: bytes, on_undecodable: Undecodable | None) -> None:
        """The answer to the last request."""

    @abstractmethod
    def place_is_gone(self) -> bool:
        """The last request was answered 404; True when another way to go on will now be asked."""


class Listing(Protocol[T_co]):
    """What is listed: starts walks and knows what a bookmark of it must say."""

    @property
    def query(self) -> Mapping[str, Word]:
        """Kind, path, filters, bounds and order: what a bookmark carries."""

    def walk(self, page_size: int, bookmark: Bookmark | None) -> Walk[T_co]:
        """A walk from the start, or from behind a bookmark of this listing."""


def whole(answer: Answer) -> bytes:
    """The body of a page, to be split by the walk that asked for it."""
    return answer.body


class _Wrapper(msgspec.Struct):
    values: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET
    messages: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET
    cursor: str | None = None
    limit: Any = None


_unwrap = msgspec.json.Decoder(_Wrapper).decode


@attrs.frozen
class _Split:
    elements: list[msgspec.Raw]
    path: str
    """Of the list: `$.values` or `$.messages`."""
    cursor: str | None
    limit: object


def _split(body: bytes, first: str, second: str) -> _Split:
    """The elements of a page, undecoded, from the key `first` or else `second` (protocol 4.4); null is empty."""
    try:
        wrapper = _unwrap(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        words, _, where = str(error).partition(" - at `")
        raise undecodable(where.rstrip("`") or "$", body, words) from error
    for name in (first, second):
        elements = getattr(wrapper, name)
        if elements is not msgspec.UNSET:
            return _Split(elements or [], f"$.{name}", wrapper.cursor or None, wrapper.limit)
    raise undecodable("$", body, f"required field {first} missing")


def split_history(body: bytes) -> tuple[list[msgspec.Raw], str]:
    """The undecoded messages of a history page and the path of their list."""
    page = _split(body, "messages", "values")
    return page.elements, page.path


def split_values(body: bytes) -> tuple[list[msgspec.Raw], str]:
    """The undecoded elements of a list and their path."""
    page = _split(body, "values", "messages")
    return page.elements, page.path


Read = Callable[[bytes, str], T]
"""Decodes one element at a path."""


def read_all(elements: Sequence[msgspec.Raw], path: str, read: Read[T], on_undecodable: Undecodable | None) -> list[T]:
    """Each element decoded, in order.

    Raises:
        DecodeError: of the first that cannot be decoded, unless there is a callback to tell.
    """
    if on_undecodable is None:
        return [read(bytes(raw), f"{path}[{index}]") for index, raw in enumerate(elements)]
    return [item for _, item in _read_numbered(elements, path, read, on_undecodable)]


def _read_numbered(
    elements: Sequence[msgspec.Raw], path: str, read: Read[T], on_undecodable: Undecodable | None
) -> list[tuple[int, T]]:
    items = []
    for index, raw in enumerate(elements):
        try:
            items.append((index, read(bytes(raw), f"{path}[{index}]")))
        except DecodeError as error:
            if on_undecodable is None:
                raise
            on_undecodable(error)
    return items


@attrs.frozen(kw_only=True)
class CursorListing(Generic[T]):
    """A listing whose pages name the cursor of the next (protocol 5.2)."""

    kind: str
    path: str
    filters: Query = ()
    read: Read[T]
    identify: Callable[[T], str]

    @property
    def query(self) -> Mapping[str, Word]:
        """Kind, path and every filter."""
        return {"kind": self.kind, "path": self.path, **dict(self.filters)}

    def walk(self, page_size: int, bookmark: Bookmark | None) -> CursorWalk[T]:
        """From the first page, or from the page the bookmark points into."""
        return CursorWalk(self, page_size, bookmark)


class CursorWalk(Generic[T]):
    """Follows cursors, finds cycles, gives no item twice."""

    def __init__(self, listing: CursorListing[T], page_size: int, bookmark: Bookmark | None) -> None:
        self._listing = listing
        self._page_size = page_size
        self._cursor: str | None = None
        self._known_cursors: set[bytes] = set()
        self._given: set[str] = set()
        self._empty = 0
        self._count = 0
        """Items of the current page that lie behind the place."""
        self._skip = 0
        self._skip_to: str | None = None
        self._ready: Page[T] | None = None
        self._ended = False
        if bookmark is not None and bookmark.place:
            self._cursor = str(bookmark.word("cursor", str)) or None
            self._skip = int(bookmark.word("count", int))
            self._skip_to = str(bookmark.word("last", str))

    def next(self, wanted: int | None) -> Request[bytes] | Page[T] | None:
        """The ready page, else the request for the next one."""
        if self._ready is not None:
            page, self._ready = self._ready, None
            return page
        if self._ended:
            return None
        skipping = self._skip_to is not None
        limit = self._page_size if wanted is None or skipping else min(self._page_size, wanted)
        at = (("cursor", self._cursor),) if self._cursor else ()
        return Request(
            method="GET",
            path=self._listing.path,
            query=(*self._listing.filters, ("limit", str(limit)), *at),
            read=whole,
        )

    def place_is_gone(self) -> bool:
        """A cursor has no second way."""
        return False

    def take(self, body: bytes, on_undecodable: Undecodable | None) -> None:
        """One page; ends on an absent, null or empty cursor, or on the very cursor asked with."""
        page = _split(body, "values", "messages")
        ended = page.cursor is None or page.cursor == self._cursor
        mark = _mark(page.cursor)
        if not ended and mark in self._known_cursors:
            raise PaginationLoop(f"GET {self._listing.path}: the service gave a cursor it had given before")
        if not page.elements and not ended and self._empty + 1 > MOST_EMPTY_PAGES:
            raise TooManyEmptyPages(
                f"GET {self._listing.path}: more than {MOST_EMPTY_PAGES} empty pages in a row, each with a new cursor"
            )
        numbered = _read_numbered(page.elements, page.path, self._listing.read, on_undecodable)
        kept = self._behind_the_place(numbered, len(page.elements))
        self._given.update(self._listing.identify(item) for _, item in kept)
        self._ready = Page([item for _, item in kept], body, self._places(self._cursor, kept, len(page.elements)))
        self._empty = 0 if page.elements else self._empty + 1
        self._known_cursors.update((mark, _mark(self._cursor)))
        self._cursor, self._ended = page.cursor, ended

    def _behind_the_place(self, numbered: list[tuple[int, T]], size: int) -> list[tuple[int, T]]:
        """What was not given yet: behind the bookmarked item where it is found, else behind as many as were counted."""
        identify = self._listing.identify
        if self._skip_to is not None:
            found = next((n for n, item in numbered if identify(item) == self._skip_to), None)
            if found is not None:
                skip, self._skip, self._skip_to = found + 1, 0, None
            else:
                skip = min(self._skip, size)
                self._skip -= skip
                # Counted out inside this page: the item is gone. At its very end it may stand first on the next one.
                if skip < size:
                    self._skip_to = None
            numbered = [(n, item) for n, item in numbered if n >= skip]
        kept = []
        seen = set()
        for n, item in numbered:
            name = identify(item)
            if name not in self._given and name not in seen:
                seen.add(name)
                kept.append((n, item))
        return kept

    def _places(self, cursor: str | None, kept: list[tuple[int, T]], size: int) -> Callable[[int], Bookmark]:
        query, identify = self._listing.query, self._listing.identify
        before = self._place_before(cursor)

        def place_after(count: int) -> Bookmark:
            if not count:
                return Bookmark(query, before)
            n, item = kept[count - 1]
            return Bookmark(query, {"cursor": cursor or "", "count": n + 1, "last": identify(item)})

        return place_after

    def _place_before(self, cursor: str | None) -> dict[str, Word]:
        if self._skip_to is not None:
            return {"cursor": cursor or "", "count": self._skip, "last": self._skip_to}
        return {"cursor": cursor, "count": 0, "last": ""} if cursor else {}


def _mark(cursor: str | None) -> bytes:
    """Sixteen bytes that stand for a cursor: listings may have many thousands."""
    return blake2b((cursor or "").encode("utf-8", "surrogatepass"), digest_size=16).digest()


@attrs.frozen(kw_only=True)
class OffsetListing(Generic[T]):
    """A listing by `start` and `limit` (protocol 5.7, 5.19)."""

    kind: str
    path: str
    read: Read[T]
    identify: Callable[[T], str]
    limit_key: str | None = None

    @property
    def query(self) -> Mapping[str, Word]:
        """Kind and path."""
        return {"kind": self.kind, "path": self.path}

    def walk(self, page_size: int, bookmark: Bookmark | None) -> OffsetWalk[T]:
        """From offset 0, or from behind the bookmarked item."""
        return OffsetWalk(self, page_size, bookmark)


class OffsetWalk(Generic[T]):
    """Counts on, gives no item twice; offsets cannot promise more when the list moves."""

    def __init__(self, listing: OffsetListing[T], page_size: int, bookmark: Bookmark | None) -> None:
        self._listing = listing
        self._page_size = page_size
        self._start = 0
        self._last: str | None = None
        """The bookmarked item, until it was looked for."""
        self._behind = ""
        """The last item given, by name."""
        self._asked = page_size
        self._given: set[str] = set()
        self._ready: Page[T] | None = None
        self._ended = False
        if bookmark is not None and bookmark.place:
            self._last = str(bookmark.word("last", str))
            # One item back, so that the bookmarked one is found again where it stood.
            self._start = max(0, int(bookmark.word("offset", int)) - 1)

    def next(self, wanted: int | None) -> Request[bytes] | Page[T] | None:
        """The ready page, else the request for the next one."""
        if self._ready is not None:
            page, self._ready = self._ready, None
            return page
        if self._ended:
            return None
        overlap = 1 if self._last is not None else 0
        self._asked = self._page_size if wanted is None else min(self._page_size, wanted + overlap)
        return Request(
            method="GET",
            path=self._listing.path,
            query=(("start", str(self._start)), ("limit", str(self._asked))),
            read=whole,
            limit_key=self._listing.limit_key,
        )

    def place_is_gone(self) -> bool:
        """An offset has no second way."""
        return False

    def take(self, body: bytes, on_undecodable: Undecodable | None) -> None:
        """One page; the list ends at one with nothing new, or shorter than was asked or answered."""
        page = _split(body, "values", "messages")
        numbered = _read_numbered(page.elements, page.path, self._listing.read, on_undecodable)
        identify = self._listing.identify
        if self._last is not None:
            found = next((n for n, item in numbered if identify(item) == self._last), None)
            if found is not None:
                self._given.update(identify(item) for n, item in numbered if n <= found)
        kept = []
        for n, item in numbered:
            name = identify(item)
            if name not in self._given:
                self._given.add(name)
                kept.append((n, item))
        resumed = self._last is not None
        self._ready = Page([item for _, item in kept], body, self._places(self._start + resumed, kept))
        self._last = None
        if kept:
            self._behind = identify(kept[-1][1])
        answered = page.limit if isinstance(page.limit, int) and page.limit > 0 else self._asked
        short = len(page.elements) < min(self._asked, answered)
        # A resumed page may hold nothing but the bookmarked item; an undecodable element is something new, too.
        nothing_new = not kept and not (resumed and page.elements) and len(numbered) == len(page.elements)
        self._ended = short or nothing_new or not page.elements
        self._start += len(page.elements)

    def _places(self, offset: int, kept: list[tuple[int, T]]) -> Callable[[int], Bookmark]:
        query, identify, start = self._listing.query, self._listing.identify, self._start
        behind = self._last or self._behind
        before: dict[str, Word] = {"offset": offset, "last": behind} if behind else {}

        def place_after(count: int) -> Bookmark:
            if not count:
                return Bookmark(query, before)
            n, item = kept[count - 1]
            return Bookmark(query, {"offset": start + n + 1, "last": identify(item)})

        return place_after
