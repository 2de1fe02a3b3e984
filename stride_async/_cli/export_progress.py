"""How far an export is: on a terminal all the time, else in a line every so often."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import attrs
from rich import filesize
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from stride_async import AttemptStarted
from stride_async._cli import show
from stride_async._events import Event
from stride_async.export import (
    ConversationDone,
    ConversationsFound,
    ConversationStarted,
    ExportEvent,
    MediaFetched,
    PagesFetched,
)

SECONDS_BETWEEN_LINES = 30.0
"""How often a line is said where there is no terminal."""
_SLOWEST = 4
"""Rooms shown of those under way."""
_BAR_WIDTH = 60


@attrs.define
class _Room:
    name: str
    began: float
    messages: int = 0
    size_bytes: int = 0


class ExportProgress:
    """Counts of one export, from its events and from the client's."""

    def __init__(self, calls_per_minute: int | None, at_once: int) -> None:
        self.calls = self.conversations = self.messages = self.size_bytes = 0
        self.total: int | None = None
        self._per_minute = calls_per_minute
        self._at_once = at_once
        self._began = time.monotonic()
        self._rooms: dict[str, _Room] = {}

    def heard(self, event: Event) -> None:
        """What the client tells."""
        if isinstance(event, AttemptStarted):
            self.calls += 1

    def take(self, event: ExportEvent) -> None:
        """What the export tells."""
        match event:
            case ConversationsFound():
                self.total = event.count
            case ConversationStarted():
                self._rooms[event.conversation_id] = _Room(event.name, time.monotonic())
            case PagesFetched():
                self.messages += event.messages
                self._came(event.conversation_id, event.size_bytes, event.messages)
            case MediaFetched():
                self._came(event.conversation_id, event.size_bytes)
            case ConversationDone():
                self.conversations += 1
                self._rooms.pop(event.conversation_id, None)

    def _came(self, conversation_id: str, size_bytes: int, messages: int = 0) -> None:
        self.size_bytes += size_bytes
        if (room := self._rooms.get(conversation_id)) is not None:
            room.messages += messages
            room.size_bytes += size_bytes

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Show it on stderr for as long as this lasts."""
        if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            with Live(get_renderable=self._drawn, console=show.console(sys.stderr), transient=True):
                yield
            return
        telling = asyncio.create_task(self._tell(), name="stride export progress")
        try:
            yield
        finally:
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(SECONDS_BETWEEN_LINES)
            show.words("; ".join(self._facts()))

    def _facts(self) -> list[str]:
        seconds = max(time.monotonic() - self._began, 0.001)
        of = "" if self.total is None else f" of {self.total:,}"
        facts = [
            f"conversations {self.conversations:,}{of}",
            f"messages {self.messages:,}",
            filesize.decimal(self.size_bytes),
            f"{self.calls / seconds:.1f} calls/s{self._allowed()}",
        ]
        left = self.seconds_left(seconds)
        return [*facts, f"about {_clock(left)} left"] if left else facts

    def _allowed(self) -> str:
        per_second = self._calls_a_second()
        return "" if per_second is None else f" of {per_second:.1f} allowed"

    def _calls_a_second(self) -> float | None:
        """What the limit allows the conversations that are worked on at once."""
        if self._per_minute is None:
            return None
        left = self._at_once if self.total is None else self.total - self.conversations
        return self._per_minute / 60 * max(1, min(self._at_once, left))

    def seconds_left(self, seconds: float) -> float | None:
        """An estimate from the conversations done so far and the limit; None before the first is done."""
        if self.total is None or not self.conversations:
            return None
        left = (self.total - self.conversations) / self.conversations
        allowed = self._calls_a_second()
        return left * max(seconds, 0.0 if allowed is None else self.calls / allowed)

    def _drawn(self) -> Group:
        bar = Table.grid()
        bar.add_row(
            ProgressBar(total=self.total, completed=self.conversations, width=_BAR_WIDTH, pulse=self.total is None)
        )
        facts = Text(" · ".join(self._facts()))
        now = time.monotonic()
        slowest = sorted(self._rooms.copy().values(), key=lambda room: room.began)[:_SLOWEST]
        rooms = [
            Text(
                f"  {show.printable(room.name)[:40]} · {room.messages:,} messages · "
                f"{filesize.decimal(room.size_bytes)} · {_clock(now - room.began)}",
                style="dim",
                no_wrap=True,
                overflow="ellipsis",
            )
            for room in slowest
        ]
        return Group(bar, facts, *rooms)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
