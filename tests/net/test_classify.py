"""The outcome of an attempt, judged by what happened to its connection."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from stride_async import (
    Ambiguous,
    ApiError,
    AttemptStarted,
    BodyInterrupted,
    NotSent,
    Settings,
    StaticToken,
    StrideClient,
    StrideError,
)

from .peers import deaf_port, free_port, listening, peer, reset

ME = json.dumps({"account_id": "me"}).encode()
# More than the buffers of both systems can hold.
LARGE = bytes(8 << 20)


def answer(body: bytes, *, length: int | None = None) -> bytes:
    stated = len(body) if length is None else length
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (stated, body)


class Caller:
    """A client of a URL with two attempts per call, and the number of attempts it reported."""

    def __init__(self, url: str, **options: object) -> None:
        self.reported = 0
        given = {"attempts": 2, "backoff": 0.0, "attempt_timeout": 5.0, "calls_per_minute": None, **options}
        self.client = StrideClient(
            StaticToken("token"), cloud_id="c", settings=Settings(base_url=url, on_event=self._count, **given)
        )

    def _count(self, event: object) -> None:
        self.reported += isinstance(event, AttemptStarted)

    async def fails(self, call: object) -> StrideError:
        """Return the error of a call, and close the client."""
        async with self.client:
            with pytest.raises(StrideError) as caught:
                await call
        assert self.reported == len(caught.value.attempts)
        return caught.value


def send(caller: Caller):
    return caller.client.conversation("r").send("hello")


def upload(caller: Caller, data: bytes):
    return caller.client.conversation("r").upload(data, name="a.bin")


async def test_a_request_on_a_refused_connection_was_not_sent():
    """Therefore even sending a message is retried."""
    caller = Caller(f"http://127.0.0.1:{free_port()}")

    error = await caller.fails(send(caller))

    assert NotSent is type(error)
    assert (2, True, False) == (caller.reported, error.retryable, error.maybe_processed)


async def test_a_request_to_an_unknown_host_was_not_sent():
    """Names below `.invalid` never resolve."""
    caller = Caller("http://stride.invalid")

    error = await caller.fails(send(caller))

    assert NotSent is type(error)
    assert (2, True, False) == (caller.reported, error.retryable, error.maybe_processed)


async def test_a_request_whose_tls_handshake_fails_was_not_sent():
    """The port does not support TLS, so the connection fails before the first byte of the request."""

    async def plain(reader, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with listening(plain) as port:
        caller = Caller(f"https://127.0.0.1:{port}")

        error = await caller.fails(send(caller))

    assert NotSent is type(error)
    assert (2, True, False) == (caller.reported, error.retryable, error.maybe_processed)


@pytest.mark.parametrize(
    "bounds",
    [{"attempt_timeout": 0.2}, {"attempt_timeout": 20.0, "deadline": 4.0}],
    ids=["attempt", "deadline"],
)
async def test_a_request_on_a_connection_that_is_not_accepted_was_not_sent(bounds):
    """Connecting times out before the attempt or the call does."""
    with deaf_port() as port:
        caller = Caller(f"http://127.0.0.1:{port}", **bounds)

        error = await caller.fails(send(caller))

    assert NotSent is type(error)
    assert "connecting took too long" in str(error)
    assert (2, True, False) == (caller.reported, error.retryable, error.maybe_processed)


async def test_an_upload_that_breaks_off_was_not_sent():
    """The service cannot have received all of it, so it is retried from the start."""

    async def talk(reader, writer):
        await reader.readexactly(100_000)
        reset(writer)

    async with peer(talk) as service:
        caller = Caller(service.url)

        error = await caller.fails(upload(caller, LARGE))

    assert NotSent is type(error)
    assert (2, 2) == (caller.reported, service.requests)
    assert (True, False) == (error.retryable, error.maybe_processed)


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 1_000_000])
@pytest.mark.parametrize("end", [reset, lambda writer: writer.close()], ids=["reset", "closed"])
async def test_an_upload_that_was_received_completely_is_never_retried(size, end):
    """However soon after the last byte the connection ends, the service may have stored the file."""

    async def talk(reader, writer):
        await reader.readexactly(size)
        end(writer)

    async with peer(talk) as service:
        caller = Caller(service.url)

        error = await caller.fails(upload(caller, bytes(size)))

    assert Ambiguous is type(error)
    assert (1, 1) == (caller.reported, service.requests)
    assert (False, True) == (error.retryable, error.maybe_processed)


@pytest.mark.parametrize("end", [reset, lambda writer: writer.close()], ids=["reset", "closed"])
async def test_a_connection_that_ends_after_the_request_is_ambiguous(end):
    """A read is retried; sending a message is not."""

    async def talk(reader, writer):
        end(writer)

    async with peer(talk) as service:
        reading, sending = Caller(service.url), Caller(service.url)

        read = await reading.fails(reading.client.me())
        sent = await sending.fails(send(sending))

    assert [Ambiguous, Ambiguous] == [type(read), type(sent)]
    assert (2, 1, 3) == (reading.reported, sending.reported, service.requests)
    assert [(True, False), (False, True)] == [(error.retryable, error.maybe_processed) for error in (read, sent)]


@pytest.mark.parametrize("length", [1_000, None], ids=["stated", "chunked"])
async def test_a_response_that_breaks_off_is_interrupted(length):
    """The error says how many bytes arrived, and of how many if the length was stated."""

    async def talk(reader, writer):
        if length is None:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n" + ME[:5] + b"\r\n")
        else:
            writer.write(answer(ME[:5], length=length))
        writer.close()

    async with peer(talk) as service:
        reading, sending = Caller(service.url), Caller(service.url)

        read = await reading.fails(reading.client.me())
        sent = await sending.fails(send(sending))

    assert [BodyInterrupted, BodyInterrupted] == [type(read), type(sent)]
    assert (5, length) == (read.received, read.expected)
    assert (2, 1, 3) == (reading.reported, sending.reported, service.requests)
    assert [(True, False), (False, True)] == [(error.retryable, error.maybe_processed) for error in (read, sent)]


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: few\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x00\x02\x02\x46" * 20,
    ],
    ids=["ssh", "status", "header", "length", "flood", "tls"],
)
async def test_a_response_that_is_not_http_is_ambiguous(garbage):
    """The peer may have acted on the request first; the message fits one line."""

    async def talk(reader, writer):
        writer.write(garbage)
        await writer.drain()
        writer.close()

    async with peer(talk) as service:
        reading, sending = Caller(service.url), Caller(service.url)

        read = await reading.fails(reading.client.me())
        sent = await sending.fails(send(sending))

    assert [Ambiguous, Ambiguous] == [type(read), type(sent)]
    assert [1, 1] == [len(str(error).splitlines()) for error in (read, sent)]
    assert (2, 1, 3) == (reading.reported, sending.reported, service.requests)


@pytest.mark.parametrize("spoken", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", answer(ME[:5], length=99)])
async def test_a_response_that_stalls_is_ambiguous(spoken):
    """It may stall before the response, in the headers or in the body."""

    async def talk(reader, writer):
        writer.write(spoken)
        await asyncio.Event().wait()

    async with peer(talk) as service:
        reading, sending = Caller(service.url, attempt_timeout=0.2), Caller(service.url, attempt_timeout=0.2)

        read, sent = await asyncio.gather(reading.fails(reading.client.me()), sending.fails(send(sending)))

    assert [Ambiguous, Ambiguous] == [type(read), type(sent)]
    assert (2, 1, 3) == (reading.reported, sending.reported, service.requests)


async def test_an_upload_that_stalls_is_ambiguous_only_if_all_of_it_was_sent():
    """The idle timeout bounds both directions."""

    async def talk(reader, writer):
        await asyncio.Event().wait()

    async with peer(talk) as service:
        short, long = Caller(service.url, idle_timeout=0.2), Caller(service.url, idle_timeout=0.2)

        complete, cut = await asyncio.gather(short.fails(upload(short, b"x")), long.fails(upload(long, LARGE)))

    assert [Ambiguous, NotSent] == [type(complete), type(cut)]
    assert (1, 2, 3) == (short.reported, long.reported, service.requests)


async def test_a_response_before_the_end_of_an_upload_is_used():
    """The response decides, whatever happens to the rest of the body."""

    async def talk(reader, writer):
        body = b'{"code":413,"message":"too large"}'
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await asyncio.Event().wait()

    async with peer(talk) as service:
        caller = Caller(service.url)

        error = await caller.fails(upload(caller, LARGE))

    assert isinstance(error, ApiError)
    assert (413, "too large") == (error.status, error.message)
    assert (1, 1) == (caller.reported, service.requests)


async def test_an_attempt_on_a_dropped_keep_alive_connection_is_one_request():
    """The HTTP library would silently retry a read; here every request is an attempt that the client counts."""

    async def talk(reader, writer):
        if service.requests == 1:
            writer.write(answer(ME))
        else:
            writer.close()

    async with peer(talk) as service:
        caller = Caller(service.url, attempts=3)
        async with caller.client:
            await caller.client.me()
            with pytest.raises(Ambiguous) as caught:
                await caller.client.me()

    assert 3 == len(caught.value.attempts)
    assert (1 + 3, 1 + 3) == (caller.reported, service.requests)


async def test_explain_describes_a_real_call():
    """It lists the attempts with their outcomes and waits, then the rule that ended the call."""

    async def talk(reader, writer):
        if service.requests == 1:
            writer.close()
            return
        writer.write(b"HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n")

    async with peer(talk) as service:
        caller = Caller(service.url, backoff=0.001)
        error = await caller.fails(caller.client.me())

    text = re.sub(r"\d\d:\d\d:\d\d\.\d{3}", "TIME", re.sub(r"\d\.\d\d s", "N s", error.explain()))
    assert (
        """\
ServerError: GET /me answered 503 without a message
  attempt 1 at TIME UTC: Ambiguous: the connection broke after the request was sent: \
ServerDisconnectedError('Server disconnected') after N s, then waited N s
  attempt 2 at TIME UTC: answered 503 after N s
  gave up: all 2 attempts were made"""
        == text
    )
