"""`stride server`: run the local server until a signal stops it."""

from __future__ import annotations

import asyncio
import logging
import shlex
import signal
import socket
import sys
from ipaddress import ip_address
from pathlib import Path

import click

from stride_async._cli import show
from stride_async._cli.exits import CommandError, Exit
from stride_async._cli.options import verbose_option
from stride_async.server import LocalServer

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(name="server")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=0, show_default=True, help="Port to listen on; 0: any free port."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--db", type=click.Path(dir_okay=False, path_type=Path), help="Keep the site in this SQLite file.")
@click.option("--seed", type=_FILE, help="Start with the site in this file of JSON lines.")
@click.option("--generate", metavar="PLAN", help="Start with a generated site; the same PLAN gives the same site.")
@click.option(
    "--rate-limit",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="Calls allowed per conversation and window; 0: no limit.",
)
@click.option(
    "--window",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Length of that window in seconds.",
)
@click.option(
    "--latency",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Delay of each response in seconds.",
)
@click.option("--media-redirect", is_flag=True, help="Redirect media calls to a second port.")
@click.option("--faults", type=_FILE, help="Inject the faults in this JSON file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on a terminal too; elsewhere it is the default.")
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
    """Run a local server that stands in for the service.

    It runs until Ctrl-C or SIGTERM. When it is ready, it prints its URL, cloud id, client id and client secret; with
    --json or in a pipe, as one line with url, cloud_id, client_id and client_secret. Without --db, --seed or --generate
    the site is empty.

    PLAN is a list of conversations, messages (per conversation, on average), users, media, media_max (size of the
    largest file in bytes), seed, even (true or false: the same number of messages in each conversation) and bytes (per
    message, on average). All of them are optional.

    \b
    Examples:
        stride server
        stride server --generate conversations=99,messages=250 --db site.sqlite
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
        raise CommandError(Exit.USAGE, str(error)) from error
    asyncio.run(_serve(server, host, as_json=as_json))


async def _serve(server: LocalServer, host: str, *, as_json: bool) -> None:
    task = asyncio.current_task()
    assert task is not None
    if sys.platform != "win32":
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    # Ctrl-C arrives as a cancellation too. Both are the regular end of a server.
    try:
        try:
            await server.start()
        except ValueError as error:
            raise CommandError(Exit.USAGE, str(error)) from error
        except socket.gaierror as error:
            raise CommandError(Exit.USAGE, f"Cannot listen on {host}: {error.strerror}") from error
        except OSError as error:
            raise CommandError(Exit.USAGE, error.strerror or str(error)) from error
        try:
            if not _is_loopback(host):
                show.message(f"Warning: listening on {host}. Anyone who can reach this machine can use the server.")
            _announce(server, as_json=as_json)
            await asyncio.Event().wait()
        finally:
            await server.close()
    except asyncio.CancelledError:
        show.message("Stopped.")


def _announce(server: LocalServer, *, as_json: bool) -> None:
    facts = {
        "url": server.url,
        "cloud_id": server.cloud_id,
        "client_id": server.client_id,
        "client_secret": server.client_secret,
    }
    show.record(facts, as_json=as_json)
    if not show.for_people(as_json=as_json):
        return
    show.message("\nThe server is running. To use it, paste these lines into another terminal:\n")
    variables = ("STRIDE_BASE_URL", "STRIDE_CLOUD_ID", "STRIDE_CLIENT_ID", "STRIDE_CLIENT_SECRET")
    for variable, value in zip(variables, facts.values(), strict=True):
        show.message(f"  export {variable}={shlex.quote(value)}")
    show.message("\nPress Ctrl-C to stop it.")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
