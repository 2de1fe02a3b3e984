"""A client from the environment, for as long as a command needs it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from stride_async import ClientCredentials, Settings, StrideClient, Waiting
from stride_async._cli.exits import Ended, Exit
from stride_async._events import Event

T = TypeVar("T")

_TOLD_WAIT = 3.0
"""Waits from this many seconds on are told."""


def with_client(work: Callable[[StrideClient], Awaitable[T]]) -> T:
    """What `work` gives, done with a client of the environment's site.

    Raises:
        Ended: a variable is missing or cannot be used; says which.
    """
    client = _client()  # Before there is a loop: Ctrl-C ends a prompt at once.

    async def done() -> T:
        async with client:
            return await work(client)

    return asyncio.run(done())


def _client() -> StrideClient:
    try:
        settings = Settings(base_url=os.environ.get("STRIDE_BASE_URL", ""), on_event=_tell_wait)
        if os.environ.get("STRIDE_CLOUD_ID") and not _has_credentials() and sys.stdin.isatty():
            return StrideClient(_asked_for(), cloud_id=os.environ["STRIDE_CLOUD_ID"], settings=settings)
        return StrideClient.from_env(settings=settings)
    except ValueError as error:
        raise Ended(Exit.USAGE, str(error)) from error


def _has_credentials() -> bool:
    read = os.environ.get
    return bool(read("STRIDE_TOKEN") or (read("STRIDE_CLIENT_ID") and read("STRIDE_CLIENT_SECRET")))


def _asked_for() -> ClientCredentials:
    client_id = os.environ.get("STRIDE_CLIENT_ID") or click.prompt("Client id", err=True)
    secret = os.environ.get("STRIDE_CLIENT_SECRET") or click.prompt("Client secret", hide_input=True, err=True)
    return ClientCredentials(client_id, secret)


def _tell_wait(event: Event) -> None:
    if isinstance(event, Waiting) and event.seconds >= _TOLD_WAIT:
        click.echo(f"Waiting {event.seconds:.0f} s: {event.reason}", err=True)
