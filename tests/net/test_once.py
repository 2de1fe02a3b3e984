"""A call that must not have its effect twice never has, and a call that may be repeated is."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from stride_async import (
    Ambiguous,
    AttemptEnded,
    AttemptStarted,
    BodyInterrupted,
    DeadlineExceeded,
    DecodeError,
    Document,
    NotFound,
    RateLimited,
    ServerError,
    StrideError,
)
from tests.conftest import client_of

DOCUMENT = Document.from_json(
    {"version": 1, "type": "doc", "content": [{"type": "paragraph", "content": [{"type": "text", "text": "x"}]}]}
)


@pytest.fixture
def room_id(server):
    return server.add_conversation("general")


def counts(server, room_id):
    """Return how many messages, files and rooms there are."""
    site = server.truth().conversations
    return site[room_id].messages, len(site[room_id].media), len(site)


NOT_REPEATABLE = [
    pytest.param("*/message", lambda client, room: client.conversation(room).send("hello"), (1, 0, 1), id="send"),
    pytest.param(
        "*/media", lambda client, room: client.conversation(room).upload(b"data", name="a"), (0, 1, 1), id="upload"
    ),
    pytest.param("*/conversation", lambda client, _: client.create_conversation("new"), (0, 0, 2), id="create"),
]


@pytest.mark.parametrize("end", [{"drop": "after"}, {"cut_after": 3}, {"stall": "headers"}, {"body": "{"}], ids=str)
@pytest.mark.parametrize(("path", "call", "once"), NOT_REPEATABLE)
async def test_a_call_whose_response_is_lost_has_its_effect_once(server, room_id, path, call, once, end):
    """The service acts and the response is lost: the error says that it may have acted."""
    server.faults.add("POST", path, **end)

    async with client_of(server, attempt_timeout=0.3, idle_timeout=0.3) as client:
        with pytest.raises((Ambiguous, BodyInterrupted, DecodeError)) as caught:
            await call(client, room_id)

    assert once == counts(server, room_id)
    assert (1, 1) == (len(caught.value.attempts), len(server.calls.matching("POST", path)))
    assert (True, False) == (caught.value.maybe_processed, caught.value.retryable)


@pytest.mark.parametrize(("path", "call", "once"), NOT_REPEATABLE)
async def test_a_call_that_certainly_had_no_effect_is_retried(client, server, room_id, path, call, once):
    """It is retried after a 429 and after a refused token, and has its effect once."""
    server.faults.add("POST", path, status=429, times=2)
    server.faults.add("POST", path, status=401, times=1)

    await call(client, room_id)

    assert once == counts(server, room_id)
    assert 4 == len(server.calls.matching("POST", path))


@pytest.mark.parametrize("status", [503, 401, 429, 404])
async def test_a_message_is_certainly_not_sent_if_the_token_call_fails(server, room_id, status):
    """The error is that of the token call, and does not say that the message may exist."""
    server.faults.add("POST", "/oauth/token", status=status)

    async with client_of(server) as client:
        errors = await asyncio.gather(
            *(client.conversation(room_id).send("hello") for _ in range(3)), return_exceptions=True
        )

    tried = len(server.calls.matching("POST", "/oauth/token"))
    assert [(tried, False)] * 3 == [(len(error.attempts), error.maybe_processed) for error in errors]
    assert 3 == len({id(error) for error in errors})
    assert tried == len(server.calls)


async def test_the_attempts_of_a_failed_token_renewal_follow_those_of_the_call(client, server, room_id):
    """The error lists everything that was sent for the call, in order."""
    await client.me()
    server.calls.clear()
    server.faults.add("POST", "*/message", status=401)
    server.faults.add("POST", "/oauth/token", status=404)

    with pytest.raises(NotFound) as caught:
        await client.conversation(room_id).send("hello")

    assert [401, 404] == [attempt.status for attempt in caught.value.attempts]
    assert [401, 404] == [call.status for call in server.calls]
    assert caught.value.maybe_processed is False


REPEATABLE = {
    "PATCH": lambda client, room, message: client.conversation(room).update(topic="new"),
    "PUT message": lambda client, room, message: client.conversation(room).edit(message, "new"),
    "PUT archive": lambda client, room, message: client.conversation(room).archive(),
    "PUT module": lambda client, room, message: client.conversation(room).put_module("chat:glance", "k", {}),
    "PUT state": lambda client, room, message: client.conversation(room).set_configuration("k", configured=True),
    "POST state": lambda client, room, message: client.update_configuration("k", configured=True, conversation_id=room),
    "POST convert": lambda client, room, message: client.markdown_to_document("*x*"),
    "POST render": lambda client, room, message: client.render_text(DOCUMENT),
    "GET": lambda client, room, message: client.conversation(room).get(),
    "DELETE": lambda client, room, message: client.conversation(room).delete(message),
}


@pytest.mark.parametrize("fault", [{"drop": "after"}, {"status": 503}], ids=str)
@pytest.mark.parametrize("call", REPEATABLE)
async def test_a_call_that_does_no_harm_twice_is_retried(client, server, room_id, call, fault):
    """These are reads, conversions, and changes that lead to the same state; the method alone does not decide."""
    message = server.add_message(room_id, "old")
    await client.me()
    server.calls.clear()
    server.faults.add(call.split()[0], "*", times=2, **fault)

    await REPEATABLE[call](client, room_id, message)

    assert 3 == len(server.calls)


@pytest.mark.parametrize(
    ("before", "error"),
    [({"drop": "after"}, None), ({"stall": "headers"}, None), ({"status": 503}, NotFound), ({"status": 429}, NotFound)],
    ids=str,
)
async def test_a_404_after_a_lost_response_means_that_a_deletion_succeeded(server, room_id, before, error):
    """After a 503 or a 429 it does not: the service did not delete the message then."""
    acted = "drop" in before or "stall" in before
    message = server.add_message(room_id, "old")
    server.faults.add("DELETE", "*", times=1, **before)
    if not acted:
        server.delete_message(room_id, message)

    async with client_of(server, attempt_timeout=0.3) as client:
        deleting = client.conversation(room_id).delete(message)
        if error is None:
            await deleting
        else:
            with pytest.raises(error):
                await deleting

    assert 2 == len(server.calls.matching("DELETE", "*"))
    assert (0, 0, 1) == counts(server, room_id)


async def test_a_deadline_bounds_all_attempts(server):
    """The deadline ends the call, however many attempts remain; a read can be repeated later."""
    events = []
    server.faults.add("GET", "/me", stall="headers")

    async with client_of(server, attempts=1_000, attempt_timeout=0.1, deadline=1.0, on_event=events.append) as client:
        with pytest.raises(DeadlineExceeded, match="deadline=1 s") as caught:
            await client.me()

    seen = len(server.calls.matching("GET", "/me"))
    assert seen >= 2
    assert seen == len(caught.value.attempts)
    assert len(server.calls) == sum(isinstance(event, AttemptStarted) for event in events)
    assert (True, False) == (caught.value.retryable, caught.value.maybe_processed)


async def test_a_call_may_have_been_processed_if_its_deadline_passes_after_sending(server, room_id):
    """The message may exist; in this case it does."""
    server.faults.add("POST", "*/message", stall="headers")

    async with client_of(server, deadline=1.0) as client:
        with pytest.raises(DeadlineExceeded) as caught:
            await client.conversation(room_id).send("hello")

    assert (1, 0, 1) == counts(server, room_id)
    assert (True, False) == (caught.value.maybe_processed, caught.value.retryable)


async def test_a_call_was_not_processed_if_its_deadline_passes_before_sending(server, room_id):
    """The token call takes all the time."""
    server.faults.add("POST", "/oauth/token", stall="headers")

    async with client_of(server, deadline=0.2) as client:
        with pytest.raises(DeadlineExceeded) as caught:
            await client.conversation(room_id).send("hello")

    assert (0, 0, 1) == counts(server, room_id)
    assert (False, True) == (caught.value.maybe_processed, caught.value.retryable)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_wait_that_cannot_end_before_the_deadline_is_not_begun(server, status):
    """The error of the response is raised at once."""
    server.faults.add("GET", "/me", status=status, headers={"Retry-After": "30"})

    async with client_of(server, deadline=20.0) as client, asyncio.timeout(10):
        with pytest.raises((RateLimited, ServerError)) as caught:
            await client.me()

    assert 1 == len(caught.value.attempts)
    assert "cannot end before the deadline" in caught.value.rule


async def test_a_deadline_that_passed_unnoticed_is_raised(server):
    """A slow receiver of events keeps the loop from noticing it; the error of the attempt is not raised instead."""
    loop = asyncio.get_running_loop()

    def dawdle(event):
        until = loop.time() + 0.1
        while isinstance(event, AttemptEnded) and event.path == "/me" and loop.time() < until:
            pass

    server.faults.add("GET", "/me", drop="before")

    async with client_of(server, deadline=0.1, on_event=dawdle) as client:
        with pytest.raises(DeadlineExceeded):
            await client.me()

    assert 1 == len(server.calls.matching("GET", "/me"))


FAULTS = [
    {"status": 429},
    {"status": 429, "headers": {"Retry-After": "0"}},
    {"status": 401},
    {"status": 500},
    {"status": 502, "body": "<html>", "headers": {"Content-Type": "text/html"}},
    {"status": 503, "headers": {"Retry-After": "0"}},
    {"status": 504},
    {"status": 400},
    {"status": 403},
    {"status": 404},
    {"drop": "before"},
    {"drop": "after"},
    {"cut_after": 0},
    {"cut_after": 7},
    {"content_length": 9_999},
    {"delay": 5.0},
    {"stall": "headers"},
    {"stall": "body"},
    {"body": "{"},
    {"body": b""},
    {"headers": {"X-Long": "x" * 100_000}},
]


async def test_no_message_is_duplicated_or_silently_lost(server, room_id):
    """Three in ten of 1,000 requests fail in one of 21 ways: each message exists once, or its sender got an error."""
    for seed, fault in enumerate(FAULTS):
        # Faults apply in turn: each affects the same share of all requests, together 30 %.
        share = 0.3 / len(FAULTS)
        server.faults.add("POST", "*/message", probability=share / (1 - seed * share), seed=seed, **fault)
    texts = [f"message {number}" for number in range(1_000)]
    events = []

    async def send(text):
        try:
            await room.send(text)
        except StrideError as error:
            return error
        return None

    async with client_of(server, attempt_timeout=1.0, on_event=events.append) as client:
        room = client.conversation(room_id)
        errors = dict(zip(texts, await asyncio.gather(*map(send, texts)), strict=True))
        hits = len([call for call in server.calls if call.path.endswith("/message")])
        server.faults.clear()
        found = Counter([message.text async for message in room.history()])

    # On a busy machine, an attempt may time out before the server reads it.
    assert len(server.calls) <= sum(isinstance(event, AttemptStarted) for event in events)
    assert 900 < hits < 1_100
    wrong = []
    for text, error in errors.items():
        allowed = {1} if error is None else {0, 1} if error.maybe_processed else {0}
        if found[text] not in allowed:
            wrong.append((text, found[text], error))
    assert [] == wrong
    assert 1_000 - 300 <= sum(found.values()) <= 1_000
    assert 150 < sum(error is not None for error in errors.values())
