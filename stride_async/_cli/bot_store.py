"""The store of a bot, as the commands of `stride bot` find and open it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from stride_async._cli.exits import CommandError, Exit
from stride_async._cli.options import PathParam
from stride_async._settings import variable
from stride_async.bot import BotError, StoreBusy

STOP_FIRST = " Stop the bot first."

existing_store_option = click.option(
    "--store",
    type=PathParam(exists=True, dir_okay=False, path_type=Path),
    default=lambda: variable("STRIDE_BOT_STORE") or "bot.sqlite",
    metavar="FILE",
    help="The file with the events.  [default: STRIDE_BOT_STORE, or bot.sqlite]",
)


@contextmanager
def store_errors(*, if_busy: str = "") -> Iterator[None]:
    """Report a store that cannot be used.

    Raises:
        CommandError: With what is wrong, and `if_busy` after it if another process uses the store.
    """
    try:
        yield
    except BotError as error:
        text = str(error)
        more = if_busy if isinstance(error, StoreBusy) else ""
        raise CommandError(Exit.ARCHIVE_UNUSABLE, f"{text[:1].upper()}{text[1:]}.{more}") from error
