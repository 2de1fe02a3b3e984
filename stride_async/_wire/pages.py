"""The kinds of page, the request that follows each, and the place behind each item. Pure.

A `Walk` is asked for its next step: a request to send, a page that is ready, or None at the end. What comes in
for a request is given to `take`; a walk that raises there has not moved, so the same request may be sent again.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Generic, Protocol, TypeVar

import attrs
import msgspec

from stride_async._errors import DecodeError, PaginationLoop, TooManyEmptyPages
from stride_async._wire.bookmark import Bookmark, Scalar, number_in, text_in
from stride_async._wire.convert import undecodable
from stride_async._wire.request import Query, Request, Response

T = TypeVar("T")

MOST_EMPTY_PAGES = 100
"""Empty pages in a row that are followed while the service still gives a cursor."""

MOST_COUNTED = 2**31 - 1
"""The largest count or offset that a bookmark may hold."""

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


class Walk(Protocol[T]):
    """A listing under way."""

    @abstractmethod
    def next(self, wanted: int | None) -> Request[bytes] | Page[T] | None:
        """The next step; `wanted` is how many more items are asked for at most, None: all."""

    @abstractmethod
    def take(self, body: bytes, on_undecodable: Undecodable | None) -> None:
        """The answer to the last request."""

    @abstractmethod
    def place_is_gone(self) -> bool:
        """What the last request named is not there; True when another way to go on will now be asked."""


class Listing(Protocol[T]):
    """What is listed: starts walks and knows what a bookmark of it must say."""

    @property
    def query(self) -> Mapping[str, Scalar]:
        """Kind, path, filters, bounds and order: what a bookmark carries."""

    def walk(self, page_size: int, bookmark: Bookmark | None) -> Walk[T]:
        """A walk from the start, or from behind a bookmark of this listing."""


def whole(response: Response) -> bytes:
    """The body of a page, to be split by the walk that asked for it."""
    return response.body


class _Wrapper(msgspec.Struct):
    values: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET
    messages: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET
    cursor: str | None = None
    limit: Any = None


_unwrap = msgspec.json.Decoder(_Wrapper).decode


@attrs.frozen(eq=False, repr=False)
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


@attrs.frozen(eq=False, repr=False)
class Decoded(Generic[T]):
    """The elements of a page, each as an item or as the error that says why it is none."""

    items: list[T]
    numbers: Sequence[int]
    """Where each item stood among the elements."""
    errors: Sequence[tuple[int, DecodeError]] = ()
    """The others, with where they stood."""


def read_each(elements: Sequence[msgspec.Raw], path: str, read: Read[T]) -> Decoded[T]:
    """Each element decoded on its own."""
    try:
        return Decoded([read(bytes(raw), path) for raw in elements], range(len(elements)))
    except DecodeError:
        # Only now is it worth the time to write down the path of every element.
        items, numbers, errors = [], [], []
        for number, raw in enumerate(elements):
            try:
                items.append(read(bytes(raw), f"{path}[{number}]"))
                numbers.append(number)
            except DecodeError as error:
                errors.append((number, error))
        return Decoded(items, numbers, errors)


def read_all(elements: Sequence[msgspec.Raw], path: str, read: Read[T]) -> list[T]:
    """Each element decoded, in order.

    Raises:
        DecodeError: of the first that cannot be decoded.
    """
    decoded = read_each(elements, path, read)
    for _, error in decoded.errors:
        raise error
    return decoded.items


def tell(errors: Iterable[DecodeError], on_undecodable: Undecodable | None) -> None:
    """Hand each error to the callback; without one the first is raised."""
    for error in errors:
        if on_undecodable is None:
            raise error
        on_undecodable(error)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class CursorListing(Generic[T]):
    """A listing whose pages name the cursor of the next (protocol 5.2)."""

    kind: str
    path: str
    filters: Query = ()
    read: Read[T]
    identify: Callable[[T], str]

    @property
    def query(self) -> Mapping[str, Scalar]:
        """Kind, path and every filter."""
        return {"kind": self.kind, "path": self.path, **dict(self.filters)}

    def walk(self, page_size: int, bookmark: Bookmark | None) -> CursorWalk[T]:
        """From the first page, or from the page the bookmark points into."""
        return CursorWalk(self, page_size, bookmark)


@attrs.frozen(eq=False, repr=False)
class _CursorPage(Generic[T]):
    """What a cursor gave, or what of it lies behind an element."""

    cursor: str | None
    following: str | None
    """The next page's cursor; None at the end."""
    items: Sequence[tuple[int, T]]
    errors: Sequence[tuple[int, DecodeError]]
    size: int
    body: bytes

    def behind(self, count: int) -> _CursorPage[T]:
        """This page without its first `count` elements."""
        return attrs.evolve(
            self,
            items=[(n, item) for n, item in self.items if n >= count],
            errors=[(n, error) for n, error in self.errors if n >= count],
        )


