"""Listings page by page: the states of a walk, and the two walks that follow cursors or offsets. Pure.

A `Walk` reads one listing from one end to the other. It sends nothing itself. Its caller runs this loop:

    next() ──> Request ──(send it)──> receive(body) ──> next() ──> Page ──> next() ──> … ──> None
                  │
                  └──(the service no longer has what the request names)──> recover_from_gone()

- `next` returns the page that is ready, else the request for the following page, else None at the end. Without a
  `receive` in between it returns the same request again.
- `receive` takes the body of the response. It checks and decodes everything first and changes the walk last. If it
  raises, the walk is where it was, and repeating the request loses nothing. An element that cannot be decoded
  is handed to a callback; without a callback its error is raised.
- `recover_from_gone` only matters for a history, which names a message that may be deleted (see `history.py`).

A page returns the bookmark after any of its items: how the page was requested, and where the item is in it. A new walk
can begin at a bookmark.

**Cursors** (`CursorWalk`). Each page carries the cursor of the next one.

- The end is a missing, null or empty cursor, or the cursor that was just requested. A short or an empty page is not the
  end.
- Any other cursor that was seen before would lead in a circle: `PaginationLoop`. Over 100 consecutive empty pages, each
  with a new cursor, are `TooManyEmptyPages`. So a walk over a finite list terminates.
- A cursor that occurred before, or is not a string, does not cost the page that carries it: its items are returned
  first, and `next` raises the error (`PaginationLoop`, `DecodeError`) after them.
- An item that appears twice, because the list shifted, is returned once.
- A bookmark is the cursor of a page, the number of elements up to the item, and the id of the item. To resume, the page
  is requested again and the item is searched by id. If it is not in that page, it may have moved to the next one, so
  the elements after its old position are withheld until that page has been searched too. Only then does the count
  decide: the elements before its old position are skipped, and the listing continues with the one that is there now.

**Offsets** (`OffsetWalk`). Each request names the offset of its first element.

- The end is an empty page, a page shorter than the smaller of the requested limit and the one in the response, or a
  page with nothing new. The last rule also ends the walk of a service that ignores the offset and repeats one page.
- An item that appears twice is returned once. When the list shifts, others may be missed; offsets cannot prevent that.
- A bookmark is the offset after the item, and its id. To resume, the item is searched at its offset, then from the
  beginning of the list. If it is nowhere, the offset decides.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Generic, Protocol, TypeVar

import attrs
import msgspec

from stride_async._errors import DecodeError, PaginationLoop, StrideError, TooManyEmptyPages
from stride_async._json import NOT_DECODABLE, decoder, elements, members
from stride_async._wire.bookmark import Bookmark, Scalar, number_in, text_in
from stride_async._wire.convert import undecodable
from stride_async._wire.request import Query, Request, Response

T = TypeVar("T")

MOST_EMPTY_PAGES = 100  # in a row, each with a new cursor
MOST_COUNTED = 2**31 - 1  # the largest count or offset in a bookmark

Undecodable = Callable[[DecodeError], None]
"""Called with the error of an element that cannot be decoded; the listing then continues without the element."""


@attrs.frozen(eq=False)
class Page(Generic[T]):
    """One page of a listing."""

    items: Sequence[T]
    """The items in the order of the listing, without repeated and undecodable ones."""
    raw: bytes = attrs.field(repr=False)
    """The body of the response, as the service sent it."""
    bookmark_after: Callable[[int], Bookmark] = attrs.field(repr=False)
    """Return the bookmark after the first n items of this page."""

    @property
    def bookmark(self) -> Bookmark:
        """The position after the last item of this page."""
        return self.bookmark_after(len(self.items))


def shortened(page: Page[T], most: int) -> Page[T]:
    """Return a page with at most the first `most` items."""
    return page if len(page.items) <= most else Page(page.items[:most], page.raw, page.bookmark_after)


class Walk(Protocol[T]):
    """The reading of one listing from one end to the other."""

    @abstractmethod
    def next(self, wanted: int | None) -> Request[bytes] | Page[T] | None:
        """Return a page that is ready, else the next request, else None at the end.

        `wanted` is the largest number of items that the consumer still wants; None means all.
        """

    @abstractmethod
    def receive(self, body: bytes, on_undecodable: Undecodable | None) -> None:
        """Process the response to the last request.

        Raises:
            StrideError: The walk is unchanged, and the same request can be repeated.
        """

    @abstractmethod
    def recover_from_gone(self) -> bool:
        """Handle that the service no longer has what the last request named.

        Return whether the next request is for the same page, made in another way.
        """


class Listing(Protocol[T]):
    """Something that can be listed. It starts walks, and its query identifies its bookmarks."""

    @property
    def query(self) -> Mapping[str, Scalar]:
        """Kind, path, filters, bounds and order."""

    def walk(self, page_size: int, bookmark: Bookmark | None) -> Walk[T]:
        """Return a walk from the start, or from a bookmark of this listing."""


def raw_body(response: Response) -> bytes:
    """Read a response as its body, for the walk to split."""
    return response.body


Element = bytes | msgspec.Raw
"""One undecoded element of a page."""

_Elements = list[msgspec.Raw] | list[bytes]


class _Wrapper(msgspec.Struct):
    values: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET
    messages: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET
    cursor: Any = None
    limit: Any = None


_unwrap = msgspec.json.Decoder(_Wrapper).decode
_decode = decoder(Any)


class _Split(msgspec.Struct, frozen=True, eq=False):
    elements: _Elements
    path: str  # of the list, `$.values` or `$.messages`
    cursor: object
    limit: object


def _split(body: bytes, name: str, other: str) -> _Split:
    """Split a page into its undecoded elements, which are under one of two names (protocol 4.4). Null is empty.

    Raises:
        DecodeError: The body is not an object with a list under one of the names, or its brackets are not balanced.
    """
    try:
        wrapper = _unwrap(body)
    except NOT_DECODABLE as error:
        split = _split_by_brackets(body, name, other)
        if split is not None:
            return split
        message, _, where = str(error).partition(" - at `")
        raise undecodable(where.rstrip("`") or "$", body, message) from error
    for key in (name, other):
        elements = getattr(wrapper, key)
        if elements is not msgspec.UNSET:
            return _Split(elements or [], f"$.{key}", wrapper.cursor, wrapper.limit)
    raise undecodable("$", body, f"required field {name} missing")


def _split_by_brackets(body: bytes, name: str, other: str) -> _Split | None:
    """Split a page of which some part is not JSON; None if its strings and brackets do not allow it."""
    try:
        found = members(body)
        key = next(key for key in (name, other) if key in found)
        values = found[key]
        split = [] if values == b"null" else elements(values)
    except (ValueError, StopIteration):
        return None
    return _Split(split, f"$.{key}", _readable(found.get("cursor")), _readable(found.get("limit")))


def _readable(raw: bytes | None) -> object:
    """Return the value of a member, or the bytes if they cannot be decoded."""
    try:
        return None if raw is None else _decode(raw)
    except NOT_DECODABLE:
        return raw


def split_history(body: bytes) -> tuple[_Elements, str]:
    """Return the undecoded messages of a history page, and the path of their list."""
    page = _split(body, "messages", "values")
    return page.elements, page.path


class SharedPage:
    """The body of a history page whose messages refer to it until they are asked for their own bytes."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._elements: Sequence[Element] | None = None

    def element(self, number: int) -> bytes:
        """Return a copy of the bytes of one message. The page is split when the first one is needed."""
        if self._elements is None:
            self._elements = split_history(self._body)[0]
        return bytes(self._elements[number])


