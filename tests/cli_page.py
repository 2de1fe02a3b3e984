"""The page of the command, made of the help of each of its commands.

`python -m tests.cli_page` writes it; a test compares.
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

`stride` comes with the extra `cli`, its local server with `server`: `pip install '.[all]'`. This page is what `--help`
says. With stdout closed (`>&-`) a command refuses before it does anything; with stderr closed it runs in silence.
"""


def rendered() -> str:
    """The whole page: each command under its own heading, groups before what is in them."""
    return "\n".join([OPENING, *(f"## {path}\n\n```text\n{text}\n```\n" for path, text in helps(stride, "stride"))])


def helps(command: click.Command, path: str, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """A command's path and help, and those of the commands below it."""
    context = context_of(command, path.rpartition(" ")[2], parent)
    yield path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            if (child := command.get_command(context, name)) is not None:
                yield from helps(child, f"{path} {name}", context)


def context_of(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    """What a command is called in; click remembers a command's help option from its first context."""
    return click.Context(command, info_name=name, parent=parent, terminal_width=WIDTH, **command.context_settings)


if __name__ == "__main__":
    PAGE.write_text(rendered())
