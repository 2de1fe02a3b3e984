"""The shared timer: each scope ends at its own time, however the times follow each other."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from stride_async._net.timer import Timer
from tests.net.clock import run

SECONDS = st.integers(1, 1000).map(float)


async def ended_after(timer: Timer, seconds: float | None, changed_to: float | None = None) -> float:
    """Return when a scope with this end expired, or a scope whose end was changed to another before it came."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(None) as scope:
            timer.set(scope, None if seconds is None else began + seconds)
            if changed_to is not None:
                timer.set(scope, began + changed_to)
            await loop.create_future()
    except TimeoutError:
        return loop.time() - began
    finally:
        timer.remove(scope)
    raise AssertionError("a future that is never done was done")


@given(st.lists(SECONDS, min_size=1, max_size=20))
def test_every_scope_expires_at_its_own_end(ends):
    """The order in which they are entered does not matter."""

    async def all_ended() -> list[float]:
        timer = Timer()
        ended = await asyncio.gather(*(ended_after(timer, end) for end in ends))
        assert 0 == len(timer)
        return ended

    assert ends == [round(seconds, 6) for seconds in run(all_ended())]


@given(SECONDS, SECONDS)
def test_a_scope_expires_at_the_end_that_was_set_last(first, last):
    """It may come before or after the first one."""
    assert last == round(run(ended_after(Timer(), first, last)), 6)


def test_closing_the_timer_ends_all_scopes_at_once():
    """That includes those without an end; the timer is never set again."""

    async def closed() -> list[float]:
        timer = Timer()
        waiting = asyncio.gather(ended_after(timer, None), ended_after(timer, 50.0), return_exceptions=True)
        await asyncio.sleep(10)
        timer.close()
        return await waiting

    assert [10.0, 10.0] == [round(seconds, 6) for seconds in run(closed())]
