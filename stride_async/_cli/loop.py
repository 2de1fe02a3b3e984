"""Run a command's coroutine on the fastest event loop that is installed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any, TypeVar

import click

from stride_async._cli import show
from stride_async._cli.options import VERBOSE

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on uvloop if it is installed (the extra `speed`), or else on asyncio's own event loop.

    With `--verbose`, say which one that is.
    """
    new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None
    name = "asyncio"
    if find_spec("uvloop") is not None:
        new_loop, name = import_module("uvloop").new_event_loop, f"uvloop {metadata.version('uvloop')}"
    context = click.get_current_context(silent=True)
    if context is not None and context.meta.get(VERBOSE, False):
        show.message(f"Event loop: {name}.")
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main)
