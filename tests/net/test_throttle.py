"""Places in any 60 seconds, on a clock that jumps."""

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
    """The most moments that any span of the window's length holds."""
    held: deque[float] = deque()
    most = 0
    for moment in sorted(moments):
        held.append(moment)
        while held[0] <= moment - window:
            held.popleft()
        most = max(most, len(held))
    return most


async def calls(throttle: Throttle, count: int, limit: int, latency: random.Random | None = None) -> list[float]:
    """Moments at which so many calls were let through, all started at once."""
    loop = asyncio.get_running_loop()
    moments: list[float] = []

    async def one() -> None:
        place = await throttle.take("room", limit)
        moments.append(loop.time())
        await asyncio.sleep(0 if latency is None else latency.random() * 3)
        place.give_back(counted=True)

    await asyncio.gather(*(one() for _ in range(count)))
    return moments


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 20), st.integers(1, 80), st.integers(0, 2**32))
def test_no_window_holds_more_than_the_limit(limit, count, seed):
    """Whatever the latency, in any 60 seconds no more calls begin than are allowed."""
    moments = run(calls(Throttle(), count, limit, random.Random(seed)))

    assert count == len(moments)
    assert most_in_a_window(moments) <= limit


def test_there_is_no_drift_over_ten_thousand_calls():
    """A hundred at once every minute: ten thousand calls take 99 windows."""

    async def main() -> float:
        moments = await calls(Throttle(), 10_000, 100)
        return max(moments) - min(moments)

    assert run(main()) == pytest.approx(99 * 60.0, abs=0.01)


def test_a_place_is_free_one_window_after_its_answer():
    """Measured from the sending, latency could put 101 calls into one window of the service."""

    async def main() -> float:
        throttle, loop = Throttle(), asyncio.get_running_loop()
        first = await throttle.take("room", 1)
        await asyncio.sleep(7)
        first.give_back(counted=True)
        began = loop.time()
        await throttle.take("room", 1)
        return loop.time() - began

    assert run(main()) == pytest.approx(60.0)


def test_an_unsent_call_gives_its_place_back_at_once():
    """What the service never saw does not count."""

    async def main() -> float:
        throttle, loop = Throttle(), asyncio.get_running_loop()
        (await throttle.take("room", 1)).give_back(counted=False)
        began = loop.time()
        await throttle.take("room", 1)
        return loop.time() - began

    assert run(main()) == 0.0


def test_waiters_are_served_in_order_and_a_repeat_goes_first():
    """First come first served; who is sent again had its turn before, and among those it is the same."""

    async def main() -> list[str]:
        throttle, served = Throttle(), []
        held = await throttle.take("room", 1)

        async def one(name: str, *, again: bool = False) -> None:
            place = await throttle.take("room", 1, again=again)
            served.append(name)
            place.give_back(counted=False)

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
def test_cancelled_waiters_leave_no_hole(cancelled, limit, seed):
    """However many give up, before or just when their turn comes, the others all get theirs."""

    async def main() -> int:
        throttle, rng = Throttle(), random.Random(seed)

        async def one() -> None:
            place = await throttle.take("room", limit)
            try:
                await asyncio.sleep(rng.random())
            finally:
                place.give_back(counted=True)

        tasks = [asyncio.create_task(one()) for _ in cancelled]
        for task, give_up in zip(tasks, cancelled, strict=True):
            await asyncio.sleep(rng.choice([0, 0, 1, 30]))
            if give_up:
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(limit):
            await asyncio.wait_for(throttle.take("room", limit), 10_000)
        return sum(result is None for result in results)

    assert run(main()) >= cancelled.count(False)


def test_a_pause_holds_one_conversation_only():
    """A limit that was felt in one room is nobody else's business."""

    async def main() -> tuple[float, float]:
        throttle, loop = Throttle(), asyncio.get_running_loop()
        began = loop.time()
        throttle.pause("room", 42.0)
        await throttle.take("other", 100)
        other = loop.time() - began
        await asyncio.gather(*(throttle.take("room", 100) for _ in range(5)))
        return other, loop.time() - began

    assert run(main()) == (0.0, 42.0)


def test_a_background_caller_leaves_places_to_others():
    """Of 100 places an exporter takes 97; a bot's answer goes at once."""

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


def test_a_normal_caller_goes_before_waiting_background_callers():
    """When a place comes free, it is for the one who answers a person."""

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
        for place in held:
            place.give_back(counted=False)
        await asyncio.gather(*tasks)
        return served

    assert run(main()) == ["bot", "export 0", "export 1"]


def test_no_limit_means_no_wait_but_a_pause_still_holds():
    """`calls_per_minute=None` trusts the service to say when."""

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


def test_a_caller_without_a_limit_frees_nobody_who_keeps_one():
    """Two clients over one pool, one of them with `calls_per_minute=None`."""

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


def test_closing_wakes_all_who_wait():
    """Nobody waits for a place that never comes."""

    async def main() -> list[object]:
        throttle = Throttle()
        await throttle.take("room", 1)
        tasks = [asyncio.create_task(throttle.take("room", 1)) for _ in range(3)]
        await asyncio.sleep(1)
        throttle.close()
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert [ClientClosed] * 3 == [type(result) for result in run(main())]


def test_idle_conversations_are_forgotten():
    """An exporter walks through thousands; their places are not kept for ever."""

    async def main() -> int:
        throttle = Throttle()
        for number in range(5000):
            (await throttle.take(f"room {number}", 100)).give_back(counted=True)
            await asyncio.sleep(1)
        return len(throttle._limiters)

    assert run(main()) < 1200


class TickingLoop(JumpingLoop):
    """Each look at the clock is a little later than the one before, as it is with a real one."""

    def time(self) -> float:
        self.now += 0.001
        return self.now


@pytest.mark.parametrize("limit", [None, 3])
def test_nobody_is_forgotten_at_the_very_end_of_a_pause(limit):
    """Between two looks at the clock the pause may end: who came before is woken all the same."""

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
def test_who_comes_while_a_pause_ends_holds_nobody_up(limit):
    """The loop was busy when the pause ended: a new caller comes before those who wait are woken."""

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


def test_a_pause_that_is_over_at_once_holds_nobody_up():
    """The service may state a reset that is past."""

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
