"""Write `docs/cli.md` from the help of each command.

Run it with `python -m tests.cli_page`; a test compares the file with the help.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from stride_async._cli.main import stride

PAGE = Path(__file__).parents[1] / "docs/cli.md"
WIDTH = 100

OPENING = """\
# The command

The command `stride` requires the extra `cli`, and its local server the extra `server`: `pip install '.[all]'` installs
both. This page shows what `--help` prints. With the extra `speed`, the command runs on
[uvloop](https://uvloop.readthedocs.io/), which makes calls cheaper; `-v` says which event loop is used.

If stdout is closed (`>&-`), a command fails before it does anything. If stderr is closed, it runs silently. If the
reader of stdout ends early, as in `stride history general | head -1`, the command ends silently too; `export`, `verify`
and `status` do their work nevertheless, and keep their exit code.

Text that people read contains no control characters, no invisible formatting characters and nothing that the encoding
of the terminal lacks: a replacement character stands for each of them. JSON is UTF-8 and has every value unchanged; on
a terminal, such characters are escaped in it (`\\u009b`).
"""


def rendered() -> str:
    """Return the page, with a heading for each command, and for a group before its commands."""
    return "\n".join([OPENING, *(f"## {path}\n\n```text\n{text}\n```\n" for path, text in helps(stride, "stride"))])


def helps(command: click.Command, path: str, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """Yield the path and help of a command, and of the commands in it."""
    context = context_of(command, path.rpartition(" ")[2], parent)
    yield path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            if (child := command.get_command(context, name)) is not None:
                yield from helps(child, f"{path} {name}", context)


def context_of(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    """Return the context that prints a command's help; click keeps its help option from the first context."""
    return click.Context(command, info_name=name, parent=parent, terminal_width=WIDTH, **command.context_settings)


if __name__ == "__main__":
    PAGE.write_text(rendered())
