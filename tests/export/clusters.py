"""A Dask cluster and the command `stride export`, each in processes of their own, for tests that kill them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import attrs
import dask
import pytest
from distributed import Client

from stride_async.export._fetch.history import GROUP_PAGES
from stride_async.server import LocalServer
from tests.conftest import variables_of
from tests.export.exporting import history_calls

SCHEDULER = """
import asyncio
from distributed import Scheduler
async def main():
    async with Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler:
        print(scheduler.address, flush=True)
        await scheduler.finished()
asyncio.run(main())
"""
QUICK = "tests.export.quick_worker"
WORKER = ("-m", "distributed.cli.dask_worker", "--no-nanny", "--no-dashboard", "--nthreads", "1")


def set_environment(monkeypatch: pytest.MonkeyPatch, server: LocalServer) -> None:
    """Set the variables for a site, and let workers that are processes use the short window of the tests."""
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__PRELOAD", QUICK)
    monkeypatch.setitem(dask.config.config["distributed"]["worker"], "preload", [QUICK])  # the variable was read before
    for name, value in variables_of(server).items():
        monkeypatch.setenv(name, value)


@attrs.define
class Cluster:
    """A scheduler and workers, each a process of its own."""

    address: str
    scheduler: asyncio.subprocess.Process
    workers: list[asyncio.subprocess.Process]


@asynccontextmanager
async def running_cluster(workers: int, output: Path = Path(os.devnull)) -> AsyncIterator[Cluster]:
    """Start a cluster, and end it with the context at the latest. The scheduler has no variable of an export.

    What the processes write is added to the file `output`.
    """
    pipe = asyncio.subprocess.PIPE
    unaware = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "STRIDE_"))}
    async with AsyncExitStack() as stack:
        out = stack.enter_context(output.open("ab"))

        async def started(*arguments: str, **options: object) -> asyncio.subprocess.Process:
            process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stderr=out, **options)
            stack.push_async_callback(_ended, process)
            return process

        scheduler = await started("-c", SCHEDULER, stdout=pipe, env=unaware)
        assert scheduler.stdout is not None
        address = (await scheduler.stdout.readline()).decode().strip()
        cluster = Cluster(address, scheduler, [await started(*WORKER, address, stdout=out) for _ in range(workers)])
        async with Client(address, asynchronous=True) as client:
            await client.wait_for_workers(workers)
        yield cluster


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.communicate()


def when_called(server: LocalServer, number: int, act: Callable[[], object], room: str = "*") -> None:
    """Do something once, when the service answers the n-th call to a history, or to that of one room."""
    server.faults.add("GET", f"*/conversation/{room}/message", after=number - 1, times=1, do=lambda _: act())


def assert_few_pages_again(server: LocalServer, times: int) -> None:
    """Check that each interruption has cost at most the pages of a conversation that were not committed yet."""
    again = Counter(room for (room, _), count in Counter(history_calls(server)).items() for _ in range(count - 1))
    assert max(again.values(), default=0) <= times * (GROUP_PAGES + 1)


@attrs.define
class Command:
    """`stride export --json` in a process group of its own, as a terminal would start it."""

    process: asyncio.subprocess.Process

    @classmethod
    @asynccontextmanager
    async def started(cls, *program: str) -> AsyncIterator[Command]:
        """Start Python with these arguments, and end all its processes with the context at the latest."""
        streams = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
        process = await asyncio.create_subprocess_exec(sys.executable, *program, **streams, start_new_session=True)
        try:
            yield cls(process)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.communicate()

    async def ended(self) -> tuple[dict[str, object], bytes]:
        """Wait for the end. Return the last event, and what was written to stderr."""
        out, err = await self.process.communicate()
        return json.loads(out.splitlines()[-1]) if out else {}, err

    def press_ctrl_c(self) -> None:
        """Send all processes what a terminal does."""
        os.killpg(self.process.pid, signal.SIGINT)

    async def until(self, event: str) -> None:
        """Return when the command has reported an event."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            if json.loads(line)["event"] == event:
                return
        raise AssertionError(f"no {event}: {await self.process.communicate()}")

    async def left(self) -> list[str]:
        """Return the processes of the group that do not end, as the system lists them.

        A helper of multiprocessing ends only when it sees that its parent has ended.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(20):
                while self._listed():  # noqa: ASYNC110 -- the system has no event for the end of another's child
                    await asyncio.sleep(0.05)
        return self._listed()

    def _listed(self) -> list[str]:
        listed = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout
        processes = (line.split(maxsplit=2) for line in listed.splitlines())
        return [" ".join(parts) for parts in processes if parts[0] == str(self.process.pid) and parts[1][0] != "Z"]
