"""Exports into an object store that are killed: the next one waits for their lease, and keeps the limit."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys

import pytest

from stride_async.export import verify
from stride_async.server import LocalServer
from tests.conftest import variables_of
from tests.export.conftest import store_environment
from tests.export.exporting import fresh_digest, history_calls
from tests.export.killable import LIMIT, WINDOW
from tests.export.killing import assert_within_the_limit

PAGES = 60
"""Of the longest conversation: more than the limit, so that the run is in the middle of it."""


async def _run(server: LocalServer, address: str, url: str, most_lines: int) -> tuple[int, list[dict[str, object]]]:
    """Run the command and kill it after some lines of output; 0 lets it end. Return its exit code and events."""
    parameters = {"archive": url, "kill_at": 0, "limit": LIMIT, "window": WINDOW}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.export.killable", json.dumps(parameters)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | store_environment(address) | variables_of(server),
    )
    assert process.stdout is not None
    events = []
    while line := await process.stdout.readline():
        events.append(json.loads(line))
        if len(events) == most_lines:
            process.kill()
    return await process.wait(), events


@pytest.mark.slow
async def test_a_killed_export_into_a_store_ends_like_an_undisturbed_one(s3, bucket, tmp_path):
    """The limit is never exceeded, though the last calls of killed runs are not known, and every wait is reported."""
    rng, url = random.Random(5), f"s3://{bucket}/site"
    async with LocalServer(rate_limit=LIMIT, window=WINDOW, latency=0.005) as server:
        for number in range(4):
            server.fill(server.add_conversation(f"room {number}"), 75 * PAGES if number == 0 else 200)
        killed = [await _run(server, s3, url, rng.randint(8, 20)) for _ in range(3)]
        code, events = await _run(server, s3, url, 0)
        assert_within_the_limit(server)
        assert len(history_calls(server)) > PAGES
        digest = await fresh_digest(server, tmp_path / "undisturbed")

    assert [-signal.SIGKILL] * 3 == [each for each, _ in killed]
    assert 0 == code
    assert digest == events[-1]["contentDigest"]
    assert (await verify(url)).ok
    for run in (*(events for _, events in killed[1:]), events):
        waits = [str(event["why"]) for event in run if event["event"] == "RunWaiting"]
        assert [True, True] == ["killed" in why for why in waits]
