"""A listing as items, as pages, from a bookmark.

Whole answers are read before anything is yielded: a consumer may stop at any item and leaves nothing open. What
fetches ahead is an `async with` the user can see.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Generic, Self, TypeVar

import attrs

from stride_async._errors import ApiError, DecodeError, StrideError
from stride_async._events import PageFetched
from stride_async._net.call import Tally
from stride_async._net.session import Session
from stride_async._settings import MOST_ITEMS_A_PAGE
from stride_async._wire.bookmark import Bookmark, check_listing
from stride_async._wire.pages import Listing, Page, Undecodable, Walk
from stride_async._wire.secrets import forget_frames, redact

T = TypeVar("T")

_GONE = frozenset({400, 404, 410})
"""Answers to a call that names a message which is no more (protocol 5.15: 404 is a guess)."""


@attrs.define
class Stats(Tally):
    """What a stream has cost so far.

    Beside the requests: pages and items given, pages that were empty, elements that could not be decoded.
    """

    pages: int = 0
    items: int = 0
    empty_pages: int = 0
    undecodable: int = 0


@attrs.frozen(eq=False)
class Plan(Generic[T]):
    """What a pager is to list, and with what."""

    session: Session
    listing: Listing[T]
    page_size: int
    max_items: int | None
    bookmark: Bookmark | None = None

    @property
    def start(self) -> Bookmark:
        """Where it begins."""
        return self.bookmark or Bookmark(self.listing.query, {})


def planned(session: Session, listing: Listing[T], page_size: int | None, max_items: int | None) -> Pager[T]:
    """A pager over a listing; the page size of the settings where none is given.

    Raises:
        ValueError: the page size is not 1 to 75, or the bound is negative.
    """
    size = session.settings.page_size if page_size is None else page_size
    if not 1 <= size <= MOST_ITEMS_A_PAGE:
        raise ValueError(f"page_size is {size}; expected 1 to {MOST_ITEMS_A_PAGE}")
    if max_items is not None and max_items < 0:
        raise ValueError(f"max_items is {max_items}; expected 0 or more, or None for all")
    return Pager(Plan(session, listing, size, max_items))


@attrs.frozen(eq=False, repr=False)
class Pager(Generic[T]):
    """A listing that has not begun; iterating twice starts twice.

    `async for item in pager` gives the items; see also `pages`, `stream`, `first`, `collect` and `resume`.
    """

    _plan: Plan[T]

    def __aiter__(self) -> AsyncIterator[T]:
        return self._items()

    async def _items(self) -> AsyncIterator[T]:
        fetch = _Fetch(self._plan, None)
        while (page := await fetch.page()) is not None:
            for item in page.items:
                yield item
            del page  # Its memory is free while the next one is fetched.

    async def pages(self, *, on_undecodable: Undecodable | None = None) -> AsyncIterator[Page[T]]:
        """Page by page as they come; empty ones are passed over. `on_undecodable` as for `stream`.

        Raises:
            StrideError: a page could not be had; its `bookmark` is behind the last page given.
        """
        fetch = _Fetch(self._plan, on_undecodable)
        while (page := await fetch.page()) is not None:
            if page.items:
                yield page
            del page

    def stream(self, *, prefetch: int = 0, on_undecodable: Undecodable | None = None) -> Stream[T]:
        """An `async with` that gives the items, knows the bookmark behind each and what it cost.

        `prefetch` pages at most are fetched ahead while the consumer works. `on_undecodable` is given the error of
        each element that cannot be decoded, and the listing goes on without it.
        """
        if prefetch < 0:
            raise ValueError(f"prefetch is {prefetch}; expected 0 or more")
        return Stream(self._plan, prefetch, on_undecodable)

    async def first(self) -> T | None:
        """The first item, None when there is none."""
        return next(iter(await self.collect(limit=1)), None)

    async def collect(self, *, limit: int | None) -> list[T]:
        """The first `limit` items in a list; None, which must be written out, means all.

        Raises:
            StrideError: a page could not be had; its `bookmark` is where this pager starts, for no item was given.
        """
        if limit is not None and limit < 0:
            raise ValueError(f"limit is {limit}; expected 0 or more, or None for all")
        bounds = [bound for bound in (limit, self._plan.max_items) if bound is not None]
        bounded = Pager(attrs.evolve(self._plan, max_items=min(bounds, default=None)))
        items: list[T] = []
        try:
            async for page in bounded.pages():
                items += page.items
        except StrideError as error:
            error.with_facts(bookmark=self._plan.start)
            raise
        return items

    def resume(self, bookmark: Bookmark) -> Pager[T]:
        """This listing from right behind the bookmarked item on; `max_items` counts from there.

        Raises:
            StaleBookmark: the bookmark is of another listing; says what differs.
        """
        plan = self._plan
        check_listing(bookmark, plan.listing.query)
        plan.listing.walk(plan.page_size, bookmark)  # Reads the place, so that a broken one is told here.
        return Pager(attrs.evolve(plan, bookmark=bookmark))

    def __repr__(self) -> str:
        words = ", ".join(f"{name}={value!r}" for name, value in self._plan.listing.query.items() if value is not None)
        return f"Pager({words})"


class _Fetch(Generic[T]):
    """The loop: ask the walk, send, give what came. A failed page leaves it where it was."""

    def __init__(self, plan: Plan[T], on_undecodable: Undecodable | None) -> None:
        self.stats = Stats()
        self._session = plan.session
        self._walk: Walk[T] = plan.listing.walk(plan.page_size, plan.bookmark)
        self._left = plan.max_items
        self._at = plan.start
        self._callback = on_undecodable
        self._told: Undecodable | None = None if on_undecodable is None else self._count_undecodable

    def _count_undecodable(self, error: DecodeError) -> None:
        self.stats.undecodable += 1
        if self._callback is not None:
            error.__cause__ = None
            self._callback(redact(error, self._session.pool.secrets))

    async def page(self) -> Page[T] | None:
        """The next page, perhaps an empty one; None at the end."""
        while self._left != 0:
            try:
                step = self._walk.next(self._left)
                if step is None:
                    return None
                if isinstance(step, Page):
                    return self._given(step)
                self._walk.take(await self._session.send(step, self.stats), self._told)
            except StrideError as error:
                if not (isinstance(error, ApiError) and error.status in _GONE and self._walk.place_is_gone()):
                    if isinstance(error, DecodeError):
                        forget_frames(error)
                        error.__cause__ = None
                    redact(error.with_facts(bookmark=self._at), self._session.pool.secrets)
                    raise
        return None

    def _given(self, page: Page[T]) -> Page[T]:
        if self._left is not None:
            page = page.cut(self._left)
            self._left -= len(page.items)
        self.stats.pages += 1
        self.stats.items += len(page.items)
        self.stats.empty_pages += not page.items
        self._at = page.bookmark
        if self._session.settings.on_event is not None:
            path = str(self._at.query.get("path"))
            self._session.tell(PageFetched(path, len(page.items), len(page.raw)))
        return page


class Stream(Generic[T]):
    """The items of a listing inside an `async with`; leaving it leaves no task and no connection behind."""

    def __init__(self, plan: Plan[T], prefetch: int, on_undecodable: Undecodable | None) -> None:
        self._fetch = _Fetch(plan, on_undecodable)
        self._ahead = _Ahead(self._fetch, prefetch) if prefetch else None
        self._bookmark_of: Callable[[int], Bookmark] = lambda _: plan.start
        self._items: Iterator[T] = iter(())
        self._given = 0
        self._open: bool | None = None
        """None before the `async with`."""
        self._waiting = False

    @property
    def stats(self) -> Stats:
        """What it has cost so far; pages fetched ahead are counted."""
        return self._fetch.stats

    @property
    def bookmark(self) -> Bookmark:
        """Behind the very item given last."""
        return self._bookmark_of(self._given)

    async def __aenter__(self) -> Self:
        if self._open is not None:
            raise RuntimeError("a stream is entered once; resume the pager from its bookmark")
        self._open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self._open = False
        if self._ahead is not None:
            await self._ahead.stop()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if not self._open:
            raise RuntimeError("a stream is read inside its `async with`")
        for item in self._items:
            self._given += 1
            return item
        while (page := await self._next_page()) is not None:
            if page.items:
                self._bookmark_of, self._items, self._given = page.place_after, iter(page.items), 1
                return next(self._items)
        raise StopAsyncIteration

    async def _next_page(self) -> Page[T] | None:
        if self._waiting:
            raise RuntimeError("a stream is read by one task at a time")
        self._waiting = True
        try:
            return await (self._fetch.page() if self._ahead is None else self._ahead.page())
        finally:
            self._waiting = False


class _Ahead(Generic[T]):
    """Pages fetched before they are asked for, by one task; an error waits its turn behind them."""

    def __init__(self, fetch: _Fetch[T], most: int) -> None:
        self._fetch = fetch
        self._most = most
        self._pages: asyncio.Queue[Page[T] | None] = asyncio.Queue()
        """None stands for the end of the task, whose outcome says why."""
        self._room = asyncio.Semaphore(most)
        self._task: asyncio.Task[None] | None = None

    async def page(self) -> Page[T] | None:
        """The next page that is not empty; None at the end. After an error the next call goes on where it was."""
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
                # The page the consumer works on is not counted: it was taken out.
                await self._room.acquire()
                while (page := await self._fetch.page()) is not None and not page.items:
                    pass
                if page is None:
                    return
                self._pages.put_nowait(page)
        finally:
            self._pages.put_nowait(None)

    async def stop(self) -> None:
        """End the task, whatever it is doing."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.exception()  # Known to nobody, and to be known by nobody: the consumer has left.
