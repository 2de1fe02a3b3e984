"""An export that is cancelled at any step, several times in a row, leaves nothing behind and can be resumed."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from random import Random

import pytest

from stride_async import StrideClient
from stride_async.export import NotAnArchive, verify
from stride_async.server import LocalServer
from tests.export.exporting import exported, files_of, fresh_digest, open_in, show_file
from tests.net.test_life import left_behind, tasks_of_clients

ROUNDS = 4


def furnish(server: LocalServer) -> None:
    """Add rooms with messages of two months and with files."""
    for number, messages in enumerate((300, 80, 0)):
        room = server.add_conversation(f"room {number}", roster=[server.add_user(f"Person {number}")])
        for month in range(2):
            server.fill(room, messages // 2, ts=f"2018-0{month + 1}-27T23:58:00Z")
        for file in range(2 if messages else 0):
            show_file(server, room, f"{file}.bin", Random(number * 10 + file).randbytes(150_000))


async def turns_of(task: asyncio.Task[object]) -> int:
    """Let a task run to its end. Return how many turns of the event loop it takes."""
    turns = 0
    while not task.done():
        turns += 1
        await asyncio.sleep(0)
    return turns


async def cancelled(task: asyncio.Task[object], after: int, times: int) -> None:
    """Cancel a task on several turns of the event loop in a row, as anyio does, and wait for its end."""
    for turn in range(after + times):
        if turn >= after:
            task.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([task])
    assert task.cancelled() or task.exception() is None


async def check_nothing_is_left(client: StrideClient, folder: Path) -> None:
    """Check that no task, thread, file, connection or slot of an export is in use, and no temporary file remains."""
    assert [] == [task for task in tasks_of_clients() if "export" in task.get_name()]
    assert [] == [thread.name for thread in threading.enumerate() if thread.name.startswith("stride_async")]
    assert set() == open_in(folder)
    assert [] == [path for path in files_of(folder) if ".tmp-" in path]
    async with asyncio.timeout(10):
        while tasks := tasks_of_clients():
            await asyncio.wait(tasks)
    assert {} == left_behind(client)


async def check_archive(folder: Path) -> None:
    """Check that everything in an archive is sound, except for what a next run will fetch."""
    try:
        report = await verify(folder)
    except NotAnArchive:
        assert {} == files_of(folder)
    else:
        assert {"run again"} >= {finding.remedy for finding in report.findings}


@pytest.mark.parametrize("seed", [*range(5), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(5, 25))])
async def test_an_export_can_be_cancelled_several_times_at_any_step(server, client, tmp_path, seed):
    """It ends when its threads have, and the next run completes the archive as if nothing had happened."""
    rng = Random(seed)
    furnish(server)
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    undisturbed = asyncio.create_task(fresh_digest(server, tmp_path / "whole"))
    turns = await turns_of(undisturbed)

    for _ in range(ROUNDS):
        task = asyncio.create_task(exported(client, tmp_path / "archive"))
        await cancelled(task, after=rng.randrange(turns), times=rng.randint(1, 5))
        await check_nothing_is_left(client, tmp_path)
        await check_archive(tmp_path / "archive")
    summary = await exported(client, tmp_path / "archive")

    assert undisturbed.result() == summary.content_digest
    assert (await verify(tmp_path / "archive")).ok
    assert [] == reported
