"""Listings as items, as pages, or from a bookmark.

Complete responses are read before anything is yielded, so a consumer can stop at any item and nothing stays open. Only
a `Stream` holds a task, and it is an `async with` in the caller's own code.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from operator import call
from typing import Generic, Self, TypeVar, cast
from weakref import ReferenceType, ref

import attrs
import msgspec

from stride_async._arguments import function, number, of_type
from stride_async._errors import ApiError, DecodeError, StrideError
from stride_async._events import PageFetched
from stride_async._models import Message
from stride_async._net.record import Tally
from stride_async._net.session import Session
from stride_async._settings import MOST_ITEMS_A_PAGE
from stride_async._wire.bookmark import Bookmark, check_listing
from stride_async._wire.pages import Listing, Page, Undecodable, Walk, shortened
from stride_async._wire.secrets import forget_frames, redact

T = TypeVar("T")

# The status of a request that names a deleted message. The protocol does not state it; 404 is likely (protocol 5.15).
_GONE = frozenset({400, 404, 410})


@attrs.define
class Stats(Tally):
    """The cost of a stream so far. Pages that were fetched ahead are included."""

    pages: int = 0
    """Pages that were fetched, including empty ones."""
    items: int = 0
    """Items that could be decoded."""
    empty_pages: int = 0
    """Pages without an item."""
    undecodable: int = 0
    """Elements that could not be decoded."""


class Plan(msgspec.Struct, Generic[T], frozen=True, eq=False):
    """What a pager lists, and how."""

    session: Session
    listing: Listing[T]
    page_size: int
    max_items: int | None
    bookmark: Bookmark | None = None

    @property
    def start(self) -> Bookmark:
        """The position where the listing begins."""
        return self.bookmark or Bookmark(self.listing.query, {})


def planned(session: Session, listing: Listing[T], page_size: int | None, max_items: int | None) -> Pager[T]:
    """Return a pager over a listing. Without a page size, the one of the settings is used.

    Raises:
        TypeError: One of the numbers is not an int.
        ValueError: `page_size` is not 1 to 75, or `max_items` is negative.
    """
    size = session.settings.page_size if page_size is None else number(page_size, "page_size", 1, MOST_ITEMS_A_PAGE)
    if max_items is not None:
        number(max_items, "max_items", 0)
    return Pager(Plan(session, listing, size, max_items))


@attrs.frozen(eq=False, repr=False)
class Pager(Generic[T]):
    """A listing of conversations, messages, members or modules that has not begun.

    Creating a pager sends nothing. Each iteration starts from the beginning and requests a page only when it needs
    one. There are four ways to use it.

    Iterate over the items. The loop can end at any item; nothing runs in the background and nothing stays open.

        async for message in room.history():
            print(message.text)

    Iterate over the pages, for their raw bytes or to process many items at once.

        async for page in room.history().pages():
            print(len(page.items), len(page.raw))

    Open a stream. It can fetch pages ahead while the loop works, and it knows the bookmark after each item.

        async with room.history(oldest_first=True).stream(prefetch=2) as messages:
            async for message in messages:
                print(message.text)
                checkpoint = messages.bookmark.dumps()
                if message.text == "stop":
                    break

    Resume from a bookmark, or collect items in a list.

        rest = await room.history(oldest_first=True).resume(Bookmark.loads(checkpoint)).collect(limit=None)
        newest = await room.history().first()
        latest = await room.history().collect(limit=10)

    Iterating raises the errors of any call, and `DecodeError` for an element that cannot be decoded, `PaginationLoop`
    or `TooManyEmptyPages`. The error's `bookmark` is the position after the last item, so that the listing can be
    resumed.
    """

    _plan: Plan[T]

    def __aiter__(self) -> AsyncIterator[T]:
        return self._items()

    async def _items(self) -> AsyncIterator[T]:
        fetch, passed = _Fetch(self._plan, None), _Passed()
        try:
            while (page := await fetch.page()) is not None:
                passed.enter(page.items)
                for item in page.items:
                    yield item
                page = None  # Free its memory while the next page is fetched.
        finally:
            page = None
            passed.settle()

    async def pages(self, *, on_undecodable: Undecodable | None = None) -> AsyncIterator[Page[T]]:
        """Iterate over the pages as they arrive. Empty pages are skipped.

        Args:
            on_undecodable: Called with the `DecodeError` of each element that cannot be decoded; the listing continues
                without it. Without a callable, the error is raised.

        Raises:
            StrideError: A page could not be fetched. The error's `bookmark` is the position after the last page.
        """
        fetch, passed = _Fetch(self._plan, function(on_undecodable, "on_undecodable")), _Passed()
        try:
            while (page := await fetch.page()) is not None:
                if page.items:
                    passed.enter(page.items)
                    yield page
                page = None
        finally:
            page = None
            passed.settle()

    def stream(self, *, prefetch: int = 0, on_undecodable: Undecodable | None = None) -> Stream[T]:
        """Return a `Stream` over the items, to be used with `async with`.

        Args:
            prefetch: How many pages are fetched ahead of the loop.
            on_undecodable: As in `pages`.

        Raises:
            ValueError: `prefetch` is negative.
        """
        number(prefetch, "prefetch", 0)
        function(on_undecodable, "on_undecodable")
        return Stream(self._plan, prefetch, on_undecodable)

    async def first(self) -> T | None:
        """Return the first item, or None if the listing is empty."""
        return next(iter(await self.collect(limit=1)), None)

    async def collect(self, *, limit: int | None) -> list[T]:
        """Return a list of the first items. The limit is required, so that none is fetched without a decision.

        Args:
            limit: How many items to collect at most; None means all.

        Raises:
            StrideError: A page could not be fetched. The error's `bookmark` is where this pager starts, because no item
                was returned.
        """
        if limit is not None:
            number(limit, "limit", 0)
        limits = [most for most in (limit, self._plan.max_items) if most is not None]
        limited = Pager(msgspec.structs.replace(self._plan, max_items=min(limits, default=None)))
        items: list[T] = []
        try:
            async for page in limited.pages():
                items += page.items
        except StrideError as error:
            error.bookmark = self._plan.start
            raise
        return items

    def resume(self, bookmark: Bookmark) -> Pager[T]:
        """Return a pager over the same listing that starts directly after the bookmarked item.

        `max_items` counts from there.

        Args:
            bookmark: A position in this listing, from `Stream.bookmark`, a `Page` or an error.

        Raises:
            StaleBookmark: The bookmark belongs to another listing; the message names what differs.
        """
        plan = self._plan
        check_listing(of_type(bookmark, "bookmark", Bookmark), plan.listing.query)
        plan.listing.walk(plan.page_size, bookmark)  # Reads the position, so that a malformed one is reported here.
        return Pager(msgspec.structs.replace(plan, bookmark=bookmark))

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}={value!r}" for name, value in self._plan.listing.query.items() if value is not None)
        return f"Pager({parts})"


class _Fetch(Generic[T]):
    """The loop of a listing: take the next step of the walk, send its request, return the page.

    A page that fails leaves the walk unchanged, so that the next call requests the same page again.
    """

    def __init__(self, plan: Plan[T], on_undecodable: Undecodable | None) -> None:
        self.stats = Stats()
        self._session = plan.session
        self._wanted = plan.max_items
        self._bookmark = plan.start
        self._walk: Walk[T] = plan.listing.walk(plan.page_size, plan.bookmark)
        self._callback = on_undecodable
        self._on_undecodable: Undecodable | None = None if on_undecodable is None else self._count_undecodable

    def _count_undecodable(self, error: DecodeError) -> None:
        self.stats.undecodable += 1
        if self._callback is not None:
            error.__cause__ = None
            self._callback(redact(error, self._session.pool.secrets))

    async def page(self) -> Page[T] | None:
        """Return the next page, which may be empty, or None at the end."""
        while self._wanted != 0:
            try:
                step = self._walk.next(self._wanted)
                if step is None:
                    return None
                if isinstance(step, Page):
                    return self._counted(step)
                self._walk.receive(await self._session.send(step, self.stats), self._on_undecodable)
            except StrideError as error:
                if not (isinstance(error, ApiError) and error.status in _GONE and self._walk.recover_from_gone()):
                    if isinstance(error, DecodeError):
                        forget_frames(error)
                        error.__cause__ = None
                    error.bookmark = self._bookmark
                    redact(error, self._session.pool.secrets)
                    raise
        return None

    def _counted(self, page: Page[T]) -> Page[T]:
        if self._wanted is not None:
            page = shortened(page, self._wanted)
            self._wanted -= len(page.items)
        self.stats.pages += 1
        self.stats.items += len(page.items)
        self.stats.empty_pages += not page.items
        self._bookmark = page.bookmark
        if self._session.settings.on_event is not None:
            path = str(self._bookmark.query.get("path"))
            self._session.report(PageFetched(path, len(page.items), len(page.raw)))
        return page


class _Passed:
    """The messages of pages that the consumer has read, and has perhaps kept.

    A message of a history refers to its page until its `raw` is accessed, because most messages are dropped before
    anything needs their bytes. One that is kept must not keep its page, so its `raw` is accessed here once the consumer
    is two pages further, or at the end of the listing. (One page further, the variable of the consumer's loop may still
    hold the last message of each page.) The references are weak: what the consumer dropped is not touched.
    """

    def __init__(self) -> None:
        self._pages: deque[list[ReferenceType[Message]]] = deque()

    def enter(self, items: Sequence[object]) -> None:
        """Note the items of the page that the consumer reads now."""
        self.settle(but=1)
        if items and isinstance(items[0], Message):
            self._pages.append([*map(ref, cast("Sequence[Message]", items))])

    def settle(self, but: int = 0) -> None:
        """Give a message that still exists its own bytes, except on the last `but` pages."""
        while len(self._pages) > but:
            for message in filter(None, map(call, self._pages.popleft())):
                _ = message.raw


class Stream(Generic[T]):
    """The items of a listing, to be iterated inside its `async with`.

    After an error the same stream can be iterated again; it requests the failed page once more. Leaving the
    `async with` leaves no task and no connection behind.
    """

    def __init__(self, plan: Plan[T], prefetch: int, on_undecodable: Undecodable | None) -> None:
        self._fetch = _Fetch(plan, on_undecodable)
        self._ahead = _Ahead(self._fetch, prefetch) if prefetch else None
        self._passed = _Passed()
        self._bookmark_after: Callable[[int], Bookmark] = lambda _: plan.start
        self._items: Iterator[T] = iter(())
        self._yielded = 0  # of the current page
        self._open: bool | None = None  # None before the `async with`
        self._waiting = False

    @property
    def stats(self) -> Stats:
        """The cost so far, including the pages that were fetched ahead."""
        return self._fetch.stats

    @property
    def bookmark(self) -> Bookmark:
        """The position directly after the last item that was yielded."""
        return self._bookmark_after(self._yielded)

    async def __aenter__(self) -> Self:
        if self._open is not None:
            raise RuntimeError("a stream can be entered only once; resume the pager from its bookmark")
        self._open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self._open = False
        try:
            if self._ahead is not None:
                await self._ahead.stop()
        finally:
            self._passed.settle()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if not self._open:
            raise RuntimeError("a stream can be iterated only inside its `async with`")
        for item in self._items:
            self._yielded += 1
            return item
        while (page := await self._next_page()) is not None:
            if page.items:
                self._passed.enter(page.items)
                self._bookmark_after, self._items, self._yielded = page.bookmark_after, iter(page.items), 1
                return next(self._items)
        raise StopAsyncIteration

    async def _next_page(self) -> Page[T] | None:
        if self._waiting:
            raise RuntimeError("a stream can be iterated by only one task at a time")
        self._waiting = True
        try:
            return await (self._fetch.page() if self._ahead is None else self._ahead.page())
        finally:
            self._waiting = False


class _Ahead(Generic[T]):
    """Pages that one task fetches ahead of the consumer. An error is raised after the pages before it."""

    def __init__(self, fetch: _Fetch[T], most: int) -> None:
        self._fetch = fetch
        self._most = most
        self._pages: asyncio.Queue[Page[T] | None] = asyncio.Queue()  # None: the task ended; its outcome says why
        self._room = asyncio.Semaphore(most)
        self._task: asyncio.Task[None] | None = None

    async def page(self) -> Page[T] | None:
        """Return the next page that is not empty, or None at the end. After an error, the next call resumes."""
        if self._task is None:
            self._room = asyncio.Semaphore(self._most)
            self._task = asyncio.create_task(self._run(), name="stride_async prefetch")
        page = await self._pages.get()
        if page is not None:
            self._room.release()
            return page
        task, self._task = self._task, None
        await task
        return None

    async def _run(self) -> None:
        try:
            while True:
                # The page that the consumer works on is not counted: it has left the queue.
                await self._room.acquire()
                while (page := await self._fetch.page()) is not None and not page.items:
                    pass
                if page is None:
                    return
                self._pages.put_nowait(page)
        finally:
            page = None  # A traceback of the cancellation may keep this frame.
            self._pages.put_nowait(None)

    async def stop(self) -> None:
        """Cancel the task and wait until it has ended."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            # If the consumer is cancelled once more, that is passed on to the task, which is waited for all the same.
            await asyncio.gather(task, return_exceptions=True)
