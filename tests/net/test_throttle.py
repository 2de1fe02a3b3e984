"""The limit in any 60 seconds, on a clock that jumps."""

from __future__ import annotations

import asyncio
import random
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stride_async import ClientClosed
from stride_async._net.throttle import Throttle
from tests.net.clock import JumpingLoop, run


def most_in_a_window(moments: list[float], window: float = 60.0) -> int:
    """Return the highest number of moments in any span as long as the window."""
    held: deque[float] = deque()
    most = 0
    for moment in sorted(moments):
        held.append(moment)
        while held[0] <= moment - window:
            held.popleft()
        most = max(most, len(held))
    return most


async def calls(throttle: Throttle, count: int, limit: int, latency: random.Random | None = None) -> list[float]:
    """Start so many calls at once and return the moments at which they got their slots."""
    loop = asyncio.get_running_loop()
    moments: list[float] = []

    async def one() -> None:
        slot = await throttle.take("room", limit)
        moments.append(loop.time())
        await asyncio.sleep(0 if latency is None else latency.random() * 3)
        slot.give_back(counted=True)

    await asyncio.gather(*(one() for _ in range(count)))
    return moments


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 20), st.integers(1, 80), st.integers(0, 2**32))
def test_no_window_holds_more_than_the_limit(limit, count, seed):
    """Whatever the latency, no more calls begin in any 60 seconds than are allowed."""
    moments = run(calls(Throttle(), count, limit, random.Random(seed)))

    assert count == len(moments)
    assert most_in_a_window(moments) <= limit


def test_ten_thousand_calls_take_no_longer_than_they_must():
    """At a hundred calls a minute, ten thousand calls take 99 windows."""

    async def main() -> float:
        moments = await calls(Throttle(), 10_000, 100)
        return max(moments) - min(moments)

    assert run(main()) == pytest.approx(99 * 60.0, abs=0.01)


def test_a_slot_is_free_one_window_after_the_response():
    """If it were measured from the sending, latency could put 101 calls into one window of the service."""

    async def main() -> float:
        throttle, loop = Throttle(), asyncio.get_running_loop()
        first = await throttle.take("room", 1)
        await asyncio.sleep(7)
        first.give_back(counted=True)
        began = loop.time()
        await throttle.take("room", 1)
        return loop.time() - began

    assert run(main()) == pytest.approx(60.0)


def test_a_call_that_was_not_sent_frees_its_slot_at_once():
    """A call that the service never saw does not count."""

    async def main() -> float:
        throttle, loop = Throttle(), asyncio.get_running_loop()
        (await throttle.take("room", 1)).give_back(counted=False)
        began = loop.time()
        await throttle.take("room", 1)
        return loop.time() - began

    assert run(main()) == 0.0


def test_calls_are_served_in_order_and_retries_first():
    """First come, first served; a retry had its turn before, and retries are served in order, too."""

    async def main() -> list[str]:
        throttle, served = Throttle(), []
        held = await throttle.take("room", 1)

        async def one(name: str, *, again: bool = False) -> None:
            slot = await throttle.take("room", 1, again=again)
            served.append(name)
            slot.give_back(counted=False)

        tasks = [asyncio.create_task(one(name)) for name in "abc"]
        await asyncio.sleep(0)
        tasks += [asyncio.create_task(one(name, again=True)) for name in ("repeat", "later repeat")]
        await asyncio.sleep(0)
        held.give_back(counted=False)
        await asyncio.gather(*tasks)
        return served

    assert run(main()) == ["repeat", "later repeat", "a", "b", "c"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(1, 4), st.integers(0, 2**32))
def test_cancelled_calls_hold_no_slots(cancelled, limit, seed):
    """However many are cancelled, before or just when their turn comes, all others get their slots."""

    async def main() -> int:
        throttle, rng = Throttle(), random.Random(seed)

        async def one() -> None:
            slot = await throttle.take("room", limit)
            try:
                await asyncio.sleep(rng.random())
            finally:
                slot.give_back(counted=True)

        tasks = [asyncio.create_task(one()) for _ in cancelled]
        for task, cancel in zip(tasks, cancelled, strict=True):
            await asyncio.sleep(rng.choice([0, 0, 1, 30]))
            if cancel:
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(limit):
            await asyncio.wait_for(throttle.take("room", limit), 10_000)
        return sum(result is None for result in results)

    assert run(main()) >= cancelled.count(False)


def test_a_pause_affects_one_conversation_only():
    """Calls to another room do not wait."""

    async def main() -> tuple[float, float]:
        throttle, loop = Throttle(), asyncio.get_running_loop()
        began = loop.time()
        throttle.pause("room", 42.0)
        await throttle.take("other", 100)
        other = loop.time() - began
        await asyncio.gather(*(throttle.take("room", 100) for _ in range(5)))
        return other, loop.time() - began

    assert run(main()) == (0.0, 42.0)


def test_background_calls_leave_slots_to_others():
    """An exporter takes 97 of 100 slots, and a bot's call does not wait."""

    async def main() -> tuple[int, float]:
        throttle, loop = Throttle(), asyncio.get_running_loop()
        began, let_through = loop.time(), []

        async def exporter() -> None:
            (await throttle.take("room", 100, background=True)).give_back(counted=True)
            let_through.append(loop.time())

        tasks = [asyncio.create_task(exporter()) for _ in range(150)]
        await asyncio.sleep(1)
        taken = len(let_through)
        (await throttle.take("room", 100)).give_back(counted=True)
        waited = loop.time() - began - 1
        await asyncio.gather(*tasks)
        return taken, waited

    assert run(main()) == (97, 0.0)


