"""Write tables, JSON lines and messages.

Data goes to stdout, everything else to stderr. Control characters are removed from text of the service before it
reaches a terminal.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TextIO

import click
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

_COMMAND = re.compile(r"`[^`]+`")


def for_people(*, as_json: bool) -> bool:
    """Return whether stdout is a terminal and JSON was not requested."""
    return sys.stdout.isatty() and not as_json


def message(text: str) -> None:
    """Write a message to stderr; on a terminal, its lines are wrapped as `wrap` says."""
    # Not with click: it bypasses rich, which would erase the message together with the progress display.
    sys.stderr.write(f"{wrap(text) if sys.stderr.isatty() else text}\n")
    sys.stderr.flush()


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
    """Write each value to stdout as a line of JSON; bytes are JSON already and stay as they are."""
    lines = [_json_line(value) for value in values]
    click.echo(b"".join(lines), nl=False)


def _json_line(value: Mapping[str, object] | bytes) -> bytes:
    if not isinstance(value, bytes):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace") + b"\n"
    # In JSON, a line break can only stand between tokens.
    return value.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, err: bool = False) -> None:
    """Write rows under headings, or one block per row if the terminal is too narrow for the words of a table."""
    out = console(sys.stderr if err else sys.stdout)
    cells = [[cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row] for row in rows]
    edges, between = 2, 3
    available = out.width - edges - between * (len(columns) - 1)
    widths = _column_widths([list(map(str, column)) for column in zip(columns, *cells, strict=True)], available)
    if widths is None:
        for row in cells:
            _fields(out, {column: str(cell) for column, cell in zip(columns, row, strict=True) if cell})
            out.print()
        return
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column, width in zip(columns, widths, strict=True):
        shown.add_column(column, width=width)
    for row in cells:
        shown.add_row(*row)
    out.print(shown)


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
        _fields(console(sys.stdout), {name: printable(str(value)) for name, value in fields.items()})
    else:
        json_lines([fields])


def _fields(out: Console, fields: Mapping[str, str]) -> None:
    """Write each field on a line of its own; longer ones are wrapped between words and indented."""
    indent = max(map(len, fields), default=0) + 2
    for name, value in fields.items():
        first, *more = _wrapped(value, max(1, out.width - indent)) or [""]
        out.print(Text(f"{name:<{indent}}", style="dim"), first, sep="", soft_wrap=True)
        for line in more:
            out.print(" " * indent + line, soft_wrap=True)


def console(file: TextIO) -> Console:
    """Return a rich console that prints text unchanged, and styles it only if the file is a terminal."""
    return Console(file=file, force_terminal=file.isatty(), markup=False, emoji=False, highlight=False)


def printable(text: str) -> str:
    """Return the text on one line, with control characters, which could change the terminal, replaced."""
    return printable_lines(text).replace("\n", " ").replace("\t", " ")


def printable_lines(text: str) -> str:
    """Return the text with control characters replaced, except for line breaks and tabs."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in "\n\t\u200d" else "\N{REPLACEMENT CHARACTER}"
        for character in text.replace("\r\n", "\n")
    )
