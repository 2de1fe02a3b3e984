"""What a worker of an engine does: check that it can do its part, export one shard, and report what happens.

A worker makes its client from its own environment. A task carries ids, options and numbers, and no secret; nor does it
say where the service is, because the worker's secret would be sent there.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from functools import partial
from typing import get_args

import attrs
from distributed import Status, Worker, get_worker

from stride_async import __version__
from stride_async._client import StrideClient
from stride_async._events import AttemptStarted, Event, LimitWaiting, Waiting
from stride_async._files import run_to_completion
from stride_async._settings import Settings, variable
from stride_async.export._archive.address import storage_at
from stride_async.export._archive.archive import Archive
from stride_async.export._archive.errors import ArchiveBusy, ArchiveError
from stride_async.export._archive.layout import run_name
from stride_async.export._archive.run_record import failures_of, summary_of
from stride_async.export._engine import EngineError
from stride_async.export._events import (
    ConversationDone,
    ConversationStarted,
    ExportEvent,
    Failure,
    MediaFetched,
    PagesFetched,
    RunWaiting,
    Summary,
    Unprotected,
)
from stride_async.export._fetch.run import run_export
from stride_async.export._options import ExportOptions

_SECONDS_BETWEEN_REPORTS = 1.0
# Seconds that a shard waits for its lease, which a worker that lost its connection may still have.
_LONGEST_BUSY = 60.0

_ShownEvent = ConversationStarted | PagesFetched | MediaFetched | ConversationDone | Unprotected | RunWaiting
Reported = _ShownEvent | AttemptStarted | Waiting | LimitWaiting
"""An event that shows progress."""
_WORKING = (Status.running, Status.paused)
_BY_NAME: dict[str, type[Reported]] = {kind.__name__: kind for kind in get_args(Reported)}


@attrs.frozen(kw_only=True)
class Expected:
    """What a worker must have in common with the process that hands out the shards."""

    version: str
    cloud_id: str
    archive: str
    archive_id: str | None
    """None if the archive may not exist yet."""


@attrs.frozen(kw_only=True)
class ShardTask:
    """The export of one shard."""

    expected: Expected
    options: ExportOptions
    settings: Mapping[str, object]
    """Those of the client that say neither where the service is nor who may receive the token."""
    stem: str
    """What the name of the run begins with."""
    topic: str
    """Where events are reported."""


@attrs.frozen
class ShardResult:
    """How the run of a shard ended."""

    summary: Summary
    failures: tuple[Failure, ...]


def misfit(expected: Expected) -> str | None:
    """Return why this process cannot export shards, as a predicate of the worker; None if it can."""
    if expected.version != __version__:
        return f"has stride_async {__version__}, not {expected.version}"
    credentials = ("STRIDE_TOKEN",) if variable("STRIDE_TOKEN") else ("STRIDE_CLIENT_ID", "STRIDE_CLIENT_SECRET")
    for name in ("STRIDE_BASE_URL", "STRIDE_CLOUD_ID", *credentials):
        if not variable(name):
            return f"has no {name} in its environment"
    if (cloud_id := variable("STRIDE_CLOUD_ID")) != expected.cloud_id:
        return f"is for site {cloud_id}, not {expected.cloud_id}: STRIDE_CLOUD_ID differs"
    try:
        Settings.from_env()
        storage_at(expected.archive)
        found = Archive.open(expected.archive).id if expected.archive_id is not None else None
    except ValueError as error:
        return f"cannot use its environment: {error}"
    except ArchiveError as error:
        return f"cannot see the archive: {error}"
    same = found == expected.archive_id
    return None if same else f"has another archive at {expected.archive}: the place must be the same for all workers"


def run_shard(task: ShardTask) -> ShardResult | None:
    """Export a shard in an event loop of its own. Return None if it was stopped.

    Raises:
        EngineError: This worker cannot export it.
        ArchiveError, StrideError, OSError: As for `export`.
    """
    worker = get_worker()
    if (reason := misfit(task.expected)) is not None:
        raise EngineError(f"worker {worker.address} {reason}")
    try:
        return asyncio.run(_export(task, worker))
    except asyncio.CancelledError:
        return None
    except Exception as error:
        # Dask sends an error with its causes, and one of aiohttp's has the headers of the request, with the token.
        error.__cause__ = error.__context__ = None
        raise


def stop_shards(topic: str) -> None:
    """Stop the shards of an export in this process. Those that run commit what they have; no other one begins."""
    with _running_lock:
        _stopped.add(topic)
        for stop in _running.get(topic, ()):
            stop()


# How to stop the shards that run in this process, by topic.
_running: dict[str, list[Callable[[], object]]] = {}
_stopped: set[str] = set()
_running_lock = threading.Lock()


@contextmanager
def _stoppable(topic: str) -> Iterator[None]:
    current = asyncio.current_task()
    assert current is not None
    stop = partial(asyncio.get_running_loop().call_soon_threadsafe, current.cancel)
    with _running_lock:
        if topic in _stopped:  # It was handed out just before.
            raise asyncio.CancelledError
        _running.setdefault(topic, []).append(stop)
    try:
        yield
    finally:
        with _running_lock:
            _running[topic].remove(stop)


async def _export(task: ShardTask, worker: Worker) -> ShardResult:
    reports = _Reports(task.topic, worker)
    settings = Settings.from_env(**task.settings, on_event=reports.add)
    with _stoppable(task.topic):
        async with StrideClient.from_env(settings=settings) as client, reports.sent():
            ends = asyncio.get_running_loop().time() + _LONGEST_BUSY
            while True:
                try:
                    return await _run(task, client, reports)
                except ArchiveBusy:
                    if asyncio.get_running_loop().time() > ends:
                        raise
                    await asyncio.sleep(1.0)


async def _run(task: ShardTask, client: StrideClient, reports: _Reports) -> ShardResult:
    """Export the shard, unless another worker, to which it was given too, has done so."""
    if (done := await run_to_completion(partial(_finished, task))) is not None:
        return done
    failures: list[Failure] = []
    summary = None
    events = run_export(client, task.expected.archive, task.options, stem=task.stem)
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Failure):
                failures.append(event)
            if isinstance(event, Summary):
                summary = event
            reports.add(event)
    assert summary is not None
    return ShardResult(summary, tuple(failures))


def _finished(task: ShardTask) -> ShardResult | None:
    archive, run = Archive.open(task.expected.archive), run_name(task.stem, task.options.shard)
    summary = summary_of(archive, run)
    return None if summary is None else ShardResult(summary, tuple(failures_of(archive, run)))


class _Reports:
    """Events on their way to the process that hands out the shards, sent once a second."""

    def __init__(self, topic: str, worker: Worker) -> None:
        self._topic = topic
        self._worker = worker
        self._waiting: list[tuple[str, tuple[object, ...]]] = []

    def add(self, event: ExportEvent | Event) -> None:
        """Report an event, if it is of a kind that shows progress."""
        if isinstance(event, Reported):
            self._waiting.append((type(event).__name__, attrs.astuple(event, recurse=False)))

    @asynccontextmanager
    async def sent(self) -> AsyncIterator[None]:
        """Send what is reported until the context ends."""
        sending = asyncio.create_task(self._keep_sending(), name="stride_async reports")
        try:
            yield
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            self._send()

    async def _keep_sending(self) -> None:
        while True:
            await asyncio.sleep(_SECONDS_BETWEEN_REPORTS)
            self._send()
            if self._worker.status not in _WORKING:
                stop_shards(self._topic)  # The scheduler is lost, or has retired this worker.

    def _send(self) -> None:
        if self._waiting:
            self._worker.log_event(self._topic, json.dumps(self._waiting).encode())
            self._waiting = []


def reported(data: bytes) -> Iterator[Reported]:
    """Yield the events that a worker has reported."""
    for name, values in json.loads(data):
        yield _BY_NAME[name](*values)
