"""Run a command's coroutine on the fastest event loop that is installed. Ctrl-C cancels it."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any, TypeVar

import click

from stride_async._cli import show
from stride_async._cli.options import VERBOSE

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on uvloop if it is installed (the extra `speed`), or else on asyncio's own event loop.

    With `--verbose`, say which one that is. A second Ctrl-C ends the process at once.
    """
    new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None
    name = "asyncio"
    if find_spec("uvloop") is not None:
        new_loop, name = import_module("uvloop").new_event_loop, f"uvloop {metadata.version('uvloop')}"
    context = click.get_current_context(silent=True)
    if context is not None and context.meta.get(VERBOSE, False):
        show.message(f"Event loop: {name}.")
    with _sigint_restored(), asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(_interruptible(main))


async def _interruptible(main: Coroutine[Any, Any, T]) -> T:
    """Await a coroutine that the first Ctrl-C cancels, and end the process on the second.

    asyncio would raise KeyboardInterrupt wherever the second one arrives. If that is where it tells a task that its
    wait is over, the task waits forever, and so does the event loop, which waits for all tasks in the end.
    """
    cancel = signal.getsignal(signal.SIGINT)

    def interrupt(number: int, frame: Any) -> None:
        signal.signal(number, show.end_process)
        assert callable(cancel)
        cancel(number, frame)

    if callable(cancel) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, interrupt)
    return await main


@contextmanager
def _sigint_restored() -> Iterator[None]:
    usual = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if usual is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, usual)