def split_values(body: bytes) -> tuple[_Elements, str]:
    """Return the undecoded elements of a list, and its path."""
    page = _split(body, "values", "messages")
    return page.elements, page.path


Read = Callable[[bytes, str], T]
"""Decode one element at a path."""


class Decoded(msgspec.Struct, Generic[T], frozen=True, eq=False):
    """The decoded elements of a page. `numbers` are the indexes of the items among the elements."""

    items: list[T]
    numbers: Sequence[int]
    errors: Sequence[tuple[int, DecodeError]] = ()
    """The index and the error of each element that could not be decoded."""


def read_each(elements: Sequence[Element], path: str, read: Read[T]) -> Decoded[T]:
    """Decode each element by itself, so that an error costs one element."""
    try:
        return Decoded([read(bytes(raw), path) for raw in elements], range(len(elements)))
    except DecodeError:
        # Composing the path of every element takes time, which is spent only now.
        items, numbers, errors = [], [], []
        for number, raw in enumerate(elements):
            try:
                items.append(read(bytes(raw), f"{path}[{number}]"))
                numbers.append(number)
            except DecodeError as error:
                errors.append((number, error))
        return Decoded(items, numbers, errors)


def read_all(elements: Sequence[Element], path: str, read: Read[T]) -> list[T]:
    """Decode all elements, in order.

    Raises:
        DecodeError: The error of the first element that cannot be decoded.
    """
    decoded = read_each(elements, path, read)
    for _, error in decoded.errors:
        raise error
    return decoded.items


