"""Write `docs/stride.1`, the man page, from the help of each command.

`python -m tests.cli_page` writes it too; a test compares the file with the help. The wheel installs it as
`share/man/man1/stride.1`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import click

from stride_async import __version__
from stride_async._cli.main import stride
from tests.cli_help import ENVIRONMENT, EXIT_CODES, context_of

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/stride.1"
# Described once, for all commands.
_COMMON = ("--help", "--verbose")
_STREAMS = "Data goes to stdout: tables on a terminal, JSON lines elsewhere. Everything else goes to stderr."


def rendered() -> str:
    """Return the page in the macros of man(7)."""
    root = context_of(stride, "stride", None)
    lines = [
        f'.TH STRIDE 1 "{_released_on()}" "stride-async {__version__}" "User Commands"',
        *(".SH NAME", _escaped(f"stride - {_summary(stride)}")),
        *(".SH SYNOPSIS", r"\fBstride\fR " + _escaped(" ".join(stride.collect_usage_pieces(root)))),
        *(".SH DESCRIPTION", *_paragraphs(stride.help or ""), *_paragraphs(_STREAMS)),
        *(".SH OPTIONS", *_definitions(_options(stride, root))),
        *(".SH COMMANDS", *_commands(stride, root)),
        *(".SH ENVIRONMENT", *_definitions(ENVIRONMENT)),
        *(".SH EXIT STATUS", *_definitions({str(int(code)): text for code, text in EXIT_CODES.items()})),
    ]
    return "\n".join(lines) + "\n"


def _released_on() -> str:
    """Return the date of this version in the changelog; nothing if it is not released."""
    match = re.search(rf"^## \[{re.escape(__version__)}\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    return match[1] if match else ""


def _commands(group: click.Group, context: click.Context) -> Iterator[str]:
    """Yield the section of each command in a group, and after that of a group those of its commands."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        its_context = context_of(command, name, context)
        usage = " ".join([its_context.command_path, *command.collect_usage_pieces(its_context)])
        yield f".SS {_escaped(usage)}"
        yield from _paragraphs(command.help or "")
        yield from _definitions(
            {name: text for name, text in _options(command, its_context).items() if not _is_common(name)}
        )
        if isinstance(command, click.Group):
            yield from _commands(command, its_context)


def _options(command: click.Command, context: click.Context) -> dict[str, str]:
    options = (parameter for parameter in command.get_params(context) if isinstance(parameter, click.Option))
    records = (option.get_help_record(context) for option in options)
    return dict(record for record in records if record is not None)


def _is_common(name: str) -> bool:
    return any(common in name for common in _COMMON)


def _summary(command: click.Command) -> str:
    """Return the first sentence in lower case, without its period, as NAME requires."""
    first = (command.help or "").partition("\n")[0].rstrip(".")
    return first[:1].lower() + first[1:]


def _definitions(terms: Mapping[str, str]) -> Iterator[str]:
    for term, text in terms.items():
        yield from (".TP", rf"\fB{_escaped(term)}\fR", _escaped(text))


def _paragraphs(help: str) -> Iterator[str]:
    """Yield the paragraphs of a help; lines after a backspace stay as they are."""
    for paragraph in inspect.cleandoc(help).split("\n\n"):
        first, *rest = paragraph.splitlines()
        if first == "\b":
            heading, *kept = rest
            yield from (".PP", _escaped(heading), ".RS 4", ".nf", *map(_escaped, _unindented(kept)), ".fi", ".RE")
        else:
            yield from (".PP", _escaped(" ".join(line.strip() for line in (first, *rest))))


def _unindented(lines: Iterable[str]) -> Iterator[str]:
    return (line.removeprefix("    ") for line in lines)


def _escaped(text: str) -> str:
    """Return text in which nothing is a request of roff; what is in backticks is bold."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-")
    bold = re.sub(r"`([^`]+)`", r"\\fB\1\\fR", escaped)
    return rf"\&{bold}" if bold.startswith((".", "'")) else bold


if __name__ == "__main__":
    PAGE.write_text(rendered())
