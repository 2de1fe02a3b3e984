"""Exports in processes that are killed, into the archive of a site that is large enough for that."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

import attrs

from stride_async.server import LocalServer
from tests.conftest import variables_of
from tests.export.exporting import history_calls, show_file
from tests.export.killable import LIMIT, WINDOW

MEGABYTE = 1_000_000


@attrs.define
class Round:
    """One process: how it ended, and the history calls it made."""

    how: str
    killed: bool
    digest: str | None
    calls: list[tuple[str, str | None]]


class Site:
    """A server, an archive, and processes that export the one into the other."""

    def __init__(self, server: LocalServer, archive: Path) -> None:
        self.server = server
        self.archive = archive

    async def round(self, rng: random.Random, how: str, *options: str) -> Round:
        """Start `stride export`. Kill it at a `touch` of the archive, after an `event`, in a media `body`, or not."""
        before = len(self.server.calls)
        parameters = {"archive": str(self.archive), "limit": LIMIT, "window": WINDOW}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.export.killable",
            json.dumps(parameters | {"kill_at": rng.randint(1, 120) if how == "touch" else 0}),
            *options,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=os.environ | variables_of(self.server),
        )
        assert process.stdout is not None
        lines: list[bytes] = []
        reading = asyncio.create_task(_read(process.stdout, lines, rng.randint(1, 12) if how == "event" else 0))
        if how == "body":
            await self._within_a_body(rng, reading)
        else:
            await reading
        if how in ("event", "body"):
            await asyncio.sleep(rng.uniform(0.0, 0.03))
            with suppress(ProcessLookupError):
                process.kill()
        lines += (await reading, await process.stdout.read())[1].splitlines()
        code = await process.wait()
        assert code in (0, -signal.SIGKILL)
        digest = None if code else json.loads(lines[-1])["contentDigest"]
        return Round(how, code != 0, digest, history_calls(self.server, since=before))

    async def _within_a_body(self, rng: random.Random, ended: asyncio.Task[None]) -> None:
        """Wait until the server stalls within a media body, or until there is none left to fetch."""
        reached = asyncio.Event()
        fault = self.server.faults.add(
            "GET", "*/media/*", stall="body", cut_after=rng.randint(1, MEGABYTE), do=lambda _: reached.set()
        )
        silent = asyncio.create_task(reached.wait())
        await asyncio.wait([ended, silent], return_when=asyncio.FIRST_COMPLETED)
        silent.cancel()
        self.server.faults.remove(fault)


async def _read(stdout: asyncio.StreamReader, lines: list[bytes], most: int) -> None:
    """Read lines of a process, up to `most` of them; all for 0."""
    while (not most or len(lines) < most) and (line := await stdout.readline()):
        lines.append(line)


def furnish(server: LocalServer) -> dict[str, list[str]]:
    """Add rooms with several pages over several months, some with large files.

    Return their message ids, oldest first.
    """
    rooms = {}
    for number, messages in enumerate((1500, 700, 400, 150, 75, 20, 0)):
        room = server.add_conversation(f"room {number}", roster=[server.add_user(f"Person {number}")])
        ids = []
        for month in range(3):
            ids += server.fill(room, messages // 3, ts=f"2018-0{month + 1}-27T23:58:00Z")
        rooms[room] = ids
        for file in range(3 if messages else 0):
            show_file(server, room, f"{file}.bin", random.Random(number * 10 + file).randbytes(MEGABYTE))
    return rooms


def assert_within_the_limit(server: LocalServer, limit: int = LIMIT) -> None:
    """Check that no call was refused, and that no window has more calls to a conversation than are allowed."""
    times = defaultdict(list)
    for call in server.calls:
        parts = call.path.split("/")
        if len(parts) > 4 and parts[3] == "conversation":
            times[parts[4]].append(call.time)
    assert not [call for call in server.calls if call.status == 429]
    for called in times.values():
        assert all(later - at >= WINDOW for at, later in zip(called, called[limit:], strict=False))
