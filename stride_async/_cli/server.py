"""`stride server`: the local stand-in, until it is told to stop."""

from __future__ import annotations

import asyncio
import json
import logging
import shlex
import signal
import sys
from ipaddress import ip_address
from pathlib import Path

import click

from stride_async._cli import show
from stride_async._cli.exits import Ended, Exit
from stride_async._cli.options import verbose_option
from stride_async.server import LocalServer

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(name="server")
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="Port; 0, the default: any that is free.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--db", type=click.Path(dir_okay=False, path_type=Path), help="Keep the site in this SQLite file.")
@click.option("--seed", type=_FILE, help="Begin with the site of this file of JSON lines.")
@click.option("--generate", metavar="PLAN", help="Begin with a made-up site, the same each time; see the examples.")
@click.option(
    "--rate-limit",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="Calls taken per conversation and window; 0: any number.",
)
@click.option(
    "--window",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds of that window.",
)
@click.option(
    "--latency",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Seconds every answer waits.",
)
@click.option("--media-redirect", is_flag=True, help="Answer media calls with a redirect to a second port.")
@click.option("--faults", type=_FILE, help="Misbehave as this JSON file says.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON, on a terminal too.")
@verbose_option
def command(
    port: int,
    host: str,
    db: Path | None,
    seed: Path | None,
    generate: str | None,
    rate_limit: int,
    window: float,
    latency: float,
    media_redirect: bool,
    faults: Path | None,
    as_json: bool,
) -> None:
    """Stand in for the whole service on this machine, until Ctrl-C or SIGTERM.

    As soon as it answers it prints one line: URL, cloud id, client id and secret; in a pipe or with --json as
    {"url", "cloud_id", "client_id", "client_secret"}. Without --seed or --generate the site is empty.

    PLAN is a list of conversations, messages (of each, on average), users, media, media_max (bytes of the largest),
    seed, even (true or false) and bytes (of a message, on average); what it leaves out has a sensible value.

    \b
    Examples:
        stride server
        stride server --generate conversations=1000,messages=1000,seed=7 --db site.sqlite
        stride server --seed site.jsonl --port 8080 --rate-limit 0
        stride server --json > server.json &
    """
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    try:
        server = LocalServer(
            host=host,
            port=port,
            db=db,
            seed=seed,
            generate=generate,
            rate_limit=rate_limit or None,
            window=window,
            latency=latency,
            media_redirect=media_redirect,
            faults=faults,
        )
    except ValueError as error:
        raise Ended(Exit.USAGE, str(error)) from error
    asyncio.run(_serve(server, host, as_json=as_json))


async def _serve(server: LocalServer, host: str, *, as_json: bool) -> None:
    task = asyncio.current_task()
    assert task is not None
    if sys.platform != "win32":
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    # Ctrl-C arrives as a cancellation too. Either is how a server ends, and no failure.
    try:
        try:
            await server.start()
        except ValueError as error:
            raise Ended(Exit.USAGE, str(error)) from error
        except OSError as error:
            raise Ended(Exit.USAGE, error.strerror or str(error)) from error
        try:
            if not _is_loopback(host):
                show.words(f"Warning: it listens on {host}: whoever reaches this machine can use it.")
            _announce(server, as_json=as_json)
            await asyncio.Event().wait()
        finally:
            await server.close()
    except asyncio.CancelledError:
        show.words("Stopped.")


def _announce(server: LocalServer, *, as_json: bool) -> None:
    facts = {
        "url": server.url,
        "cloud_id": server.cloud_id,
        "client_id": server.client_id,
        "client_secret": server.client_secret,
    }
    if not show.for_people(as_json=as_json):
        click.echo(json.dumps(facts, separators=(",", ":")))
        return
    click.echo(f"{server.url}  site {server.cloud_id}  client {server.client_id}  secret {server.client_secret}")
    show.words("\nIt answers. For other commands, in another terminal:\n")
    for variable, value in zip(
        ("STRIDE_BASE_URL", "STRIDE_CLOUD_ID", "STRIDE_CLIENT_ID", "STRIDE_CLIENT_SECRET"), facts.values(), strict=True
    ):
        show.words(f"  export {variable}={shlex.quote(value)}")
    show.words("\nCtrl-C stops it.")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
