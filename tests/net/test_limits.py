"""The client stays within the limit; if the service states a wait, the client waits it out."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import attrs
import pytest

from stride_async import LimitWaiting, RateLimited, Waiting
from stride_async._net.throttle import Throttle
from stride_async.server import Choices, LocalServer
from tests.conftest import client_of
from tests.net.clock import run

HOUR = timedelta(hours=1)


class FixedWindows:
    """How the service counts (protocol 3.4): the first call to a conversation begins a window."""

    def __init__(self, limit: int) -> None:
        self.rejected = 0
        self._limit = limit
        self._windows: dict[str, tuple[float, int]] = {}

    def arrive(self, room: str, now: float) -> None:
        began, count = self._windows.get(room, (now, 0))
        if now >= began + 60:
            began, count = now, 0
        self._windows[room] = began, count + 1
        self.rejected += count + 1 > self._limit


async def walks(service: FixedWindows, latency: float, at_once: int) -> float:
    """Return the seconds that 150 calls to each of 5 rooms take at 60 a minute, with some calls at once."""
    throttle, loop, rng = Throttle(), asyncio.get_running_loop(), random.Random(7)

    async def walk(room: str, calls: list[None]) -> None:
        while calls:
            calls.pop()
            slot = await throttle.take(room, 60)
            await asyncio.sleep(latency * rng.uniform(0.2, 1.0))
            service.arrive(room, loop.time())
            await asyncio.sleep(latency * rng.uniform(0.2, 1.0))
            slot.give_back(counted=True)

    began, rooms = loop.time(), {f"room {number}": [None] * 150 for number in range(5)}
    await asyncio.gather(*(walk(room, calls) for room, calls in rooms.items() for _ in range(at_once)))
    return loop.time() - began


@pytest.mark.parametrize("at_once", [1, 20])
def test_the_limit_is_used_completely_and_never_exceeded(at_once):
    """The calls take little more than the two full minutes they need, and none is rejected."""
    service = FixedWindows(60)

    taken = run(walks(service, 0.02, at_once))

    assert 0 == service.rejected
    assert 120 / taken >= 0.97


@pytest.mark.parametrize("latency", [0.25, 2.0, 20.0, 90.0])
def test_the_limit_is_never_exceeded_however_late_calls_arrive(latency):
    """A call may arrive long after it got its slot, in a later window of the service."""
    service = FixedWindows(60)

    run(walks(service, latency, 100))

    assert 0 == service.rejected


class Waits:
    """Receives events. `reached(n)` waits until n calls have begun to wait for the client's own rate limit."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.refused = asyncio.Event()
        self._news = asyncio.Event()

    def __call__(self, event: object) -> None:
        if isinstance(event, LimitWaiting):
            self.seconds.append(event.seconds)
            self._news.set()
        elif isinstance(event, Waiting):
            self.refused.set()

    async def reached(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.seconds) < count:
                self._news.clear()
                await self._news.wait()


async def test_calls_above_the_limit_wait_in_the_client(server: LocalServer):
    """No more calls go out than are allowed."""
    room_id, waits = server.add_conversation("general"), Waits()
    async with client_of(server, calls_per_minute=10, on_event=waits) as client:
        room = client.conversation(room_id)
        calls = [asyncio.create_task(room.get()) for _ in range(30)]
        await waits.reached(20)
        await asyncio.gather(*calls[:10])
        for call in calls[10:]:
            call.cancel()
        await asyncio.wait(calls)

    assert 20 == len(waits.seconds)
    assert 10 == len(server.calls.matching("GET", f"*/{room_id}"))


async def test_a_429_pauses_all_callers_of_its_conversation_and_no_others(server: LocalServer):
    """New calls wait for the stated time without being sent; calls to another room are served."""
    room_id, other_id = server.add_conversation("general"), server.add_conversation("other")
    server.faults.add("GET", f"*/{room_id}", status=429, headers={"Retry-After": "60"}, times=1)
    waits = Waits()
    async with client_of(server, on_event=waits) as client:
        room, other = client.conversation(room_id), client.conversation(other_id)
        calls = [asyncio.create_task(room.get())]
        await waits.refused.wait()
        calls += [asyncio.create_task(room.get()) for _ in range(50)]
        await waits.reached(50)
        await asyncio.gather(*(other.get() for _ in range(20)))
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)

    assert [429] == [call.status for call in server.calls.matching("GET", f"*/{room_id}")]
    assert [200] * 20 == [call.status for call in server.calls.matching("GET", f"*/{other_id}")]
    assert all(0 < seconds <= 60 for seconds in waits.seconds)


async def test_a_client_without_a_limit_waits_as_the_service_says():
    """The calls above the limit are rejected once, wait for the reset, and are served."""
    async with LocalServer(rate_limit=15, window=1.0) as server, client_of(server) as client:
        room_id, other_id = server.add_conversation("general"), server.add_conversation("other")
        room = client.conversation(room_id)

        await asyncio.gather(*(room.get() for _ in range(25)), client.conversation(other_id).get())

        calls = server.calls.matching("GET", f"*/{room_id}")
        assert [200] * 15 + [429] * 10 + [200] * 10 == [call.status for call in calls]
        assert [200] == [call.status for call in server.calls.matching("GET", f"*/{other_id}")]


