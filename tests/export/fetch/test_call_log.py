"""The calls that a killed run made and did not record, on a clock that jumps."""

from __future__ import annotations

import asyncio

import pytest

from stride_async import Settings, StaticToken, StrideClient
from stride_async.export._fetch.call_log import LostCalls
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
