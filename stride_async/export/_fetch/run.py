"""The bounded group of workers that brings a site into an archive."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import msgspec

from stride_async._client import StrideClient
from stride_async._errors import (
    AuthError,
    ClientClosed,
    DeadlineExceeded,
    DecodeError,
    Forbidden,
    NotFound,
    ServerError,
    StrideError,
    TransportError,
    WrongLoop,
)
from stride_async._events import AttemptEnded, Event
from stride_async._files import run_to_completion
from stride_async.export._archive.chain import Chain, Overtaken
from stride_async.export._archive.commits import Failed, Unlisted
from stride_async.export._archive.files import Archive, ArchiveBusy, DamagedArchive, NotAnArchive
from stride_async.export._archive.layout import CONVERSATIONS, PEOPLE, folder_name
from stride_async.export._archive.runs import Runs, begun_runs, failures_of, finished_record
from stride_async.export._archive.state import State, content_digest, whole_digest
from stride_async.export._events import (
    ConversationDone,
    ConversationsFound,
    ConversationStarted,
    ExportEvent,
    Failure,
    MediaFetched,
    RunStarted,
    Summary,
)
from stride_async.export._fetch.call_log import CallLog, recall
from stride_async.export._fetch.conversation import ConversationExport
from stride_async.export._fetch.listing import NothingSelected, Site, listed, meant, name_of
from stride_async.export._fetch.people import PeopleExport
from stride_async.export._fetch.workers import together
from stride_async.export._options import ExportOptions

MOST_OVERTAKEN = 100
"""How often a conversation is begun again because another writer was faster."""
MOST_SILENT = 3
"""So many conversations that are not answered for end a run in which none was."""
CONTINUED_WITHIN = 600.0
"""Seconds; a run that was interrupted no longer ago is gone on with, and what it had finished is taken as fresh."""
_WAITING_EVENTS = 1000
_ENDS_THE_RUN = (AuthError, ClientClosed, WrongLoop)
"""Nothing else would fare better."""
_NO_ANSWER = (TransportError, ServerError, DeadlineExceeded)
"""So it looks when the service as a whole is away."""
_FINAL = (NotFound, Forbidden, DecodeError)
_LEAST_ERROR = 500
"""An answer with this status or a higher one tells nothing of the service being there."""


async def export(
    client: StrideClient, archive: str | os.PathLike[str], options: ExportOptions | None = None
) -> AsyncGenerator[ExportEvent, None]:
    """Bring a site into an archive, or an archive up to date; events as it goes, a `Summary` last.

    Killed at any instant, the same call goes on where it was. Leaving the loop commits what came.

    Raises:
        ArchiveError: the folder is no archive, of another site, in use, or of a later version; nothing was touched.
        NothingSelected: no conversation is meant.
        StrideError: the listing failed, the secret is refused, the service went away, or `fail_fast` and anything
            failed; else failures are events.
        OSError: the archive cannot be written.
    """
    options = options or ExportOptions()
    root = Path(archive)
    left = await run_to_completion(partial(_left, root, client.cloud_id, options))
    site = await listed(client, fail_fast=options.fail_fast)
    picked = meant(site.conversations, options.selection)
    held = await run_to_completion(partial(_held_archive, root, client.cloud_id))
    try:
        id, continued = await held.whole(partial(_run_id, held, options, picked))
        with CallLog(held, id) as calls:
            # The log of this very run, going on, is read by now.
            run = Run(client, held, options, id, calls, left)
            working = asyncio.create_task(run.work(site, picked, continued), name="stride_async export")
            try:
                while (event := await run.events.get()) is not None:
                    yield event
                await working
            finally:
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)
    finally:
        held.release()


def _held_archive(root: Path, cloud_id: str) -> Archive:
    archive = Archive.open_or_create(root, cloud_id)
    archive.hold()
    return archive


def _left(root: Path, cloud_id: str, options: ExportOptions) -> dict[str, str]:
    """By conversation's folder, the last run that should have had it whole and did not; for a retry alone."""
    archive = Archive.find(root, cloud_id)
    if not options.retry_failed:
        return {}
    runs = begun_runs(archive) if archive is not None else []
    if archive is None or not runs:
        raise NotAnArchive(f"{root} holds no export yet, so that there is nothing to try again")
    left = [(each.run, folder) for each in Runs.of(archive).unfinished for folder in each.folders]
    left += [
        (run, folder_name(failure.conversation_id))
        for run in runs
        for failure in failures_of(archive, run)
        if failure.what == "archive"
    ]
    return {folder: run for run, folder in sorted(left)}


