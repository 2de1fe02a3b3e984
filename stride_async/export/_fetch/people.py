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
from stride_async.export._archive.chain import Chain
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
    """Fetches the profiles of people as they are found: those not held yet, or all of them with `rescan="all"`."""

    def __init__(self, job: Job) -> None:
        self.found: set[str] = set()
        """The people whose profiles are wanted."""
        self._job = job
        self._archive = job.archive
        self._rescan = job.options.rescan == "all"
        self._handled: set[str] = set()  # fetched by this run, or failed
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
        archive, run = self._archive, self._job.run
        chain = await archive.open_chain(PEOPLE)
        if self._rescan:
            self._held = await archive.run(_held_profiles, archive.archive, chain.state)
        elif not self._job.options.retry_failed:
            self._refused = {id for (_, id), failed in chain.state.failed.items() if failed.final}
        while True:
            self._changed.clear()
            if group := self._next_group(chain.state):
                if ops := await self._fetch(group, chain.state):
                    await archive.commit(chain, run, ops)
                self._handled.update(group)
            elif self._closed:
                break
            else:
                await self._changed.wait()
        if self._rescan and (lost := await archive.run(chain.lost_files)):
            await archive.commit(chain, run, lost)
        return chain

    def _next_group(self, state: State) -> list[str]:
        missing = self.found - NOT_PEOPLE - self._refused - self._handled
        held = set() if self._rescan else state.profile_ids - {id for what, id in state.failed if what == "user"}
        return sorted(missing - held)[:_GROUP]

    async def _fetch(self, ids: list[str], state: State) -> list[Op]:
        profiles: dict[str, bytes] = {}
        failures: list[Failed] = []

        async def fetch_one(id: str) -> None:
            try:
                profile = await self._job.client.request("GET", profile_path(self._archive.archive.cloud_id, id))
                if is_too_nested(profile):
                    raise undecodable("$", b"", "the profile is nested too deeply to be stored")
                profiles[id] = msgspec.json.encode(profile)
                object_at(profiles[id], User)  # One that cannot be decoded is a failure, and stored as received.
            except StrideError as error:
                failures.append(await self._job.failure("", "user", id, error))

        await for_each(ids, fetch_one, self._job.options.concurrency)
        unchanged = [id for id in ids if id in profiles and self._held.get(id) == line_digest(profiles[id])]
        new = [id for id in ids if id in profiles and id not in unchanged]
        resolved = {id for id in unchanged if ("user", id) in state.failed} - {failed.id for failed in failures}
        ops: list[Op] = [*failures, *(Resolved("user", id) for id in sorted(resolved))]
        if not new:
            return ops
        stored = await self._archive.stage_lines(profiles_stem(len(state.profiles) + 1), [profiles[id] for id in new])
        return [Profiles(stored, tuple(new)), *ops]


def _held_profiles(archive: Archive, state: State) -> dict[str, bytes]:
    """Return a digest of each profile that is held. Profiles in damaged files are not."""
    held: dict[str, bytes] = {}
    for group in state.profiles:
        with suppress(DamagedArchive):
            lines = list(archive.checked_lines(group.file))
            held.update(zip(group.ids, map(line_digest, lines), strict=True))
    return held
