"""Run a handler with its middlewares, a time limit, and the error handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from stride_async.bot._arguments import Usage, name_of
from stride_async.bot._errors import HandlerTimeout
from stride_async.bot._events import Event
from stride_async.bot._reports import LOG, Reporter
from stride_async.bot._router import Call, Chosen, Middleware, Routes

# How long foreign code may take to clean up after it was cancelled.
CLEAN_UP_SECONDS = 5.0


async def call_handler(routes: Routes, chosen: Chosen, event: Event, limit: float) -> object:
    """Return what a handler returns for an event, or None if a middleware did not call it.

    Raises:
        HandlerTimeout: It took longer than the limit, and was cancelled.
        Exception: Whatever it or a middleware raises.
    """
    returned: object = None

    async def innermost(event: Any) -> object:
        nonlocal returned
        returned = await _called(chosen, event)
        return returned

    call: Call = innermost
    for middleware in reversed(routes.middlewares):
        call = _around(middleware, call)
    await _within(limit, call(event), name_of(chosen.function))
    return returned


async def _called(chosen: Chosen, event: Event) -> object:
    arguments = chosen.arguments
    if isinstance(arguments, Usage):
        return await event.reply(arguments.text)
    return await chosen.function(event, *arguments.positional, **arguments.named)


def _around(middleware: Middleware, call: Call) -> Call:
    return lambda event: middleware(event, call)


async def _within(limit: float, work: Coroutine[Any, Any, Any], name: str) -> None:
    """Run foreign code, whose every end is an end of its event: it returns, or it raises an `Exception`.

    It runs in a task of its own, so code that cancels its current task, at whatever moment, cancels only itself.

    Raises:
        CancelledError: The task that calls this was cancelled, and the code with it.
        HandlerTimeout: It took longer than the limit, whatever it did when it was cancelled for that.
        RuntimeError: It cancelled itself, or raised something else that is not an `Exception`.
        Exception: Whatever else it raises.
    """
    caller = asyncio.current_task()
    assert caller is not None
    task = asyncio.get_running_loop().create_task(work, name=caller.get_name())
    late = None
    try:
        await asyncio.wait((task,), timeout=limit)
        late = None if task.done() else HandlerTimeout(f"{name} took longer than {limit:g} s")
    finally:
        await _ended(task, work, name)
    try:
        task.result()
    except BaseException as error:
        # KeyboardInterrupt and SystemExit have left the loop already; an event that they end counts as killed.
        if caller.cancelling() or isinstance(error, KeyboardInterrupt | SystemExit):
            raise asyncio.CancelledError from error
        if late is not None:
            raise late from error
        if isinstance(error, Exception):
            raise
        raised = "was cancelled by its own code" if task.cancelled() else f"raised {type(error).__name__}"
        raise RuntimeError(f"{name} {raised}") from error
    if late is not None:
        raise late


async def _ended(task: asyncio.Task[Any], work: Coroutine[Any, Any, Any], name: str) -> None:
    """Cancel foreign code that still runs, and wait for its end, however often the caller is cancelled.

    Code that catches its cancellation and goes on would hold up its conversation and the end of the bot. Its coroutine
    is closed, which it can prevent only by catching every exception; then it is left behind.
    """
    if not task.done():
        task.cancel()
        await _wait_for_clean_up(task)
    if not task.done():
        LOG.error("%s goes on %g s after it was cancelled, and is ended", name, CLEAN_UP_SECONDS)
        with suppress(Exception):  # of its `finally` blocks
            work.close()
        task.cancel()
        await _wait_for_clean_up(task)
    if task.done() and not task.cancelled():
        task.exception()  # asyncio logs an exception that was never looked at


async def _wait_for_clean_up(task: asyncio.Task[Any]) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + CLEAN_UP_SECONDS
    while not task.done() and (left := until - loop.time()) > 0:
        with suppress(asyncio.CancelledError):
            await asyncio.wait((task,), timeout=left)


async def report_error(routes: Routes, report: Reporter, event: Event, error: Exception, limit: float) -> None:
    """Call the first error handler whose kind fits, or log the error if none does."""
    report.error(error)
    handler = routes.error_handler(error)
    delivery = event.delivery
    if handler is None:
        LOG.error(
            "handling %s %s in conversation %s failed",
            delivery.kind,
            delivery.id,
            event.conversation_id,
            exc_info=error,
        )
        return
    try:
        await _within(limit, handler(event, error), name_of(handler))
    except Exception as failure:  # noqa: BLE001 -- foreign code
        report.error(failure)
        LOG.error(
            "the error handler %s failed for %s %s",
            name_of(handler),
            delivery.kind,
            delivery.id,
            exc_info=failure,
        )