async def test_a_bot_does_not_wait_behind_an_exporter(server: LocalServer):
    """They share one limit, and background priority leaves a slot to others."""
    room_id = server.add_conversation("general")
    ninth = asyncio.Event()
    server.faults.add("GET", "*/recent", after=8, do=lambda _: ninth.set())
    async with client_of(server, calls_per_minute=10) as bot:
        exporter = bot.with_settings(attrs.evolve(bot.settings, priority="background"))
        pages = [asyncio.create_task(exporter.conversation(room_id).recent()) for _ in range(30)]
        async with asyncio.timeout(5):
            await ninth.wait()
            await bot.conversation(room_id).send("here")
        for page in pages:
            page.cancel()
        await asyncio.wait(pages)

    assert 9 == len(server.calls.matching("GET", "*/recent"))


def rfc3339(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def epoch(at: datetime) -> str:
    return str(int(at.timestamp()))


def http_date(at: datetime) -> str:
    return format_datetime(at, usegmt=True)


INSTANTS = [("X-RateLimit-Reset", rfc3339), ("X-RateLimit-Reset", epoch), ("Retry-After", http_date)]


@pytest.mark.parametrize("off", [-HOUR, HOUR], ids=["an hour behind", "an hour ahead"])
@pytest.mark.parametrize(("header", "written"), INSTANTS)
async def test_a_wrong_clock_does_no_harm(client, server, header, written, off):
    """The wait is measured by the clock of the response, even if that is an hour off, and never below zero."""
    there = datetime.now(UTC).replace(microsecond=0) + off
    server.faults.add("GET", "/me", status=429, headers={header: written(there), "Date": http_date(there)}, times=1)
    server.faults.add(
        "GET", "/me", status=429, headers={header: written(there - 9 * HOUR), "Date": http_date(there)}, times=1
    )

    async with asyncio.timeout(5):
        await client.me()

    assert [429, 429, 200] == [call.status for call in server.calls.matching("GET", "/me")]


@pytest.mark.parametrize("off", [-HOUR, HOUR], ids=["an hour behind", "an hour ahead"])
@pytest.mark.parametrize(("header", "written"), INSTANTS)
async def test_an_excessive_wait_is_raised_at_once(client, server, header, written, off):
    """The error has the exact wait, by the clock of the response; other callers are not paused."""
    there = datetime.now(UTC).replace(microsecond=0) + off
    year = timedelta(days=365)
    room = client.conversation(server.add_conversation("general"))
    headers = {header: written(there + year), "Date": http_date(there)}
    server.faults.add("GET", "*/conversation/*", status=429, headers=headers, times=1)

    with pytest.raises(RateLimited) as caught:
        await room.get()
    await room.get()

    assert year.total_seconds() == caught.value.retry_after
    assert (1, True) == (len(caught.value.attempts), caught.value.retryable)
    assert [429, 200] == [call.status for call in server.calls.matching("GET", "*/conversation/*")]


@pytest.mark.parametrize("text", ["0.05", "0"])
async def test_stated_seconds_are_a_minimum(server, text):
    """The client waits at most a tenth longer, so that many callers do not return at once."""
    events = []
    server.faults.add("GET", "/me", status=429, headers={"Retry-After": text}, times=3)
    async with client_of(server, backoff=1e-6, on_event=events.append) as client:
        await client.me()

    waits = [event.seconds for event in events if isinstance(event, Waiting)]
    assert all(float(text) <= seconds <= max(float(text) * 1.1, 1e-5) for seconds in waits)
    assert 3 == len(waits)


@pytest.mark.parametrize("header", ["Retry-After", "X-RateLimit-Reset"])
async def test_an_unreadable_wait_counts_as_none(server, header):
    """The backoff applies, and the event says so."""
    events = []
    server.faults.add("GET", "/me", status=429, headers={header: "in a moment"}, times=3)
    async with client_of(server, backoff=0.02, on_event=events.append) as client:
        await client.me()

    waits = [event for event in events if isinstance(event, Waiting)]
    assert ["answered 429: backoff"] * 3 == [wait.reason for wait in waits]
    assert all(0 <= wait.seconds <= 0.02 * 2**number for number, wait in enumerate(waits))


@pytest.mark.parametrize("form", ["none", "seconds", "date"])
async def test_every_form_of_a_stated_wait_is_understood(form):
    """In whatever form a 429 states the wait, the call succeeds after the reset."""
    async with LocalServer(rate_limit=1, window=0.5, choices=Choices(retry_after=form)) as server:
        room_id = server.add_conversation("general")
        async with client_of(server, backoff=1e-6) as client:
            for _ in range(2):
                await client.conversation(room_id).get()

        assert [200, 429, 200] == [call.status for call in server.calls.matching("GET", f"*/{room_id}")]
