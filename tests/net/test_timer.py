"""The shared timer: each scope ends at its own time, however the times follow each other; and calls on odd clocks."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stride_async import ClientCredentials, DeadlineExceeded, Settings, StrideClient, Waiting
from stride_async._net.pool import Scope, Timer
from stride_async.server import LocalServer
from tests.net.clock import run

SECONDS = st.integers(1, 1000).map(float)


async def ended_after(timer: Timer, seconds: float | None, changed_to: float | None = None) -> float:
    """Return when a scope with this end expired, or a scope whose end was changed to another before it came."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        with Scope(timer) as scope:
            scope.end_at(None if seconds is None else began + seconds)
            if changed_to is not None:
                scope.end_at(began + changed_to)
            await loop.create_future()
    except TimeoutError:
        return loop.time() - began
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


@pytest.mark.parametrize("cancelled_at", [10.0, 20.0])
def test_a_cancellation_by_someone_else_is_not_a_timeout(cancelled_at):
    """That holds before the end of the scope and in the instant of its end."""

    async def ended() -> bool:
        loop, timer = asyncio.get_running_loop(), Timer()
        waiting = asyncio.create_task(ended_after(timer, 20.0))
        loop.call_at(loop.time() + cancelled_at, waiting.cancel)
        await asyncio.wait([waiting])
        assert 0 == len(timer)
        return waiting.cancelled()

    assert run(ended())


def test_a_task_goes_on_after_a_scope_has_expired():
    """The scope takes back its own cancellation, so that the next wait of the task is not cancelled."""

    async def remaining() -> int:
        await ended_after(Timer(), 5.0)
        await asyncio.sleep(1)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert 0 == run(remaining())


def test_a_late_timer_ends_all_scopes_that_are_due():
    """One run of the timer serves them, so that thousands of timeouts at once stay cheap."""

    async def turns() -> int:
        timer, loop = Timer(), asyncio.get_running_loop()
        waiting = asyncio.gather(*(ended_after(timer, 10 + number / 1000) for number in range(100)))
        await asyncio.sleep(9)
        loop.now += 5
        turns = 0
        while not waiting.done():
            await asyncio.sleep(0)
            turns += 1
        return turns

    assert run(turns()) < 10


class SkippingLoop(asyncio.SelectorEventLoop):
    """A loop whose clock can skip ahead, as if a callback had blocked it."""

    skipped = 0.0

    def time(self) -> float:
        return super().time() + self.skipped


def test_nothing_is_sent_after_the_deadline():
    """If the event loop was busy until then, the timer and the end of a wait are both late."""

    async def requests() -> int:
        loop = asyncio.get_running_loop()

        def skip(event: object) -> None:
            if isinstance(event, Waiting):
                loop.skipped += 100.0

        async with LocalServer() as server:
            room = server.add_conversation("r")
            server.faults.add("POST", "*/message", status=429, times=1)
            app = ClientCredentials(server.client_id, server.client_secret)
            settings = Settings(base_url=server.url, deadline=60.0, backoff=0.01, on_event=skip)
            async with StrideClient(app, cloud_id=server.cloud_id, settings=settings) as client:
                with pytest.raises(DeadlineExceeded) as raised:
                    await client.conversation(room).send("hello")
        assert not raised.value.maybe_processed
        assert [429] == [attempt.status for attempt in raised.value.attempts]
        return sum(call.path.endswith("/message") for call in server.calls)

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        assert 1 == runner.run(requests())


class CoarseLoop(asyncio.SelectorEventLoop):
    """A loop that counts in milliseconds, as uvloop does: a timer may run half a millisecond early."""

    def time(self) -> float:
        return math.floor(super().time() * 1000) / 1000

    def call_at(self, when, callback, *args, context=None):
        milliseconds = round((when - self.time()) * 1000)
        return super().call_at(self.time() + milliseconds / 1000, callback, *args, context=context)


@pytest.mark.parametrize("loop", [asyncio.SelectorEventLoop, CoarseLoop])
def test_a_passed_deadline_is_named_on_every_clock(loop):
    """Otherwise a call whose timer ran early would end as an attempt that timed out."""

    async def errors() -> list[object]:
        async with LocalServer() as server:
            room = server.add_conversation("r")
            server.faults.add("GET", "*", delay=30.0)
            app = ClientCredentials(server.client_id, server.client_secret)
            settings = Settings(base_url=server.url, deadline=0.2004)
            async with StrideClient(app, cloud_id=server.cloud_id, settings=settings) as client:
                await client.conversation(room).send("hello")
                return await asyncio.gather(
                    *(client.conversation(room).get() for _ in range(20)), return_exceptions=True
                )

    with asyncio.Runner(loop_factory=loop) as runner:
        assert {DeadlineExceeded} == {type(error) for error in runner.run(errors())}
