"""Export a site: in this process, or in the workers of an engine."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import NoneType

from stride_async._arguments import of_type
from stride_async._client import StrideClient
from stride_async.export._engine import Dask, Engine, Processes, import_for_engine
from stride_async.export._events import ExportEvent
from stride_async.export._fetch.run import run_export
from stride_async.export._options import ExportOptions


async def export(
    client: StrideClient,
    archive: str | os.PathLike[str],
    options: ExportOptions | None = None,
    *,
    engine: Engine | None = None,
) -> AsyncGenerator[ExportEvent, None]:
    """Export a site into an archive, or bring the archive up to date. Yields events as it goes, a `Summary` last.

    Whatever stops it, even a kill, the same call resumes where it stopped. Leaving the loop commits what was received.

    With an engine, its workers export shards of the site. They make clients of their own from the environment variables
    of `StrideClient.from_env`, and use the numbers in `client.settings`; `concurrency` is the total of all workers.
    Tasks contain no secret. `Settings.on_event` is called with the `AttemptStarted`, `stride_async.Waiting` and
    `LimitWaiting` of workers. If a worker dies, its shards run in another one. A shard that has lost four of them is
    given up, and its conversations are failures.

    Args:
        client: A client of the site.
        archive: The folder of the archive, or its URL in an object store, such as `s3://bucket/site`. It is created if
            it does not exist.
        options: What to export and how; None means everything.
        engine: The workers that share the work; None means this process alone.

    Raises:
        ArchiveError: The folder is not an archive, or the archive is of another site, in use, or of a later version.
            Nothing was changed.
        NothingSelected: No conversation matches the selection.
        StrideError: The list of conversations could not be fetched, the credentials were refused, or the service became
            unavailable. With `fail_fast`, any failure; without, other failures are events.
        StoreRefused: The object store refuses access, or cannot hold an archive.
        StoreUnavailable: The object store did not answer, or failed for as long as was tried.
        OSError: The archive cannot be written.
        EngineError: A worker cannot do its part, or processes cannot be started. `EngineUnavailable`: the scheduler
            cannot be reached or was lost.
        ModuleNotFoundError: The engine requires a package that is not installed. The message names the extra.
        ValueError: The URL is not one of an archive. With an engine, the options have a shard, or the client something
            that a worker cannot have.
    """
    of_type(client, "client", StrideClient)
    options = of_type(ExportOptions() if options is None else options, "options", ExportOptions)
    of_type(engine, "engine", Processes, Dask, NoneType)
    events = run_export(client, archive, options) if engine is None else _in_shards(client, archive, options, engine)
    async with aclosing(events):
        async for event in events:
            yield event


def _in_shards(
    client: StrideClient, archive: str | os.PathLike[str], options: ExportOptions, engine: Engine
) -> AsyncGenerator[ExportEvent, None]:
    module = import_for_engine("stride_async.export._shards")
    events: AsyncGenerator[ExportEvent, None] = module.export_in_shards(client, archive, options, engine)
    return events
