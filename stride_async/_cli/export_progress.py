"""How far an export is: on a terminal all the time, else in a line every so often."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import unquote

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
_LATELY = 60.0
"""Seconds: the window of the service's limit, which lets a minute's calls through at once."""


@attrs.define
class _Room:
    name: str
    began: float
    calls: int = 0
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
        """Under way, by id."""
        self._lately: deque[tuple[float, str]] = deque()
        """When each call of the last minute was sent, and to which conversation."""
        self._done = self._calls_of_rooms = 0
        """Conversations that took calls and are done; calls to these and to those under way."""

    def heard(self, event: Event) -> None:
        """What the client tells."""
        if not isinstance(event, AttemptStarted):
            return
        self.calls += 1
        if (id := _conversation_in(event.path)) is not None:
            self._lately.append((time.monotonic(), id))
            self._forget_older()
            if (room := self._rooms.get(id)) is not None:
                room.calls += 1
                self._calls_of_rooms += 1

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
                room = self._rooms.pop(event.conversation_id, None)
                if room is not None and room.calls:
                    self._done += 1

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
        of = "" if self.total is None else f" of {self.total:,}"
        facts = [
            f"conversations {self.conversations:,}{of}",
            f"messages {self.messages:,}",
            filesize.decimal(self.size_bytes),
            self._calls_lately(),
        ]
        left = self.seconds_left()
        return [*facts, f"about {_clock(left)} left"] if left else facts

    def _calls_lately(self) -> str:
        """How fast conversations are called, and how much of what the limit allows them in a minute was used."""
        told = f"{self._pace():.1f} calls/s"
        if self._per_minute is None:
            return told
        at_work = {id for _, id in self._lately} | self._rooms.keys()
        allowed = self._per_minute * max(1, len(at_work))
        return f"{told}, {len(self._lately):,} of {allowed:,} allowed in a minute"

    def _pace(self) -> float:
        """Calls a second in the last minute, or since the beginning."""
        self._forget_older()
        return len(self._lately) / min(max(time.monotonic() - self._began, 0.001), _LATELY)

    def _forget_older(self) -> None:
        while self._lately and self._lately[0][0] < time.monotonic() - _LATELY:
            self._lately.popleft()

    def seconds_left(self) -> float | None:
        """An estimate; None before a conversation that took calls is done, and while no calls are made.

        The short ones are done first, so that the calls of those under way count for the mean, too. Each that is left
        is taken to need the mean still: at the pace of the last minute, and no faster than the limit lets it.
        """
        pace = self._pace()
        if self.total is None or not self._done or not pace:
            return None
        each, left = self._calls_of_rooms / self._done, self.total - self.conversations
        at_this_pace = left * each / pace
        if self._per_minute is None:
            return at_this_pace
        waiting = max(0.0, each - self._per_minute) / self._per_minute * 60
        return max(at_this_pace, waiting * left / max(1, min(self._at_once, left)))

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


def _conversation_in(path: str) -> str | None:
    """The conversation that a call goes to; the limit counts no others."""
    parts = path.split("/")
    return unquote(parts[4]) if parts[3:4] == ["conversation"] and len(parts) > 4 else None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
