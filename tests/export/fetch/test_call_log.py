"""The calls that a killed run made and did not record, on a clock that jumps."""

from __future__ import annotations

import asyncio
import time

import pytest

from stride_async import Settings, StaticToken, StrideClient
from stride_async.export._archive.archive import Archive
from stride_async.export._fetch.call_log import LostCalls, recent_calls
from tests.net import clock


async def _waits(lost_ids: set[str], conversation_id: str, limit: int | None) -> tuple[int, float]:
    """Return how many of two conversations have to wait, and how long the first call to one waits for its slot."""
    settings = Settings(base_url="http://127.0.0.1:1", calls_per_minute=limit)
    async with StrideClient(StaticToken("token"), cloud_id="site", settings=settings) as client:
        lost = LostCalls(client, lost_ids)
        count = lost.count(["room", "other"])
        lost.recall(conversation_id)
        lost.recall(conversation_id)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await client._pool.throttle.take(conversation_id, limit)
        return count, loop.time() - began


@pytest.mark.parametrize(
    ("room", "limit", "count", "seconds"),
    [("room", 100, 1, 60.0), ("other", 100, 1, 0.0), ("room", None, 0, 0.0)],
)
def test_the_first_call_to_a_conversation_of_a_killed_run_waits_for_a_window(room, limit, count, seconds):
    """The killed run may have used the limit up. Other conversations start at once, and so do all without a limit."""
    waits, waited = clock.run(_waits({"room"}, room, limit))

    assert count == waits
    assert seconds == pytest.approx(waited, abs=1.0)


@pytest.mark.parametrize("ahead", [-7200.0, 0.0, 7200.0])
def test_calls_count_whatever_the_clock_of_the_machine_that_made_them(tmp_path, ahead):
    """Its log was written just now. By its own clock, that may be hours ago, or be still to come."""
    archive = Archive.open_or_create(tmp_path, "site")
    now = time.time() + ahead
    lines = [f"+{now - 20:.3f} room", f"-{now - 19:.3f} room", f"+{now - 2:.3f} room", f"-{now - 1:.3f} room"]
    archive.files.create("runs/20260301T080000.000000-abcdef/calls.log", "\n".join(lines).encode() + b"\n")

    calls = recent_calls(archive, ["20260301T080000.000000-abcdef"])

    assert ["room", "room"] == [key for key, _ in calls]
    assert all(0 <= seconds_ago < 40 for _, seconds_ago in calls)