def report(errors: Iterable[DecodeError], on_undecodable: Undecodable | None) -> None:
    """Call the callback with each error. Without a callback, raise the first one."""
    for error in errors:
        if on_undecodable is None:
            raise error
        on_undecodable(error)


class CursorListing(msgspec.Struct, Generic[T], frozen=True, kw_only=True, eq=False):
    """A listing whose pages carry the cursor of the next one (protocol 5.2)."""

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
        """Return a walk from the first page, or from the page of the bookmark."""
        return CursorWalk(self, page_size, bookmark)


class _CursorPage(msgspec.Struct, Generic[T], frozen=True, eq=False):
    """One page as decoded, or the rest of it after some element."""

    cursor: str | None
    following: str | None  # the cursor of the next page; None at the end
    items: Sequence[tuple[int, T]]
    errors: Sequence[tuple[int, DecodeError]]
    size: int
    body: bytes

    def without_first(self, count: int) -> _CursorPage[T]:
        """Return the page without its first `count` elements."""
        return msgspec.structs.replace(
            self,
            items=[(n, item) for n, item in self.items if n >= count],
            errors=[(n, error) for n, error in self.errors if n >= count],
        )


class _Search(msgspec.Struct, Generic[T], frozen=True, eq=False):
    """The search for the bookmarked item, which may have moved to another page or may be gone."""

    last: str
    count: int  # elements still to skip if the item is not found
    withheld: tuple[_CursorPage[T], ...] = ()  # to be returned if the item is not found in the next page either

    def look_in(
        self, page: _CursorPage[T], identify: Callable[[T], str]
    ) -> tuple[_Search[T] | None, tuple[_CursorPage[T], ...]]:
        """Search one page. Return how to search on, or None if the search is over, and the pages that are ready."""
        found = next((n for n, item in page.items if identify(item) == self.last), None)
        if found is not None:
            return None, (page.without_first(found + 1),)
        remaining, pages = self.count - page.size, self.withheld
        if remaining < 0:
            pages = (*pages, page.without_first(self.count))
        if page.following is None or (remaining < 0 and self.withheld):
            return None, pages
        return _Search(self.last, max(remaining, 0), pages), ()


