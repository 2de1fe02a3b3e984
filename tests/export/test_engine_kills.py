"""An export whose workers or scheduler are killed: the archive is the one of an undisturbed export."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import attrs
import pytest
from distributed import Client

from stride_async import StrideClient
from stride_async.export import (
    ConversationDone,
    Dask,
    Engine,
    EngineUnavailable,
    ExportEvent,
    Failure,
    Processes,
    Shard,
    Summary,
    export,
    status,
    verify,
)
from stride_async.export._archive.layout import conversation_folder
from stride_async.export._fetch.history import GROUP_PAGES
from stride_async.server import LocalServer
from tests.conftest import client_of
from tests.export.exporting import exported, fresh_digest, history_calls, media_of
from tests.export.killable import LIMIT, WINDOW
from tests.export.test_kill import assert_within_the_limit, furnish


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalServer]:
    """Yield a server with conversations, which the workers find in their environment."""
    async with LocalServer(rate_limit=LIMIT, window=WINDOW, latency=0.01) as server:
        furnish(server)
        monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__PRELOAD", "tests.export.quick_worker")
        set_environment(monkeypatch, server)
        yield server


def set_environment(monkeypatch: pytest.MonkeyPatch, server: LocalServer) -> None:
    """Set the variables that workers read."""
    monkeypatch.setenv("STRIDE_BASE_URL", server.url)
    monkeypatch.setenv("STRIDE_CLOUD_ID", server.cloud_id)
    monkeypatch.setenv("STRIDE_CLIENT_ID", server.client_id)
    monkeypatch.setenv("STRIDE_CLIENT_SECRET", server.client_secret)


@pytest.fixture
async def client(server: LocalServer) -> AsyncIterator[StrideClient]:
    async with client_of(server, calls_per_minute=LIMIT) as client:
        yield client


SCHEDULER = """
import asyncio
from distributed import Scheduler
async def main():
    async with Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler:
        print(scheduler.address, flush=True)
        await scheduler.finished()
