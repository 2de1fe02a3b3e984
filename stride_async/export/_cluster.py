"""The workers of an engine: a thin layer over Dask distributed.

Dask starts the processes, hands out the tasks, gives the task of a worker that died to another one, and carries events.
Everything here runs in the event loop of the caller.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import re
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

import cryptography  # noqa: F401 -- Security.temporary needs it, and would say so only when a cluster starts
import dask
from distributed import Client, LocalCluster, Security, Worker, WorkerPlugin
from distributed.scheduler import KilledWorker

from stride_async import __version__
from stride_async.export._engine import Dask, Engine, EngineError, EngineUnavailable, Processes

_NOT_FOUND = re.compile(r"""ModuleNotFoundError\((['"])(.*)\1\)""")

T = TypeVar("T")
R = TypeVar("R")
X = TypeVar("X")

MOST_RETRIES = 3
"""How often a task whose worker died is given to another one. A cluster that is running has a number of its own."""
# Seconds until a scheduler must answer, and until it must have a worker.
_CONNECTING, _JOINING = 10.0, 30.0
# Of processes that are started here.
_CONFIGURATION = {
    "distributed.scheduler.allowed-failures": MOST_RETRIES,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.worker.daemon": True,
    # Dask would look at the stack of each task a hundred times a second, for pages that are not shown.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.admin.tick.interval": "1s",
}


class WorkersDied(Exception):
    """Every worker that a task was given to has died."""


class Cluster:
    """Workers that are running."""

    def __init__(self, client: Client, name: str, threads: int) -> None:
        self.threads = threads
        """The number of tasks that run at the same time."""
        self._client = client
        self._name = name

    async def on_each(self, work: Callable[[T], R], argument: T) -> dict[str, R | Exception]:
        """Call a function in each worker, next to its tasks. Return the results, or errors, by the worker's address."""
        try:
            results: dict[str, R | Exception] = await self._client.run(work, argument, on_error="return")
        except OSError as error:
            raise self._lost() from error
        return results

    async def require_fit(self, misfit: Callable[[T], str | None], expected: T) -> None:
        """Ask each worker whether it can do its part. `misfit` returns why not, as a predicate of the worker.

        Raises:
            EngineError: One cannot.
        """
        for address, reason in (await self.on_each(misfit, expected)).items():
            if isinstance(reason, Exception):
                raise EngineError(f"worker {address} {_unasked(reason)}") from reason
            if reason is not None:
                raise EngineError(f"worker {address} {reason}")

    async def run(self, work: Callable[[T], R], argument: T, key: str) -> R:
        """Run a function in some worker and return its result.

        Raises:
            WorkersDied: Every worker that it was given to has died.
            EngineUnavailable: The scheduler is lost.
            Exception: What the function raises.
        """
        future = self._client.submit(work, argument, key=key, pure=False)
        try:
            result: R = await future.result()
        except KilledWorker as error:
            raise WorkersDied(f"its worker died {error.allowed_failures + 1} times") from error
        except concurrent.futures.CancelledError as error:
            raise self._lost() from error
        finally:
            future.release()
        return result

    def listen(self, topic: str, take: Callable[[bytes], None]) -> None:
        """Pass on what workers log under a topic, in order for each of them."""
        self._client.subscribe_topic(topic, lambda event: take(event[1]))

    def _lost(self) -> EngineUnavailable:
        return EngineUnavailable(f"{self._name} was lost")


@asynccontextmanager
async def connected(engine: Engine) -> AsyncIterator[Cluster]:
    """Start the workers of an engine, or connect to them.

    Raises:
        EngineUnavailable: There is no scheduler at the address, or it has no worker.
        EngineError: The connection cannot be encrypted as the address asks.
    """
    match engine:
        case Processes():
            with dask.config.set(_CONFIGURATION):
                async with _started(engine.count) as local, Client(local, asynchronous=True) as client:
                    await client.register_plugin(_IgnoreInterrupts())
                    yield Cluster(client, "the scheduler in this process", engine.count)
        case Dask():
            async with _client_of(engine.address) as client:
                yield Cluster(client, f"the scheduler at {engine.address}", await _threads(client, engine.address))


def run_each(
    engine: Engine, misfit: Callable[[X], str | None], expected: X, work: Callable[[T], R], arguments: Sequence[T]
) -> Iterator[R]:
    """Run a function for each argument in the workers of an engine, and yield the results as they come.

    This blocks, and so must not be called in a running event loop.

    Raises:
        EngineError: There is a running event loop, a worker cannot do its part, or every worker that an argument was
            given to has died.
        Exception: What the function raises.
    """
    _require_no_loop()
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        running: set[asyncio.Task[R]] = set()
        done: set[asyncio.Task[R]] = set()
        try:
            cluster = runner.run(stack.enter_async_context(connected(engine)))
            runner.run(cluster.require_fit(_other_version, __version__))
            runner.run(cluster.require_fit(misfit, expected))
            topic = secrets.token_hex(8)
            running |= {
                runner.get_loop().create_task(cluster.run(work, argument, f"stride_async {topic} {number}"))
                for number, argument in enumerate(arguments)
            }
            while running:
                done, running = runner.run(_first_of(running))
                for task in done:
                    yield task.result()
        except WorkersDied as error:
            raise EngineError(f"a part could not be done: {error}") from error
        finally:
            runner.run(_abandon(running | done))
            runner.run(stack.aclose())


def _unasked(error: Exception) -> str:
    """Return why a worker could not be asked, as a predicate of the worker."""
    # Dask passes on an error that it cannot pickle as the text of its repr.
    missing = _NOT_FOUND.search(str(error) if type(error) is Exception else repr(error))
    if missing is None:
        return f"cannot be asked what it has: {error!r}"
    return f"cannot be used before stride-async and its extras are installed there: {missing[2]}"


def _require_no_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise EngineError("a conversion with an engine blocks the running event loop: use asyncio.to_thread(convert, ...)")


def _other_version(expected: str) -> str | None:
    return None if __version__ == expected else f"has stride_async {__version__}, not {expected}"


async def _first_of(running: set[asyncio.Task[R]]) -> tuple[set[asyncio.Task[R]], set[asyncio.Task[R]]]:
    return await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)


async def _abandon(tasks: set[asyncio.Task[R]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def _started(count: int) -> AsyncIterator[LocalCluster]:
    # With a plain port, any process of this machine could read the environment of the workers. Dask always opens one
    # for HTTP; without routes, it answers nothing.
    cluster = LocalCluster(
        n_workers=count,
        threads_per_worker=1,
        memory_limit=0,
        dashboard_address=None,
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
        security=Security.temporary(),
        silence_logs=logging.CRITICAL,
        asynchronous=True,
    )
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(cluster)
        except RuntimeError as error:
            why = 'a program must begin its work below `if __name__ == "__main__":`, in a file'
            raise EngineError(f"the processes of an engine could not be started: {why}") from error
        yield cluster


@asynccontextmanager
async def _client_of(address: str) -> AsyncIterator[Client]:
    security = Security()
    if address.startswith("tls://") and security.get_connection_args("client").get("ssl_context") is None:
        variables = "DASK_DISTRIBUTED__COMM__TLS__CA_FILE, …__CLIENT__CERT and …__CLIENT__KEY"
        raise EngineError(f"{address} requires certificates, which Dask reads from {variables}")
    try:
        client = await Client(address, security=security, timeout=_CONNECTING, asynchronous=True)
    except (OSError, ValueError) as error:
        raise EngineUnavailable(f"there is no Dask scheduler at {address}: {error}") from error
    async with client:
        yield client


async def _threads(client: Client, address: str) -> int:
    try:
        await client.wait_for_workers(1, timeout=_JOINING)
    except TimeoutError as error:
        raise EngineUnavailable(f"the scheduler at {address} has no workers") from error
    return sum(dict(await client.nthreads()).values())


class _IgnoreInterrupts(WorkerPlugin):  # type: ignore[misc]  # Dask is not typed
    """Ctrl-C reaches all processes of a terminal; only the one that was started there acts on it."""

    name = "stride_async"

    def setup(self, worker: Worker) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
