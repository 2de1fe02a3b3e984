"""The bounded group of workers that brings a site into an archive."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import attrs
import msgspec

from stride_async._client import StrideClient
from stride_async._errors import Forbidden, NotFound, StrideError
from stride_async._events import AttemptStarted, Event
from stride_async._models import EPOCH
from stride_async._wire.request import segment
from stride_async.export._archive import Archive, folder_of
from stride_async.export._chain import Chain, Overtaken
from stride_async.export._events import (
    ConversationDone,
    ConversationsFound,
    ExportEvent,
    ExportOptions,
    Failure,
    MediaFetched,
    PagesFetched,
    RunStarted,
    Summary,
)
from stride_async.export._history import HistoryExport, whole
from stride_async.export._plan import (
    BEGINNING,
    Details,
    Done,
    Failed,
    Held,
    MediaHeld,
    Met,
    Op,
    Roster,
    Sealed,
    Window,
    content_digest,
    next_leg,
    whole_digest,
)
from stride_async.export._select import Selection

MOST_OVERTAKEN = 5
"""How often a conversation is begun again because another writer was faster."""
MEDIA_AT_ONCE = 4
"""Media bodies fetched at once for one conversation."""
_WAITING_EVENTS = 1000
_RATE_SECONDS = 60.0


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
        StrideError: the listing itself failed, or `fail_fast` and anything did; else failures are events.
        OSError: the archive cannot be written.
    """
    run = Run(client, Archive.open_or_create(archive, client.cloud_id), options or ExportOptions())
    run.archive.hold()
    try:
        working = asyncio.create_task(run.work(), name="stride_async export")
        try:
            while (event := await run.events.get()) is not None:
                yield event
            await working
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
    finally:
        run.archive.release()


async def chosen(client: StrideClient, selection: Selection) -> list[dict[str, Any]]:
    """The conversations that are meant, each as the service listed it.

    Raises:
        NothingSelected: there are none.
    """
    found: dict[str, dict[str, Any]] = {}
    async for page in client.conversations(include_archived=True).pages():
        for listed in msgspec.json.decode(page.raw).get("values") or []:
            if isinstance(listed, dict) and isinstance(listed.get("id"), str):
                found.setdefault(listed["id"], listed)
    meant = [listed for listed in found.values() if selection.picks(listed["id"], name_of(listed), _kinds_of(listed))]
    if not meant:
        near = selection.nearest({id: name_of(listed) for id, listed in found.items()})
        asked = " ".join(map(repr, selection.selectors)) or " or ".join(sorted(selection.kinds)) or "an empty site"
        raise NothingSelected(f"none of {len(found)} conversations is meant by {asked}", near)
    return meant


def name_of(listed: dict[str, Any]) -> str:
    """What people call a conversation."""
    return str(listed.get("name") or "")


