"""Write tables, JSON lines and messages.

Data goes to stdout, everything else to stderr. This is the only place that writes to them: all text for people passes
`escape` on its way. JSON is escaped on a terminal only.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TextIO

from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from stride_async._cli.escape import json_for_terminal, printable, printable_lines

_COMMAND = re.compile(r"`[^`]+`")


def for_people(*, as_json: bool) -> bool:
    """Return whether stdout is a terminal and JSON was not requested."""
    return sys.stdout.isatty() and not as_json


def prepare_streams() -> None:
    """Make stdout and stderr usable whatever their encoding is, and whether or not they are open.

    What an encoding does not have is replaced. Closed streams become the null device, so that no file or connection
    gets their number.
    """
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115, PTH123 -- to the end of the process
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 -- to the end of the process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123 -- to the end of the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def discard(stream: TextIO) -> None:
    """Send the rest of a stream, and what it still buffers, to the null device."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


@contextmanager
def closed_stdout_ignored() -> Iterator[None]:
    """If the reader of stdout has closed it, continue without output, for work that matters more than its output."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout)


def message(text: str) -> None:
    """Write a message to stderr; on a terminal, its lines are wrapped as `wrap` says."""
    text = printable_lines(text)
    _write(f"{wrap(text) if sys.stderr.isatty() else text}\n", err=True)


def prompt(text: str) -> None:
    """Write to stderr what the user is to complete on the same line."""
    _write(printable(text), err=True)


def line(text: str) -> None:
    """Write a value to stdout as one line of text."""
    _write(f"{printable(text)}\n")


def styled(text: str, style: str = "", *, lines: bool = False) -> Text:
    """Return escaped text with a style, on one line unless its `lines` are kept."""
    return Text(printable_lines(text) if lines else printable(text), style=style)


def rendered(*what: RenderableType, sep: str = " ", soft_wrap: bool = False, err: bool = False) -> None:
    """Write what rich can render, made of `styled` text; with `soft_wrap`, the terminal breaks long lines."""
    out = console(sys.stderr if err else sys.stdout)
    with out.capture() as capture:
        out.print(*what, sep=sep, soft_wrap=soft_wrap)
    _write(capture.get(), err=err)


def _write(text: str, *, err: bool = False) -> None:
    # Not with click: it bypasses rich, which would erase the message together with the progress display.
    stream = sys.stderr if err else sys.stdout
    try:
        with _failing_once(stream):
            stream.write(text)
            stream.flush()
    except OSError:
        if not err:  # As when stderr is closed from the start, only messages are lost.
            raise


@contextmanager
def _failing_once(stream: TextIO) -> Iterator[None]:
    """Discard what a stream still buffers if it fails, which would fail again when the interpreter exits."""
    try:
        yield
    except OSError as error:
        error.filename = "stderr" if stream is sys.stderr else "stdout"
        discard(stream)
        raise


def end_process(number: int, _: object = None) -> None:
    """End the process by a signal, with the cursor visible, which a progress display hides."""
    with suppress(OSError, ValueError):
        if sys.stderr.isatty():
            os.write(sys.stderr.fileno(), b"\x1b[?25h")
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def wrap(text: str) -> str:
    """Break lines that are wider than the terminal of stderr between words.

    Lines indented by two spaces stay as they are: they hold commands and paths, to be copied in one piece.
    """
    width = console(sys.stderr).width
    return "\n".join(
        line if line.startswith("  ") else "\n".join(_wrapped(line, width)) or line for line in text.split("\n")
    )


def _wrapped(line: str, width: int) -> list[str]:
    # A null character stands for each space of a command in backticks, so that it is not broken.
    line = _COMMAND.sub(lambda command: command[0].replace(" ", "\0"), line)
    indent = "  " if line.startswith("- ") else ""
    lines = textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return [each.replace("\0", " ") for each in lines]


def did_you_mean(names: Sequence[str]) -> str:
    """Return a question that offers the names, with a space before it; nothing if there are none."""
    if not names:
        return ""
    *others, last = map(repr, names)
    return f" Did you mean {', '.join(others)} or {last}?" if others else f" Did you mean {last}?"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, such as `1 file` or `1,200 files`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def json_lines(values: Iterable[Mapping[str, object] | bytes]) -> None:
    """Write each value to stdout as a line of JSON; bytes are JSON already and stay as they are.

    JSON is UTF-8 whatever the encoding of stdout is, except on a terminal.
    """
    data = b"".join(map(_json_line, values))
    if sys.stdout.isatty():
        data = _for_terminal(data)
    with _failing_once(sys.stdout):
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def _for_terminal(lines: bytes) -> bytes:
    only_ascii = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    texts = lines.decode(errors="replace").replace("\t", " ").split("\n")
    return "\n".join(json_for_terminal(text, only_ascii=only_ascii) for text in texts).encode()


def _json_line(value: Mapping[str, object] | bytes) -> bytes:
    if not isinstance(value, bytes):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace") + b"\n"
    # In JSON, a line break or a tab can only stand between tokens.
    return value.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, err: bool = False) -> None:
    """Write rows under headings, or one block per row if the terminal is too narrow for the words of a table."""
    width = console(sys.stderr if err else sys.stdout).width
    cells = [[cell if isinstance(cell, Text) else styled(cell) for cell in row] for row in rows]
    edges, between = 2, 3
    available = width - edges - between * (len(columns) - 1)
    widths = _column_widths([list(map(str, column)) for column in zip(columns, *cells, strict=True)], available)
    if widths is None:
        for row in cells:
            fields = {column: str(cell) for column, cell in zip(columns, row, strict=True) if cell}
            rendered(*_fields(fields, width), "", sep="\n", soft_wrap=True, err=err)
        return
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column, its_width in zip(columns, widths, strict=True):
        shown.add_column(column, width=its_width)
    for row in cells:
        shown.add_row(*row)
    rendered(shown, err=err)


def _column_widths(columns: Sequence[Sequence[str]], available: int) -> list[int] | None:
    """Return a width for each column that breaks no word, or None if that takes more than is available."""
    widths = [max((cell_len(word) for cell in column for word in cell.split()), default=0) for column in columns]
    missing = [max(map(cell_len, column)) - width for column, width in zip(columns, widths, strict=True)]
    spare = available - sum(widths)
    # Columns that miss little get it first, so that few of them have to wrap.
    for number in sorted(range(len(columns)), key=missing.__getitem__):
        added = max(0, min(missing[number], spare))
        widths[number] += added
        spare -= added
    return widths if spare >= 0 else None


def record(fields: Mapping[str, object], *, as_json: bool) -> None:
    """Write one value to stdout: a line for each field on a terminal, otherwise one JSON object."""
    if for_people(as_json=as_json):
        texts = {name: printable(str(value)) for name, value in fields.items()}
        rendered(*_fields(texts, console(sys.stdout).width), sep="\n", soft_wrap=True)
    else:
        json_lines([fields])


def _fields(fields: Mapping[str, str], width: int) -> Iterator[Text]:
    """Yield the lines of each field; longer ones are wrapped between words and indented.

    A word that only fits below the name, such as a digest, is there.
    """
    indent = max(map(len, fields), default=0) + 2
    for name, value in fields.items():
        if width - indent < max(map(len, value.split()), default=0) <= width - 2:
            yield Text(name, "dim")
            yield from (Text(f"  {each}") for each in _wrapped(value, width - 2))
            continue
        first, *more = _wrapped(value, max(1, width - indent)) or [""]
        yield Text.assemble((f"{name:<{indent}}", "dim"), first)
        yield from (Text(" " * indent + each) for each in more)


def console(file: TextIO) -> Console:
    """Return a rich console that prints text unchanged, and styles it only if the file is a terminal."""
    return Console(file=file, force_terminal=file.isatty(), markup=False, emoji=False, highlight=False)
