"""`stride server`: run the local server until a signal stops it."""

from __future__ import annotations

import asyncio
import logging
import math
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import attrs
import click

from stride_async._cli import loop, progress, show
from stride_async._cli.env_file import check_env_file, env_file
from stride_async._cli.exits import CommandError, Exit
from stride_async._cli.listening import listening_on
from stride_async._cli.options import PathParam, Seconds, WholeNumber, verbose_option
from stride_async.server import Loaded, LocalServer, Plan

# Only the names are checked here: the server opens the files, which shows whether the system allows it.
_FILE = PathParam(path_type=Path)
# The variables that a client reads, each with the attribute of the server that is its value.
_VARIABLES = {
    "STRIDE_BASE_URL": "url",
    "STRIDE_CLOUD_ID": "cloud_id",
    "STRIDE_CLIENT_ID": "client_id",
    "STRIDE_CLIENT_SECRET": "client_secret",
}


_SECONDS_FOR_APP = 10.0
_SECONDS_BETWEEN_TRIES = 0.2


def _http_url(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and not value.startswith(("http://", "https://")):
        raise click.BadParameter("It must be an http or https URL.")
    return value


# The options of every command that runs the server, in the order of the help.
_OPTIONS = (
    click.option(
        "--port",
        type=WholeNumber(0, 65_535),
        default=0,
        show_default=True,
        help="Port to listen on; 0: any free port.",
    ),
    click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
    click.option("--db", type=_FILE, metavar="FILE", help="Keep the site in this SQLite file."),
    click.option(
        "--rate-limit",
        type=WholeNumber(0),
        default=100,
        show_default=True,
        help="Calls allowed per conversation and window; 0: no limit.",
    ),
    click.option(
        "--window",
        type=Seconds(min=0, min_open=True),
        default=60.0,
        show_default=True,
        help="Length of that window in seconds.",
    ),
    click.option(
        "--latency",
        type=Seconds(min=0),
        default=0.0,
        show_default=True,
        help="Delay of each response in seconds.",
    ),
    click.option("--media-redirect", is_flag=True, help="Redirect media calls to a second port."),
    click.option("--faults", type=_FILE, metavar="FILE", help="Inject the faults in this JSON file."),
    click.option(
        "--app", "app_url", metavar="URL", callback=_http_url, help="Call the app with its descriptor at URL."
    ),
    click.option("--install", type=click.Choice(["all"]), help="Install that app in all conversations."),
    click.option(
        "--env-file",
        "env_path",
        type=_FILE,
        metavar="FILE",
        help="Keep the variables of clients in FILE, such as .env.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print JSON on a terminal too; elsewhere it is the default."),
    verbose_option,
)


@attrs.frozen(kw_only=True)
class ServerOptions:
    """The values of the options that `server_options` adds."""

    port: int
    host: str
    db: Path | None
    rate_limit: int
    window: float
    latency: float
    media_redirect: bool
    faults: Path | None
    app_url: str | None
    install: str | None
    env_path: Path | None
    as_json: bool


def server_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of the server to a command, which makes `ServerOptions` of them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command(name="server")
@click.option(
    "--seed",
    type=_FILE,
    metavar="FILE",
    help="Start with the site in FILE, or in the site.jsonl of a folder.",
)
@click.option("--generate", metavar="PLAN", help="Start with a generated site; the same PLAN gives the same site.")
@server_options
def command(seed: Path | None, generate: str | None, **options: Any) -> None:
    """Run a local server that stands in for the service.

    It runs until Ctrl-C or SIGTERM. When it is ready, it prints its URL, cloud id, client id and client secret; with
    --json or in a pipe, as one line with url, cloud_id, client_id and client_secret. Without --db, --seed or --generate
    the site is empty. A --db file that already contains the site of --seed or --generate is used as it is.

    With --env-file, FILE contains the variables that the other commands and clients read (STRIDE_BASE_URL,
    STRIDE_CLOUD_ID, STRIDE_CLIENT_ID and STRIDE_CLIENT_SECRET) for as long as the server runs. Only you can read it. A
    FILE with anything else in it is refused.

    With --app, what happens in a conversation is delivered to the app, as the service did: mentions, direct messages
    and more. URL is the address of its descriptor. The app may start before the server or up to 10 seconds after it.
    With --install all, it is also called for its installation in each conversation.

    PLAN consists of NAME=VALUE, separated by commas. The names are conversations, messages (per conversation, on
    average), users, media, media_max (size of the largest file in bytes), seed, even (true or false: the same number of
    messages in each conversation) and bytes (per message, on average). All of them are optional. The limits are
    1,000,000 conversations, 100,000,000 messages in total, 100,000 users, and 1,000,000 files.

    \b
    Examples:
        stride server
        stride server --generate conversations=99,messages=250 --db site.sqlite
        stride server --seed site.jsonl --port 8080 --rate-limit 0
        stride server --json > server.json &
        stride server --env-file .env
        stride server --app http://127.0.0.1:8080/descriptor.json --install all
    """
    try:
        plan = None if generate is None else Plan.parse(generate)
        beginning = None
        if plan is not None:
            total = show.counted(plan.conversations * plan.messages, "message")
            beginning = f"Generating {show.counted(plan.conversations, 'conversation')} with {total} in total."
        elif seed is not None:
            beginning = f"Loading {seed}."
        total_messages = None if plan is None else plan.conversations * plan.messages
        run_server(ServerOptions(**options), Loading(beginning, total_messages), seed=seed, generate=plan)
    except ValueError as error:
        raise CommandError(Exit.USAGE, str(error)) from error


def run_server(
    options: ServerOptions,
    loading: Loading,
    *,
    seed: Path | Iterable[bytes] | None = None,
    media_root: Path | None = None,
    generate: Plan | None = None,
) -> None:
    """Run the server until a signal stops it.

    Raises:
        ValueError: The arguments contradict each other.
        CommandError: The server cannot start.
    """
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    if options.install is not None and options.app_url is None:
        raise click.UsageError("--install requires --app.")
    if options.env_path is not None:
        check_env_file(options.env_path, _VARIABLES)
    server = LocalServer(
        host=options.host,
        port=options.port,
        db=options.db,
        seed=seed,
        media_root=media_root,
        generate=generate,
        rate_limit=options.rate_limit or None,
        window=options.window,
        latency=options.latency,
        media_redirect=options.media_redirect,
        faults=options.faults,
        on_loading=loading.update,
    )
    app = None if options.app_url is None else _App(options.app_url, install_all=options.install == "all")
    loop.run(_serve(server, options.host, loading, options.env_path, app, as_json=options.as_json))


async def _serve(
    server: LocalServer, host: str, loading: Loading, env_path: Path | None, app: _App | None, *, as_json: bool
) -> None:
    task = asyncio.current_task()
    assert task is not None
    if sys.platform != "win32":
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    # Ctrl-C arrives as a cancellation too. Both are the regular end of a server.
    try:
        async with loading.shown():
            await _start(server, host)
        try:
            if not _is_loopback(host):
                show.message(f"Warning: listening on {host}. Anyone who can reach this machine can use the server.")
            variables = {name: str(getattr(server, attribute)) for name, attribute in _VARIABLES.items()}
            with _kept(env_path, variables):
                _announce(variables, env_path, as_json=as_json)
                if app is not None:
                    await app.register(server)
                await asyncio.Event().wait()
        finally:
            await server.close()
    except asyncio.CancelledError:
        show.message("Stopped.")


async def _start(server: LocalServer, host: str) -> None:
    with listening_on(host):
        try:
            await server.start()
        except UnicodeError:
            raise
        except ValueError as error:
            raise CommandError(Exit.USAGE, str(error)) from error


@contextmanager
def _kept(env_path: Path | None, variables: Mapping[str, str]) -> Iterator[None]:
    if env_path is None:
        yield
    else:
        with env_file(env_path, variables):
            yield


@attrs.frozen
class _App:
    """The app to register once the server runs: it may need what the server announces."""

    url: str
    install_all: bool

    async def register(self, server: LocalServer) -> None:
        try:
            await self._register(server)
        except ValueError as error:
            raise CommandError(Exit.USAGE, f"The app cannot be registered: {error}") from error
        if not self.install_all:
            show.message(f"Registered the app at {self.url}.")
            return
        count = show.counted(await server.install_all(), "conversation")
        show.message(f"Registered the app at {self.url} and installed it in {count}.")

    async def _register(self, server: LocalServer) -> None:
        reason = "there is no response"
        try:
            async with asyncio.timeout(_SECONDS_FOR_APP):
                while True:
                    try:
                        await server.register_app(self.url)
                        return
                    except ConnectionError as error:
                        reason = str(error)
                    await asyncio.sleep(_SECONDS_BETWEEN_TRIES)
        except TimeoutError:
            raise CommandError(
                Exit.UNAVAILABLE, f"The app did not start within {_SECONDS_FOR_APP:g} s: {reason}"
            ) from None


@attrs.define
class Loading:
    """The progress of loading a site: a line when it begins, and on a terminal a display until it ends."""

    beginning: str | None
    """The line; None if there is nothing to load."""
    total_messages: int | None = None
    _loaded: Loaded | None = attrs.field(default=None, init=False)

    def update(self, loaded: Loaded) -> None:
        """Take what is loaded so far."""
        if self._loaded is None and self.beginning is not None:
            show.message(self.beginning)
        self._loaded = loaded

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Show the progress for as long as the context lasts."""
        if self.beginning is None:
            yield
            return
        # Without a terminal, the line that `update` writes is enough.
        async with progress.shown(self._read, seconds_between_lines=math.inf, transient=True):
            yield

    def _read(self) -> progress.Reading:
        loaded = self._loaded or Loaded()
        facts = [
            show.counted(loaded.messages, "message"),
            show.counted(loaded.conversations, "conversation"),
            show.counted(loaded.media, "file"),
            show.counted(loaded.users, "user"),
        ]
        return progress.Reading(loaded.messages, self.total_messages, facts)


def _announce(variables: Mapping[str, str], env_path: Path | None, *, as_json: bool) -> None:
    show.record({_VARIABLES[name]: value for name, value in variables.items()}, as_json=as_json)
    if not show.for_people(as_json=as_json):
        return
    show.message("\nThe server is running. To use it, paste these lines into another terminal:\n")
    if env_path is not None:
        # Without a slash, a shell would search its path for the file.
        shown = env_path if env_path.is_absolute() else f"./{env_path}"
        show.message(f"  set -a; . {shlex.quote(str(shown))}; set +a")
    else:
        for name, value in variables.items():
            show.message(f"  export {name}={shlex.quote(value)}")
    show.message("\nPress Ctrl-C to stop it.")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
