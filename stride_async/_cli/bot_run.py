"""`stride bot run`: serve a bot until a signal stops it."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import attrs
import click

from stride_async._cli import show
from stride_async._cli.bot_module import bot_argument, load_bot
from stride_async._cli.bot_store import store_errors
from stride_async._cli.connect import check_variables
from stride_async._cli.exits import CommandError, Exit
from stride_async._cli.listening import listening_on
from stride_async._cli.logs import show_logs
from stride_async._cli.options import PathParam, WholeNumber
from stride_async.bot import BotSettings

_VARIABLES = ("STRIDE_BASE_URL", "STRIDE_CLIENT_ID", "STRIDE_CLIENT_SECRET", "STRIDE_BOT_URL")
_HINT = ". A local server writes them to a file: `stride server --env-file .env`. `stride bot try` needs none."


@click.command(name="run")
@bot_argument
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=WholeNumber(0, 65_535),
    default=8080,
    show_default=True,
    help="Port to listen on; 0: any free port.",
)
@click.option(
    "--store",
    type=PathParam(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Keep events in FILE.  [default: STRIDE_BOT_STORE, or bot.sqlite]",
)
@click.option("--public-url", metavar="URL", help="Where the service reaches the bot.  [default: STRIDE_BOT_URL]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on a terminal too; elsewhere it is the default.")
def command(*, bot: str, host: str, port: int, store: Path | None, public_url: str | None, as_json: bool) -> None:
    """Serve a bot until Ctrl-C or SIGTERM.

    The service and the credentials of the app come from STRIDE_BASE_URL, STRIDE_CLIENT_ID and STRIDE_CLIENT_SECRET.

    When the bot is ready, it prints its URL and that of its descriptor, which the service has to know; with --json or
    in a pipe, as one line with url and descriptor. Requests are logged on stderr, without their query, in which
    browsers send tokens.

    At the end, deliveries are refused, running handlers have 30 seconds left, and waiting events stay in the store.
    Another Ctrl-C ends it at once.

    \b
    Examples:
        stride bot run mybot:bot
        stride bot run mybot:bot --port 9000 --public-url https://bot.example.com
    """
    loaded = load_bot(bot)
    settings = _settings(store, public_url)
    show_logs(detailed="stride_async.bot")
    with listening_on(host), store_errors():
        asyncio.run(
            loaded.serve(
                settings,
                host=host,
                port=port,
                announce=lambda line: _announce(json.loads(line), as_json=as_json),
                warn=lambda sentence: show.message(f"Warning: {sentence}"),
            )
        )
    show.message("Stopped.")


def _settings(store: Path | None, public_url: str | None) -> BotSettings:
    check_variables(_VARIABLES)
    try:
        settings = BotSettings.from_env()
        if store is not None:
            settings = attrs.evolve(settings, store=store)
        if public_url is not None:
            settings = attrs.evolve(settings, public_url=public_url)
    except ValueError as error:
        hint = "" if os.environ.get("STRIDE_CLIENT_ID") else _HINT
        raise CommandError(Exit.USAGE, f"{error}{hint}") from error
    return settings


def _announce(facts: dict[str, str], *, as_json: bool) -> None:
    show.record(facts, as_json=as_json)
    if show.for_people(as_json=as_json):
        show.message(
            "\nThe bot is running. Give the service the URL of its descriptor. A local server calls it with:\n\n"
            f"  stride server --app {facts['descriptor']} --install all\n\n"
            "Press Ctrl-C to stop it."
        )
