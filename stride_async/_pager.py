"""A listing as items, as pages, from a bookmark.

Whole answers are read before anything is yielded: a consumer may stop at any item and leaves nothing open. What
fetches ahead is an `async with` the user can see.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Generic, Self, TypeVar

import attrs

from stride_async._errors import DecodeError, NotFound, StrideError
from stride_async._events import PageFetched
from stride_async._net.session import Session, Tally
from stride_async._settings import MOST_ITEMS_A_PAGE
from stride_async._wire.bookmark import Bookmark
from stride_async._wire.pages import Listing, Page, Undecodable, Walk
from stride_async._wire.secrets import redact

T = TypeVar("T")


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
        async for page in self.pages():
            for item in page.items:
                yield item

    async def pages(self) -> AsyncIterator[Page[T]]:
        """Page by page as they come; empty ones are passed over.

        Raises:
            StrideError: a page could not be had; its `bookmark` is behind the last page given.
        """
        fetch = _Fetch(self._plan, None)
        while (page := await fetch.page()) is not None:
            if page.items:
                yield page

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
        """The first `limit` items in a list; None, which must be written out, means all."""
        if limit is not None and limit < 0:
            raise ValueError(f"limit is {limit}; expected 0 or more, or None for all")
        bounds = [bound for bound in (limit, self._plan.max_items) if bound is not None]
        bounded = Pager(attrs.evolve(self._plan, max_items=min(bounds, default=None)))
        return [item async for item in bounded]

    def resume(self, bookmark: Bookmark) -> Pager[T]:
        """This listing from right behind the bookmarked item on; `max_items` counts from there.

        Raises:
            StaleBookmark: the bookmark is of another listing; says what differs.
        """
        plan = self._plan
        bookmark.must_be_of(plan.listing.query)
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
                    return self._cut(step)
                body = await self._session.send(step, self.stats)
            except NotFound as error:
                if not self._walk.place_is_gone():
                    raise self._placed(error) from error.__cause__
                continue
            except StrideError as error:
                raise self._placed(error) from error.__cause__
            try:
                self._walk.take(body, self._told)
            except StrideError as error:
                # The converter's own errors quote what they read, which may be a secret.
                raise redact(self._placed(error), self._session.pool.secrets) from None
        return None

    def _cut(self, page: Page[T]) -> Page[T]:
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

    def _placed(self, error: StrideError) -> StrideError:
        return error.with_facts(bookmark=self._at)


class Stream(Generic[T]):
    """The items of a listing inside an `async with`; leaving it leaves no task and no connection behind."""

    def __init__(self, plan: Plan[T], prefetch: int, on_undecodable: Undecodable | None) -> None:
        self._fetch = _Fetch(plan, on_undecodable)
        self._start = plan.start
        self._prefetch = prefetch
        self._page: Page[T] | None = None
        self._items: Iterator[T] = iter(())
        self._given = 0
        self._ahead: deque[Page[T]] = deque()
        self._failure: StrideError | None = None
        self._ended = False
        self._task: asyncio.Task[None] | None = None
        self._more = asyncio.Event()
        self._room = asyncio.Event()
        self._open = False

    @property
    def stats(self) -> Stats:
        """What it has cost so far; pages fetched ahead are counted."""
        return self._fetch.stats

    @property
    def bookmark(self) -> Bookmark:
        """Behind the very item given last."""
        return self._start if self._page is None else self._page.place_after(self._given)

    async def __aenter__(self) -> Self:
        self._open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self._open = False
        await self._stop_ahead()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        for item in self._items:
            self._given += 1
            return item
        if not self._open:
            raise RuntimeError("a stream is read inside its `async with`")
        while True:
            page = await (self._next_ahead() if self._prefetch else self._fetch.page())
            if page is None:
                raise StopAsyncIteration
            self._page, self._items, self._given = page, iter(page.items), 0
            for item in self._items:
                self._given = 1
                return item

    async def _next_ahead(self) -> Page[T] | None:
        if self._task is None and not self._ahead and not self._ended:
            self._task = asyncio.create_task(self._run_ahead(), name="stride_async prefetch")
        while not self._ahead:
            if self._failure is not None:
                failure, self._failure = self._failure, None
                await self._stop_ahead()
                raise failure
            if self._ended:
                return None
            self._more.clear()
            await self._more.wait()
        self._room.set()
        return self._ahead.popleft()

    async def _run_ahead(self) -> None:
        try:
            while True:
                # The page the consumer works on is not counted: it was popped.
                while len(self._ahead) >= self._prefetch:
                    self._room.clear()
                    await self._room.wait()
                page = await self._fetch.page()
                if page is None:
                    self._ended = True
                    return
                if page.items or self._page is None:
                    self._ahead.append(page)
                    self._more.set()
        except StrideError as error:
            self._failure = error
        finally:
            self._more.set()

    async def _stop_ahead(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
