"""The option `--engine`, which several commands share, and its errors."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import click

from stride_async._cli.exits import CommandError, Exit
from stride_async.export import Dask, Engine, EngineError, EngineUnavailable, Processes

_EXPECTED = "expected processes=N or dask=ADDRESS, such as dask=tcp://10.0.0.5:8786"


def _parse(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Engine | None:
    if value is None:
        return None
    kind, _, rest = value.partition("=")
    try:
        if kind == "processes" and rest.isascii() and rest.isdecimal():
            return Processes(int(rest))
        if kind == "dask":
            return Dask(rest)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from error
    raise click.BadParameter(f"{value!r} is not an engine: {_EXPECTED}.")


engine_option = click.option(
    "--engine",
    metavar="ENGINE",
    callback=_parse,
    help="Share the work: processes=N, or dask=ADDRESS of a scheduler.",
)


@contextmanager
def engine_errors(engine: Engine | None) -> Iterator[None]:
    """Turn errors about an engine into messages with an exit code.

    Raises:
        CommandError: The engine cannot be used.
    """
    log = logging.getLogger("distributed.client")
    log.addFilter(_nothing)  # Dask logs in its own words that a scheduler is lost, which the message says.
    try:
        yield
    except EngineUnavailable as error:
        raise CommandError(Exit.UNAVAILABLE, f"{error}.") from error
    except EngineError as error:
        raise CommandError(Exit.USAGE, f"{error}.") from error
    except ModuleNotFoundError as error:
        if engine is None or (error.name or "").startswith("stride_async"):
            raise
        raise CommandError(Exit.USAGE, f"{error}") from error
    finally:
        log.removeFilter(_nothing)


def _nothing(_: logging.LogRecord) -> bool:
    return False
