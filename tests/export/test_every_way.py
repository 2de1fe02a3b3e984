"""Every way to export a site makes the archive that one process makes, whatever is killed or interrupted meanwhile.

The sites are a real chat history, if it is next to the checkout, and a generated one with 200 conversations. No
conversation gets more calls than are allowed in any window, though all of them get close to that.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from stride_async import StrideClient
from stride_async.export import Dask, Processes, Shard, Summary, read, status, verify
from stride_async.export._archive.archive import Archive
from stride_async.export._archive.chain import Chain
from stride_async.export._archive.layout import PEOPLE
from stride_async.server import LocalServer
from tests.conftest import MEETUP, client_of
from tests.export.clusters import Command, assert_few_pages_again, running_cluster, set_environment, when_called
from tests.export.exporting import events_of, exported, history_calls
from tests.export.killable import WINDOW
from tests.export.killing import assert_within_the_limit
from tests.test_meetup import digest

pytestmark = pytest.mark.slow

LIMIT = 10
SITES: Mapping[str, Mapping[str, Any]] = {
    "generated": {"generate": "conversations=200,messages=40,users=60,media=20,media_max=50000,seed=7"},
    "meetup": {"seed": MEETUP / "site.jsonl"},
}


@attrs.frozen
class Alone:
    """What an export by one process makes."""

    content_digest: str
    media: set[str]
    calls: list[tuple[str, str | None]]


_alone: dict[str, Alone] = {}


async def _exported_alone(source: str, folder: Path) -> Alone:
    """Return what one process makes of a site, which is the same for all tests."""
    if source not in _alone:
        async with LocalServer(rate_limit=None, **SITES[source]) as server, client_of(server) as client:
            summary = await exported(client, folder)
            _alone[source] = Alone(summary.content_digest, _media_of(folder), sorted(history_calls(server), key=str))
        await _assert_recorded(source, folder)
    return _alone[source]


def _media_of(archive: Path | str) -> set[str]:
    return {file.sha256 for file in read(archive).media()}


async def _assert_recorded(source: str, archive: Path | str) -> None:
    """Check a real history against the digests that were recorded with it."""
    if source != "meetup":
        return
    recorded = json.loads((MEETUP / "expected.json").read_bytes())["by_conversation"]
    found = {room.id: list(read(archive).raw_messages(room.id)) for room in read(archive).conversations()}
    assert {id: (each["messages"], each["sha256"]) for id, each in recorded.items()} == {
        id: (len(messages), digest(messages)) for id, messages in found.items()
    }
    records = map(json.loads, (MEETUP / "site.jsonl").read_bytes().splitlines())
    assert {record["sha256"] for record in records if record["type"] == "media"} == _media_of(archive)


@attrs.frozen
class Site:
    """A server with a site, and what its archive must be."""

    source: str
    server: LocalServer
    client: StrideClient
    alone: Alone

    def room_of(self, shard: Shard) -> str:
        """Return the conversation of a shard with the longest history."""
        calls = Counter(room for room, _ in self.alone.calls if shard.includes(room))
        return calls.most_common(1)[0][0]

    def assert_nothing_fetched_twice(self) -> None:
        """Check that exactly the calls to histories were made that one process makes."""
        assert self.alone.calls == sorted(history_calls(self.server), key=str)

    async def assert_same(self, archive: Path | str, content_digest: object) -> None:
        """Check the archive, and that no window has more calls to a conversation than are allowed."""
        assert_within_the_limit(self.server, LIMIT)
        assert self.alone.content_digest == content_digest
        assert self.alone.media == _media_of(archive)
        assert status(archive).finished
        assert () == (await verify(archive)).findings
        people = [id for group in Chain(Archive.open(archive), PEOPLE).state.profiles for id in group.ids]
        assert len(people) == len(set(people))
        await _assert_recorded(self.source, archive)


@pytest.fixture(params=SITES)
async def site(request, monkeypatch, tmp_path) -> AsyncIterator[Site]:
    if request.param == "meetup":
        request.getfixturevalue("meetup")
    alone = await _exported_alone(request.param, tmp_path / "alone")
    async with (
        LocalServer(rate_limit=LIMIT, window=WINDOW, **SITES[request.param]) as server,
        client_of(server, calls_per_minute=LIMIT) as client,
    ):
        set_environment(monkeypatch, server)
        yield Site(request.param, server, client, alone)


def command(archive: Path, *options: str) -> tuple[str, ...]:
    """Return the arguments of Python for an export that keeps the limit."""
    parameters = {"archive": str(archive), "kill_at": 0, "limit": LIMIT, "window": WINDOW}
    return ("-m", "tests.export.killable", json.dumps(parameters), *options)


async def test_processes_of_an_engine(site, tmp_path):
    """Nothing is fetched twice."""
    events = await events_of(site.client, tmp_path / "a", Processes(2))

    assert isinstance(events[-1], Summary)
    site.assert_nothing_fetched_twice()
    await site.assert_same(tmp_path / "a", events[-1].content_digest)


async def test_shards_of_which_one_is_killed_and_run_again(site, tmp_path):
    """It is killed in the middle of its longest history; the other one does not notice."""
    async with (
        Command.started(*command(tmp_path / "a", "--shard", "0/2")) as other,
        Command.started(*command(tmp_path / "a", "--shard", "1/2")) as victim,
    ):
        when_called(site.server, 2, victim.process.kill, site.room_of(Shard(1, 2)))
        await victim.ended()
        async with Command.started(*command(tmp_path / "a", "--shard", "1/2")) as again:
            await asyncio.gather(again.ended(), other.ended())
    before = len(history_calls(site.server))
    async with Command.started(*command(tmp_path / "a")) as whole:
        last, _ = await whole.ended()

    assert (0, -signal.SIGKILL, 0) == tuple(each.process.returncode for each in (other, victim, again))
    assert (0, len({room for room, _ in site.alone.calls})) == (last["new"], len(history_calls(site.server)) - before)
    assert_few_pages_again(site.server, 1)
    await site.assert_same(tmp_path / "a", last["contentDigest"])


@pytest.fixture
def archive(request, tmp_path) -> Path | str:
    return tmp_path / "a" if request.param == "folder" else f"s3://{request.getfixturevalue('bucket')}/site"


@pytest.mark.parametrize(
    ("site", "archive"), [("generated", "folder"), ("meetup", "folder"), ("meetup", "store")], indirect=True
)
async def test_workers_of_which_one_is_killed(site, archive):
    """Another one does its work; no failure is reported, and few pages are fetched again."""
    async with running_cluster(workers=2) as cluster:
        when_called(site.server, len(site.alone.calls) // 3, cluster.workers[0].kill)
        events = await events_of(site.client, archive, Dask(cluster.address))
        returned = await cluster.workers[0].wait()

    assert -signal.SIGKILL == returned
    assert isinstance(events[-1], Summary)
    assert 0 == events[-1].failures
    assert_few_pages_again(site.server, 1)
    await site.assert_same(archive, events[-1].content_digest)


async def test_processes_after_ctrl_c(site, tmp_path):
    """The workers commit what they have, and none is left. The same command resumes."""
    program = command(tmp_path / "a", "--engine", "processes=2")
    async with Command.started(*program) as stopped:
        when_called(site.server, len(site.alone.calls) // 3, stopped.press_ctrl_c)
        _, err = await stopped.ended()
        assert [] == await stopped.left()
    before = len(history_calls(site.server))
    async with Command.started(*program) as again:
        last, _ = await again.ended()

    assert (130, 0) == (stopped.process.returncode, again.process.returncode), err
    assert b"To resume, run:" in err
    assert b"Traceback" not in err
    assert before < len(site.alone.calls)
    assert_few_pages_again(site.server, 1)
    await site.assert_same(tmp_path / "a", last["contentDigest"])
