"""What people and programs get to see: rows, JSON lines, progress.

Data goes to stdout, everything else to stderr. Text of the service reaches a terminal only without its control
characters.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Self, TextIO

import attrs
import click
from rich import box, filesize
from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

SIDE_BY_SIDE_COLUMNS = 64
"""A narrower terminal has no room beside an id, or beside a moment and a name: what stands there would be lost."""
_SECONDS_BETWEEN_LINES = 3.0
"""How often progress says a line where there is no terminal."""


def for_people(*, as_json: bool) -> bool:
    """Whether stdout is a terminal whose reader did not ask for JSON."""
    return sys.stdout.isatty() and not as_json


def words(text: str) -> None:
    """A line for people."""
    # Not by click: it writes past rich, which would wipe the line away with the display that is under way.
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def json_lines(values: Iterable[Mapping[str, object] | bytes]) -> None:
    """Each value on a line of its own; bytes are JSON already and stay as they are."""
    lines = [_one_line(value) for value in values]
    click.echo(b"".join(lines), nl=False)


def _one_line(value: Mapping[str, object] | bytes) -> bytes:
    if not isinstance(value, bytes):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace") + b"\n"
    # Within JSON a line break can only stand between tokens.
    return value.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, err: bool = False) -> None:
    """Rows under headings, as wide as the terminal allows; what does not fit goes on in the next line."""
    out = console(sys.stderr if err else sys.stdout)
    whole_ids = out.width >= SIDE_BY_SIDE_COLUMNS
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        shown.add_column(column, no_wrap=whole_ids and number == 0, overflow="fold")
    for row in rows:
        shown.add_row(*(cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row))
    out.print(shown)


def record(fields: Mapping[str, object], *, as_json: bool) -> None:
    """One thing: name and value in lines for people, else one JSON object."""
    if not for_people(as_json=as_json):
        json_lines([fields])
        return
    grid = Table.grid(padding=(0, 2))
    for name, value in fields.items():
        grid.add_row(Text(name, style="dim"), Text(printable(str(value))))
    console(sys.stdout).print(grid)


def console(file: TextIO) -> Console:
    """A rich console that takes text as it is, and holds for a terminal only what is one."""
    return Console(file=file, force_terminal=file.isatty(), markup=False, emoji=False, highlight=False)


def printable(text: str) -> str:
    """The text in one line, with control characters, which could steer a terminal, replaced."""
    return printable_lines(text).replace("\n", " ").replace("\t", " ")


def printable_lines(text: str) -> str:
    """The text with control characters replaced; line breaks and tabs stay."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in "\n\t\u200d" else "\N{REPLACEMENT CHARACTER}"
        for character in text.replace("\r\n", "\n")
    )


@attrs.define
class Gauge:
    """One count on its way to a total, if that is known; of things, or of bytes."""

    name: str
    total: int | None = None
    in_bytes: bool = False
    done: int = 0
    before: int = 0
    """How much of `done` was there before: no part of the pace."""

    def amount(self) -> str:
        """Such as `1,200 of 5,000`."""
        done = filesize.decimal(self.done) if self.in_bytes else f"{self.done:,}"
        if self.total is None:
            return done
        return f"{done} of {filesize.decimal(self.total) if self.in_bytes else f'{self.total:,}'}"

    def rate(self, seconds: float) -> str:
        """What came per second since it began."""
        if seconds <= 0:
            return ""
        rate = int((self.done - self.before) / seconds)
        return f"{filesize.decimal(rate)}/s" if self.in_bytes else f"{rate:,}/s"

    def time_left(self, seconds: float) -> str:
        """Minutes and seconds, at the pace so far."""
        if self.total is None or self.done <= self.before or self.done >= self.total:
            return ""
        left = int(seconds / (self.done - self.before) * (self.total - self.done)) + 1
        return f"{left // 60}:{left % 60:02} left"


class Meter:
    """Counts on stderr while something goes on: bars on a terminal, else a line every few seconds.

    Change a gauge, then call `moved`.
    """

    def __init__(self, *gauges: Gauge) -> None:
        self._gauges = gauges
        self._began = self._told = time.monotonic()
        self._bars: Bars | None = None
        self._tasks: list[TaskID] = []

    def __enter__(self) -> Self:
        self._began = self._told = time.monotonic()
        if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            self._bars = Bars(TextColumn("{task.description}"), BarColumn(), *_COLUMNS, console=console(sys.stderr))
            self._tasks = [self._bars.add_task(one.name, total=one.total, gauge=one) for one in self._gauges]
            self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._bars is not None:
            self._draw(self._bars)
            self._bars.stop()
        elif kind is None:
            self._say()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    def moved(self) -> None:
        """Show the gauges as they are now, if it is time to."""
        if self._bars is not None:
            self._draw(self._bars)
        elif time.monotonic() - self._told >= _SECONDS_BETWEEN_LINES:
            self._say()

    def _draw(self, bars: Bars) -> None:
        for task, gauge in zip(self._tasks, self._gauges, strict=True):
            bars.update(task, completed=gauge.done, total=gauge.total)

    def _say(self) -> None:
        self._told = time.monotonic()
        told = "; ".join(f"{gauge.name} {gauge.amount()} ({gauge.rate(self.seconds)})" for gauge in self._gauges)
        words(f"{told} after {self.seconds:.1f} s")


class _Said(ProgressColumn):
    """What a gauge says of itself."""

    def __init__(self, say: Callable[[Gauge, float], str], style: str) -> None:
        super().__init__()
        self._say = say
        self._style = style

    def render(self, task: Task) -> Text:
        seconds = task.finished_time if task.finished_time is not None else task.elapsed
        return Text(self._say(task.fields["gauge"], seconds or 0.0), style=self._style)


_COLUMNS = (
    _Said(lambda gauge, _: gauge.amount(), "bold"),
    _Said(Gauge.rate, "dim"),
    _Said(Gauge.time_left, "dim"),
)
