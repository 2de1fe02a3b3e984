"""Count what an export has done and estimate how long the rest takes."""

from __future__ import annotations

import time
from collections import deque
from contextlib import AbstractAsyncContextManager
from urllib.parse import unquote

import attrs
from rich import filesize

from stride_async import AttemptStarted, Event
from stride_async._cli import progress
from stride_async.export import (
    ConversationDone,
    ConversationsFound,
    ConversationStarted,
    ExportEvent,
    MediaFetched,
    PagesFetched,
)

SECONDS_BETWEEN_LINES = 30.0
_SHOWN_IN_PROGRESS = 4  # Conversations.
_LONGEST_SHOWN_NAME = 40
# In seconds. The service counts calls per minute too, and accepts all of them at once.
_WINDOW = 60.0


@attrs.define
class _InProgress:
    """One conversation that is being exported."""

    name: str
    began: float
    calls: int = 0
    messages: int = 0
    size_bytes: int = 0


class ExportProgress:
    """The counts of one export, from its own events and from those of its client."""

    def __init__(self, calls_per_minute: int | None, concurrency: int) -> None:
        self.calls = self.conversations = self.messages = self.size_bytes = 0
        self.total: int | None = None
        self._calls_per_minute = calls_per_minute
        self._concurrency = concurrency
        self._began = time.monotonic()
        self._in_progress: dict[str, _InProgress] = {}  # By conversation id.
        # Time and conversation id of each call within the window.
        self._recent: deque[tuple[float, str]] = deque()
        # Finished conversations that took calls; and the calls to these and to those in progress.
        self._done = self._calls_to_conversations = 0

    def on_client_event(self, event: Event) -> None:
        """Count the calls of the client."""
        if not isinstance(event, AttemptStarted):
            return
        self.calls += 1
        if (id := _conversation_in(event.path)) is not None:
            self._recent.append((time.monotonic(), id))
            self._forget_older()
            if (conversation := self._in_progress.get(id)) is not None:
                conversation.calls += 1
                self._calls_to_conversations += 1

    def on_export_event(self, event: ExportEvent) -> None:
        """Count what the export has fetched."""
        match event:
            case ConversationsFound():
                self.total = event.count
            case ConversationStarted():
                self._in_progress[event.conversation_id] = _InProgress(event.name, time.monotonic())
            case PagesFetched():
                self.messages += event.messages
                self._add(event.conversation_id, event.size_bytes, event.messages)
            case MediaFetched():
                self._add(event.conversation_id, event.size_bytes)
            case ConversationDone():
                self.conversations += 1
                conversation = self._in_progress.pop(event.conversation_id, None)
                if conversation is not None and conversation.calls:
                    self._done += 1

    def _add(self, conversation_id: str, size_bytes: int, messages: int = 0) -> None:
        self.size_bytes += size_bytes
        if (conversation := self._in_progress.get(conversation_id)) is not None:
            conversation.messages += messages
            conversation.size_bytes += size_bytes

    def shown(self) -> AbstractAsyncContextManager[None]:
        """Show the counts on stderr for as long as the context lasts."""
        return progress.shown(self._read, seconds_between_lines=SECONDS_BETWEEN_LINES, transient=True)

    def _read(self) -> progress.Reading:
        now = time.monotonic()
        oldest = sorted(self._in_progress.values(), key=lambda one: one.began)[:_SHOWN_IN_PROGRESS]
        details = [
            f"{one.name[:_LONGEST_SHOWN_NAME]} · {one.messages:,} messages · "
            f"{filesize.decimal(one.size_bytes)} · {progress.clock(now - one.began)}"
            for one in oldest
        ]
        return progress.Reading(self.conversations, self.total, self._facts(), details)

    def _facts(self) -> list[str]:
        of = "" if self.total is None else f" of {self.total:,}"
        facts = [
            f"{self.conversations:,}{of} conversations",
            f"{self.messages:,} messages",
            filesize.decimal(self.size_bytes),
            self._call_rate(),
        ]
        left = self.seconds_left()
        return [*facts, f"about {progress.clock(left)} left"] if left is not None and left >= 1 else facts

    def _call_rate(self) -> str:
        """Return the calls per second, and how many of the calls that the limit allows in a minute were made."""
        rate = f"{self._calls_per_second():.1f} calls/s"
        if self._calls_per_minute is None:
            return rate
        called = {id for _, id in self._recent} | self._in_progress.keys()
        allowed = self._calls_per_minute * max(1, len(called))
        return f"{rate}, {len(self._recent):,} of {allowed:,} allowed per minute"

    def _calls_per_second(self) -> float:
        """Return the rate over the last minute, or since the start if that is less."""
        self._forget_older()
        return len(self._recent) / min(max(time.monotonic() - self._began, 0.001), _WINDOW)

    def _forget_older(self) -> None:
        while self._recent and self._recent[0][0] < time.monotonic() - _WINDOW:
            self._recent.popleft()

    def seconds_left(self) -> float | None:
        """Estimate the seconds left; None until a conversation that took calls is done, and while no calls are made.

        Each conversation that is left is assumed to need as many calls as the mean so far, at the rate of the last
        minute but no faster than the limit allows. Short conversations are done first, so the calls of those in
        progress count for the mean too.
        """
        rate = self._calls_per_second()
        if self.total is None or not self._done or not rate:
            return None
        each, left = self._calls_to_conversations / self._done, self.total - self.conversations
        at_this_rate = left * each / rate
        if self._calls_per_minute is None:
            return at_this_rate
        waiting = max(0.0, each - self._calls_per_minute) / self._calls_per_minute * 60
        return max(at_this_rate, waiting * left / max(1, min(self._concurrency, left)))


def _conversation_in(path: str) -> str | None:
    """Return the id of the conversation that a call goes to; other calls do not count for the limit."""
    parts = path.split("/")
    return unquote(parts[4]) if parts[3:4] == ["conversation"] and len(parts) > 4 else None