def test_a_normal_call_goes_before_background_calls_that_wait():
    """The next free slot goes to the bot."""

    async def main() -> list[str]:
        throttle, served = Throttle(), []
        held = [await throttle.take("room", 10) for _ in range(10)]

        async def one(name: str, *, background: bool) -> None:
            await throttle.take("room", 10, background=background)
            served.append(name)

        tasks = [asyncio.create_task(one(f"export {n}", background=True)) for n in range(2)]
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(one("bot", background=False)))
        await asyncio.sleep(0)
        for slot in held:
            slot.give_back(counted=False)
        await asyncio.gather(*tasks)
        return served

    assert run(main()) == ["bot", "export 0", "export 1"]


def test_without_a_limit_only_a_pause_makes_calls_wait():
    """`calls_per_minute=None` leaves the limit to the service."""

    async def main() -> tuple[float, float]:
        throttle, loop = Throttle(), asyncio.get_running_loop()
        began = loop.time()
        for _ in range(1000):
            (await throttle.take("room", None)).give_back(counted=True)
        free = loop.time() - began
        throttle.pause("room", 5.0)
        await throttle.take("room", None)
        return free, loop.time() - began

    assert run(main()) == (0.0, 5.0)


def test_a_client_without_a_limit_does_not_lift_that_of_another():
    """Two clients share a pool, and one of them has `calls_per_minute=None`."""

    async def main() -> tuple[float, list[float]]:
        throttle, loop = Throttle(), asyncio.get_running_loop()
        began, moments = loop.time(), []

        async def limited() -> None:
            (await throttle.take("room", 3)).give_back(counted=True)
            moments.append(loop.time() - began)

        tasks = [asyncio.create_task(limited()) for _ in range(6)]
        await asyncio.sleep(1)
        (await throttle.take("room", None)).give_back(counted=True)
        waited = loop.time() - began - 1
        await asyncio.gather(*tasks)
        return waited, moments

    waited, moments = run(main())

    assert 0.0 == waited
    assert [0.0, 0.0, 0.0] == moments[:3]
    assert all(moment >= 60.0 for moment in moments[3:])


def test_closing_ends_all_waits():
    """Calls that wait for a slot raise `ClientClosed`."""

    async def main() -> list[object]:
        throttle = Throttle()
        await throttle.take("room", 1)
        tasks = [asyncio.create_task(throttle.take("room", 1)) for _ in range(3)]
        await asyncio.sleep(1)
        throttle.close()
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert [ClientClosed] * 3 == [type(result) for result in run(main())]


def test_idle_conversations_are_dropped():
    """An exporter walks through thousands, and their slots do not stay in memory."""

    async def main() -> int:
        throttle = Throttle()
        for number in range(5000):
            (await throttle.take(f"room {number}", 100)).give_back(counted=True)
            await asyncio.sleep(1)
        return len(throttle._limiters)

    assert run(main()) < 1200


class TickingLoop(JumpingLoop):
    """A loop on which each look at the clock is a little later than the one before, as with a real clock."""

    def time(self) -> float:
        self.now += 0.001
        return self.now


@pytest.mark.parametrize("limit", [None, 3])
def test_no_call_waits_forever_at_the_end_of_a_pause(limit):
    """The pause may end between two looks at the clock; calls that waited before are let through."""

    async def main() -> int:
        throttle, served = Throttle(), 0

        async def one() -> None:
            nonlocal served
            (await throttle.take("room", limit)).give_back(counted=False)
            served += 1

        for length in range(200):
            throttle.pause("room", 0.01 + length * 0.0001)
            async with asyncio.timeout(10):
                await asyncio.gather(*(one() for _ in range(5)))
        return served

    with asyncio.Runner(loop_factory=TickingLoop) as runner:
        assert 1000 == runner.run(main())


@pytest.mark.parametrize("limit", [None, 3])
def test_a_call_at_the_end_of_a_pause_blocks_no_other(limit):
    """The loop was busy when the pause ended, so a new call arrives before those that wait are let through."""

    async def main() -> list[str]:
        throttle, served, loop = Throttle(), [], asyncio.get_running_loop()

        async def one(name: str) -> None:
            (await throttle.take("room", limit)).give_back(counted=False)
            served.append(name)

        throttle.pause("room", 1.0)
        early = asyncio.create_task(one("early"))
        await asyncio.sleep(0)
        loop.now += 2
        async with asyncio.timeout(10):
            await asyncio.gather(early, one("late"))
        return served

    assert ["early", "late"] == sorted(run(main()))


def test_a_pause_that_ends_at_once_blocks_no_call():
    """The service may state a reset in the past."""

    async def main() -> float:
        throttle, loop = Throttle(), asyncio.get_running_loop()
        began = loop.time()
        throttle.pause("room", 1.0)
        waiting = asyncio.create_task(throttle.take("room", None))
        await asyncio.sleep(0)
        loop.now += 2
        throttle.pause("room", 0.0)
        await asyncio.wait_for(waiting, 10)
        return loop.time() - began

    assert 2.0 == run(main())
