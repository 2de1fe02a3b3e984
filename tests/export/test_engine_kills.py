"""An export whose workers, scheduler or command are killed: the next one completes it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stride_async import StrideClient
from stride_async.export import Dask, Failure, Processes, status, verify
from stride_async.export._archive.layout import conversation_folder
from stride_async.server import LocalServer
from tests.conftest import client_of
from tests.export.clusters import Command, assert_few_pages_again, running_cluster, set_environment, when_called
from tests.export.exporting import events_of, fresh_digest, history_calls, media_of
from tests.export.killable import LIMIT, WINDOW
from tests.export.killing import assert_within_the_limit, furnish


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalServer]:
    """Yield a server with conversations, which the workers find in their environment."""
    async with LocalServer(rate_limit=LIMIT, window=WINDOW, latency=0.01) as server:
        furnish(server)
        set_environment(monkeypatch, server)
        yield server


@pytest.fixture
async def client(server: LocalServer) -> AsyncIterator[StrideClient]:
    async with client_of(server, calls_per_minute=LIMIT) as client:
        yield client


async def assert_as_undisturbed(server: LocalServer, folder: Path, digest: str) -> None:
    """Check the archive, and the limit."""
    assert_within_the_limit(server)
    server.faults.clear()
    assert await fresh_digest(server, folder / "undisturbed") == digest
    assert media_of(folder / "undisturbed") == media_of(folder / "archive")
    assert status(folder / "archive").finished
    assert () == (await verify(folder / "archive")).findings


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
    """The command says so, and how to resume. What the workers had fetched is kept, and another engine resumes it."""
    async with running_cluster(workers=2) as cluster:
        when_called(server, 12, cluster.scheduler.kill)
        program = ("-m", "stride_async", "export", "--json", "-o", str(tmp_path / "archive"))
        async with Command.started(*program, "--engine", f"dask={cluster.address}") as command:
            _, err = await command.ended()
        await asyncio.gather(*(worker.wait() for worker in cluster.workers))
    fetched = len(history_calls(server))

    last = (await events_of(client, tmp_path / "archive", Processes(1)))[-1]

    assert 7 == command.process.returncode
    assert f"\nError: the scheduler at {cluster.address} was lost.\n" in err.decode()
    assert b"To resume, run:" in err
    assert b"distributed" not in err
    assert fetched > 10
    assert_few_pages_again(server, 1)
    await assert_as_undisturbed(server, tmp_path, last.content_digest)


@pytest.mark.slow
async def test_a_second_ctrl_c_ends_all_processes_at_once(server, tmp_path):
    """None is left, and the same command resumes."""
    stalled = server.faults.add("GET", "*/message", stall="headers", after=5)
    program = ("-m", "stride_async", "export", "--json", "-o", str(tmp_path / "archive"), "--engine", "processes=2")
    async with Command.started(*program) as command:
        await command.until("PagesFetched")
        command.press_ctrl_c()
        assert command.process.stderr is not None
        while b"Stopping" not in (line := await command.process.stderr.readline()):
            assert line
        command.press_ctrl_c()
        await command.process.communicate()
        assert [] == await command.left()
    stalled.remove()

    async with Command.started(*program) as again:
        last, _ = await again.ended()

    assert command.process.returncode in (130, -signal.SIGINT)
    assert 0 == again.process.returncode
    await assert_as_undisturbed(server, tmp_path, last["contentDigest"])
