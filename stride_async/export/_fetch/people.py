"""Export the profiles of people."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress

import msgspec

from stride_async._errors import StrideError
from stride_async._models import User
from stride_async._wire.convert import object_at, undecodable
from stride_async._wire.endpoints.people import profile_path
from stride_async.export._archive.archive import Archive
from stride_async.export._archive.chain import Chain, CommitConflict
from stride_async.export._archive.commits import Failed, Op, Profiles, Resolved
from stride_async.export._archive.errors import DamagedArchive
from stride_async.export._archive.layout import PEOPLE, profiles_stem
from stride_async.export._archive.months import line_digest
from stride_async.export._archive.state import NOT_PEOPLE, State
from stride_async.export._fetch.job import Job
from stride_async.export._fetch.nesting import is_too_nested
from stride_async.export._fetch.workers import for_each

# Profiles fetched between two commits: what a kill may cost.
_GROUP = 200


class PeopleExport:
    """Fetches the profiles of people as they are found: those not held yet, or all of them with `rescan="all"`.

    Profiles are committed in large groups, because exports of other shards commit to the same chain. The one that loses
    keeps what it has fetched, reads what the other has committed, and commits the rest.
    """

    def __init__(self, job: Job) -> None:
        self.found: set[str] = set()
        """The people whose profiles are wanted."""
        self._job = job
        self._archive = job.archive
        self._rescan = job.options.rescan == "all"
        self._fetched: dict[str, bytes] = {}  # Not committed yet.
        self._failed: dict[str, Failed] = {}  # Not committed yet.
        self._handled: set[str] = set()  # fetched by this run, or failed, and committed
        self._refused: set[str] = set()  # failed for good in an earlier run
        self._held: dict[str, bytes] = {}  # digests of profiles, to tell which have changed
        self._changed = asyncio.Event()
        self._closed = False

    def add(self, ids: Iterable[str]) -> None:
        """Ask for the profiles of people."""
        before = len(self.found)
        self.found.update(ids)
        if len(self.found) > before:
            self._changed.set()

    def close(self) -> None:
        """Let `run` return once it has fetched everyone, because no one else will be found."""
        self._closed = True
        self._changed.set()

    async def run(self) -> Chain:
        """Fetch profiles until closed. Return the chain with their commits.

        Raises:
            CommitConflict: Another export has committed profiles; `run` is to be called again.
            DamagedArchive: The profiles cannot be updated because a file is damaged.
            StrideError: The run ends with this error.
        """
        archive = self._archive
        chain = await archive.open_chain(PEOPLE)
        if self._rescan:
            self._held = await archive.run(_held_profiles, archive.archive, chain.state)
        elif not self._job.options.retry_failed:
            self._refused = {id for (_, id), failed in chain.state.failed.items() if failed.final}
        try:
            await self._fetch_all(chain)
        except (CommitConflict, DamagedArchive):
            raise
        except BaseException:
            # Whatever stops the run, even a cancellation: what was received is not fetched again.
            with suppress(CommitConflict):
                self._commit(chain)
            raise
        if self._rescan and (lost := await archive.run(chain.lost_files)):
            await archive.commit(chain, self._job.run, lost)
        return chain

    async def _fetch_all(self, chain: Chain) -> None:
        while True:
            self._changed.clear()
            group = self._next_group(chain.state)
            await for_each(group, self._fetch, self._job.options.concurrency)
            has_all = self._closed and not group
            if has_all or len(self._fetched) >= _GROUP:
                await self._archive.run(self._commit, chain)
            if has_all:
                return
            if not group:
                await self._changed.wait()

    def _next_group(self, state: State) -> list[str]:
        missing = self.found - NOT_PEOPLE - self._refused - self._handled - self._fetched.keys() - self._failed.keys()
        return sorted(missing - self._held_by(state))[:_GROUP]

    def _held_by(self, state: State) -> set[str]:
        """Return the people whose profiles are held and not wanted again."""
        return set() if self._rescan else state.profile_ids - {id for what, id in state.failed if what == "user"}

    async def _fetch(self, id: str) -> None:
        try:
            profile = await self._job.client.request("GET", profile_path(self._archive.archive.cloud_id, id))
            if is_too_nested(profile):
                raise undecodable("$", b"", "the profile is nested too deeply to be stored")
            self._fetched[id] = msgspec.json.encode(profile)
            object_at(self._fetched[id], User)  # One that cannot be decoded is a failure, and stored as received.
        except StrideError as error:
            self._failed[id] = await self._job.failure("", "user", id, error)

    def _commit(self, chain: Chain) -> None:
        """Commit what was fetched and is not held meanwhile."""
        held = self._held_by(chain.state)
        fetched = {id: self._fetched[id] for id in sorted(self._fetched.keys() - held)}
        failed = {id: self._failed[id] for id in sorted(self._failed.keys() - held)}
        unchanged = [id for id in fetched if self._held.get(id) == line_digest(fetched[id])]
        new = [id for id in fetched if id not in unchanged]
        resolved = {id for id in unchanged if ("user", id) in chain.state.failed} - failed.keys()
        ops: list[Op] = [*failed.values(), *(Resolved("user", id) for id in sorted(resolved))]
        if new:
            stem = profiles_stem(len(chain.state.profiles) + 1)
            stored = self._archive.archive.stage_lines(stem, [fetched[id] for id in new])
            ops.insert(0, Profiles(stored, tuple(new)))
        if ops:
            chain.commit(self._job.run, ops)
        self._handled.update(self._fetched, self._failed)
        self._fetched, self._failed = {}, {}


def _held_profiles(archive: Archive, state: State) -> dict[str, bytes]:
    """Return a digest of each profile that is held. Profiles in damaged files are not."""
    held: dict[str, bytes] = {}
    for group in state.profiles:
        with suppress(DamagedArchive):
            lines = list(archive.checked_lines(group.file))
            held.update(zip(group.ids, map(line_digest, lines), strict=True))
    return held
