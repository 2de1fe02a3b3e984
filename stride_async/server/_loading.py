"""Load a site in a thread, which leaves the event loop free and ends soon after its caller is cancelled.

A thread cannot be interrupted. Loading therefore calls `Loading.checkpoint` often, which raises once the caller is
cancelled. The caller waits for the end of the thread in any case, even if it is cancelled again and again: the thread
uses the database, and removes it if loading fails.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from attrs import frozen

from stride_async.server._records import Conversation, Media, Message, Record, User

T = TypeVar("T")

Checkpoint = Callable[[], object]

_SECONDS_BETWEEN_REPORTS = 0.1


@frozen
class Loaded:
    """How much of a site is loaded so far."""

    users: int = 0
    """The number of people."""
    conversations: int = 0
    """The number of conversations."""
    messages: int = 0
    """The number of messages."""
    media: int = 0
    """The number of files."""


class Origin(Protocol):
    """Where the records of a site come from."""

    def records(self, checkpoint: Checkpoint) -> Iterator[Record]:
        """Yield the records, the site first; call `checkpoint` at least a few times per second."""

    def digest(self, checkpoint: Checkpoint) -> str:
        """Return a text that differs for different sites."""


class LoadingStopped(Exception):
    """The caller of `Loading.run` is cancelled."""


class Loading:
    """The loading of one site: what is loaded so far, and whether to stop.

    `report` is called in the event loop: first when loading has begun, then about every tenth of a second.
    """

    def __init__(self, report: Callable[[Loaded], None] | None = None) -> None:
        self._report = report
        self._counts: Counter[type[Record]] = Counter()
        self._next_report = 0.0
        self._loop = asyncio.get_running_loop()
        self.is_stopped = False

    async def run(self, work: Callable[[], T], *, discard: Callable[[T], object]) -> T:
        """Do work in a thread and return its result; if the caller is cancelled, stop it and wait for its end.

        A result that comes too late for a cancelled caller is discarded.
        """
        running = self._loop.run_in_executor(None, work)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            self.is_stopped = True
            while not running.done():
                try:
                    await asyncio.wait([running])
                except asyncio.CancelledError:
                    continue
            if running.exception() is None:
                discard(running.result())
            raise

    def count(self, record: Record) -> None:
        """Count a record that is loaded, and report the counts if a report is due."""
        self._counts[type(record)] += 1
        self.checkpoint()
        if self._report is not None and (now := time.monotonic()) >= self._next_report:
            self._next_report = now + _SECONDS_BETWEEN_REPORTS
            counts = (self._counts[kind] for kind in (User, Conversation, Message, Media))
            self._loop.call_soon_threadsafe(self._report, Loaded(*counts))

    def checkpoint(self) -> None:
        """Raise an exception if loading is to stop."""
        if self.is_stopped:
            raise LoadingStopped
