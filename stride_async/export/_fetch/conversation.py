"""Export one conversation: its details, roster, history and media, in this order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs
import msgspec

from stride_async._errors import DecodeError, StrideError
from stride_async._moments import to_nanoseconds
from stride_async.export._archive.chain import CommitConflict
from stride_async.export._archive.commits import (
    BEGINNING,
    HIGHEST,
    LARGEST_COUNT,
    Details,
    Done,
    MediaSkipped,
    MediaStored,
    Op,
    Referenced,
    Roster,
)
from stride_async.export._archive.errors import DamagedArchive
from stride_async.export._archive.layout import conversation_folder, roster_stem
from stride_async.export._archive.state import State
from stride_async.export._events import ExportEvent, MediaFetched, PagesFetched
from stride_async.export._fetch.history import HistoryExport
from stride_async.export._fetch.job import Job
from stride_async.export._fetch.leg_writer import LegWriter
from stride_async.export._fetch.plan import Bounds
from stride_async.export._fetch.workers import for_each

MEDIA_AT_ONCE = 4
"""Media bodies of one conversation that are downloaded at the same time."""


@attrs.frozen
class PeopleFound:
    """People who are referenced in a conversation, so that their profiles can be fetched."""

    ids: Sequence[str]


ReportEvent = Callable[[ExportEvent | PeopleFound], Awaitable[None]]
"""Takes what happens in a conversation. Waits while no one takes the events."""


@attrs.frozen
class ConversationResult:
    """What is committed of one conversation after its export, and how its messages differ from the last run."""

    state: State
    head: tuple[int, str]
    new: int = 0
    changed: int = 0
    gone: int = 0


class ConversationExport:
    """Brings one conversation up to date. What cannot be fetched is recorded in its commits, and the rest goes on."""

    def __init__(self, job: Job, listed: dict[str, Any], report: ReportEvent) -> None:
        self._job = job
        self._archive = job.archive
        self._listed = listed
        self._id: str = listed["id"]
        self._folder = conversation_folder(self._id)
        self._room = job.client.conversation(self._id)
        self._report = report
        # Operations for the next commit.
        self._pending: list[Op] = []
        # Media bodies arrive at the same time, commits are made one after another.
        self._commit_lock = asyncio.Lock()

    async def run(self) -> ConversationResult:
        """Fetch and commit everything that the job asks for.

        Raises:
            CommitConflict: Another export has committed to this conversation; it is to be exported again.
            DamagedArchive: The conversation cannot be updated because a file is damaged.
            StrideError: The run ends with this error.
        """
        chain = self._chain = await self._archive.open_chain(self._folder)
        try:
            return await self._export()
        except DamagedArchive as error:
            if not await self._archive.run(chain.has_conflict):
                raise
            # The other export has deleted files that its newest commit no longer needs.
            raise CommitConflict(f"{self._folder}: another writer committed") from error

    async def _export(self) -> ConversationResult:
        job, state = self._job, self._chain.state
        if self._is_fresh():
            return ConversationResult(state, self._chain.head)
        job.lost_calls.recall(self._id)
        if state.details != self._listed or not state.listed:
            self._pending.append(Details(self._listed))
        await self._fetch_roster()
        writer = await self._fetch_history()
        await self._fetch_media()
        lost = await self._archive.run(self._chain.lost_files) if job.options.rescan == "all" else []
        await self._commit([*lost, Done(job.run)])
        return ConversationResult(state, self._chain.head, writer.new, writer.changed, writer.gone)

    def _is_fresh(self) -> bool:
        """Return whether this run, which was interrupted and continues, has just completed the conversation."""
        state = self._chain.state
        is_done = state.done_by == self._job.run and state.updated_at >= self._job.fresh_from
        return is_done and all(failed.final for failed in state.failed.values())

    async def _commit(self, ops: Sequence[Op]) -> None:
        async with self._commit_lock:
            await self._archive.run(self._commit_now, ops)

    def _commit_now(self, ops: Sequence[Op]) -> None:
        pending = self._pending.copy()  # Media that fail meanwhile add to it.
        self._chain.commit(self._job.run, [*pending, *ops])
        del self._pending[: len(pending)]

    async def _add_failure(self, what: str, id: str, error: StrideError) -> None:
        self._pending.append(await self._job.failure(self._id, what, id, error))

    async def _fetch_roster(self) -> None:
        state = self._chain.state
        taken_at = time.time()
        people: list[str] = []
        malformed: list[DecodeError] = []
        pages = self._room.roster().pages(on_undecodable=None if self._job.options.fail_fast else malformed.append)
        try:
            async for page in pages:
                people += page.items
        except StrideError as error:
            await self._add_failure("roster", "", error)
            return
        stored = await self._archive.stage_lines(roster_stem(self._folder), [msgspec.json.encode(people)])
        self._pending.append(Roster(stored, taken_at))
        if malformed:
            await self._add_failure("roster", "", malformed[0])
        await self._report(PeopleFound(people))
        if new := set(people) - state.referenced_users:
            self._pending.append(Referenced(tuple(sorted(new))))

    async def _fetch_history(self) -> LegWriter:
        job, state, rescan = self._job, self._chain.state, self._rescan_to()
        writer = LegWriter(self._archive.archive, self._folder, state, self._commit_now, rescan=rescan)
        bounds = Bounds(*(None if one is None else _storable(one) for one in (job.options.since, job.options.until)))
        history = HistoryExport(job, self._room, writer, state, bounds, self._report_page, rescan=rescan)
        try:
            await history.run(newest_read=state.newest_read_by == job.run and state.done_by != job.run)
        except StrideError as error:
            failed = await job.failure(self._id, "history", "", error)
            self._pending.append(msgspec.structs.replace(failed, ts=bounds.until))
        return writer

    async def _report_page(self, messages: int, size_bytes: int) -> None:
        await self._report(PagesFetched(self._id, messages, size_bytes))

    def _rescan_to(self) -> int | None:
        """Return the time, in nanoseconds, down to which messages are read again although they are held."""
        options = self._job.options
        if options.rescan == "all":
            return BEGINNING[0]
        wanted = [] if options.rescan is None else [_storable(datetime.now(UTC) - options.rescan)]
        if options.retry_failed:
            undecodable = self._chain.state.failed_messages()
            wanted += [BEGINNING[0] if failed.ts is None else failed.ts for failed in undecodable]
        return min(wanted, default=None)

    async def _fetch_media(self) -> None:
        if self._job.options.media != "none":
            await for_each(await self._archive.run(self._missing_media), self._fetch_body, MEDIA_AT_ONCE)

    def _missing_media(self) -> list[str]:
        """Return the media that are wanted and not held, or not complete."""
        state, archive = self._chain.state, self._archive.archive
        read = self._job.options.rescan == "all"
        held = (media.id for media in state.media.values() if archive.has_media(media.sha256, media.size, read=read))
        return [id for id in sorted(state.referenced_media.difference(held)) if self._is_wanted(id)]

    def _is_wanted(self, id: str) -> bool:
        state, options = self._chain.state, self._job.options
        failed = state.failed.get(("media", id))
        if failed is not None:
            return options.retry_failed or not failed.final
        if id in state.skipped_media and isinstance(options.media, int):
            size = state.skipped_media[id]
            return size is not None and size <= options.media
        return True

    async def _fetch_body(self, id: str) -> None:
        part = await self._archive.run(self._archive.archive.media_part, self._id, id)
        most = self._job.options.media
        try:
            if isinstance(most, int):
                async with self._room.open_media(id) as body:
                    size = body.size
                if size is None or size > most:
                    self._pending.append(MediaSkipped(id, None if size is None else min(size, LARGEST_COUNT)))
                    return
            got = await self._room.download(id, part)
        except StrideError as error:
            await self._add_failure("media", id, error)
            return
        await self._archive.adopt_media(part, got.sha256)
        await self._commit([MediaStored(id, got.sha256, got.size, got.name, got.content_type)])
        await self._report(MediaFetched(self._id, id, got.size))


def _storable(moment: datetime) -> int:
    """Return a moment in nanoseconds, moved into the range that commits can store."""
    return min(max(to_nanoseconds(moment), BEGINNING[0]), HIGHEST[0] - 1)
