"""What a running bot consists of, opened in order and closed in reverse."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs

from stride_async._errors import ClientClosed
from stride_async._moments import NANOSECONDS
from stride_async.bot import _rows
from stride_async.bot._catch_up import OVERLAP_SECONDS, CatchUp
from stride_async.bot._dispatch import Dispatcher
from stride_async.bot._http import Answers, Bodies
from stride_async.bot._read import Incoming
from stride_async.bot._reports import LOG, Received, Reporter, UnderTest
from stride_async.bot._router import Routes
from stride_async.bot._rows import Kept
from stride_async.bot._settings import REMEMBERED_SECONDS, TWIN_SECONDS, BotSettings
from stride_async.bot._sites import Sites
from stride_async.bot._store import Store, StoreFailed

_BETWEEN_CLEARINGS = 3600.0


@attrs.define(eq=False)
class Parts:
    """What a running bot consists of."""

    key: str
    routes: Routes
    settings: BotSettings
    store: Store
    sites: Sites
    dispatcher: Dispatcher
    catching_up: CatchUp
    report: Reporter
    bodies: Bodies = attrs.field(factory=Bodies)
    """The bodies that are being received."""
    answers: Answers = attrs.field(factory=Answers)
    """The calls of browsers that are being handled."""
    starting: list[asyncio.Task[None]] = attrs.field(factory=list)
    """The looks of the start."""
    being_kept: int = 0
    """Deliveries on their way to the disk."""

    @property
    def full(self) -> bool:
        """Whether as many events wait as may."""
        return self.dispatcher.waiting + self.being_kept >= self.settings.backlog

    async def keep(self, incoming: Incoming) -> bool:
        """Keep a delivery; return once it is on disk, and whether it is new.

        Raises:
            StoreFailed: It could not be kept.
        """
        self.being_kept += 1
        kept = await self.store.submit(_rows.keep(incoming, time.time(), TWIN_SECONDS), then=self._kept)
        self.report(Received(incoming.kind, incoming.module, kept is not None))
        return kept is not None

    def _kept(self, kept: Kept | Exception | None) -> None:
        self.being_kept -= 1
        self.dispatcher.add(kept)

    def stop_accepting(self) -> None:
        """Refuse what arrives from now on. The running handlers have until the shutdown timeout. Then close."""
        self.dispatcher.close()
        self.bodies.interrupt()
        self.answers.interrupt(self.settings.shutdown_timeout)

    def end_handlers(self) -> None:
        """End the running handlers at once. Then close."""
        self.dispatcher.kill()
        self.answers.interrupt(0.0)

    async def kill(self) -> None:
        """Lose what a killed process loses: nothing is written or sent any more, and the handlers end. Then close."""
        self.store.abandon()
        self.end_handlers()
        await self.sites.close()

    async def until_idle(self) -> None:
        """Wait until the looks of the start are over and no event waits or is under way.

        Raises:
            ClientClosed: The bot ended before.
        """
        if self.starting:
            await asyncio.wait(self.starting)
        await self.dispatcher.until_idle()


@asynccontextmanager
async def opened(
    key: str, routes: Routes, settings: BotSettings, under_test: UnderTest | None = None
) -> AsyncIterator[Parts]:
    """Open a bot: its store, its clients, and what waits from before.

    Raises:
        StoreBusy: Another process uses the store.
        BotError: The store cannot be used.
    """
    async with AsyncExitStack() as stack:
        store = await Store.open(settings.store, settings.store_wait)
        stack.push_async_callback(store.close)
        await store.run(_rows.forget(time.time() - REMEMBERED_SECONDS))
        known = await store.run(_rows.advance_marks(time.time_ns(), OVERLAP_SECONDS * NANOSECONDS))
        sites = Sites(settings, store)
        stack.push_async_callback(sites.close)
        report = Reporter(settings.on_event, under_test)
        dispatcher = Dispatcher(routes, settings, store, sites, report)
        stack.push_async_callback(dispatcher.stop)
        catching_up = CatchUp(routes, settings, store, sites, dispatcher)
        parts = Parts(key, routes, settings, store, sites, dispatcher, catching_up, report)
        tasks = [_task(_forget_now_and_then(store), "clearing")]
        stack.push_async_callback(_cancelled, tasks)
        dispatcher.restore(await store.run(_rows.pending(time.time())))
        if settings.catch_up:
            served = [site for site in known if settings.sites is None or site in settings.sites]
            for site in sorted({*served, *(settings.sites or ())}):
                parts.starting.append(_task(catching_up.look_until_it_succeeds(site), f"look at {site}"))
            tasks += parts.starting
        yield parts


def _task(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    task = asyncio.get_running_loop().create_task(work, name=f"stride_async bot {name}")
    task.add_done_callback(_log_failure)
    return task


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, ClientClosed):
        LOG.error("%s ended unexpectedly", task.get_name(), exc_info=error)


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)  # Waits however often the caller is cancelled.


async def _forget_now_and_then(store: Store) -> None:
    while True:
        await asyncio.sleep(_BETWEEN_CLEARINGS)
        try:
            await store.run(_rows.forget(time.time() - REMEMBERED_SECONDS))
        except StoreFailed as error:
            LOG.warning("old events could not be cleared away: %s", error)
