"""One conversation of a run: details, roster, history, media, in this order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

import msgspec

from stride_async._client import StrideClient
from stride_async._errors import StrideError
from stride_async._moments import to_nanoseconds
from stride_async.export._archive.chain import Chain
from stride_async.export._archive.commits import (
    BEGINNING,
    HIGHEST,
    Details,
    Done,
    Failed,
    Held,
    MediaHeld,
    MediaPassed,
    Met,
    Op,
    Roster,
)
from stride_async.export._archive.files import Archive
from stride_async.export._archive.layout import CONVERSATIONS, folder_name
from stride_async.export._archive.state import State
from stride_async.export._events import ExportEvent, MediaFetched, PagesFetched
from stride_async.export._fetch.history import HistoryExport
from stride_async.export._fetch.plan import Window, next_leg
from stride_async.export._fetch.workers import each
from stride_async.export._options import ExportOptions

MEDIA_AT_ONCE = 4
"""Media bodies fetched at once for one conversation."""


class Surroundings(Protocol):
    """What a conversation needs of its run."""

    id: str
    archive: Archive
    client: StrideClient
    options: ExportOptions
    at_once: int
    """Conversations that are worked on side by side."""
    fresh_from: float
    """What this run finished since then is not looked at again; seconds since the epoch."""

    def was_left(self, conversation_id: str, state: State) -> bool:
        """Whether a run should have had a conversation whole, and did not, and no later one had."""

    async def tell(self, event: ExportEvent) -> None:
        """Pass an event on; waits while nobody takes them."""

    def meet(self, user_ids: Iterable[str]) -> None:
        """These people are spoken of."""

    async def failed(self, conversation_id: str, what: str, id: str, error: StrideError) -> Failed:
        """What a failure is written down as.

        Raises:
            StrideError: the run is to end here.
        """


class ConversationExport:
    """Brings one conversation up to date; what cannot be had is noted in its commits and the rest goes on."""

    def __init__(self, run: Surroundings, listed: dict[str, Any]) -> None:
        self.new = self.changed = self.gone = 0
        self._run = run
        self._listed = listed
        self._id: str = listed["id"]
        self.folder = f"{CONVERSATIONS}/{folder_name(self._id)}"
        self._room = run.client.conversation(self._id)
        self._only_failed = False
        self._pending: list[Op] = []
        """Goes into the next commit."""
        self._one_commit = asyncio.Lock()
        """Media come side by side, commits one after the other."""

    async def work(self) -> Chain:
        """All that the run asks for; gives what is committed then.

        Raises:
            Overtaken: somebody else works on it, too.
            DamagedArchive: what is committed cannot be built on.
        """
        run = self._run
        chain = self._chain = await self._run.archive.whole(partial(Chain, run.archive, self.folder))
        chain.must_be_sound()
        state = chain.state
        if run.options.retry_failed and not run.was_left(self._id, state):
            self._only_failed = True
        if not (self._is_fresh(state) or (self._only_failed and not state.failed)):
            if state.details != self._listed or not state.listed:
                self._pending.append(Details(self._listed))
            await self._take_roster()
            await self._take_history()
            await self._take_media()
            lost = await run.archive.whole(chain.lost_files) if run.options.rescan == "all" else []
            await self._commit([*lost, Done(run.id)])
        return chain

    def _is_fresh(self, state: State) -> bool:
        """Whether this very run, which was interrupted and goes on, is through with it, and nothing failed for now."""
        run = self._run
        through = state.done == run.id and state.updated_at >= run.fresh_from
        return through and all(failed.final for failed in state.failed.values())

    def chain_moved(self) -> bool:
        """Whether somebody else has committed since."""
        return self._chain.is_overtaken()

    async def _commit(self, ops: Sequence[Op]) -> None:
        async with self._one_commit:
            await self._run.archive.whole(partial(self._commit_now, ops))

    def _commit_now(self, ops: Sequence[Op]) -> None:
        pending = self._pending.copy()  # Media that come side by side add to it meanwhile.
        self._chain.commit(self._run.id, [*pending, *ops])
        del self._pending[: len(pending)]

    async def _failed(self, what: str, id: str, error: StrideError) -> None:
        self._pending.append(await self._run.failed(self._id, what, id, error))

    async def _take_roster(self) -> None:
        run, state = self._run, self._chain.state
        if self._only_failed and ("roster", "") not in state.failed:
            return
        taken_at = time.time()
        try:
            people = await self._room.roster().collect(limit=None)
        except StrideError as error:
            await self._failed("roster", "", error)
            return
        line = msgspec.json.encode(people)
        stored = await self._run.archive.whole(
            partial(self._run.archive.stage_lines, f"{self.folder}/roster", "r", [line])
        )
        self._pending.append(Roster(Held(stored.path, stored.sha256, stored.rows, stored.packed), taken_at))
        run.meet(people)
        if new := set(people) - state.users:
            self._pending.append(Met(tuple(sorted(new))))

    async def _take_history(self) -> None:
        run, state, options = self._run, self._chain.state, self._run.options
        if self._only_failed and ("history", "") not in state.failed and not state.failed_messages():
            return
        history = HistoryExport(
            run.archive,
            self.folder,
            state,
            self._room,
            self._commit_now,
            rescan=self._rescan_to(),
            fail_fast=options.fail_fast,
            at_once=run.at_once,
        )
        await self._run.archive.whole(history.tidy)
        window = Window(_nanoseconds(options.since), _nanoseconds(options.until))
        looked = state.looked == run.id and state.done != run.id
        try:
            while True:
                leg = next_leg(state, window, looked=looked)
                # A leg that an earlier run left open is walked to its end first; then the newest are looked at.
                if state.leg is None and leg is None:
                    break
                looked = looked or state.leg is None
                await history.walk(leg.upper if leg is not None else None, window, self._tell_page)
        except StrideError as error:
            failed = await run.failed(self._id, "history", "", error)
            self._pending.append(msgspec.structs.replace(failed, ts=window.until))
        finally:
            self.new, self.changed, self.gone = history.new, history.changed, history.gone

    async def _tell_page(self, messages: int, size: int) -> None:
        await self._run.tell(PagesFetched(self._id, messages, size))

    def _rescan_to(self) -> int | None:
        """The moment down to which nothing that is held is trusted."""
        rescan, odd = self._run.options.rescan, self._chain.state.failed_messages()
        if rescan == "all" or (self._only_failed and any(message.ts is None for message in odd)):
            return BEGINNING[0]
        if self._only_failed:
            return min((message.ts for message in odd if message.ts is not None), default=None)
        return None if rescan is None else _nanoseconds(datetime.now(UTC) - rescan)

    async def _take_media(self) -> None:
        if self._run.options.media != "none":
            await each(await self._run.archive.whole(self._missing_media), self._take_body, MEDIA_AT_ONCE)

    def _missing_media(self) -> list[str]:
        """Media that are wanted and not there, or not whole."""
        state, archive = self._chain.state, self._run.archive
        read = self._run.options.rescan == "all"
        held = (media for media in state.media.values() if archive.has_media(media.sha256, media.size, read=read))
        return [id for id in sorted(state.media_met.difference(media.id for media in held)) if self._wants(id)]

    def _wants(self, id: str) -> bool:
        state, options = self._chain.state, self._run.options
        failed = state.failed.get(("media", id))
        if failed is not None:
            return options.retry_failed or not failed.final
        if self._only_failed:
            return False
        if id in state.media_passed and isinstance(options.media, int):
            size = state.media_passed[id]
            return size is not None and size <= options.media
        return True

    async def _take_body(self, id: str) -> None:
        run, most = self._run, self._run.options.media
        part = run.archive.part_of_media(self._id, id)
        try:
            if isinstance(most, int):
                async with self._room.open_media(id) as body:
                    size = body.size
                if size is None or size > most:
                    self._pending.append(MediaPassed(id, size))
                    return
            got = await self._room.download(id, part)
        except StrideError as error:
            await self._failed("media", id, error)
            return
        await self._run.archive.whole(partial(run.archive.adopt_media, part, got.sha256))
        await self._commit([MediaHeld(id, got.sha256, got.size, got.name, got.content_type)])
        await run.tell(MediaFetched(self._id, id, got.size))


def _nanoseconds(moment: datetime | None) -> int | None:
    if moment is None:
        return None
    return min(max(to_nanoseconds(moment), BEGINNING[0]), HIGHEST[0] - 1)