def _run_id(archive: Archive, options: ExportOptions, picked: Sequence[Mapping[str, Any]]) -> tuple[str, bool]:
    """A new run, or the one that was interrupted just now and was asked for the same."""
    settings = msgspec.json.encode(_settings_of(archive, options))
    last = next(reversed(begun_runs(archive)), None)
    if last is not None and not archive.holds(f"runs/{last}/finished.json"):
        ages = (archive.seconds_since_written(f"runs/{last}/{name}") for name in ("settings.json", "calls.log"))
        fresh = min((age for age in ages if age is not None), default=CONTINUED_WITHIN) < CONTINUED_WITHIN
        path = f"runs/{last}/settings.json"
        if fresh and archive.holds(path) and archive.read(path) == settings:
            return last, True
    id = f"{datetime.now(UTC).strftime('%Y%m%dT%H%M%S.%f')}-{secrets.token_hex(3)}"
    archive.put(f"runs/{id}/settings.json", settings)
    archive.put(f"runs/{id}/picked.json", msgspec.json.encode({each["id"]: name_of(each) for each in picked}))
    return id, False


class _Settings(msgspec.Struct):
    """What a run was asked for, to see whether it is the same again; no secret is among it."""

    archive: str
    cloud_id: str
    selectors: tuple[str, ...]
    kinds: tuple[str, ...]
    since: str | None
    until: str | None
    media: str | int
    rescan: str | None
    retry_failed: bool


def _settings_of(archive: Archive, options: ExportOptions) -> _Settings:
    return _Settings(
        archive.id,
        archive.cloud_id,
        options.selection.selectors,
        tuple(sorted(options.selection.kinds)),
        options.since.isoformat() if options.since else None,
        options.until.isoformat() if options.until else None,
        options.media,
        str(options.rescan) if options.rescan is not None else None,
        options.retry_failed,
    )