@attrs.frozen(eq=False, repr=False)
class _Search(Generic[T]):
    """For the bookmarked item, which a list that moved may have pushed a page on, or lost."""

    last: str
    count: int
    """Elements still to be passed over when the item is not found."""
    withheld: tuple[_CursorPage[T], ...] = ()
    """What is to be given if the page behind it does not have the item either."""

    def look_in(
        self, page: _CursorPage[T], identify: Callable[[T], str]
    ) -> tuple[_Search[T] | None, tuple[_CursorPage[T], ...]]:
        """The search that goes on from here, None when it is over, and what may be given by now."""
        found = next((n for n, item in page.items if identify(item) == self.last), None)
        if found is not None:
            return None, (page.behind(found + 1),)
        left, rest = self.count - page.size, self.withheld
        if left < 0:
            rest = (*rest, page.behind(self.count))
        if page.following is None or (left < 0 and self.withheld):
            return None, rest
        return _Search(self.last, max(left, 0), rest), ()


class CursorWalk(Generic[T]):
    """Follows cursors, finds cycles, gives no item twice."""

    def __init__(self, listing: CursorListing[T], page_size: int, bookmark: Bookmark | None) -> None:
        self._listing = listing
        self._page_size = page_size
        self._cursor: str | None = None
        self._known_cursors: set[bytes] = set()
        self._given: set[str] = set()
        self._empty = 0
        self._search: _Search[T] | None = None
        self._place: Mapping[str, Scalar] = {}
        """Behind the last item given."""
        self._ready: deque[Page[T]] = deque()
        self._ended = False
        if bookmark is not None and bookmark.place:
            self._place = bookmark.place
            self._cursor = text_in(bookmark, "cursor") or None
            count, last = number_in(bookmark, "count", 0, MOST_COUNTED), text_in(bookmark, "last")
            # When the item is not found it is none of those counted: better one again than one missed.
            self._search = _Search(last, count - 1) if count else None

    def next(self, wanted: int | None) -> Request[bytes] | Page[T] | None:
        """The ready page, else the request for the next one."""
        if self._ready:
            return self._ready.popleft()
        if self._ended:
            return None
        limit = self._page_size if wanted is None or self._search else min(self._page_size, wanted)
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
        """One page; ends on an absent, null or empty cursor, or on the very cursor asked with.

        Raises:
            PaginationLoop: any other cursor that was given before.
            TooManyEmptyPages: each of more than 100 pages in a row was empty and promised another.
        """
        split = _split(body, "values", "messages")
        following = None if split.cursor == self._cursor else split.cursor
        empty = 0 if split.elements else self._empty + 1
        mark = _mark(following)
        if following is not None and mark in self._known_cursors:
            raise PaginationLoop(f"GET {self._listing.path}: the service gave a cursor it had given before")
        if following is not None and empty > MOST_EMPTY_PAGES:
            raise TooManyEmptyPages(
                f"GET {self._listing.path}: more than {MOST_EMPTY_PAGES} empty pages in a row, each with a new cursor"
            )
        decoded = read_each(split.elements, split.path, self._listing.read)
        numbered = list(zip(decoded.numbers, decoded.items, strict=True))
        page = _CursorPage(self._cursor, following, numbered, decoded.errors, len(split.elements), body)
        search, pages = self._search.look_in(page, self._listing.identify) if self._search else (None, (page,))
        tell((error for page in pages for _, error in page.errors), on_undecodable)
        self._search = search
        self._ready.extend(self._page(page) for page in pages)
        self._empty = empty
        self._known_cursors.update((mark, _mark(self._cursor)))
        self._cursor, self._ended = following, following is None

    def _page(self, page: _CursorPage[T]) -> Page[T]:
        """What of a page was not given yet; its places."""
        query, identify, before = self._listing.query, self._listing.identify, self._place
        kept = []
        for n, item in page.items:
            name = identify(item)
            if name not in self._given:
                self._given.add(name)
                kept.append((n, item))

        def behind(n: int, item: T) -> dict[str, Scalar]:
            return {"cursor": page.cursor or "", "count": n + 1, "last": identify(item)}

        if kept:
            self._place = behind(*kept[-1])
        elif page.following is not None:
            before = self._place = {"cursor": page.following, "count": 0, "last": ""}
        return Page(
            [item for _, item in kept],
            page.body,
            lambda count: Bookmark(query, behind(*kept[count - 1]) if count else before),
        )


def _mark(cursor: str | None) -> bytes:
    """Sixteen bytes that stand for a cursor: listings may have many thousands."""
    return blake2b((cursor or "").encode(), digest_size=16).digest()