class CursorWalk(Generic[T]):
    """A walk that follows cursors; see the module docstring."""

    def __init__(self, listing: CursorListing[T], page_size: int, bookmark: Bookmark | None) -> None:
        self._listing = listing
        self._page_size = page_size
        self._cursor: str | None = None
        self._known_cursors: set[bytes] = set()
        self._seen: set[str] = set()
        self._empty = 0
        self._search: _Search[T] | None = None
        self._position: Mapping[str, Scalar] = {}  # after the last item returned
        self._ready: deque[Page[T]] = deque()
        self._ended = False
        self._obstacle: StrideError | None = None  # why the walk cannot continue after the pages that are ready
        if bookmark is not None and bookmark.place:
            self._position = bookmark.place
            self._cursor = text_in(bookmark, "cursor") or None
            count, last = number_in(bookmark, "count", 0, MOST_COUNTED), text_in(bookmark, "last")
            # If the item is gone, it no longer counts. Returning one item again is better than missing one.
            self._search = _Search(last, count - 1) if count else None

    def next(self, wanted: int | None) -> Request[bytes] | Page[T] | None:
        """Return a page that is ready, else the next request, else None at the end.

        Raises:
            PaginationLoop: The cursor of the next page occurred before.
            DecodeError: The cursor of the next page is not a string.
        """
        if self._ready:
            return self._ready.popleft()
        if self._obstacle is not None:
            raise self._obstacle
        if self._ended:
            return None
        limit = self._page_size if wanted is None or self._search else min(self._page_size, wanted)
        cursor = (("cursor", self._cursor),) if self._cursor else ()
        return Request(
            method="GET",
            path=self._listing.path,
            query=(*self._listing.filters, ("limit", str(limit)), *cursor),
            read=raw_body,
        )

    def recover_from_gone(self) -> bool:
        """Return False: a page can be requested only by its cursor."""
        return False

    def receive(self, body: bytes, on_undecodable: Undecodable | None) -> None:
        """Process one page.

        Raises:
            TooManyEmptyPages: More than 100 consecutive pages were empty, and each had a new cursor.
            DecodeError: The page, or without a callback one of its elements, cannot be decoded.
        """
        split = _split(body, "values", "messages")
        empty = 0 if split.elements else self._empty + 1
        following, obstacle = self._following(split.cursor, body)
        if following is not None and empty > MOST_EMPTY_PAGES:
            raise TooManyEmptyPages(
                f"GET {self._listing.path}: over {MOST_EMPTY_PAGES} consecutive empty pages, each with a new cursor"
            )
        decoded = read_each(split.elements, split.path, self._listing.read)
        numbered = list(zip(decoded.numbers, decoded.items, strict=True))
        page = _CursorPage(self._cursor, following, numbered, decoded.errors, len(split.elements), body)
        search, pages = self._search.look_in(page, self._listing.identify) if self._search else (None, (page,))
        report((error for page in pages for _, error in page.errors), on_undecodable)
        self._search = search
        self._ready.extend(self._page(page) for page in pages)
        self._empty = empty
        self._known_cursors.update((_digest(following), _digest(self._cursor)))
        self._cursor, self._ended, self._obstacle = following, following is None, obstacle

    def _following(self, cursor: object, body: bytes) -> tuple[str | None, StrideError | None]:
        """Return the cursor of the next page, or None and the error if the cursor leads nowhere."""
        if cursor is None or cursor in ("", self._cursor):
            return None, None
        if not isinstance(cursor, str):
            return None, undecodable("$.cursor", body, f"expected a string, found {type(cursor).__name__}")
        if _digest(cursor) in self._known_cursors:
            loop = PaginationLoop(f"GET {self._listing.path}: the service returned a cursor for the second time")
            return None, loop
        return cursor, None

    def _page(self, page: _CursorPage[T]) -> Page[T]:
        query, identify, before = self._listing.query, self._listing.identify, self._position
        new = []
        for n, item in page.items:
            name = identify(item)
            if name not in self._seen:
                self._seen.add(name)
                new.append((n, item))

        def after(n: int, item: T) -> dict[str, Scalar]:
            return {"cursor": page.cursor or "", "count": n + 1, "last": identify(item)}

        if new:
            self._position = after(*new[-1])
        elif page.following is not None:
            before = self._position = {"cursor": page.following, "count": 0, "last": ""}
        return Page(
            [item for _, item in new],
            page.body,
            lambda count: Bookmark(query, after(*new[count - 1]) if count else before),
        )


def _digest(cursor: str | None) -> bytes:
    """Return 16 bytes that stand for a cursor, because a listing may have many thousands of them."""
    return blake2b((cursor or "").encode(), digest_size=16).digest()


class OffsetListing(msgspec.Struct, Generic[T], frozen=True, kw_only=True, eq=False):
    """A listing whose pages are requested by `start` and `limit` (protocol 5.7, 5.19)."""

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
        """Return a walk from offset 0, or from a bookmark of this listing."""
        return OffsetWalk(self, page_size, bookmark)


class _OffsetPage(msgspec.Struct, Generic[T], frozen=True, eq=False):
    """One page as decoded. It is `short` if it has fewer elements than requested, or than the service's own limit."""

    start: int
    decoded: Decoded[T]
    names: Sequence[str]  # the ids of the decoded items
    size: int
    short: bool
    body: bytes


