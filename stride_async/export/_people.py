"""People's profiles into the archive."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from itertools import islice

import msgspec

from stride_async._errors import StrideError
from stride_async._wire.request import segment
from stride_async.export._archive import Archive, DamagedArchive
from stride_async.export._chain import Chain
from stride_async.export._conversation import Surroundings, each
from stride_async.export._plan import Failed, Held, Op, People, digest_of

PEOPLE = "data/users"
"""The folder of their commits."""
_GROUP = 200
"""Profiles fetched between two commits: what a kill may cost."""
NOBODY = {"all", "here"}
"""Stand in mentions and are no people (protocol 8)."""


async def fetch_people(run: Surroundings, met: set[str]) -> Chain:
    """Profiles of people met and not held yet, of all with `rescan="all"`; gives what is committed then."""
    options = run.options
    chain = await run.archive.whole(partial(Chain, run.archive, PEOPLE))
    chain.must_be_sound()
    state = chain.state
    again = options.rescan == "all"
    final = set() if options.retry_failed or again else {id for (_, id), one in state.failed.items() if one.final}
    missing = iter(sorted(met - NOBODY - final - (set() if again else state.people_ids)))
    held = await run.archive.whole(partial(_held, run.archive, chain)) if again else {}
    while group := list(islice(missing, _GROUP)):
        ops = await _group(run, group, held, f"r{len(state.people) + 1:06d}")
        if ops:
            await run.archive.whole(partial(chain.commit, run.id, ops))
    if again and (lost := await run.archive.whole(chain.lost_files)):
        await run.archive.whole(partial(chain.commit, run.id, lost))
    return chain


async def _group(run: Surroundings, ids: list[str], held: dict[str, bytes], name: str) -> list[Op]:
    profiles: dict[str, bytes] = {}
    failures: list[Failed] = []

    async def one(id: str) -> None:
        path = f"/scim/site/{segment(run.archive.cloud_id, 'cloud id')}/Users/{segment(id, 'user id')}"
        try:
            profiles[id] = msgspec.json.encode(await run.client.request("GET", path))
        except StrideError as error:
            failures.append(await run.failed("", "user", id, error))

    await each(ids, one, run.options.concurrency)
    new = [id for id in ids if id in profiles and held.get(id) != digest_of(profiles[id])]
    if not new:
        return [*failures]
    lines = [profiles[id] for id in new]
    stored = await run.archive.whole(partial(run.archive.stage_lines, f"{PEOPLE}/sealed", name, lines))
    return [People(Held(stored.path, stored.sha256, stored.rows, stored.packed), tuple(new)), *failures]


def _held(archive: Archive, chain: Chain) -> dict[str, bytes]:
    """What each profile that is held says, as a digest; what is damaged is not held."""
    held: dict[str, bytes] = {}
    for people in chain.state.people:
        with suppress(DamagedArchive):
            lines = list(archive.checked_lines(people.file.path, people.file.sha256))
            held.update(zip(people.ids, map(digest_of, lines), strict=True))
    return held
