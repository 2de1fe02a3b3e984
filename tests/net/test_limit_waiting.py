"""A wait for the client's own rate limit is reported, counted and bounded."""

from __future__ import annotations

import asyncio
import logging
import random
import time

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stride_async import CallEnded, ClientClosed, LimitWaiting, RateLimited, Waiting
from stride_async._net.throttle import LimitReached, Throttle
from tests.conftest import client_of
from tests.net.clock import run
from tests.net.test_throttle import most_in_a_window


def waits_of(events: list[object]) -> list[LimitWaiting]:
    return [event for event in events if isinstance(event, LimitWaiting)]


async def test_a_wait_is_reported_when_it_begins(server):
    """The event names the call, and estimates the seconds until a slot is free."""
    room_id = server.add_conversation("general")
    events, begun = [], asyncio.Event()

    def receive(event: object) -> None:
        events.append(event)
        if isinstance(event, LimitWaiting):
            begun.set()

    async with client_of(server, calls_per_minute=1, on_event=receive) as client:
        client.recall_call(room_id, 20.0)
        call = asyncio.create_task(client.conversation(room_id).send("hello"))
        await begun.wait()
        call.cancel()
        await asyncio.wait([call])

    [wait] = waits_of(events)
    assert (wait.method, wait.path) == ("POST", f"/site/{server.cloud_id}/conversation/{room_id}/message")
    assert 30.0 < wait.seconds <= 40.0
    assert wait.call == events[0].call
    assert isinstance(events[-1], CallEnded)
    assert len(server.calls.matching("POST", "*/message")) == 0


async def test_a_call_that_does_not_wait_reports_nothing(server, caplog):
    """Neither a call within the limit nor one without a limit of its own."""
    caplog.set_level(logging.DEBUG, "stride_async")
    room_id, events = server.add_conversation("general"), []
    async with client_of(server, calls_per_minute=3, on_event=events.append, longest_limit_wait=0.0) as client:
        room = client.conversation(room_id)
        await asyncio.gather(*(room.get() for _ in range(3)))
        free = client.with_settings(attrs.evolve(client.settings, calls_per_minute=None))
        await free.conversation(room_id).get()

    assert waits_of(events) == []
    assert caplog.messages == []


async def test_the_time_waited_counts_in_the_stats_of_a_stream(server):
    """It is measured, not estimated: here another client with a higher limit ends the wait early."""
    room_id, begun, since = server.add_conversation("general"), asyncio.Event(), []
    server.fill(room_id, messages=5)

    def receive(event: object) -> None:
        if isinstance(event, LimitWaiting):
            since.append(time.perf_counter())
            begun.set()

    async with client_of(server, calls_per_minute=1, on_event=receive) as client:
        client.recall_call(room_id, 1.0)
        other = client.with_settings(attrs.evolve(client.settings, calls_per_minute=10, on_event=None))
        async with client.conversation(room_id).history(max_items=1).stream() as stream:
            reading = asyncio.create_task(anext(aiter(stream)))
            await begun.wait()
            await other.conversation(room_id).get()
            await reading

    assert len(since) == 1
    assert 0.0 < stream.stats.seconds_waited < time.perf_counter() - since[0]


async def test_a_wait_of_a_second_or_more_is_one_line_of_log(server, caplog):
    """A shorter one is not worth a line."""
    caplog.set_level(logging.INFO, "stride_async")
    long, short = server.add_conversation("long"), server.add_conversation("short")
    begun = asyncio.Event()

    def receive(event: object) -> None:
        if isinstance(event, LimitWaiting) and event.seconds > 1:
            begun.set()

    async with client_of(server, calls_per_minute=1, on_event=receive) as client:
        client.recall_call(short, 59.9)
        await client.conversation(short).get()
        client.recall_call(long, 30.0)
        call = asyncio.create_task(client.conversation(long).get())
        await begun.wait()
        call.cancel()
        await asyncio.wait([call])

    [line] = caplog.messages
    assert line.startswith(f"GET /site/{server.cloud_id}/conversation/{long}: waiting about ")
    assert line.endswith(" s for the client's own rate limit")