class OffsetWalk(Generic[T]):
    """A walk by offset; see the module docstring."""

    def __init__(self, listing: OffsetListing[T], page_size: int, bookmark: Bookmark | None) -> None:
        self._listing = listing
        self._page_size = page_size
        self._start = 0
        self._requested = page_size
        self._sought: str | None = None  # the bookmarked item, until its search is over
        self._withheld: _OffsetPage[T] | None = None  # the page at its offset, while it is searched elsewhere
        self._seen: set[str] = set()
        self._undecodable: set[bytes] = set()  # digests of elements that could not be decoded
        self._position: Mapping[str, Scalar] = {}  # after the last item returned
        self._ready: Page[T] | None = None
        self._ended = False
        if bookmark is not None and bookmark.place:
            self._position = bookmark.place
            self._sought = text_in(bookmark, "last")
            # One less, so that the page begins with the bookmarked item if nothing has changed.
            self._start = number_in(bookmark, "offset", 1, MOST_COUNTED) - 1

    def next(self, wanted: int | None) -> Request[bytes] | Page[T] | None:
        """Return a page that is ready, else the next request, else None at the end."""
        if self._ready is not None:
            page, self._ready = self._ready, None
            return page
        if self._ended:
            return None
        few = self._page_size if wanted is None else wanted
        self._requested = self._page_size if self._sought is not None else min(self._page_size, few)
        return Request(
            method="GET",
            path=self._listing.path,
            query=(("start", str(self._start)), ("limit", str(self._requested))),
            read=raw_body,
            limit_key=self._listing.limit_key,
        )

    def recover_from_gone(self) -> bool:
        """Return False: an offset names nothing that could be deleted."""
        return False

    def receive(self, body: bytes, on_undecodable: Undecodable | None) -> None:
        """Process one page.

        Raises:
            TooManyEmptyPages: More than 100 consecutive pages were empty, and each had a new cursor.
            DecodeError: The page, or without a callback one of its elements, cannot be decoded.
        """
        split = _split(body, "values", "messages")
        decoded = read_each(split.elements, split.path, self._listing.read)
        names = [self._listing.identify(item) for item in decoded.items]
        size = len(split.elements)
        most = split.limit if isinstance(split.limit, int) and split.limit > 0 else self._requested
        page = _OffsetPage(self._start, decoded, names, size, size < min(self._requested, most), body)
        if self._sought is None:
            self._accept(page, 0, on_undecodable)
        elif self._sought in names:
            self._accept(page, decoded.numbers[names.index(self._sought)] + 1, on_undecodable)
        else:
            self._search_on(page, on_undecodable)

    def _search_on(self, page: _OffsetPage[T], on_undecodable: Undecodable | None) -> None:
        if self._withheld is None:
            self._withheld = page
            if page.start:
                self._start = 0
                return
        if page.short or self._seen.issuperset(page.names):
            self._seen.clear()
            self._accept(self._withheld, 0, on_undecodable)
        else:
            self._seen.update(page.names)
            self._start += page.size

    def _accept(self, page: _OffsetPage[T], skip: int, on_undecodable: Undecodable | None) -> None:
        """Make a page ready, without its first `skip` elements and without items that were returned before."""
        decoded = page.decoded
        skipped = {name for n, name in zip(decoded.numbers, page.names, strict=True) if n < skip}
        new: dict[str, tuple[int, T]] = {}
        for n, name, item in zip(decoded.numbers, page.names, decoded.items, strict=True):
            if name not in self._seen and name not in skipped:
                new.setdefault(name, (n, item))
        errors = [error for n, error in decoded.errors if n >= skip]
        undecodable = {blake2b(error.raw, digest_size=16).digest() for error in errors}
        # A service that ignores `start` repeats one page: an undecodable element counts as new only once.
        anything_new = bool(new) or not undecodable <= self._undecodable
        if anything_new:
            report(errors, on_undecodable)
        self._seen |= skipped | new.keys()
        self._undecodable |= undecodable
        self._sought = self._withheld = None
        self._ready = self._page(page, list(new.items()))
        # After resuming, a page may hold nothing but the bookmarked item.
        self._ended = page.short or not page.size or not (anything_new or skip)
        self._start = page.start + page.size

    def _page(self, page: _OffsetPage[T], new: list[tuple[str, tuple[int, T]]]) -> Page[T]:
        query, before = self._listing.query, self._position

        def after(count: int) -> dict[str, Scalar]:
            name, (n, _) = new[count - 1]
            return {"offset": page.start + n + 1, "last": name}

        if new:
            self._position = after(len(new))
        return Page(
            [item for _, (_, item) in new],
            page.body,
            lambda count: Bookmark(query, after(count) if count else before),
        )
