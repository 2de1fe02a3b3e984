"""Write `docs/cli.md` from the help of each command.

Run it with `python -m tests.cli_page`; a test compares the file with the help.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from stride_async._cli.exits import Exit
from stride_async._cli.main import stride

PAGE = Path(__file__).parents[1] / "docs/cli.md"
WIDTH = 100

OPENING = """\
# The command

The command `stride` requires the extra `cli`, and its local server the extra `server`: `pip install '.[all]'` installs
both. This page shows what `--help` prints. With the extra `speed`, the command runs on
[uvloop](https://uvloop.readthedocs.io/), which makes calls cheaper; `-v` says which event loop is used.

Data goes to stdout: tables on a terminal, JSON lines elsewhere. Everything else goes to stderr.

If stdout is closed (`>&-`), a command fails before it does anything. If stderr is closed, it runs silently. If the
reader of stdout ends early, as in `stride history general | head -1`, the command ends silently too; `export`, `verify`
and `status` do their work nevertheless, and keep their exit code.

Text that people read contains no control characters, no invisible formatting characters and nothing that the encoding
of the terminal lacks: a replacement character stands for each of them. JSON is UTF-8 and has every value unchanged; on
a terminal, such characters are escaped in it (`\\u009b`).
"""

ENVIRONMENT: Mapping[str, str] = {
    "STRIDE_BASE_URL": "URL of the service.",
    "STRIDE_CLOUD_ID": "Id of the site.",
    "STRIDE_TOKEN": "An access token. It takes precedence over the next two.",
    "STRIDE_CLIENT_ID": "Client id of the app. On a terminal, you are asked for it if it is not set.",
    "STRIDE_CLIENT_SECRET": "Client secret of the app. On a terminal, you are asked for it if it is not set.",
    "STRIDE_BOT_STORE": "File in which `stride bot` keeps events. By default, it is bot.sqlite.",
    "STRIDE_BOT_URL": "URL at which the service reaches the bot that `stride bot run` serves.",
    "STRIDE_DEBUG": "With any value, an unexpected error shows its traceback.",
}
EXIT_CODES: Mapping[Exit, str] = {
    Exit.DONE: "Success.",
    Exit.UNEXPECTED: "An unexpected error.",
    Exit.USAGE: "The command line, the environment or a path is wrong.",
    Exit.NOTHING_SELECTED: "Nothing was found.",
    Exit.AUTHENTICATION: "Authentication failed, or the service forbids the call.",
    Exit.PARTIAL: "Partial success. What is missing is listed.",
    Exit.VERIFICATION_FAILED: "The verification failed.",
    Exit.UNAVAILABLE: "The service is unavailable, or its rate limit is reached.",
    Exit.ARCHIVE_UNUSABLE: "The folder or file is not an archive or a store, is in use, or is too new.",
    Exit.INTERRUPTED: "Interrupted.",
}


def rendered() -> str:
    """Return the page, with a heading for each command, and for a group before its commands."""
    tables = [
        _table("Environment variables", "variable", {f"`{name}`": text for name, text in ENVIRONMENT.items()}),
        _table("Exit codes", "code", {str(int(code)): text for code, text in EXIT_CODES.items()}),
    ]
    return "\n".join(
        [OPENING, *tables, *(f"## {path}\n\n```text\n{text}\n```\n" for path, text in helps(stride, "stride"))]
    )


def _table(heading: str, column: str, rows: Mapping[str, str]) -> str:
    lines = [f"| {name} | {text} |" for name, text in rows.items()]
    return "\n".join([f"## {heading}\n", f"| {column} | meaning |", "| --- | --- |", *lines, ""])


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
