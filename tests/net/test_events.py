"""What the client reports: each step as an event, and retries to the log."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys

import attrs
import pytest

from stride_async import (
    AttemptEnded,
    AttemptStarted,
    CallEnded,
    CallStarted,
    NotFound,
    NotSent,
    PageFetched,
    RateLimited,
    Settings,
    StaticToken,
    StrideClient,
    TokenRefreshed,
    Waiting,
)
from tests.conftest import client_of
from tests.net.peers import free_port

ME = ("GET", "/me")
TOKEN = ("POST", "/oauth/token")


@pytest.fixture
def events() -> list[object]:
    return []


@pytest.fixture
async def client(server, events):
    async with client_of(server, on_event=events.append) as client:
        yield client


def steps(events: list[object]) -> list[object]:
    """The events, without the durations."""
    return [
        attrs.evolve(event, seconds=0.0) if isinstance(event, AttemptEnded | Waiting) else event for event in events
    ]


async def test_each_step_of_a_call_is_an_event_in_order(client, server, events):
    """The first call waits for the token call; each retry has a reason; every call has a number."""
    server.faults.add(*ME, status=503, times=1)
    server.faults.add(*ME, status=429, headers={"Retry-After": "0"}, times=1)

    await client.me()

    call = events[0].call
    token = events[1].call
    assert [
        CallStarted(call, *ME),
        CallStarted(token, *TOKEN),
        AttemptStarted(token, *TOKEN, 1),
        AttemptEnded(token, *TOKEN, 1, 200, None, 0.0),
        CallEnded(token, *TOKEN, 1, 200, None),
        TokenRefreshed(3600.0),
        AttemptStarted(call, *ME, 1),
        AttemptEnded(call, *ME, 1, 503, None, 0.0),
        Waiting(call, *ME, 0.0, "answered 503: backoff"),
        AttemptStarted(call, *ME, 2),
        AttemptEnded(call, *ME, 2, 429, None, 0.0),
        Waiting(call, *ME, 0.0, "answered 429: the service asked for 0.0 s"),
        AttemptStarted(call, *ME, 3),
        AttemptEnded(call, *ME, 3, 200, None, 0.0),
        CallEnded(call, *ME, 3, 200, None),
    ] == steps(events)
    assert call != token


async def test_a_call_that_fails_has_an_end_event(events):
    """Without a response, the event has the class and message of the error."""
    settings = Settings(base_url=f"http://127.0.0.1:{free_port()}", on_event=events.append, attempts=2, backoff=0.0)
    async with StrideClient(StaticToken("a-room-token"), cloud_id="c", settings=settings) as client:
        with pytest.raises(NotSent):
            await client.me()

    attempts = [event for event in events if isinstance(event, AttemptEnded)]
    assert [(None, "NotSent")] * 2 == [(event.status, event.error.partition(":")[0]) for event in attempts]
    assert ("NotSent", None, 2) == (events[-1].error, events[-1].status, events[-1].attempts)


async def test_a_call_that_ends_with_an_error_status_reports_the_status(client, server, events):
    """The class of the error is not reported, because it follows from the status."""
    with pytest.raises(NotFound):
        await client.conversation("nowhere").get()

    assert (404, None) == (events[-1].status, events[-1].error)


async def test_a_cancelled_call_has_an_end_event(client, server, events):
    """A receiver that counts the calls in flight gets back to zero."""
    arrived = asyncio.Event()
    server.faults.add(*ME, stall="headers", do=lambda _: arrived.set())
    call = asyncio.create_task(client.me())
    await arrived.wait()
    call.cancel()
    await asyncio.wait([call])

    began = [event.call for event in events if isinstance(event, CallStarted)]
    ended = [event.call for event in events if isinstance(event, CallEnded)]
    assert sorted(began) == sorted(ended)
    assert "CancelledError" == events[-1].error


async def test_call_numbers_are_unique_in_the_process(server, events):
    """One receiver may listen to several clients."""
    async with client_of(server, on_event=events.append) as one, client_of(server, on_event=events.append) as other:
        await asyncio.gather(*(client.me() for client in (one, other) for _ in range(20)))

    numbers = [event.call for event in events if isinstance(event, CallStarted)]
    assert 42 == len(numbers) == len(set(numbers))


async def test_every_page_is_an_event(client, server, events):
    """It reports the number of items and bytes; the last page is empty."""
    room_id = server.add_conversation("general")
    server.fill(room_id, messages=100)

    await client.conversation(room_id).history().collect(limit=None)

    pages = [event for event in events if isinstance(event, PageFetched)]
    assert [75, 25, 0] == [page.items for page in pages]
    assert {f"/site/{server.cloud_id}/conversation/{room_id}/message"} == {page.path for page in pages}
    assert pages[0].size_bytes > pages[1].size_bytes > pages[2].size_bytes > 0


async def test_events_are_not_created_without_a_receiver(server):
    """Only a client with a receiver pays for events."""
    created = set()

    def watch(frame, event, _):
        if event == "call" and "stride_async._events" in frame.f_code.co_filename:
            created.add(frame.f_code.co_filename)

    async def work(**options):
        created.clear()
        async with client_of(server, **options) as client:
            sys.setprofile(watch)
            try:
                await client.conversations().collect(limit=None)
            finally:
                sys.setprofile(None)
        return len(created)

    assert (0, 6) == (await work(), await work(on_event=lambda _: None))


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
async def test_a_retry_is_one_line_in_the_log(client, server, caplog, level):
    """Calls that succeed and errors that are raised are not logged."""
    caplog.set_level(level, "stride_async")
    server.faults.add(*ME, status=503, times=2)
    await client.me()
    with pytest.raises(NotFound):
        await client.conversation("nowhere").get()

    assert ["GET /me: retrying in 0.00 s (answered 503: backoff)"] * 2 == caplog.messages
    assert {("INFO", "stride_async")} == {(record.levelname, record.name[:12]) for record in caplog.records}


async def test_a_long_wait_is_logged_when_it_begins(server, caplog):
    """The log explains why nothing happens."""
    caplog.set_level(logging.INFO, "stride_async")
    waits = asyncio.Event()
    server.faults.add(*ME, status=429, headers={"Retry-After": "60"})
    async with client_of(server, on_event=lambda event: waits.set() if isinstance(event, Waiting) else None) as client:
        call = asyncio.create_task(client.me())
        await waits.wait()
        call.cancel()
        await asyncio.wait([call])

    [line] = caplog.messages
    assert line.startswith("GET /me: retrying in 6")
    assert line.endswith("s (answered 429: the service asked for 60.0 s)")


async def test_a_wait_that_is_too_long_is_not_logged(client, server, caplog):
    """It is raised, and what is raised is not logged."""
    caplog.set_level(logging.DEBUG, "stride_async")
    server.faults.add(*ME, status=429, headers={"Retry-After": "86400"})

    with pytest.raises(RateLimited):
        await client.me()

    assert [] == caplog.messages


def test_nothing_is_printed_without_logging():
    """A program that does not configure logging prints nothing, in spite of retries and errors."""
    code = f"""
import asyncio
from stride_async import NotSent, Settings, StaticToken, StrideClient

async def main():
    settings = Settings(base_url="http://127.0.0.1:{free_port()}", backoff=0.0)
    async with StrideClient(StaticToken("t"), cloud_id="c", settings=settings) as client:
        try:
            await client.me()
        except NotSent as error:
            print(len(error.attempts))

asyncio.run(main())
"""
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], check=False, capture_output=True, text=True)

    assert ("", "4\n") == (ran.stderr, ran.stdout)
