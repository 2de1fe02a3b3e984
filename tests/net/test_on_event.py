"""What a receiver of events sees of a response, and what happens if the receiver is defective."""

from __future__ import annotations

import asyncio
import logging
import sys

import attrs
import pytest

from stride_async import (
    AttemptEnded,
    AttemptStarted,
    CallEnded,
    CallStarted,
    NotSent,
    PageFetched,
    Settings,
    StaticToken,
    StrideClient,
    TokenRefreshed,
    Waiting,
)
from tests.conftest import client_of
from tests.net.peers import free_port

EVENTS = [CallStarted, AttemptStarted, AttemptEnded, Waiting, CallEnded, PageFetched, TokenRefreshed]


class Defect(Exception):
    """What a defective receiver raises."""


def failing_at(*kinds: type) -> tuple[list[object], object]:
    """Return the events that a receiver was called with, and the receiver, which fails at events of some kinds."""
    received = []

    def receive(event: object) -> None:
        received.append(event)
        if isinstance(event, kinds):
            raise Defect(type(event).__name__)

    return received, receive


@pytest.mark.parametrize("kind", EVENTS)
async def test_an_exception_of_the_receiver_does_not_fail_a_call(server, kind):
    """Whichever event it fails at, messages are sent and listings continue."""
    room_id = server.add_conversation("general")
    server.faults.add("POST", "*/message", status=429, times=1)
    received, receive = failing_at(kind)
    async with client_of(server, on_event=receive) as client:
        room = client.conversation(room_id)
        message_id = await room.send("hello")
        [message] = await room.history().collect(limit=None)

    assert message.id == message_id
    assert set(EVENTS) == {type(event) for event in received}


async def test_an_exception_of_the_receiver_does_not_hide_the_error_of_a_call():
    """The error of the call is raised, not that of the receiver."""
    _, receive = failing_at(object)
    settings = Settings(base_url=f"http://127.0.0.1:{free_port()}", on_event=receive, attempts=2, backoff=0.0)
    async with StrideClient(StaticToken("a-room-token"), cloud_id="c", settings=settings) as client:
        with pytest.raises(NotSent) as caught:
            await client.me()

    assert len(caught.value.attempts) == 2


async def test_the_first_exception_of_a_receiver_is_logged_with_its_traceback(server, caplog):
    """One receiver makes one line, however often it fails and whichever client of the pool calls it."""
    _, receive = failing_at(object)
    async with client_of(server, on_event=receive) as client:
        await client.me()
        derived = client.with_settings(attrs.evolve(client.settings, priority="background"))
        await derived.conversations().collect(limit=None)

    [record] = caplog.records
    assert (record.levelno, record.name.partition(".")[0]) == (logging.ERROR, "stride_async")
    assert "on_event raised an exception" in record.getMessage()
    assert record.exc_info[0] is Defect
    assert record.exc_info[2] is not None


async def test_each_receiver_is_logged_once(server, caplog):
    """A derived client may have a receiver of its own, which has its own defects."""
    async with client_of(server, on_event=failing_at(object)[1]) as client:
        other = client.with_settings(attrs.evolve(client.settings, on_event=failing_at(object)[1]))
        for each in (client, other, client, other):
            await each.me()

    assert len(caplog.records) == 2


@pytest.mark.parametrize("kind", [KeyboardInterrupt, asyncio.CancelledError])
async def test_interrupts_pass_through_a_receiver(server, caplog, kind):
    """They are not defects: they end the program or the task."""

    def receive(event: object) -> None:
        if isinstance(event, AttemptStarted) and event.path == "/me":
            raise kind

    async with client_of(server, on_event=receive) as client:
        with pytest.raises(kind):
            await client.me()

    assert caplog.records == []


async def test_an_ended_attempt_has_the_headers_of_its_response(server):
    """Success or error, they are found whatever the case of the name, and cannot be changed."""
    received = []
    limits = {"X-RateLimit-Remaining": "7", "Set-Cookie": "session=1"}
    server.faults.add("GET", "/me", status=503, headers={"X-RateLimit-Remaining": "0"}, times=1)
    server.faults.add("GET", "/me", headers=limits, times=1)
    async with client_of(server, on_event=received.append) as client:
        await client.me()

    failed, succeeded = [event for event in received if isinstance(event, AttemptEnded) and event.path == "/me"]
    assert failed.headers["x-ratelimit-remaining"] == "0"
    assert succeeded.headers["X-RATELIMIT-REMAINING"] == "7"
    assert "set-cookie" not in succeeded.headers
    assert succeeded.headers["content-type"].startswith("application/json")
    with pytest.raises(TypeError):
        succeeded.headers["X-RateLimit-Remaining"] = "8"
    assert hash(succeeded) == hash(attrs.evolve(succeeded, headers={}))


async def test_an_attempt_without_a_response_has_no_headers(server):
    """The mapping is empty, not None."""
    received = []
    server.faults.add("GET", "/me", drop="after", times=1)
    async with client_of(server, on_event=received.append) as client:
        await client.me()

    first, _ = [event for event in received if isinstance(event, AttemptEnded) and event.path == "/me"]
    assert dict(first.headers) == {}


async def test_headers_of_media_are_reported(server):
    """A body that is still to be read has headers already."""
    received = []
    room_id = server.add_conversation("general")
    media_id = server.add_media(room_id, "a.bin", b"data")
    async with (
        client_of(server, on_event=received.append) as client,
        client.conversation(room_id).open_media(media_id) as media,
    ):
        assert b"".join([chunk async for chunk in media.chunks()]) == b"data"

    [ended] = [event for event in received if isinstance(event, AttemptEnded) and media_id in event.path]
    assert ended.headers["Content-Length"] == "4"


async def test_headers_contain_no_secret(server):
    """A service may repeat the token or the secret in a header; the headers of the token call are left out."""
    received = []
    async with client_of(server, on_event=received.append) as client:
        await client.me()
        [token] = client._pool.recent_tokens
        echo = {"X-Echo": f"Bearer {token}", "X-Secret": server.client_secret, f"X-{token}": "1"}
        server.faults.add("GET", "/me", headers=echo)
        await client.me()

    token_call, _, ended = [event for event in received if isinstance(event, AttemptEnded)]
    assert dict(token_call.headers) == {}
    assert (ended.headers["X-Echo"], ended.headers["X-Secret"]) == ("Bearer ***", "***")
    shown = str(dict(ended.headers))
    assert token not in shown
    assert server.client_secret not in shown


async def test_headers_are_not_copied_without_a_receiver(server):
    """Their cost is paid only by clients that report events."""
    copied = []

    def watch(frame, event, _):
        if event == "call" and "_net/report.py" in frame.f_code.co_filename:
            copied.append(frame.f_code.co_name)

    async with client_of(server) as client:
        sys.setprofile(watch)
        try:
            await client.me()
        finally:
            sys.setprofile(None)

    assert copied == []