def _kinds_of(listed: dict[str, Any]) -> set[str]:
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
    """One run over a site; an interrupted one with the same settings is gone on with."""

    def __init__(self, client: StrideClient, archive: Archive, options: ExportOptions) -> None:
        self.archive = archive
        self.events: asyncio.Queue[ExportEvent | None] = asyncio.Queue(_WAITING_EVENTS)
        self._options = options
        self._began = time.monotonic()
        self._totals = {"conversations": 0, "messages": 0, "new": 0, "changed": 0, "gone": 0}
        self._media, self._media_bytes, self._failures = 0, 0, 0
        self._users: set[str] = set()
        self._heads: dict[str, tuple[int, str]] = {}
        """The newest commit of each folder with commits."""
        self._own_event = client.settings.on_event
        self._client = client.with_settings(attrs.evolve(client.settings, on_event=self._heard))
        self.id, self._continued = self._identify()
        self._folder = f"runs/{self.id}"

    def _identify(self) -> tuple[str, bool]:
        settings = msgspec.json.encode(_settings_of(self._options))
        names = [name for name in self.archive.names("runs") if name != "lease"]
        if names and not self.archive.holds(f"runs/{names[-1]}/finished.json"):
            path = f"runs/{names[-1]}/settings.json"
            if self.archive.holds(path) and self.archive.read(path) == settings:
                self._recall_calls(names[-1])
                return names[-1], True
        if names:
            self._recall_calls(names[-1])
        id = f"{datetime.now(UTC).strftime('%Y%m%dT%H%M%S.%f')}-{secrets.token_hex(3)}"
        self.archive.put(f"runs/{id}/settings.json", settings)
        return id, False

    def _recall_calls(self, run: str) -> None:
        """The limit is kept across a restart: calls of the last minute count, whoever made them."""
        path = f"runs/{run}/calls.log"
        if not self.archive.holds(path):
            return
        now = time.time()
        for line in self.archive.read(path).splitlines()[-50_000:]:
            at, _, key = line.partition(b" ")
            ago = now - float(at) if at.replace(b".", b"", 1).isdigit() else _RATE_SECONDS
            if ago < _RATE_SECONDS:
                self._client.recall_call(key.decode("utf-8", "replace"), max(0.0, ago))

    def _heard(self, event: Event) -> None:
        if isinstance(event, AttemptStarted):
            key = _conversation_in(event.path)
            if key is not None:
                self.archive.append(f"{self._folder}/calls.log", f"{time.time():.3f} {key}\n".encode())
        if self._own_event is not None:
            self._own_event(event)

    async def work(self) -> None:
        """The whole run; its end, good or bad, ends the events."""
        try:
            await self._run()
        finally:
            while self.events.full():
                self.events.get_nowait()
            self.events.put_nowait(None)

    async def _run(self) -> None:
        await self.events.put(RunStarted(self.id, self._continued))
        meant = await chosen(self._client, self._options.selection)
        await self.events.put(ConversationsFound(len(meant)))
        waiting = iter(meant)
        await _together(self._worker(waiting) for _ in range(min(self._options.concurrency, len(meant))))
        await self._fetch_users()
        digest = await whole(self._digest)
        summary = Summary(
            self.id,
            **self._totals,
            media=self._media,
            media_bytes=self._media_bytes,
            users=len(self._users),
            failures=self._failures,
            seconds=time.monotonic() - self._began,
            content_digest=digest,
        )
        # Before it counts as finished: by these a verification sees that a newest commit was taken away.
        await whole(partial(self.archive.put, f"{self._folder}/heads.json", msgspec.json.encode(self._heads)))
        await whole(
            partial(self.archive.put, f"{self._folder}/finished.json", msgspec.json.encode(attrs.asdict(summary)))
        )
        await self.events.put(summary)

    async def _worker(self, waiting: Iterable[dict[str, Any]]) -> None:
        for listed in waiting:
            for left in range(MOST_OVERTAKEN, -1, -1):
                try:
                    await _Conversation(self, listed).work()
                    break
                except Overtaken:
                    if not left:
                        raise

    async def _fetch_users(self) -> None:
        """Profiles of people not held yet; one that cannot be had is listed."""
        chain = await whole(partial(Chain, self.archive, "data/users"))
        self._heads["data/users"] = chain.head
        known = set(chain.state.users)
        missing = sorted(self._users - known - {"all", "here"})
        if not missing:
            return
        profiles: dict[str, bytes] = {}
        failed: list[Op] = []

        async def one(id: str) -> None:
            path = f"/scim/site/{segment(self.archive.cloud_id, 'cloud id')}/Users/{segment(id, 'user id')}"
            try:
                profiles[id] = msgspec.json.encode(await self._client.request("GET", path))
            except StrideError as error:
                failed.append(await self.failed("users", "user", id, error))

        await _each(missing, one, self._options.concurrency)
        lines = [profiles[id] for id in sorted(profiles)]
        stored = await whole(
            partial(self.archive.put_lines, "data/users/sealed", f"r{len(chain.state.months) + 1}", lines)
        )
        op = _sealed_users(stored.path, stored.sha256, stored.rows, len(chain.state.months) + 1)
        met = Met(tuple(sorted(profiles)))
        await whole(partial(chain.commit, self.id, [*([op] if lines else []), met, *failed]))
        self._heads["data/users"] = chain.head

    async def failed(self, conversation_id: str, what: str, id: str, error: Exception) -> Failed:
        """List a failure; with `fail_fast`, raise it."""
        if self._options.fail_fast:
            raise error
        final = isinstance(error, NotFound | Forbidden)
        hint = "run again with --retry-failed" if final else "run again"
        failure = Failure(conversation_id, what, id, str(error), hint)
        self._failures += 1
        line = msgspec.json.encode(attrs.asdict(failure)) + b"\n"
        await whole(partial(self.archive.append, f"{self._folder}/failures.jsonl", line))
        await self.events.put(failure)
        return Failed(what, id, str(error), final)

    def _digest(self) -> str:
        chains = (
            (name, Chain(self.archive, f"data/conversations/{name}"))
            for name in self.archive.names("data/conversations")
        )
        return whole_digest((name, content_digest(chain.state)) for name, chain in chains)

    def add(self, done: ConversationDone, folder: str, chain: Chain) -> None:
        """Count a conversation in."""
        self._users.update(chain.state.users)
        self._heads[folder] = chain.head
        self._totals["conversations"] += 1
        for name in ("messages", "new", "changed", "gone"):
            self._totals[name] += getattr(done, name)

    def add_media(self, size: int) -> None:
        """Count a media body in."""
        self._media += 1
        self._media_bytes += size

    @property
    def options(self) -> ExportOptions:
        """What is wanted."""
        return self._options

    @property
    def client(self) -> StrideClient:
        """What the calls go through."""
        return self._client


