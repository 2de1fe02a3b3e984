"""Create a client from the environment for one command."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import click

from stride_async import ClientCredentials, Event, LimitWaiting, Settings, StrideClient, Waiting
from stride_async._cli import loop, show
from stride_async._cli.exits import CommandError, Exit
from stride_async._cli.options import is_text
from stride_async._settings import variable

T = TypeVar("T")

_VARIABLES = ("STRIDE_BASE_URL", "STRIDE_CLOUD_ID", "STRIDE_TOKEN", "STRIDE_CLIENT_ID", "STRIDE_CLIENT_SECRET")
_SHORTEST_REPORTED_WAIT = 3.0  # Seconds.


def with_client(work: Callable[[StrideClient], Awaitable[T]]) -> T:
    """Run `work` with a client for the site that the environment names, and return its result.

    Raises:
        CommandError: A variable is missing or invalid.
    """
    client = _client()  # Before there is an event loop, so that Ctrl-C ends a prompt at once.

    async def run() -> T:
        async with client:
            return await work(client)

    return loop.run(run())


def check_variables(names: Iterable[str]) -> None:
    """Check that the environment variables of these names are text, if they are set.

    Raises:
        CommandError: One of them is not.
    """
    for name in names:
        if not is_text(os.environ.get(name, "")):
            raise CommandError(Exit.USAGE, f"{name} is not valid UTF-8.")


def _client() -> StrideClient:
    check_variables(_VARIABLES)
    try:
        settings = Settings(base_url=variable("STRIDE_BASE_URL"), on_event=_report_wait)
        if (cloud_id := variable("STRIDE_CLOUD_ID")) and not _has_credentials() and sys.stdin.isatty():
            return StrideClient(_prompt(), cloud_id=cloud_id, settings=settings)
        return StrideClient.from_env(settings=settings)
    except ValueError as error:
        raise CommandError(Exit.USAGE, str(error)) from error


def _has_credentials() -> bool:
    return bool(variable("STRIDE_TOKEN") or (variable("STRIDE_CLIENT_ID") and variable("STRIDE_CLIENT_SECRET")))


def _prompt() -> ClientCredentials:
    client_id = variable("STRIDE_CLIENT_ID") or click.prompt("Client id", err=True)
    secret = variable("STRIDE_CLIENT_SECRET") or click.prompt("Client secret", hide_input=True, err=True)
    return ClientCredentials(client_id, secret)


def _report_wait(event: Event) -> None:
    if not isinstance(event, Waiting | LimitWaiting) or event.seconds < _SHORTEST_REPORTED_WAIT:
        return
    reason = event.reason if isinstance(event, Waiting) else "the limit of this conversation is reached"
    show.message(f"Waiting {event.seconds:.0f} s: {reason}")
