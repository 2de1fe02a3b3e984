"""`stride bot failed`: list the events that a bot failed to handle."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
import msgspec

from stride_async._cli import show
from stride_async._cli.bot_store import STOP_FIRST, existing_store_option, store_errors
from stride_async._cli.options import json_option
from stride_async.bot import Failure
from stride_async.bot._failures import failures_in, opened_store


@click.command(name="failed")
@existing_store_option
@json_option
def command(*, store: Path, as_json: bool) -> None:
    """List the events that a bot failed to handle in the last 7 days.

    The bot must not be running, because only one process can open the file. JSON lines have id, kind, module, cloud_id,
    conversation_id, user_id, received_at, failed_at, attempts, error, message, and the body of the delivery.

    \b
    Examples:
        stride bot failed
        stride bot failed --store /var/lib/mybot/bot.sqlite --json | jq -r .id
    """
    with store_errors(if_busy=STOP_FIRST):
        failures = asyncio.run(_failures(store))
    if not failures and show.for_people(as_json=as_json):
        show.message("No events have failed.")
    elif show.for_people(as_json=as_json):
        show.table(("ID", "FAILED AT", "KIND", "CONVERSATION", "ERROR"), map(_row, failures))
    else:
        show.json_lines(map(_line, failures))


async def _failures(path: Path) -> list[Failure]:
    async with opened_store(path) as store:
        return await failures_in(store)


def _row(failure: Failure) -> tuple[str, str, str, str, str]:
    return (
        failure.delivery.id,
        failure.failed_at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        failure.delivery.kind,
        failure.conversation_id,
        f"{failure.error}: {failure.message}" if failure.message else failure.error,
    )


def _line(failure: Failure) -> bytes:
    delivery = failure.delivery
    fields = {
        "id": delivery.id,
        "kind": delivery.kind,
        "module": delivery.module,
        "cloud_id": failure.cloud_id,
        "conversation_id": failure.conversation_id,
        "user_id": failure.user_id,
        "received_at": delivery.received_at,
        "failed_at": failure.failed_at,
        "attempts": delivery.attempt,
        "error": failure.error,
        "message": failure.message,
        "body": msgspec.Raw(failure.raw),
    }
    return msgspec.json.encode(fields)
