"""Export a site in the workers of an engine: hand out its shards, and make one run of theirs.

Each shard is an ordinary export (see `run_export`) with a lease and a run of its own. This process fetches the list of
conversations only, and adds one run to the archive, which stands for all shards and lists their failures.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import suppress
from functools import partial

import attrs

from stride_async import __version__
from stride_async._client import StrideClient
from stride_async._events import AttemptStarted, LimitWaiting, Waiting
from stride_async._files import run_to_completion
from stride_async._net.report import Receivers
from stride_async._settings import Settings
from stride_async._wire.token import ClientCredentials, StaticToken
from stride_async.export._archive.address import absolute
from stride_async.export._archive.archive import Archive
from stride_async.export._archive.async_archive import AsyncArchive
from stride_async.export._archive.chain import Chain, read_conversations
from stride_async.export._archive.errors import ArchiveError
from stride_async.export._archive.layout import PEOPLE, stem_of_run
from stride_async.export._archive.object_lease import EXPIRES
from stride_async.export._archive.run_record import RunRecord
from stride_async.export._archive.state import content_digest, site_digest
from stride_async.export._cluster import Cluster, WorkersDied, connected
from stride_async.export._engine import Engine, EngineError, EngineUnavailable
from stride_async.export._events import (
    ConversationDone,
    ConversationsFound,
    ExportEvent,
    Failure,
    RunStarted,
    RunWaiting,
    Summary,
    Unprotected,
)
from stride_async.export._fetch.listing import list_site, select
from stride_async.export._fetch.workers import run_all
from stride_async.export._options import ExportOptions
from stride_async.export._selection import name_of
from stride_async.export._shard import Shard
from stride_async.export._worker import Expected, ShardResult, ShardTask, misfit, reported, run_shard, stop_shards

SHARDS_A_WORKER = 4
"""Workers that are done early take what is left, so there are more shards than workers."""

# A worker takes these from its own environment, or not at all.
_NOT_SHARED = ("base_url", "token_url", "allowed_origins", "on_event")
_DIVIDED = ("concurrency", "media_concurrency")
# What the summaries of the shards have to be added up.
_COUNTED = ("conversations", "messages", "new", "changed", "gone", "media", "media_bytes", "no_longer_listed")


async def export_in_shards(
    client: StrideClient, archive: str | os.PathLike[str], options: ExportOptions, engine: Engine
) -> AsyncGenerator[ExportEvent, None]:
    """Export a site in the workers of an engine; see `export`."""
    _check(client, options)
    async with connected(engine) as cluster:
        # An archive of another site is refused before the service is called.
        await run_to_completion(partial(Archive.find, archive, client.cloud_id))
        listing = await list_site(client, fail_fast=options.fail_fast)
        names = {each["id"]: name_of(each) for each in select(listing, options.selection)}
        expected = Expected(
            version=__version__, cloud_id=client.cloud_id, archive=absolute(os.fsdecode(archive)), archive_id=None
        )
        await cluster.require_fit(misfit, expected)  # Before an archive is made.
        opened = await AsyncArchive.open_or_create(archive, client.cloud_id)
        try:
            count = max(1, min(SHARDS_A_WORKER * cluster.threads, len(names)))
            async for waiting in _waiting_until_free(opened, count):
                yield waiting
            expected = attrs.evolve(expected, archive_id=opened.archive.id)
            await cluster.require_fit(misfit, expected)
            record = await opened.run(RunRecord.start, opened.archive, options, names, of_all_shards=True)
            export = _ShardedExport(cluster, client, opened, record, expected, options, names, count)
            working = asyncio.create_task(export.complete(), name="stride_async export")
            try:
                while (event := await export.events.get()) is not None:
                    yield event
                await working
            finally:
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)
                with suppress(ArchiveError):  # The shards have the same failures.
                    await opened.run(record.close)
        finally:
            await opened.close()


async def _waiting_until_free(archive: AsyncArchive, count: int) -> AsyncGenerator[RunWaiting, None]:
    """Return when shards of a number can start. Yields an event if that takes a while.

    Raises:
        ArchiveBusy: Another export is working on the archive.
    """
    is_waiting = False
    while seconds := await archive.acquire_lease(Shard(0, count)):
        if not is_waiting:
            yield RunWaiting(f"another export was killed, or is working on {archive.archive.files.name}", EXPIRES)
        is_waiting = True
        await asyncio.sleep(seconds)
    await archive.run(archive.archive.release)  # The shard itself takes it next.


def _check(client: StrideClient, options: ExportOptions) -> None:
    """Refuse what workers cannot have.

    Raises:
        ValueError: The options have a shard, or the client cannot be made again from environment variables.
    """
    if options.shard is not None:
        raise ValueError(f"the options have shard {options.shard}, but an engine makes the shards itself")
    pool = client._pool  # noqa: SLF001 -- only an engine has to know what a client was made from
    if not isinstance(pool.credentials, ClientCredentials | StaticToken):
        own = "a token provider of its own"
    elif pool.has_own_session:
        own = "a session of its own"
    else:
        own = next((name for name in ("token_url", "allowed_origins") if getattr(client.settings, name)), "")
    if own:
        raise ValueError(f"a client with {own} cannot be used with an engine: its workers make their own clients")


class _ShardedExport:
    """One export in shards: hands them out, passes on what workers report, and adds up the results."""

    def __init__(
        self,
        cluster: Cluster,
        client: StrideClient,
        archive: AsyncArchive,
        record: RunRecord,
        expected: Expected,
        options: ExportOptions,
        names: Mapping[str, str],
        count: int,
    ) -> None:
        self.events: asyncio.Queue[ExportEvent | None] = asyncio.Queue()
        """None follows the last event."""
        self._cluster = cluster
        self._client = client
        self._archive = archive
        self._record = record
        self._names = names
        self._at_once = min(cluster.threads, count, options.concurrency)
        self._waiting = deque(Shard(index, count) for index in range(count))
        self._task = ShardTask(
            expected=expected,
            options=attrs.evolve(options, concurrency=options.concurrency // self._at_once),
            settings=_shared(client.settings, self._at_once),
            stem=stem_of_run(record.run),
            topic=f"stride_async {record.run} {secrets.token_hex(4)}",
        )
        self._handed_out: set[asyncio.Future[ShardResult | None]] = set()
        self._counts: Counter[str] = Counter()
        # What is reported once: ids of conversations that are done, what is not protected, and waits.
        self._once: set[str | Unprotected | RunWaiting] = set()
        self._failures: dict[Failure, None] = {}
        self._receivers = Receivers()
        self._started_at = time.monotonic()

    async def complete(self) -> None:
        """Do all the work. Its end, whether good or bad, ends the events."""
        try:
            self._cluster.listen(self._task.topic, self._take)
            self.events.put_nowait(RunStarted(self._record.run, self._record.continued))
            self.events.put_nowait(ConversationsFound(len(self._names)))
            try:
                await run_all(self._worker() for _ in range(self._at_once))
            except BaseException:
                await self._stop()
                raise
            self.events.put_nowait(await self._archive.run(self._finish))
        finally:
            self.events.put_nowait(None)

    async def _worker(self) -> None:
        while self._waiting:
            shard = self._waiting.popleft()
            task = attrs.evolve(self._task, options=attrs.evolve(self._task.options, shard=shard))
            running = asyncio.ensure_future(self._cluster.run(run_shard, task, f"{self._task.topic} {shard}"))
            self._handed_out.add(running)
            try:
                result = await asyncio.shield(running)
            except EngineUnavailable:
                raise
            except (WorkersDied, EngineError) as error:
                await self._add_lost(shard, str(error))
            else:
                if result is None:  # Its worker was retired.
                    self._waiting.append(shard)
                else:
                    await self._add(result)
            self._handed_out.discard(running)

    async def _stop(self) -> None:
        """Let the shards that are under way commit what they have."""
        with suppress(EngineError):
            await self._cluster.on_each(stop_shards, self._task.topic)
        await asyncio.gather(*self._handed_out, return_exceptions=True)

    async def _add(self, result: ShardResult) -> None:
        counted = attrs.asdict(result.summary)
        self._counts.update({name: counted[name] for name in _COUNTED})
        await self._report_failures(result.failures)

    async def _add_lost(self, shard: Shard, why: str) -> None:
        """Report the conversations of a shard that no worker has exported."""
        lost = [id for id in self._names if shard.includes(id) and id not in self._once]
        await self._report_failures(Failure(id, "conversation", "", why, "run again") for id in lost)

    async def _report_failures(self, failures: Iterable[Failure]) -> None:
        new = [failure for failure in dict.fromkeys(failures) if failure not in self._failures]
        self._failures.update(dict.fromkeys(new))
        if new:
            await self._archive.run(self._record.add_failures, new)
        for failure in new:
            self.events.put_nowait(failure)

    def _take(self, data: bytes) -> None:
        """Pass on what a worker reports. A shard that was handed out again may report the same once more."""
        on_event = self._client.settings.on_event
        for event in reported(data):
            if isinstance(event, AttemptStarted | Waiting | LimitWaiting):
                if on_event is not None:
                    self._receivers.call(on_event, event)
            elif not self._is_repeated(event):
                self.events.put_nowait(event)

    def _is_repeated(self, event: ExportEvent) -> bool:
        """Return whether an event is one that is reported once, and was."""
        if not isinstance(event, ConversationDone | Unprotected | RunWaiting):
            return False
        key = event.conversation_id if isinstance(event, ConversationDone) else event
        is_known = key in self._once
        self._once.add(key)
        return is_known

    def _finish(self) -> Summary:
        """Record the run of all shards, and return its summary."""
        archive = self._archive.archive
        heads: dict[str, tuple[int, str]] = {PEOPLE: Chain(archive, PEOPLE).head}
        digests: dict[str, str] = {}
        people: set[str] = set()
        for name, chain in read_conversations(archive):
            heads[chain.folder] = chain.head
            if chain.counts_in_site:
                digests[name] = content_digest(chain.state)
            if chain.state.conversation_id in self._names or not chain.state.listed:
                people |= chain.state.referenced_users
        summary = Summary(
            run=self._record.run,
            **{name: self._counts[name] for name in _COUNTED},
            users=len(people),
            failures=len(self._failures),
            seconds=time.monotonic() - self._started_at,
            content_digest=site_digest(digests.items()),
        )
        self._record.finish(heads, summary)
        return summary


def _shared(settings: Settings, workers: int) -> dict[str, object]:
    """Return the settings that each of several workers gets."""
    shared = {name: value for name, value in attrs.asdict(settings).items() if name not in _NOT_SHARED}
    return shared | {name: max(1, shared[name] // workers) for name in _DIVIDED}