class _Conversation:
    """One conversation of a run: details, roster, history, media, in this order."""

    def __init__(self, run: Run, listed: dict[str, Any]) -> None:
        self._run = run
        self._listed = listed
        self._id: str = listed["id"]
        self._folder = f"data/conversations/{folder_of(self._id)}"
        self._room = run.client.conversation(self._id)
        self._failures = 0
        self._one_commit = asyncio.Lock()
        """Media come side by side, commits one after the other."""

    async def work(self) -> None:
        """All of it; what cannot be had is listed and the rest goes on."""
        run = self._run
        self._chain = await whole(partial(Chain, run.archive, self._folder))
        self._chain.must_be_sound()
        state = self._chain.state
        new = changed = gone = 0
        if state.done != run.id and self._wanted():
            if state.details != self._listed:
                await self._commit([Details(self._listed)])
            await self._take_roster()
            new, changed, gone = await self._take_history()
            await self._take_media()
            await self._commit([Done(run.id)])
        done = ConversationDone(self._id, name_of(self._listed), state.rows, new, changed, gone, self._failures)
        run.add(done, self._folder, self._chain)
        await run.events.put(done)

    def _wanted(self) -> bool:
        return not self._run.options.retry_failed or bool(self._chain.state.failed)

    async def _commit(self, ops: list[Op]) -> None:
        async with self._one_commit:
            await whole(partial(self._commit_now, ops))

    def _commit_now(self, ops: list[Op]) -> None:
        self._chain.commit(self._run.id, ops)

    async def _failed(self, what: str, id: str, error: Exception) -> None:
        self._failures += 1
        await self._commit([await self._run.failed(self._id, what, id, error)])

    async def _take_roster(self) -> None:
        state = self._chain.state
        if self._run.options.retry_failed and ("roster", "") not in state.failed:
            return
        taken_at = time.time()
        try:
            people = await self._room.roster().collect(limit=None)
        except StrideError as error:
            await self._failed("roster", "", error)
            return
        line = msgspec.json.encode(people)
        stored = await whole(partial(self._run.archive.put_lines, f"{self._folder}/roster", "r", [line]))
        await self._commit(
            [Roster(Held(stored.path, stored.sha256, stored.rows), taken_at), Met(tuple(set(people) - state.users))]
        )

    async def _take_history(self) -> tuple[int, int, int]:
        run, state, options = self._run, self._chain.state, self._run.options
        if options.retry_failed and ("history", "") not in state.failed:
            return 0, 0, 0
        history = HistoryExport(run.archive, self._folder, state, self._room, self._commit_now, self._rescan_to())
        window = Window(_nanoseconds(options.since), _nanoseconds(options.until))
        looked = False
        try:
            while True:
                if state.leg is None:
                    leg = next_leg(state, window, looked=looked)
                    if leg is None:
                        break
                    upper = leg.upper
                else:
                    upper = state.leg.upper
                looked = True
                async for messages, size in history.walk(upper, options.since):
                    await run.events.put(PagesFetched(self._id, messages, size))
        except StrideError as error:
            await self._failed("history", "", error)
        return history.new, history.changed, history.gone

    def _rescan_to(self) -> int | None:
        rescan = self._run.options.rescan
        if rescan is None:
            return None
        if isinstance(rescan, timedelta):
            return _nanoseconds(datetime.now(UTC) - rescan)
        return -(2**63)

    async def _take_media(self) -> None:
        state, options = self._chain.state, self._run.options
        if options.media == "none":
            return
        missing = [
            id
            for id in sorted(state.media_met - state.media.keys())
            if options.retry_failed or not ((failed := state.failed.get(("media", id))) and failed.final)
        ]
        await _each(missing, self._take_body, MEDIA_AT_ONCE)

    async def _take_body(self, id: str) -> None:
        run, most = self._run, self._run.options.media
        part = run.archive.part_of_media(self._id, id)
        try:
            if isinstance(most, int):
                async with self._room.open_media(id) as body:
                    if body.size is None or body.size > most:
                        return
            got = await self._room.download(id, part)
        except StrideError as error:
            await self._failed("media", id, error)
            return
        await whole(partial(run.archive.adopt_media, part, got.sha256))
        await self._commit([MediaHeld(id, got.sha256, got.size, got.name, got.content_type)])
        run.add_media(got.size)
        await run.events.put(MediaFetched(self._id, id, got.size))


async def _each(items: Iterable[str], work: Callable[[str], Awaitable[None]], at_once: int) -> None:
    """Work on each item, so many at once."""
    waiting = iter(list(items))

    async def worker() -> None:
        for item in waiting:
            await work(item)

    await _together(worker() for _ in range(at_once))


async def _together(workers: Iterable[Coroutine[Any, Any, None]]) -> None:
    """All workers at once; the first error is raised as it is, when the others have been ended."""
    tasks = [asyncio.create_task(worker, name="stride_async export worker") for worker in workers]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _sealed_users(path: str, sha256: str, rows: int, rev: int) -> Op:
    """People's profiles use the same scheme as months, one revision a run that met somebody new."""
    return Sealed(f"r{rev:06d}", rev, Held(path, sha256, rows), 0, BEGINNING, BEGINNING)


def _conversation_in(path: str) -> str | None:
    """The limit's key in a path of the service: a conversation id, or `user/ID`."""
    parts = path.split("/")
    if len(parts) > 4 and parts[1] == "site" and parts[3] == "conversation":
        return f"user/{parts[5]}" if parts[4] == "user" and len(parts) > 5 else parts[4]
    return None


def _nanoseconds(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - EPOCH) // timedelta(microseconds=1) * 1000