asyncio.run(main())
"""


@attrs.define
class Cluster:
    """A scheduler and workers, each a process of its own."""

    address: str
    scheduler: asyncio.subprocess.Process
    workers: list[asyncio.subprocess.Process]


@asynccontextmanager
async def running_cluster(workers: int) -> AsyncIterator[Cluster]:
    """Start a cluster, and end it with the context at the latest."""
    python = (sys.executable, "-m", "distributed.cli.dask_worker", "--no-nanny", "--no-dashboard", "--nthreads", "1")
    pipe, silent = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    started = [await asyncio.create_subprocess_exec(sys.executable, "-c", SCHEDULER, stdout=pipe, stderr=silent)]
    try:
        assert started[0].stdout is not None
        address = (await started[0].stdout.readline()).decode().strip()
        started += [
            await asyncio.create_subprocess_exec(*python, address, stdout=silent, stderr=silent) for _ in range(workers)
        ]
        async with Client(address, asynchronous=True) as client:
            await client.wait_for_workers(workers)
        yield Cluster(address, started[0], started[1:])
    finally:
        for process in started:
            if process.returncode is None:
                process.kill()
            await process.wait()


def when_called(server: LocalServer, number: int, act: Callable[[], object]) -> None:
    """Do something once, when the service answers the n-th call to a history."""
    server.faults.add("GET", "*/conversation/*/message", after=number - 1, times=1, do=lambda _: act())


def assert_few_pages_again(server: LocalServer, times: int) -> None:
    """Check that each interruption has cost at most the pages of a conversation that were not committed yet."""
    again = Counter(room for (room, _), count in Counter(history_calls(server)).items() for _ in range(count - 1))
    assert max(again.values(), default=0) <= times * (GROUP_PAGES + 1)


async def assert_as_undisturbed(server: LocalServer, folder: Path, digest: str) -> None:
    """Check the archive, and the limit."""
    assert_within_the_limit(server)
    server.faults.clear()
    assert await fresh_digest(server, folder / "undisturbed") == digest
    assert media_of(folder / "undisturbed") == media_of(folder / "archive")
    assert status(folder / "archive").finished
    assert (await verify(folder / "archive")).ok


async def events_of(client: StrideClient, folder: Path, engine: Engine | None) -> list[ExportEvent]:
    async with aclosing(export(client, folder, engine=engine)) as events:
        return [event async for event in events]


@pytest.mark.slow
async def test_a_worker_that_is_killed_is_replaced_by_another(server, client, tmp_path):
    """Its shards run there, and the export does not notice."""
    async with running_cluster(workers=2) as cluster:
        when_called(server, 12, cluster.workers[0].kill)
        events = await events_of(client, tmp_path / "archive", Dask(cluster.address))
        returned = await cluster.workers[0].wait()

    kinds = Counter(map(type, events))
    assert -signal.SIGKILL == returned
    assert (7, 0, 1) == (kinds[ConversationDone], kinds[Failure], kinds[Summary])
    assert_few_pages_again(server, 1)
    await assert_as_undisturbed(server, tmp_path, events[-1].content_digest)


@pytest.mark.slow
async def test_a_shard_that_kills_its_workers_is_given_up(server, client, tmp_path, monkeypatch):
    """Its conversations are failures, and everything else is complete. The next export tries them again."""
    poison = next(id for id in server.truth().conversations)
    monkeypatch.setenv("STRIDE_TEST_POISON", conversation_folder(poison))
    async with running_cluster(workers=5) as cluster:
        events = await events_of(client, tmp_path / "archive", Dask(cluster.address))
        left = [worker for worker in cluster.workers if worker.returncode is None]
    given_up = {event.conversation_id for event in events if isinstance(event, Failure)}
    report = status(tmp_path / "archive")

    monkeypatch.delenv("STRIDE_TEST_POISON")
    async with running_cluster(workers=1) as cluster:
        again = await events_of(client, tmp_path / "archive", Dask(cluster.address))

    assert 1 == len(left)
    assert poison in given_up
    assert {"conversation"} == {event.what for event in events if isinstance(event, Failure)}
    assert (len(given_up), 7 - len(given_up)) == (events[-1].failures, events[-1].conversations)
    assert given_up == {failure.conversation_id for failure in report.failures}
    await assert_as_undisturbed(server, tmp_path, again[-1].content_digest)


@pytest.mark.slow
async def test_an_export_ends_when_its_scheduler_does(server, client, tmp_path):
    """What the workers had fetched is kept, and an export without an engine resumes it."""
    async with running_cluster(workers=2) as cluster:
        when_called(server, 12, cluster.scheduler.kill)
        with pytest.raises(EngineUnavailable, match=r"the scheduler at tcp://.* was lost"):
            await events_of(client, tmp_path / "archive", Dask(cluster.address))
        await asyncio.gather(*(worker.wait() for worker in cluster.workers))
    fetched = len(history_calls(server))

    last = (await events_of(client, tmp_path / "archive", Processes(1)))[-1]

    assert fetched > 10
    assert_few_pages_again(server, 1)
    await assert_as_undisturbed(server, tmp_path, last.content_digest)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["generated", "meetup"])
async def test_every_way_to_export_makes_the_same_archive(source, request, tmp_path, monkeypatch):
    """By one process, by shards next to each other, and by processes; nothing is fetched twice by any of them."""
    site = (
        {"generate": "conversations=200,messages=40,users=60,media=20,media_max=50000,seed=7"}
        if source == "generated"
        else {"seed": request.getfixturevalue("meetup") / "site.jsonl"}
    )
    async with LocalServer(rate_limit=None, **site) as server:
        set_environment(monkeypatch, server)
        digests, media, calls = [], [], []
        for way in ("alone", "shards", "processes"):
            folder = tmp_path / way
            before = len(history_calls(server))
            async with client_of(server) as one, client_of(server) as other:
                if way == "shards":
                    halves = zip((one, other), (Shard(0, 2), Shard(1, 2)), strict=True)
                    await asyncio.gather(*(exported(client, folder, shard=half) for client, half in halves))
                else:
                    await events_of(one, folder, Processes(2) if way == "processes" else None)
                fetched = history_calls(server)[before:]
                digests.append((await exported(one, folder)).content_digest)
            calls.append((len(fetched), len(set(fetched))))
            media.append(media_of(folder))
            assert (await verify(folder)).ok

    assert [digests[0]] * 3 == digests
    assert [media[0]] * 3 == media
    assert [(calls[0][1], calls[0][1])] * 3 == calls


@attrs.define
class Command:
    """`stride export --engine processes=2` in a process group of its own, as a terminal would start it."""

    process: asyncio.subprocess.Process

    @classmethod
    @asynccontextmanager
    async def started(cls, folder: Path) -> AsyncIterator[Command]:
        """Start the command, and end all its processes with the context at the latest."""
        program = ("-m", "stride_async", "export", "--json", "-o", str(folder), "--engine", "processes=2")
        streams = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
        process = await asyncio.create_subprocess_exec(sys.executable, *program, **streams, start_new_session=True)
        try:
            yield cls(process)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.communicate()

    def press_ctrl_c(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)

    async def until(self, event: str) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            if json.loads(line)["event"] == event:
                return
        raise AssertionError(f"no {event}: {await self.process.communicate()}")

    def left(self) -> list[str]:
        """Return the processes of the group that are not done, as the system lists them."""
        listed = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout
        processes = (line.split(maxsplit=2) for line in listed.splitlines())
        return [" ".join(parts) for parts in processes if parts[0] == str(self.process.pid) and parts[1][0] != "Z"]


async def resumed(folder: Path) -> str:
    """Run the command to its end, and return the digest of the archive."""
    async with Command.started(folder) as command:
        out, err = await command.process.communicate()
        assert 0 == command.process.returncode, err
        return json.loads(out.splitlines()[-1])["contentDigest"]


@pytest.mark.slow
async def test_ctrl_c_keeps_what_the_workers_have(server, tmp_path):
    """The same command resumes, and the archive is the one of an undisturbed export."""
    async with Command.started(tmp_path / "archive") as command:
        await command.until("ConversationDone")
        command.press_ctrl_c()
        _, err = await command.process.communicate()
        assert [] == command.left()
    before = len(history_calls(server))
    digest = await resumed(tmp_path / "archive")

    assert 130 == command.process.returncode, err
    assert b"To resume, run:" in err
    assert b"Traceback" not in err
    assert 0 < before < len(history_calls(server))
    assert_few_pages_again(server, 1)
    await assert_as_undisturbed(server, tmp_path, digest)


@pytest.mark.slow
async def test_a_second_ctrl_c_ends_all_processes_at_once(server, tmp_path):
    """None is left, and the same command resumes."""
    stalled = server.faults.add("GET", "*/message", stall="headers", after=5)
    async with Command.started(tmp_path / "archive") as command:
        await command.until("PagesFetched")
        command.press_ctrl_c()
        assert command.process.stderr is not None
        while b"Stopping" not in (line := await command.process.stderr.readline()):
            assert line
        command.press_ctrl_c()
        await command.process.communicate()
        assert [] == command.left()
    stalled.remove()

    digest = await resumed(tmp_path / "archive")

    assert command.process.returncode in (130, -signal.SIGINT)
    await assert_as_undisturbed(server, tmp_path, digest)