@attrs.frozen(kw_only=True, eq=False, repr=False)
class OffsetListing(Generic[T]):
    """A listing by `start` and `limit` (protocol 5.7, 5.19)."""

    kind: str
    path: str
    read: Read[T]
    identify: Callable[[T], str]
    limit_key: str | None = None

    @property
    def query(self) -> Mapping[str, Scalar]:
        """Kind and path."""
        return {"kind": self.kind, "path": self.path}

    def walk(self, page_size: int, bookmark: Bookmark | None) -> OffsetWalk[T]:
        """From offset 0, or from behind the bookmarked item."""
        return OffsetWalk(self, page_size, bookmark)


@attrs.frozen(eq=False, repr=False)
class _OffsetPage(Generic[T]):
    """What an offset gave."""

    start: int
    decoded: Decoded[T]
    names: Sequence[str]
    """Of the decoded items."""
    size: int
    short: bool
    """Fewer than were asked for, or than the service says it gives at most."""
    body: bytes


class OffsetWalk(Generic[T]):
    """Counts on, gives no item twice; offsets cannot promise more when the list moves.

    A bookmarked item is looked for where it stood, then from the beginning on; only when it is nowhere is its offset
    trusted.
    """

    def __init__(self, listing: OffsetListing[T], page_size: int, bookmark: Bookmark | None) -> None:
        self._listing = listing
        self._page_size = page_size
        self._start = 0
        self._asked = page_size
        self._sought: str | None = None
        """The bookmarked item, until it was looked for."""
        self._withheld: _OffsetPage[T] | None = None
        """The page where it stood, while it is looked for elsewhere."""
        self._given: set[str] = set()
        self._undecodable: set[bytes] = set()
        """Elements that were no items, as 16 bytes each."""
        self._place: Mapping[str, Scalar] = {}
        """Behind the last item given."""
        self._ready: Page[T] | None = None
        self._ended = False
        if bookmark is not None and bookmark.place:
            self._place = bookmark.place
            self._sought = text_in(bookmark, "last")
            # One item back, so that the bookmarked one is found again where it stood.
            self._start = number_in(bookmark, "offset", 1, MOST_COUNTED) - 1

    def next(self, wanted: int | None) -> Request[bytes] | Page[T] | None:
        """The ready page, else the request for the next one."""
        if self._ready is not None:
            page, self._ready = self._ready, None
            return page
        if self._ended:
            return None
        self._asked = self._page_size if wanted is None or self._sought is not None else min(self._page_size, wanted)
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
        split = _split(body, "values", "messages")
        decoded = read_each(split.elements, split.path, self._listing.read)
        names = [self._listing.identify(item) for item in decoded.items]
        size = len(split.elements)
        most = split.limit if isinstance(split.limit, int) and split.limit > 0 else self._asked
        page = _OffsetPage(self._start, decoded, names, size, size < min(self._asked, most), body)
        if self._sought is None:
            self._give(page, 0, on_undecodable)
        elif self._sought in names:
            self._give(page, decoded.numbers[names.index(self._sought)] + 1, on_undecodable)
        else:
            self._search_on(page, on_undecodable)

    def _search_on(self, page: _OffsetPage[T], on_undecodable: Undecodable | None) -> None:
        if self._withheld is None:
            self._withheld = page
            if page.start:
                self._start = 0
                return
        if page.short or self._given.issuperset(page.names):
            self._given.clear()
            self._give(self._withheld, 0, on_undecodable)
        else:
            self._given.update(page.names)
            self._start += page.size

    def _give(self, page: _OffsetPage[T], skip: int, on_undecodable: Undecodable | None) -> None:
        """A page without its first `skip` elements and without what was given before."""
        decoded = page.decoded
        passed = {name for n, name in zip(decoded.numbers, page.names, strict=True) if n < skip}
        fresh: dict[str, tuple[int, T]] = {}
        for n, name, item in zip(decoded.numbers, page.names, decoded.items, strict=True):
            if name not in self._given and name not in passed:
                fresh.setdefault(name, (n, item))
        errors = [error for n, error in decoded.errors if n >= skip]
        undecodable = {blake2b(error.raw, digest_size=16).digest() for error in errors}
        # A service that ignores `start` gives the same page for ever: what cannot be decoded counts as new only once.
        anything_new = bool(fresh) or not undecodable <= self._undecodable
        if anything_new:
            tell(errors, on_undecodable)
        self._given |= passed | fresh.keys()
        self._undecodable |= undecodable
        self._sought = self._withheld = None
        self._ready = self._page(page, list(fresh.items()))
        # A resumed page may hold nothing but the bookmarked item.
        self._ended = page.short or not page.size or not (anything_new or skip)
        self._start = page.start + page.size

    def _page(self, page: _OffsetPage[T], kept: list[tuple[str, tuple[int, T]]]) -> Page[T]:
        query, before = self._listing.query, self._place

        def behind(count: int) -> dict[str, Scalar]:
            name, (n, _) = kept[count - 1]
            return {"offset": page.start + n + 1, "last": name}

        if kept:
            self._place = behind(len(kept))
        return Page(
            [item for _, (_, item) in kept],
            page.body,
            lambda count: Bookmark(query, behind(count) if count else before),
        )
