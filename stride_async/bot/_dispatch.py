"""Begin waiting events in their turn, and note how each ended.

The inbox decides which event is next. The store notes that an event is begun before its handler runs and that it ended
after the handler returned, so the next process begins it again if this one is killed in between.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from stride_async._errors import ClientClosed, StrideError
from stride_async._wire.secrets import redacted
from stride_async.bot import _rows
from stride_async.bot._errors import GaveUp, TryAgain
from stride_async.bot._events import Event
from stride_async.bot._handling import call_handler, report_error
from stride_async.bot._inbox import FIRST, Inbox, Turn
from stride_async.bot._make import delivery_of, message_event, message_of, other_event
from stride_async.bot._replies import Replies
from stride_async.bot._reports import LOG, Begun, Ended, Outcome, Reporter
from stride_async.bot._router import Chosen, Routes
from stride_async.bot._rows import Job, Kept, Pending, Stored
from stride_async.bot._settings import BotSettings
from stride_async.bot._sites import Sites
from stride_async.bot._store import Store, StoreFailed
from stride_async.bot._text import text_for_bot

T = TypeVar("T")

# Seconds between two tries at most, while the service or the store is away: 1, 2, 4, 8, 16, 30, 30, …
LONGEST_WAIT = 30.0


def wait_before(try_number: int) -> float:
    """Return the seconds to wait after a number of failed tries."""
    return min(LONGEST_WAIT, 2.0 ** min(try_number - 1, 5))


class Dispatcher:
    """The running handlers of queued events."""

    def __init__(self, routes: Routes, settings: BotSettings, store: Store, sites: Sites, report: Reporter) -> None:
        self._routes = routes
        self._settings = settings
        self._store = store
        self._sites = sites
        self._report = report
        self._inbox = Inbox(settings.concurrency)
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        # How many times the beginning of an event could not be noted, by its number.
        self._not_begun: dict[int, int] = {}
        self._account_id: str | None = None
        self._asking: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self.closing: bool = False
        self._stopped = False
        self._ends_at = 0.0
        self._killed = False

    @property
    def waiting(self) -> int:
        """How many events wait."""
        return self._inbox.waiting

    @property
    def running(self) -> int:
        """How many events are under way."""
        return self._inbox.under_way

    def restore(self, events: list[Pending]) -> None:
        """Queue the events that a start finds in the store."""
        now = self._loop.time()
        for event in events:
            not_before = now + event.pause if event.pause else 0.0
            order = FIRST if event.begun else event.order
            self._inbox.add(event.place, order, event.number, suspect=event.suspect, not_before=not_before)
        self._begin_next()

    def add(self, kept: Kept | Exception | None) -> None:
        """Queue a new event.

        It takes the result of the store as it is, so that the store can call it as soon as an event is on disk: what is
        on disk must be handled even if the caller who stored it was cancelled meanwhile.
        """
        if isinstance(kept, Kept):
            self._inbox.add(kept.place, kept.order, kept.number)
            self._begin_next()

    def add_all(self, kept: list[Kept] | Exception) -> None:
        """Queue new events, as `add`."""
        for each in () if isinstance(kept, Exception) else kept:
            self.add(each)

    async def until_idle(self) -> None:
        """Wait until nothing waits and nothing is under way.

        Raises:
            ClientClosed: The bot ended before.
        """
        await self._idle.wait()
        if self._stopped and self._is_busy:
            raise bot_closed()

    async def until_room(self) -> None:
        """Wait until fewer events are queued than the backlog allows.

        Raises:
            ClientClosed: The bot ends.
        """
        await self._has_room.wait()
        if self.closing:
            raise bot_closed()

    def close(self) -> None:
        """Begin no further event. The running handlers have until the shutdown timeout, from the first call on."""
        if not self.closing:
            self.closing = True
            self._ends_at = self._loop.time() + self._settings.shutdown_timeout
            self._note_load()

    async def stop(self) -> None:
        """Begin no further event, and wait for the running handlers until the shutdown timeout; then cancel them.

        A cancelled event is not noted as ended, so the next start begins it again.
        """
        self.close()
        try:
            await self._end_tasks()
        finally:
            self._stopped = True
            self._note_load()

    async def _end_tasks(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        if self._tasks:
            limit = 0.0 if self._killed else max(0.0, self._ends_at - self._loop.time())
            tasks = tuple(self._tasks)
            try:
                await asyncio.wait(tasks, timeout=limit)
            finally:  # Also if the caller is cancelled: no handler outlives the store.
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def kill(self) -> None:
        """End the running handlers at once, as when the process is killed. `stop` must follow."""
        self.closing = self._killed = True
        self._note_load()
        for task in self._tasks:
            task.cancel()
        if self._asking is not None:
            self._asking.cancel()

    def _begin_next(self) -> None:
        """Begin every event that may begin now, and schedule the next check for paused ones."""
        if not self.closing and self._account_id is not None:
            while (turn := self._inbox.next(self._loop.time())) is not None:
                task = self._loop.create_task(self._run(turn), name=f"stride_async bot event {turn.number}")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            self._look_again_later()
        elif not self.closing and self._inbox.waiting and self._asking is None:
            self._asking = self._loop.create_task(self._ask_account(), name="stride_async bot account")
        self._note_load()

    def _look_again_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._inbox.wakes_at is not None:
            self._timer = self._loop.call_at(self._inbox.wakes_at, self._begin_next)

    @property
    def _is_busy(self) -> bool:
        return bool(self._inbox.waiting or self._inbox.under_way)

    def _note_load(self) -> None:
        """Wake the callers that wait for the end of all events or for room, also if neither can come any more."""
        _set_if(self._idle, self._stopped or not self._is_busy)
        _set_if(self._has_room, self.closing or self._inbox.waiting < self._settings.backlog)

    async def _ask_account(self) -> None:
        """Fetch the app's own account. No handler begins before, because a bot must not reply to itself."""
        place = self._inbox.first_place()
        self._account_id = await self._persistently(lambda: self._sites.account_id(place[0]), "the app's own account")
        self._asking = None
        self._begin_next()

    async def _persistently(self, work: Callable[[], Awaitable[T]], what: str) -> T:
        """Retry work until the service and the store are available, with increasing waits."""
        tries = 0
        while True:
            try:
                return await work()
            except (StrideError, StoreFailed) as error:
                if self._killed:
                    raise
                tries += 1
                if tries == 1:
                    LOG.warning("%s is unavailable, so events wait: %s", what, error)
                await asyncio.sleep(wait_before(tries))

    async def _run(self, turn: Turn) -> None:
        try:
            pause = await self._attempt(turn)
        except StoreFailed as error:
            # It was not begun, for that could not be noted.
            tries = self._not_begun[turn.number] = self._not_begun.get(turn.number, 0) + 1
            if tries == 1:
                LOG.warning("event %s waits for the store: %s", turn.number, error)
            self._inbox.again(turn, self._loop.time() + wait_before(tries), suspect=turn.suspect, begun=False)
        except Exception:  # noqa: BLE001 -- a mistake here must not hold up the conversation
            LOG.exception("event %s ended unexpectedly; the next start begins it again", turn.number)
            self._inbox.ended(turn)
        else:
            if pause is None:
                self._inbox.ended(turn)
            else:
                self._inbox.again(turn, self._loop.time() + pause)
        self._begin_next()

    async def _attempt(self, turn: Turn) -> float | None:
        """Begin an event and note its end; return the seconds until it is begun again, or None if it is over.

        Raises:
            StoreFailed: The store failed before the event was begun.
        """
        stored = await self._store.run(_rows.begin(turn.number, self._settings.attempts))
        self._not_begun.pop(turn.number, None)
        if stored is None:
            await self._give_up(await self._store.run(_rows.load(turn.number)))
            return None
        delivery = delivery_of(stored)
        started = self._loop.time()
        self._report(Begun(delivery))
        outcome, pause = await self._handle(stored)
        self._report(Ended(delivery, outcome, self._loop.time() - started))
        return pause

    async def _handle(self, stored: Stored) -> tuple[Outcome, float | None]:
        try:
            event, chosen, replies = self._routed(stored)
        except Exception as error:  # noqa: BLE001 -- see `_log_unreadable`
            _log_unreadable(stored, error)
            await self._note_failure(stored, error)
            return "failed", None
        if chosen is None:
            await self._note(_rows.end(stored.number, time.time()))
            return "done", None
        try:
            await call_handler(self._routes, chosen, event, self._settings.handler_timeout)
        except TryAgain as error:
            if stored.attempts < self._settings.attempts:
                pause = 0.0 if self._report.skips_pauses else error.after
                await self._note(_rows.postpone(stored.number, time.time(), pause))
                return "again", pause
            await self._fail(event, replies, stored, error)
            return "failed", None
        except Exception as error:  # noqa: BLE001 -- foreign code
            await self._fail(event, replies, stored, error)
            return "failed", None
        await self._note(_rows.end(stored.number, time.time()))
        return "done", None

    def _routed(self, stored: Stored) -> tuple[Event, Chosen | None, Replies]:
        """Return an event, its handler and its replies; no handler for the app's own messages, or if none fits."""
        assert self._account_id is not None
        client = self._sites.client(stored.cloud_id)
        delivery, message = delivery_of(stored), message_of(stored)
        replies = Replies(self._store, client, self._account_id, stored, message)
        if message is None:
            event = other_event(stored, delivery, client, replies.send)
            return event, self._routes.choose(stored.kind, stored.module), replies
        text = text_for_bot(message, self._account_id)
        event = message_event(stored, delivery, client, replies.send, message, text)
        # A message that mentions the bot comes as a mention, too; handling both would send two replies.
        passed = message.sender_id == self._account_id or (stored.kind == "message" and text.mentions_bot)
        return event, None if passed else self._routes.choose(stored.kind, stored.module, text.text), replies

    async def _fail(self, event: Event, replies: Replies, stored: Stored, error: Exception) -> None:
        if self._killed:
            raise StoreFailed("the bot was killed") from error
        replies.begin_apology()
        await report_error(self._routes, self._report, event, error, self._settings.handler_timeout)
        await self._note_failure(stored, error)

    async def _note_failure(self, stored: Stored, error: Exception) -> None:
        text = redacted(_text_of(error), (self._settings.credentials.client_secret,))
        await self._note(_rows.fail(stored.number, time.time(), type(error).__name__, text))

    async def _give_up(self, stored: Stored) -> None:
        """Fail an event that has no attempts left. Note it first: its error handler could kill the process, too."""
        error = GaveUp(f"begun {stored.attempts} times, and the process was killed during the last attempt")
        await self._note_failure(stored, error)
        try:
            event, _, replies = self._routed(stored)
        except Exception as unreadable:  # noqa: BLE001 -- see `_log_unreadable`
            _log_unreadable(stored, unreadable)
        else:
            replies.begin_apology()
            await report_error(self._routes, self._report, event, error, self._settings.handler_timeout)
        self._report(Ended(delivery_of(stored), "gave up", 0.0))

    async def _note(self, job: Job[None]) -> None:
        """Note the end of an attempt. The conversation waits until the store has noted it."""
        await self._persistently(lambda: self._store.run(job), "the store")


def bot_closed() -> ClientClosed:
    """Return the error of a call that waits for something a bot no longer does after its end."""
    return ClientClosed("the bot was closed")


def _log_unreadable(stored: Stored, error: Exception) -> None:
    """Log that an event cannot be read any more. Whatever the reason is, it must not hold up the conversation.

    The event was checked when it was kept, but perhaps by a release that read it otherwise.
    """
    LOG.error("event %s cannot be read any more: %r", stored.number, error)


def _text_of(error: Exception) -> str:
    """Return an error's own text. The store cannot hold unpaired surrogates, so they become escapes."""
    try:
        text = str(error)
    except Exception as failure:  # noqa: BLE001 -- foreign code
        return f"its text is unavailable: {type(failure).__name__}"
    return text.encode(errors="backslashreplace").decode()


def _set_if(event: asyncio.Event, condition: bool) -> None:
    if condition:
        event.set()
    else:
        event.clear()
