"""Export a site: one run, from the list of conversations to the summary."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import attrs

from stride_async._client import StrideClient
from stride_async._events import Event
from stride_async._files import run_to_completion
from stride_async._net.throttle import WINDOW
from stride_async.export._archive.archive import Archive
from stride_async.export._archive.async_archive import AsyncArchive
from stride_async.export._archive.chain import CommitConflict, read_conversations
from stride_async.export._archive.commits import Unlisted
from stride_async.export._archive.errors import ArchiveBusy, ArchiveError, DamagedArchive
from stride_async.export._archive.layout import CONVERSATIONS, PEOPLE, conversation_folder, folder_name
from stride_async.export._archive.object_lease import EXPIRES
from stride_async.export._archive.run_record import RunRecord, failures_in, picked_by_unfinished, started_runs
from stride_async.export._archive.state import State, content_digest, site_digest
from stride_async.export._events import (
    ConversationDone,
    ConversationsFound,
    ConversationStarted,
    ExportEvent,
    Failure,
    MediaFetched,
    RunStarted,
    RunWaiting,
    Summary,
    Unprotected,
)
from stride_async.export._fetch.call_log import CallLog, LostCalls, recent_calls
from stride_async.export._fetch.conversation import ConversationExport, ConversationResult, PeopleFound
from stride_async.export._fetch.health import ServiceHealth
from stride_async.export._fetch.job import Job
from stride_async.export._fetch.listing import Listing, list_site, select
from stride_async.export._fetch.people import PeopleExport
from stride_async.export._fetch.workers import run_all
from stride_async.export._options import ExportOptions
from stride_async.export._selection import NothingSelected, name_of

MOST_CONFLICTS = 100
"""How often a conversation is started again because another export committed to it."""

_EVENTS_WAITING = 1000


async def run_export(
    client: StrideClient, archive: str | os.PathLike[str], options: ExportOptions, *, stem: str | None = None
) -> AsyncGenerator[ExportEvent, None]:
    """Export a site, or a shard of it, in this process; see `export`. A new run gets a name from `stem`, if given."""
    await run_to_completion(partial(Archive.find, archive, client.cloud_id))  # Refused before the service is called.
    listing = await list_site(client, fail_fast=options.fail_fast)
    selected = select(listing, options.selection, options.shard)
    names = {listed["id"]: name_of(listed) for listed in selected}
    opened = await AsyncArchive.open_or_create(archive, client.cloud_id)
    try:
        is_waiting = False
        while seconds := await opened.acquire_lease(options.shard):
            if not is_waiting:
                yield RunWaiting(f"another export was killed, or is working on {opened.archive.files.name}", EXPIRES)
            is_waiting = True
            await asyncio.sleep(seconds)
        record = await opened.run(RunRecord.start, opened.archive, options, names, stem=stem)
        lost = await opened.run(_ids_with_lost_calls, opened.archive, record)
        health = ServiceHealth(client)
        calls = await run_to_completion(partial(CallLog, opened.archive, record.run), discard=CallLog.close)
        try:
            job = Job(
                run=record.run,
                archive=opened,
                client=_heard_by(client, calls, health),
                calls=calls,
                health=health,
                options=options,
                at_once=min(options.concurrency, len(selected)),
                lost_calls=LostCalls(client, lost),
                fresh_from=record.fresh_from,
            )
            run = Run(job, record, listing, selected)
            working = asyncio.create_task(run.complete(), name="stride_async export")
            try:
                while (event := await run.events.get()) is not None:
                    yield event
                await working
            finally:
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)
        finally:
            await opened.run(_close, calls, record)
        calls.require_written()
    finally:
        await opened.close()


def _close(calls: CallLog, record: RunRecord) -> None:
    calls.close()
    with suppress(ArchiveError):  # The commits have the same failures.
        record.close()


def _ids_with_lost_calls(archive: Archive, record: RunRecord) -> set[str]:
    """Return the conversations to which a killed run may have made calls that its log does not have."""
    if not archive.files.has_lost_lines:
        return set()
    runs = started_runs(archive)
    return picked_by_unfinished(archive, runs if record.continued else (run for run in runs if run != record.run))


def _heard_by(client: StrideClient, calls: CallLog, health: ServiceHealth) -> StrideClient:
    """Return a client whose events go to these, and to the receiver that it has."""
    own_receiver = client.settings.on_event

    def receive(event: Event) -> None:
        calls.note(event)
        health.note(event)
        if own_receiver is not None:
            own_receiver(event)

    return client.with_settings(attrs.evolve(client.settings, on_event=receive))


class Run:
    """One run: starts the workers, and counts and reports what they return."""

    def __init__(self, job: Job, record: RunRecord, listing: Listing, selected: Sequence[dict[str, Any]]) -> None:
        self.events: asyncio.Queue[ExportEvent | None] = asyncio.Queue(_EVENTS_WAITING)
        """None follows the last event."""
        self._job = job
        self._archive = job.archive
        self._record = record
        self._listing = listing
        self._selected = selected
        self._people = PeopleExport(job)
        self._started_at = time.monotonic()
        self._counts: Counter[str] = Counter()
        self._conflicts: Counter[str] = Counter()
        # The newest commit of each folder, and content digests by the name of a conversation's folder.
        self._heads: dict[str, tuple[int, str]] = {}
        self._digests: dict[str, str] = {}
        self._recorded: set[Failure] = set()

    async def complete(self) -> None:
        """Do all the work. Its end, whether good or bad, ends the events."""
        try:
            await self._complete()
        except asyncio.CancelledError:
            raise  # No one takes events any more.
        except BaseException:
            await self.events.put(None)
            raise
        await self.events.put(None)

    async def _complete(self) -> None:
        job, archive = self._job, self._archive.archive
        await self._report(RunStarted(job.run, self._record.continued))
        if self._record.continued:
            self._recorded.update(await self._archive.run(self._record.failures))
        runs = await self._archive.run(started_runs, archive)
        for key, seconds_ago in await self._archive.run(recent_calls, archive, runs):
            job.client.recall_call(key, seconds_ago)
        await self._report_failures(self._failures_in_list())
        await self._report_unmatched_selectors()
        await self._report(ConversationsFound(len(self._selected)))
        if waiting := job.lost_calls.count(listed["id"] for listed in self._selected):
            why = f"the last calls of the export that was killed are not known: {waiting:,} conversations start later"
            await self._report(RunWaiting(why, WINDOW))
        await run_all([self._export_conversations(), self._export_people()])
        summary = self._summary()
        await self._archive.run(self._record.finish, self._heads, summary)
        await self._report(summary)

    async def _report(self, event: ExportEvent | PeopleFound) -> None:
        """Pass an event on. Waits while no one takes the events.

        Raises:
            OSError: The disk refused to record a call.
        """
        self._job.calls.require_written()
        if isinstance(event, PeopleFound):
            self._people.add(event.ids)
            return
        if not isinstance(event, RunStarted):  # That one is the first event.
            for what in self._archive.archive.files.take_refused():
                await self.events.put(Unprotected(what))
        if isinstance(event, MediaFetched):
            self._counts.update(media=1, media_bytes=event.size_bytes)
        await self.events.put(event)

    async def _export_conversations(self) -> None:
        waiting = deque(self._selected)
        await run_all(self._worker(waiting) for _ in range(self._job.at_once))
        others = await self._archive.run(_check_others, self._archive.archive, self._job, self._listing, {*self._heads})
        self._heads |= others.heads
        self._digests |= others.digests
        self._counts.update(no_longer_listed=others.unlisted)
        self._people.add(others.people)
        self._people.close()

    async def _worker(self, waiting: deque[dict[str, Any]]) -> None:
        while waiting:
            listed = waiting.popleft()
            await self._report(ConversationStarted(listed["id"], name_of(listed)))
            try:
                result = await ConversationExport(self._job, listed, self._report).run()
            except CommitConflict as error:
                self._count_conflict(listed["id"], error)
                waiting.append(listed)
            except DamagedArchive as error:
                await self._report_damage(listed["id"], error)
            else:
                await self._conversation_done(listed, result)

    async def _export_people(self) -> None:
        while True:
            try:
                people = await self._people.run()
            except CommitConflict as error:
                if self._job.options.shard is None:
                    self._count_conflict("", error)
            except DamagedArchive as error:
                await self._report_damage("", error)
                return
            else:
                self._heads[PEOPLE] = people.head
                await self._report_failures_in("", people.state)
                return

    def _count_conflict(self, conversation_id: str, error: CommitConflict) -> None:
        """Count a conflict with another export.

        Raises:
            ArchiveBusy: There were too many.
        """
        self._conflicts[conversation_id] += 1
        if self._conflicts[conversation_id] > MOST_CONFLICTS:
            raise ArchiveBusy(f"another export is working on {self._archive.archive.files.name}") from error

    async def _conversation_done(self, listed: Mapping[str, Any], result: ConversationResult) -> None:
        state, id = result.state, listed["id"]
        self._people.add(state.referenced_users)
        self._heads[conversation_folder(id)] = result.head
        self._digests[folder_name(id)] = content_digest(state)
        done = ConversationDone(
            id, name_of(listed), state.messages, result.new, result.changed, result.gone, len(state.failed)
        )
        self._counts.update(conversations=1, messages=done.messages, new=done.new, changed=done.changed, gone=done.gone)
        await self._report_failures_in(id, state)
        await self._report(done)

    async def _report_failures_in(self, conversation_id: str, state: State) -> None:
        await self._report_failures(failures_in(conversation_id, state))

    async def _report_failures(self, failures: Sequence[Failure]) -> None:
        """Report failures, and record those that are not recorded yet: an interrupted run may have done so."""
        if new := [failure for failure in failures if failure not in self._recorded]:
            await self._archive.run(self._record.add_failures, new)
            self._recorded.update(new)
        self._counts.update(failures=len(failures))
        for failure in failures:
            await self._report(failure)

    def _failures_in_list(self) -> list[Failure]:
        """Return what is malformed in the list, except in the conversations of other shards."""
        shard, failures = self._job.options.shard, self._listing.failures
        return [each for each in failures if shard is None or not (id := each.conversation_id) or shard.includes(id)]

    async def _report_unmatched_selectors(self) -> None:
        """Report selectors without a match, which may be misspelled. To exclude nothing is not a failure."""
        names = {id: name_of(listed) for id, listed in self._listing.conversations.items()}
        unmatched = [each for each in self._job.options.selection.unmatched(names) if not each.startswith("^")]
        if unmatched and self._job.options.fail_fast:
            raise NothingSelected(f"no conversation matches {unmatched[0]!r}", [])
        why, hint = "it matches no conversation", "correct it, or leave it out"
        await self._report_failures([Failure("", "selector", each, why, hint) for each in unmatched])

    async def _report_damage(self, conversation_id: str, error: DamagedArchive) -> None:
        if self._job.options.fail_fast:
            raise error
        hint = "run `stride verify` to see what is damaged; --rescan all fetches again what can be fetched"
        await self._report_failures([Failure(conversation_id, "archive", "", str(error), hint)])

    def _summary(self) -> Summary:
        counted = ("conversations", "messages", "new", "changed", "gone", "media", "media_bytes", "failures")
        return Summary(
            run=self._job.run,
            **{name: self._counts[name] for name in (*counted, "no_longer_listed")},
            users=len(self._people.found),
            seconds=time.monotonic() - self._started_at,
            content_digest=site_digest(self._digests.items()),
        )


@attrs.define
class _Others:
    """The conversations that are held and were not exported by this run."""

    heads: dict[str, tuple[int, str]] = attrs.field(factory=dict)
    digests: dict[str, str] = attrs.field(factory=dict)
    people: set[str] = attrs.field(factory=set)
    """Those referenced in conversations that the service no longer lists."""
    unlisted: int = 0


def _check_others(archive: Archive, job: Job, listing: Listing, exported: Collection[str]) -> _Others:
    """Read the conversations that this run did not export, and mark those that the service no longer lists.

    `exported` has folders. With a shard, only the conversations in it are read.
    """
    others = _Others()
    shard, listed = job.options.shard, {folder_name(id): id for id in listing.conversations}
    names = (
        name
        for name in archive.conversations()
        if f"{CONVERSATIONS}/{name}" not in exported
        and (shard is None or name not in listed or shard.includes(listed[name]))
    )
    for name, chain in read_conversations(archive, names):
        if shard is not None and not shard.includes(listed.get(name) or chain.state.conversation_id):
            continue
        if name not in listed and (listing.complete or not chain.state.listed):
            others.unlisted += 1
            others.people |= chain.state.referenced_users
            if chain.counts_in_site and not chain.broken:
                with suppress(CommitConflict):  # The other writer knows better.
                    chain.commit(job.run, [Unlisted()])
        elif chain.counts_in_site:
            others.digests[name] = content_digest(chain.state)
        others.heads[chain.folder] = chain.head
    return others