async def test_a_wait_that_would_be_too_long_is_raised_at_once(server, caplog):
    """Nothing is sent and nothing is used up, and the error says how long to wait and why."""
    caplog.set_level(logging.INFO, "stride_async")
    room_id, other_id = server.add_conversation("general"), server.add_conversation("other")
    events = []
    async with client_of(server, calls_per_minute=2, longest_limit_wait=5.0, on_event=events.append) as client:
        client.recall_call(room_id, 20.0)
        client.recall_call(room_id, 10.0)
        budget = client._pool.budget.left
        with pytest.raises(
            RateLimited, match="client's own rate limit exceeds longest_limit_wait=5; the wait"
        ) as caught:
            await client.conversation(room_id).send("hello")
        await client.conversation(other_id).get()

        assert client._pool.budget.left == budget
    error = caught.value
    assert (error.attempts, error.retryable, error.maybe_processed, error.status) == ((), True, False, 429)
    assert 30.0 < error.retry_after <= 40.0
    assert "the client's own rate limit requires a wait of about" in error.explain()
    assert len(server.calls.matching("POST", "*/message")) == 0
    assert (waits_of(events), caplog.messages) == ([], [])


async def test_a_pause_that_would_be_too_long_is_raised_as_well(server):
    """After a 429, the other callers of the conversation do not wait longer than they allow."""
    room_id = server.add_conversation("general")
    server.faults.add("GET", "*/conversation/*", status=429, headers={"Retry-After": "60"}, times=1)
    refused = asyncio.Event()

    def receive(event: object) -> None:
        if isinstance(event, Waiting):
            refused.set()

    async with client_of(server, longest_limit_wait=1.0, on_event=receive) as client:
        room = client.conversation(room_id)
        first = asyncio.create_task(room.get())
        await refused.wait()
        assert room.calls_left() == 0
        with pytest.raises(RateLimited) as caught:
            await room.get()
        first.cancel()
        await asyncio.wait([first])

    assert caught.value.attempts == ()
    assert 50.0 < caught.value.retry_after <= 60.0


async def test_a_retry_that_would_wait_too_long_gives_its_budget_back(server):
    """The attempts before it are listed, and the retry that is not made costs nothing."""
    room_id = server.add_conversation("general")
    server.faults.add("GET", "*/conversation/*", status=503)
    async with client_of(server, calls_per_minute=1, longest_limit_wait=5.0) as client:
        budget = client._pool.budget.left
        with pytest.raises(RateLimited, match="not retried, because the wait") as caught:
            await client.conversation(room_id).get()

        assert client._pool.budget.left == budget
    assert [attempt.status for attempt in caught.value.attempts] == [503]


async def test_calls_left_counts_down_and_counts_those_that_wait(server):
    """It is what the limiter would let through now, for this conversation or person only."""
    room_id, other_id = server.add_conversation("general"), server.add_conversation("other")
    waits, all_wait = [], asyncio.Event()

    def receive(event: object) -> None:
        if isinstance(event, LimitWaiting):
            waits.append(event)
            if len(waits) == 3:
                all_wait.set()

    async with client_of(server, calls_per_minute=3, on_event=receive) as client:
        room, other, person = client.conversation(room_id), client.conversation(other_id), client.user("someone")
        assert (room.calls_left(), other.calls_left(), person.calls_left()) == (3, 3, 3)
        await room.get()
        client.recall_call("user/someone", 1.0)
        assert (room.calls_left(), other.calls_left(), person.calls_left()) == (2, 3, 2)

        calls = [asyncio.create_task(room.get()) for _ in range(5)]
        await all_wait.wait()
        assert room.calls_left() == 0
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)

        free = client.with_settings(attrs.evolve(client.settings, calls_per_minute=None))
        assert free.conversation(room_id).calls_left() is None
        assert free.user("someone").calls_left() is None


def test_calls_left_to_a_conversation_without_calls_is_what_can_be_taken_without_waiting():
    """The reserve is left to callers of normal priority from the first call on."""

    async def main(*, background: bool) -> tuple[int | None, int]:
        throttle = Throttle()
        said, taken = throttle.calls_left("room", 100, background=background), 0
        while throttle.take_free("room", 100, background=background) is not None:
            taken += 1
        return said, taken

    assert run(main(background=False)) == (100, 100)
    assert run(main(background=True)) == (97, 97)


def test_calls_left_for_background_callers_leaves_a_reserve():
    """Of 100 slots they may use 97."""

    async def main() -> tuple[int | None, int | None]:
        throttle = Throttle()
        (await throttle.take("room", 100)).give_back(counted=True)
        return throttle.calls_left("room", 100), throttle.calls_left("room", 100, background=True)

    assert run(main()) == (99, 96)


Wait = tuple[float, float]


async def estimated_and_real(
    throttle: Throttle, count: int, limit: int, *, background: bool = False, latency: float = 0.0
) -> list[Wait]:
    """Start calls at once; return how long each was estimated to wait, and how long it waited."""
    loop, began = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    waits: list[Wait] = []

    async def one() -> None:
        estimates = [0.0]
        slot = await throttle.take("room", limit, background=background, on_wait=estimates.append)
        waits.append((estimates[-1], loop.time() - began))
        await asyncio.sleep(latency)
        slot.give_back(counted=True)

    await asyncio.gather(*(one() for _ in range(count)))
    return waits


