"""The help of each command, as `docs/cli.md` and the man page show it, with what both add to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click

from stride_async._cli.exits import Exit

WIDTH = 100

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
