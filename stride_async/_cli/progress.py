"""Show progress on stderr: redrawn in place on a terminal, otherwise as a line every few seconds."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import attrs
from rich import filesize
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from stride_async._cli import show
from stride_async._cli.escape import printable

_BAR_WIDTH = 60
_SECONDS_BETWEEN_DRAWINGS = 0.25
_SECONDS_BETWEEN_LINES = 3.0


@attrs.frozen
class Reading:
    """How far something is: an amount done of a total, if that is known, and facts in words."""

    done: int
    total: int | None
    facts: Sequence[str]
    """Shown side by side."""
    details: Sequence[str] = ()
    """Shown on a terminal only, one below the other."""


@asynccontextmanager
async def shown(
    read: Callable[[], Reading], *, seconds_between_lines: float = _SECONDS_BETWEEN_LINES, transient: bool = False
) -> AsyncIterator[None]:
    """Show what `read` returns for as long as the context lasts; a `transient` display is erased at its end."""
    if _on_terminal():
        display = Live(
            get_renderable=lambda: _drawing(read()),
            console=show.console(sys.stderr),
            auto_refresh=False,
            transient=transient,
        )
        with display:
            display.refresh()
            async with repeating(display.refresh, _SECONDS_BETWEEN_DRAWINGS):
                yield
    else:
        async with repeating(lambda: _say(read()), seconds_between_lines):
            yield


def _on_terminal() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


@asynccontextmanager
async def repeating(action: Callable[[], None], seconds: float) -> AsyncIterator[None]:
    """Call something again and again for as long as the context lasts."""

    async def repeat() -> None:
        while True:
            await asyncio.sleep(seconds)
            action()

    repeating = asyncio.create_task(repeat(), name="stride progress")
    try:
        yield
    finally:
        repeating.cancel()
        with suppress(asyncio.CancelledError):
            await repeating


def _say(reading: Reading) -> None:
    show.message(printable("; ".join(reading.facts)))


def _drawing(reading: Reading) -> Group:
    bar = Table.grid()
    bar.add_row(ProgressBar(total=reading.total, completed=reading.done, width=_BAR_WIDTH, pulse=reading.total is None))
    details = (_one_line(show.styled(f"  {detail}", "dim")) for detail in reading.details)
    return Group(bar, show.styled(" · ".join(reading.facts)), *details)


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


@attrs.define
class Gauge:
    """A count on its way to a total, if that is known: of bytes, or of things."""

    name: str
    total: int | None = None
    in_bytes: bool = False
    done: int = 0
    before: int = 0
    """How much of `done` an earlier run had done; it does not count for the rate."""
    _began: float = attrs.field(factory=time.monotonic, init=False)

    @asynccontextmanager
    async def shown(self, *, transient: bool = False) -> AsyncIterator[None]:
        """Show the gauge until the context ends. If stderr is not a terminal, also write its final state on success."""
        self._began = time.monotonic()
        async with shown(self.read, transient=transient):
            yield
        if not _on_terminal():
            _say(self.read())

    def read(self) -> Reading:
        """Return the gauge's amount, rate and time left."""
        seconds = time.monotonic() - self._began
        what = f"{self.name}: {self.amount()}" if self.in_bytes else f"{self.amount()} {self.name}"
        facts = (what, self.rate(seconds), self.time_left(seconds))
        return Reading(self.done, self.total, [fact for fact in facts if fact])

    def amount(self) -> str:
        """Return the count and the total, such as `1,200 of 5,000`."""
        if self.total is None:
            return self._counted(self.done)
        return f"{self._counted(self.done)} of {self._counted(self.total)}"

    def rate(self, seconds: float) -> str:
        """Return how much was done per second."""
        return f"{self._counted(int((self.done - self.before) / seconds))}/s" if seconds > 0 else ""

    def time_left(self, seconds: float) -> str:
        """Return how long the rest takes at this rate, such as `about 1:30 left`; nothing if that is unknown."""
        if self.total is None or self.done <= self.before or self.done >= self.total:
            return ""
        return f"about {clock(seconds / (self.done - self.before) * (self.total - self.done) + 1)} left"

    def _counted(self, amount: int) -> str:
        return filesize.decimal(amount) if self.in_bytes else f"{amount:,}"


def clock(seconds: float) -> str:
    """Return a time span as `1:30` or `2:01:30`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