@settings(max_examples=100, deadline=None)
@given(
    recalled=st.lists(st.integers(0, 59), max_size=12),
    count=st.integers(1, 60),
    limit=st.integers(1, 12),
    pause=st.sampled_from([0.0, 7.0, 45.0, 200.0]),
    background=st.booleans(),
)
@example(recalled=[0] * 12, count=5, limit=3, pause=0.0, background=False)
def test_the_estimate_is_exact_if_responses_take_no_time(recalled, count, limit, pause, background):
    """Whatever cools already, however long the queue, with or without a pause."""

    async def main() -> list[Wait]:
        throttle = Throttle()
        for seconds_ago in recalled:
            throttle.recall("room", float(seconds_ago))
        if pause:
            throttle.pause("room", pause)
        return await estimated_and_real(throttle, count, limit, background=background)

    for estimated, waited in run(main()):
        assert waited == pytest.approx(estimated, abs=1e-6)


def test_the_estimate_is_one_window_if_all_slots_are_out():
    """Nothing is known about when their responses come."""

    async def main() -> list[Wait]:
        return await estimated_and_real(Throttle(), 3, 2, latency=5.0)

    assert run(main()) == [(0.0, 0.0), (0.0, 0.0), (60.0, 65.0)]


async def bounded(throttle: Throttle, longest: float, moments: list[float], **options: bool) -> float | None:
    """Make one call that waits no longer than `longest`; return the estimate if it gave up."""
    loop = asyncio.get_running_loop()
    try:
        slot = await throttle.take("room", 2, longest=longest, **options)
    except LimitReached as reached:
        return reached.seconds
    moments.append(loop.time())
    slot.give_back(counted=True)
    return None


def test_a_wait_that_turns_out_longer_ends_when_it_has_taken_as_long_as_allowed():
    """A slot that was expected in time comes back late: the estimate was kept to, not exceeded."""

    async def main() -> tuple[float | None, float, list[float]]:
        throttle, loop = Throttle(), asyncio.get_running_loop()
        held = [await throttle.take("room", 2) for _ in range(2)]
        began, moments = loop.time(), []
        waiting = asyncio.create_task(bounded(throttle, 61.0, moments))
        behind = asyncio.create_task(bounded(throttle, 1e6, moments))
        await asyncio.sleep(30)
        for slot in held:
            slot.give_back(counted=True)
        estimate = await waiting
        ended = loop.time() - began
        assert await behind is None
        return estimate, ended, [moment - began for moment in moments]

    estimate, ended, moments = run(main())

    assert (estimate, ended) == (pytest.approx(29.0), pytest.approx(61.0))
    assert moments == [pytest.approx(90.0)]


@settings(max_examples=100, deadline=None)
@given(
    callers=st.lists(
        st.tuples(st.sampled_from([0.0, 1.0, 59.0, 61.0, 130.0, 1e6]), st.booleans(), st.booleans(), st.booleans()),
        min_size=1,
        max_size=25,
    ),
    seed=st.integers(0, 2**32),
)
def test_callers_that_give_up_leave_the_queue_unharmed(callers, seed):
    """Bounded, cancelled, background and retrying callers in any mixture: the limit holds, and no slot is lost."""

    async def main() -> tuple[list[float], list[object]]:
        throttle, chance, moments = Throttle(), random.Random(seed), []
        tasks = []
        for longest, background, again, cancelled in callers:
            task = asyncio.create_task(bounded(throttle, longest, moments, background=background, again=again))
            tasks.append(task)
            await asyncio.sleep(chance.choice([0, 0, 1, 30]))
            if cancelled:
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(60)
        assert throttle.calls_left("room", 2) == 2
        async with asyncio.timeout(1):
            await asyncio.gather(*(throttle.take("room", 2) for _ in range(2)))
        return moments, results

    moments, results = run(main())

    assert most_in_a_window(moments) <= 2
    assert len(moments) == results.count(None)
    for (longest, _, _, cancelled), result in zip(callers, results, strict=True):
        assert cancelled or longest < 1e6 or result is None
        assert result is None or isinstance(result, float | asyncio.CancelledError)


def test_closing_ends_a_bounded_wait():
    """The caller gets `ClientClosed`, and no timer remains that would act later."""

    async def main() -> object:
        throttle = Throttle()
        await throttle.take("room", 1)
        waiting = asyncio.create_task(throttle.take("room", 1, longest=100.0))
        await asyncio.sleep(1)
        throttle.close()
        [result] = await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.sleep(200)
        return result

    assert isinstance(run(main()), ClientClosed)