class Run:
    """One run over a site."""

    def __init__(
        self,
        client: StrideClient,
        archive: Archive,
        options: ExportOptions,
        id: str,
        calls: CallLog,
        left: Mapping[str, str],
    ) -> None:
        self.id = id
        self.fresh_from = time.time() - CONTINUED_WITHIN
        self.archive = archive
        self.options = options
        self.at_once = options.concurrency
        self.events: asyncio.Queue[ExportEvent | None] = asyncio.Queue(_WAITING_EVENTS)
        """None behind the last one."""
        self._own_event = client.settings.on_event
        self._calls = calls
        self._left = left
        self.client = client.with_settings(attrs.evolve(client.settings, on_event=self._heard))
        self._began = time.monotonic()
        self._counts: Counter[str] = Counter()
        self._people = PeopleExport(self)
        self._heads: dict[str, tuple[int, str]] = {}
        """The newest commit of each folder with commits."""
        self._digests: dict[str, str] = {}
        """By the name of a conversation's folder."""
        self._overtaken: Counter[str] = Counter()
        self._listed: set[Failure] = set()
        self._answered_at = 0.0
        """When the service last answered a call of this run, seconds since the epoch."""
        self._asking = asyncio.Lock()
        self._silent: set[str] = set()
        """Conversations that could not be had, as long as none was answered for."""
        self._speaks = False
        """Whether any conversation was answered for."""

    def _heard(self, event: Event) -> None:
        self._calls.note(event)
        if isinstance(event, AttemptEnded) and event.status is not None and event.status < _LEAST_ERROR:
            self._answered_at = time.time()
            self._speaks = self._speaks or "/conversation/" in event.path
        if self._own_event is not None:
            self._own_event(event)

    async def tell(self, event: ExportEvent) -> None:
        """Pass an event on; waits while nobody takes them."""
        if isinstance(event, MediaFetched):
            self._counts.update(media=1, media_bytes=event.size_bytes)
        await self.events.put(event)

    def meet(self, user_ids: Iterable[str]) -> None:
        """These people are spoken of."""
        self._people.meet(user_ids)

    async def failed(self, conversation_id: str, what: str, id: str, error: StrideError) -> Failed:
        """What a failure is written down as.

        Raises:
            StrideError: the run is to end here: nothing else would fare better.
        """
        if self.options.fail_fast or isinstance(error, _ENDS_THE_RUN):
            raise error
        if isinstance(error, _NO_ANSWER):
            self._silent.add(conversation_id)
            if len(self._silent) >= MOST_SILENT and not self._speaks:
                raise error
            await self._must_be_there(since=error.attempts[0].started if error.attempts else time.time())
        return Failed(what, id, str(error), isinstance(error, _FINAL))

    async def _must_be_there(self, since: float) -> None:
        """Ask the service for something small, unless it has answered anything since then.

        Raises:
            StrideError: it is away.
        """
        async with self._asking:
            if self._answered_at < since:
                await self.client.conversations().collect(limit=1)

    def was_left(self, conversation_id: str, state: State) -> bool:
        """Whether a run should have had a conversation whole, and did not, and no later one had."""
        return state.leg is not None or self._left.get(folder_name(conversation_id), "") > (state.done or "")

    async def work(self, site: Site, picked: Sequence[dict[str, Any]], continued: bool) -> None:
        """The whole run; its end, good or bad, ends the events."""
        try:
            await self._work(site, picked, continued)
        except asyncio.CancelledError:
            raise  # Nobody listens any more.
        except BaseException:
            await self.events.put(None)
            raise
        await self.events.put(None)

    async def _work(self, site: Site, picked: Sequence[dict[str, Any]], continued: bool) -> None:
        await self.tell(RunStarted(self.id, continued))
        if continued:
            self._listed.update(await self.archive.whole(partial(failures_of, self.archive, self.id)))
        recall(self.archive, self.client, await self.archive.whole(partial(begun_runs, self.archive)))
        await self._tell_missing(site.odd)
        names = {id: name_of(each) for id, each in site.conversations.items()}
        await self._tell_idle(self.options.selection.idle(names))
        await self.tell(ConversationsFound(len(picked)))
        await together([self._bring_conversations(site, picked), self._bring_people()])
        await self.tell(await self.archive.whole(self._finish))

    async def _bring_conversations(self, site: Site, picked: Sequence[dict[str, Any]]) -> None:
        waiting = deque(picked)
        self.at_once = min(self.options.concurrency, len(picked))
        await together(self._worker(waiting) for _ in range(self.at_once))
        self.meet(await self.archive.whole(partial(self._look_at_others, {*map(folder_name, site.conversations)})))
        self._people.close()

    async def _worker(self, waiting: deque[dict[str, Any]]) -> None:
        while waiting:
            each = waiting.popleft()
            await self.tell(ConversationStarted(each["id"], name_of(each)))
            work = ConversationExport(self, each)
            try:
                chain = await work.work()
            except (Overtaken, DamagedArchive) as error:
                if isinstance(error, DamagedArchive) and not work.chain_moved():
                    await self._tell_damage(each["id"], error)
                    continue
                # Where a file is missing, whoever was faster has removed what its commits need no more.
                self._count_overtaken(work.folder, error)
                waiting.append(each)
            else:
                await self._done(each, work, chain)

    async def _bring_people(self) -> None:
        while True:
            try:
                people = await self._people.work()
            except Overtaken as error:
                self._count_overtaken(PEOPLE, error)
            except DamagedArchive as error:
                await self._tell_damage("", error)
                return
            else:
                self._heads[PEOPLE] = people.head
                await self._tell_failures("", people.state)
                return

    def _count_overtaken(self, what: str, error: Exception) -> None:
        """Another export was faster; it may be so for a while.

        Raises:
            ArchiveBusy: it was so too often.
        """
        self._overtaken[what] += 1
        if self._overtaken[what] > MOST_OVERTAKEN:
            raise ArchiveBusy(f"another export works on {self.archive.root} now") from error

    async def _done(self, each: Mapping[str, Any], work: ConversationExport, chain: Chain) -> None:
        state = chain.state
        if not chain.head[0]:
            return  # Nothing was asked of it, and nothing is held.
        self.meet(state.users)
        self._heads[work.folder] = chain.head
        self._digests[folder_name(each["id"])] = content_digest(state)
        done = ConversationDone(
            each["id"], name_of(each), state.messages, work.new, work.changed, work.gone, len(state.failed)
        )
        self._counts.update(conversations=1, messages=done.messages, new=done.new, changed=done.changed, gone=done.gone)
        await self._tell_failures(each["id"], state)
        await self.tell(done)

    async def _tell_failures(self, conversation_id: str, state: State) -> None:
        """Tell and list what is missing of a conversation, or of the people."""
        await self._tell_missing([_failure(conversation_id, one) for one in state.failed.values()])

    async def _tell_missing(self, failures: Sequence[Failure]) -> None:
        """Tell all, and list those that are not listed yet: a run that was interrupted may have listed them."""
        if new := [failure for failure in failures if failure not in self._listed]:
            await self.archive.whole(partial(self._list, new))
            self._listed.update(new)
        self._counts.update(failures=len(failures))
        for failure in failures:
            await self.tell(failure)

    async def _tell_idle(self, selectors: list[str]) -> None:
        """A selector that means nothing may well have been meant to; leaving out nothing is no failure."""
        why, hint = "it means no conversation", "correct it, or leave it out"
        failures = [Failure("", "selector", each, why, hint) for each in selectors if not each.startswith("^")]
        if failures and self.options.fail_fast:
            raise NothingSelected(f"no conversation is meant by {failures[0].id!r}", [])
        await self._tell_missing(failures)

    async def _tell_damage(self, conversation_id: str, error: DamagedArchive) -> None:
        if self.options.fail_fast:
            raise error
        hint = "see what `stride verify` says of it; --rescan all fetches again what can be fetched"
        await self._tell_missing([Failure(conversation_id, "archive", "", str(error), hint)])

    def _list(self, failures: Iterable[Failure]) -> None:
        with self.archive.log(f"runs/{self.id}/failures.jsonl") as log:
            log.write(b"".join(msgspec.json.encode(attrs.asdict(failure)) + b"\n" for failure in failures))

    def _look_at_others(self, found: set[str]) -> set[str]:
        """Conversations that are held and were not worked on; the people of those the service did not tell of."""
        met: set[str] = set()
        for name in self.archive.folders(CONVERSATIONS):
            folder = f"{CONVERSATIONS}/{name}"
            if folder in self._heads:
                continue
            chain = Chain(self.archive, folder)
            if name not in found:
                self._counts.update(no_longer_listed=1)
                met |= chain.state.users
                if chain.state.listed and not chain.broken and chain.head[0]:
                    with suppress(Overtaken):  # Whoever was faster knows better.
                        chain.commit(self.id, [Unlisted()])
            elif chain.state.listed and chain.head[0]:
                self._digests[name] = content_digest(chain.state)
            self._heads[folder] = chain.head
        return met

    def _finish(self) -> Summary:
        names = ("conversations", "messages", "new", "changed", "gone", "media", "media_bytes")
        more = ("failures", "no_longer_listed")
        summary = Summary(
            run=self.id,
            **{name: self._counts[name] for name in (*names, *more)},
            users=len(self._people.met),
            seconds=time.monotonic() - self._began,
            content_digest=whole_digest(self._digests.items()),
        )
        self.archive.settle()  # What is told to be there outlives a loss of power.
        # Before it counts as finished: by these a verification sees that a newest commit was taken away.
        self.archive.put(f"runs/{self.id}/heads.json", msgspec.json.encode(self._heads))
        record = finished_record(self.archive, self.id, attrs.asdict(summary))
        self.archive.put(f"runs/{self.id}/finished.json", record)
        return summary


def _failure(conversation_id: str, failed: Failed) -> Failure:
    hint = "run again with --retry-failed" if failed.final else "run again"
    return Failure(conversation_id, failed.what, failed.id, failed.error, hint)
