"""`stride bot retry`: queue an event that a bot failed to handle."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from stride_async._cli import show
from stride_async._cli.bot_store import STOP_FIRST, existing_store_option, store_errors
from stride_async._cli.exits import CommandError, Exit
from stride_async._cli.options import TextParam
from stride_async.bot._failures import opened_store, retry_in


@click.command(name="retry")
@click.argument("id", type=TextParam())
@existing_store_option
def command(*, id: str, store: Path) -> None:
    """Let a bot retry an event that it failed to handle.

    ID is one that `stride bot failed` shows. The bot must not be running; it handles the event at its next start, as if
    it were new.

    \b
    Examples:
        stride bot retry 17
        stride bot failed --json | jq -r .id | xargs -n 1 stride bot retry
    """
    with store_errors(if_busy=STOP_FIRST):
        asyncio.run(_retry(store, id))
    show.message(f"Event {id} is handled at the next start of the bot.")


async def _retry(path: Path, delivery_id: str) -> None:
    async with opened_store(path) as store:
        try:
            await retry_in(store, delivery_id)
        except LookupError as error:
            raise CommandError(Exit.NOTHING_SELECTED, f"{path} contains no failed event {delivery_id!r}.") from error
