"""The bounded group of workers that brings a site into an archive."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import msgspec

from stride_async._client import StrideClient
from stride_async._events import Event
from stride_async._net.files import whole
from stride_async.export._archive import Archive, ArchiveBusy, DamagedArchive, folder_of
from stride_async.export._calls import CallLog, recall
from stride_async.export._chain import Chain, Overtaken
from stride_async.export._conversation import CONVERSATIONS, ConversationExport, together
from stride_async.export._events import (
    ConversationDone,
    ConversationsFound,
    ConversationStarted,
    ExportEvent,
    ExportOptions,
    Failure,
    MediaFetched,
    RunStarted,
    Summary,
)
from stride_async.export._people import PEOPLE, fetch_people
from stride_async.export._plan import Failed, State, Unlisted, content_digest, whole_digest
from stride_async.export._select import Selection

MOST_OVERTAKEN = 100
"""How often a conversation is begun again because another writer was faster."""
CONTINUED_WITHIN = 600.0
"""Seconds; a run that was interrupted no longer ago is gone on with, and what it had finished is taken as fresh."""
_WAITING_EVENTS = 1000


class NothingSelected(Exception):
    """No conversation is meant by the selectors; `nearest` are names that look like them."""

    def __init__(self, message: str, nearest: list[str]) -> None:
        super().__init__(message)
        self.nearest = nearest


async def export(
    client: StrideClient, archive: str | os.PathLike[str], options: ExportOptions | None = None
) -> AsyncIterator[ExportEvent]:
    """Bring a site into an archive, or an archive up to date; events as it goes, a `Summary` last.

    Killed at any instant, the same call goes on where it was. Leaving the loop commits what came.

    Raises:
        ArchiveError: the folder is no archive, of another site, in use, or of a later version; nothing was touched.
        NothingSelected: no conversation is meant.
        StrideError: the listing failed, the secret is refused, or `fail_fast` and anything did; else failures are
            events.
        OSError: the archive cannot be written.
    """
    options = options or ExportOptions()
    held = await whole(partial(_held_archive, Path(archive), client.cloud_id))
    try:
        id, continued = await held.whole(partial(_run_id, held, options))
        with CallLog(held, id) as calls:
            # The log of this very run, going on, is read by now.
            run = Run(client, held, options, id, calls)
            working = asyncio.create_task(run.work(continued), name="stride_async export")
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


def _run_id(archive: Archive, options: ExportOptions) -> tuple[str, bool]:
    """A new run, or the one that was interrupted just now and was asked for the same."""
    settings = msgspec.json.encode(_settings_of(options))
    last = next(reversed(_runs(archive)), None)
    if last is not None and not archive.holds(f"runs/{last}/finished.json"):
        ages = (archive.seconds_since_written(f"runs/{last}/{name}") for name in ("settings.json", "calls.log"))
        fresh = min((age for age in ages if age is not None), default=CONTINUED_WITHIN) < CONTINUED_WITHIN
        if fresh and archive.read(f"runs/{last}/settings.json") == settings:
            return last, True
    id = f"{datetime.now(UTC).strftime('%Y%m%dT%H%M%S.%f')}-{secrets.token_hex(3)}"
    archive.put(f"runs/{id}/settings.json", settings)
    return id, False


def _runs(archive: Archive) -> list[str]:
    return [name for name in archive.names("runs") if archive.holds(f"runs/{name}/settings.json")]


async def chosen(client: StrideClient, selection: Selection) -> list[dict[str, Any]]:
    """The conversations that are meant, each as the service listed it.

    Raises:
        NothingSelected: there are none.
    """
    return meant(await listed(client), selection)


async def listed(client: StrideClient) -> dict[str, dict[str, Any]]:
    """Every conversation the service tells of, by id."""
    found: dict[str, dict[str, Any]] = {}
    async for page in client.conversations(include_archived=True).pages():
        for each in msgspec.json.decode(page.raw).get("values") or []:
            if isinstance(each, dict) and isinstance(each.get("id"), str):
                found.setdefault(each["id"], each)
    return found


def meant(found: Mapping[str, dict[str, Any]], selection: Selection) -> list[dict[str, Any]]:
    """Those of them that are selected.

    Raises:
        NothingSelected: there are none.
    """
    picked = [each for each in found.values() if selection.picks(each["id"], name_of(each), _kinds_of(each))]
    if not picked:
        near = selection.nearest({id: name_of(each) for id, each in found.items()})
        asked = " ".join(map(repr, selection.selectors)) or " or ".join(sorted(selection.kinds)) or "an empty site"
        raise NothingSelected(f"none of {len(found)} conversations is meant by {asked}", near)
    return picked


def name_of(listed: Mapping[str, Any]) -> str:
    """What people call a conversation."""
    return str(listed.get("name") or "")


def _kinds_of(listed: Mapping[str, Any]) -> set[str]:
    kind = str(listed.get("type"))
    return {kind} if kind == "direct" else {kind, str(listed.get("privacy"))}


class _Settings(msgspec.Struct):
    """What a run was asked for, to see whether it is the same again; no secret is among it."""

    selectors: tuple[str, ...]
    kinds: tuple[str, ...]
    since: str | None
    until: str | None
    media: str | int
    rescan: str | None
    retry_failed: bool


def _settings_of(options: ExportOptions) -> _Settings:
    return _Settings(
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

    def __init__(self, client: StrideClient, archive: Archive, options: ExportOptions, id: str, calls: CallLog) -> None:
        self.id = id
        self.archive = archive
        self.options = options
        self.at_once = options.concurrency
        self.events: asyncio.Queue[ExportEvent | None] = asyncio.Queue(_WAITING_EVENTS)
        """None behind the last one."""
        self._own_event = client.settings.on_event
        self._calls = calls
        self.client = client.with_settings(attrs.evolve(client.settings, on_event=self._heard))
        self._began = time.monotonic()
        self._counts: Counter[str] = Counter()
        self._met: set[str] = set()
        self._heads: dict[str, tuple[int, str]] = {}
        """The newest commit of each folder with commits."""
        self._digests: dict[str, str] = {}
        """By the name of a conversation's folder."""
        self._overtaken: Counter[str] = Counter()

    def _heard(self, event: Event) -> None:
        self._calls.note(event)
        if self._own_event is not None:
            self._own_event(event)

    async def tell(self, event: ExportEvent) -> None:
        """Pass an event on; waits while nobody takes them."""
        if isinstance(event, MediaFetched):
            self._counts.update(media=1, media_bytes=event.size_bytes)
        await self.events.put(event)

    async def work(self, continued: bool) -> None:
        """The whole run; its end, good or bad, ends the events."""
        try:
            await self._run(continued)
        except asyncio.CancelledError:
            raise  # Nobody listens any more.
        except BaseException:
            await self.events.put(None)
            raise
        await self.events.put(None)

    async def _run(self, continued: bool) -> None:
        await self.tell(RunStarted(self.id, continued))
        recall(self.archive, self.client, await self.archive.whole(partial(_runs, self.archive)))
        found = await listed(self.client)
        picked = meant(found, self.options.selection)
        await self._tell_idle(self.options.selection.idle({id: name_of(each) for id, each in found.items()}))
        await self.tell(ConversationsFound(len(picked)))
        waiting = deque(picked)
        self.at_once = min(self.options.concurrency, len(picked))
        await together(self._worker(waiting) for _ in range(self.at_once))
        people = await self._people()
        self._heads[PEOPLE] = people.head
        await self._tell_failures("", people.state, told_before=False)
        await self.archive.whole(partial(self._note_unlisted, {folder_of(id) for id in found}))
        await self.tell(await self.archive.whole(self._finish))

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

    async def _people(self) -> Chain:
        while True:
            try:
                return await fetch_people(self, self._met)
            except Overtaken as error:
                self._count_overtaken(PEOPLE, error)

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
        self._met |= state.users
        self._heads[work.folder] = chain.head
        self._digests[folder_of(each["id"])] = content_digest(state)
        done = ConversationDone(
            each["id"], name_of(each), state.rows, work.new, work.changed, work.gone, len(state.failed)
        )
        self._counts.update(conversations=1, messages=done.messages, new=done.new, changed=done.changed, gone=done.gone)
        await self._tell_failures(each["id"], state, told_before=not work.worked)
        await self.tell(done)

    async def _tell_failures(self, conversation_id: str, state: State, *, told_before: bool) -> None:
        """Tell and list what is missing of a conversation, or of the people."""
        failures = [_failure(conversation_id, one) for one in state.failed.values()]
        if failures and not told_before:
            await self.archive.whole(partial(self._list, failures))
        self._counts.update(failures=len(failures))
        for failure in failures:
            await self.tell(failure)

    async def _tell_idle(self, selectors: list[str]) -> None:
        """A selector that means nothing may well have been meant to; leaving out nothing is no failure."""
        why, hint = "it means no conversation", "correct it, or leave it out"
        failures = [Failure("", "selector", each, why, hint) for each in selectors if not each.startswith("^")]
        if failures and self.options.fail_fast:
            raise NothingSelected(f"no conversation is meant by {failures[0].id!r}", [])
        if failures:
            await self.archive.whole(partial(self._list, failures))
        self._counts.update(failures=len(failures))
        for failure in failures:
            await self.tell(failure)

    async def _tell_damage(self, conversation_id: str, error: DamagedArchive) -> None:
        if self.options.fail_fast:
            raise error
        failure = Failure(conversation_id, "archive", "", str(error), "see what `stride verify` says of it")
        await self.archive.whole(partial(self._list, [failure]))
        self._counts.update(failures=1)
        await self.tell(failure)

    def _list(self, failures: Iterable[Failure]) -> None:
        with self.archive.log(f"runs/{self.id}/failures.jsonl") as log:
            log.write(b"".join(msgspec.json.encode(attrs.asdict(failure)) + b"\n" for failure in failures))

    def _note_unlisted(self, found: set[str]) -> None:
        """Conversations that are held and were not among those the service told of."""
        for name in self.archive.names(CONVERSATIONS):
            if name not in found:
                chain = Chain(self.archive, f"{CONVERSATIONS}/{name}")
                if chain.state.listed and not chain.broken:
                    with suppress(Overtaken):  # Whoever was faster knows better.
                        chain.commit(self.id, [Unlisted()])
                self._heads[f"{CONVERSATIONS}/{name}"] = chain.head
                self._counts.update(no_longer_listed=1)

    def _finish(self) -> Summary:
        names = ("conversations", "messages", "new", "changed", "gone", "media", "media_bytes")
        more = ("failures", "no_longer_listed")
        summary = Summary(
            run=self.id,
            **{name: self._counts[name] for name in (*names, *more)},
            users=len(self._met),
            seconds=time.monotonic() - self._began,
            content_digest=self._digest(),
        )
        self.archive.settle()  # What is told to be there outlives a loss of power.
        # Before it counts as finished: by these a verification sees that a newest commit was taken away.
        self.archive.put(f"runs/{self.id}/heads.json", msgspec.json.encode(self._heads))
        self.archive.put(f"runs/{self.id}/finished.json", msgspec.json.encode(attrs.asdict(summary)))
        return summary

    def _digest(self) -> str:
        digests = dict(self._digests)
        for name in self.archive.names(CONVERSATIONS):
            if name not in digests:
                state = Chain(self.archive, f"{CONVERSATIONS}/{name}").state
                if state.listed:
                    digests[name] = content_digest(state)
        return whole_digest(digests.items())


def _failure(conversation_id: str, failed: Failed) -> Failure:
    hint = "run again with --retry-failed" if failed.final else "run again"
    return Failure(conversation_id, failed.what, failed.id, failed.error, hint)
