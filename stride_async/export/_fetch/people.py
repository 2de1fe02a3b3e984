"""People's profiles into the archive."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from functools import partial

import msgspec

from stride_async._errors import StrideError
from stride_async._wire.endpoints.people import profile_path
from stride_async.export._archive.chain import Chain
from stride_async.export._archive.commits import Failed, Held, Mended, Op, People
from stride_async.export._archive.files import Archive, DamagedArchive
from stride_async.export._archive.layout import PEOPLE
from stride_async.export._archive.months import digest_of
from stride_async.export._archive.state import State
from stride_async.export._fetch.conversation import Surroundings
from stride_async.export._fetch.workers import each

_GROUP = 200
"""Profiles fetched between two commits: what a kill may cost."""
NOBODY = {"all", "here"}
"""Stand in mentions and are no people (protocol 8)."""


class PeopleExport:
    """Brings the profiles of people as they are met: those that are not held yet, all with `rescan="all"`."""

    def __init__(self, run: Surroundings) -> None:
        self.met: set[str] = set()
        self._run = run
        self._again = run.options.rescan == "all"
        self._through: set[str] = set()
        """Brought, or found not to be had, by this run."""
        self._refused: set[str] = set()
        self._held: dict[str, bytes] = {}
        self._news = asyncio.Event()
        self._closed = False

    def meet(self, ids: Iterable[str]) -> None:
        """Somebody is spoken of."""
        before = len(self.met)
        self.met.update(ids)
        if len(self.met) > before:
            self._news.set()

    def close(self) -> None:
        """Nobody else will be met."""
        self._closed = True
        self._news.set()

    async def work(self) -> Chain:
        """Bring everybody until it is closed; gives what is committed then.

        Raises:
            Overtaken: somebody else works on it, too; to be called again.
            DamagedArchive: what is committed cannot be built on.
        """
        run = self._run
        chain = await run.archive.whole(partial(Chain, run.archive, PEOPLE))
        chain.must_be_sound()
        if self._again:
            self._held = await run.archive.whole(partial(_held, run.archive, chain))
        elif not run.options.retry_failed:
            self._refused = {id for (_, id), failed in chain.state.failed.items() if failed.final}
        while True:
            self._news.clear()
            if group := self._group(chain.state):
                if ops := await self._bring(group, chain.state):
                    await run.archive.whole(partial(chain.commit, run.id, ops))
                self._through.update(group)
            elif self._closed:
                break
            else:
                await self._news.wait()
        if self._again and (lost := await run.archive.whole(chain.lost_files)):
            await run.archive.whole(partial(chain.commit, run.id, lost))
        return chain

    def _group(self, state: State) -> list[str]:
        """The next ones to bring."""
        missing = self.met - NOBODY - self._refused - self._through
        held = set() if self._again else state.people_ids - {id for what, id in state.failed if what == "user"}
        return sorted(missing - held)[:_GROUP]

    async def _bring(self, ids: list[str], state: State) -> list[Op]:
        run = self._run
        profiles: dict[str, bytes] = {}
        failures: list[Failed] = []

        async def one(id: str) -> None:
            path = profile_path(run.archive.cloud_id, id)
            try:
                profiles[id] = msgspec.json.encode(await run.client.request("GET", path))
            except StrideError as error:
                failures.append(await run.failed("", "user", id, error))

        await each(ids, one, run.options.concurrency)
        same = [id for id in ids if id in profiles and self._held.get(id) == digest_of(profiles[id])]
        new = [id for id in ids if id in profiles and id not in same]
        ops: list[Op] = [*failures, *(Mended("user", id) for id in same if ("user", id) in state.failed)]
        if not new:
            return ops
        lines, name = [profiles[id] for id in new], f"r{len(state.people) + 1:06d}"
        stored = await run.archive.whole(partial(run.archive.stage_lines, f"{PEOPLE}/sealed", name, lines))
        return [People(Held(stored.path, stored.sha256, stored.rows, stored.packed), tuple(new)), *ops]


def _held(archive: Archive, chain: Chain) -> dict[str, bytes]:
    """What each profile that is held says, as a digest; what is damaged is not held."""
    held: dict[str, bytes] = {}
    for people in chain.state.people:
        with suppress(DamagedArchive):
            lines = list(archive.checked_lines(people.file.path, people.file.sha256))
            held.update(zip(people.ids, map(digest_of, lines), strict=True))
    return held
