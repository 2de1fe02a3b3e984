"""Any response ends in a value or a named error, within bounded memory and time."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import sys
import time
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import aiohttp
import pytest

from stride_async import (
    Ambiguous,
    ApiError,
    BadRequest,
    DecodeError,
    NotFound,
    ServerError,
    Settings,
    StaticToken,
    StrideClient,
    StrideError,
)
from tests.net.peers import listening

MIB = 1024 * 1024
# The longest JSON response that the clients of these tests accept.
MOST = 2 * MIB
# Memory that may be needed in addition, including that of the peer. Since Python 3.12, a hundred thousand brackets are
# decoded instead of rejected, and the result needs memory.
SPARE = (8 if sys.version_info < (3, 12) else 16) * MIB

# Seconds that a test would take if it waited for the timeout of an attempt.
TIMEOUT = 120.0

Write = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Service:
    """A client of a peer that sends the same response to every request."""

    def __init__(self, client: StrideClient) -> None:
        self.client = client
        self.room = client.conversation("r")

    async def open_media(self) -> bytes:
        async with self.room.open_media("m") as media:
            return b"".join([chunk async for chunk in media.chunks()])


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Awaitable[Service]]]:
    """A function that connects a client to a peer with the given response."""
    stack = []

    async def connected(write: Write, **options: object) -> Service:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            request = await reader.readuntil(b"\r\n\r\n")
            if length := re.search(rb"Content-Length: (\d+)", request):
                await reader.readexactly(int(length[1]))
            await write(writer)

        peer = listening(answer)
        port = await peer.__aenter__()
        settings = Settings(
            base_url=f"http://127.0.0.1:{port}",
            **{"longest_answer_bytes": MOST, "backoff": 0.0, "attempts": 2, "attempt_timeout": TIMEOUT, **options},
        )
        client = StrideClient(StaticToken("a-room-token"), cloud_id="c", settings=settings)
        stack.append((client, peer))
        return Service(client)

    yield connected
    for client, peer in stack:
        await client.close()
        await peer.__aexit__(None, None, None)


@pytest.fixture
def bounded() -> Iterator[None]:
    """Check that the test exceeds neither the memory nor the time it may need."""
    tracemalloc.start()
    began, busy, before = time.perf_counter(), time.process_time(), tracemalloc.get_traced_memory()[0]

    yield

    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert peak < MOST + SPARE
    assert time.process_time() - busy < 15
    assert time.perf_counter() - began < TIMEOUT


def head(status: int, *headers: str) -> bytes:
    return "\r\n".join(
        [f"HTTP/1.1 {status} So", "Content-Type: application/json", "Connection: close", *headers, "\r\n"]
    ).encode()


def endless(status: int) -> Write:
    """Write a chunked body that does not end."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(head(status, "Transfer-Encoding: chunked"))
        while True:
            writer.write(b"10000\r\n" + b"[" * 65_536 + b"\r\n")
            await writer.drain()

    return write


def until_the_end(status: int) -> Write:
    """Write a body without a length, which would end with the connection."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(head(status))
        while True:
            writer.write(b'"' + b"x" * 65_536)
            await writer.drain()

    return write


def huge(status: int) -> Write:
    """Write a body that states a length of ten terabytes and has it."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(head(status, "Content-Length: 10000000000000"))
        while True:
            writer.write(b" " * 65_536)
            await writer.drain()

    return write


def bomb(status: int, coding: str) -> Write:
    """Write a gibibyte of zeros, packed into a mebibyte."""

    async def write(writer: asyncio.StreamWriter) -> None:
        body = BOMBS[coding]
        writer.write(head(status, f"Content-Encoding: {coding}", f"Content-Length: {len(body)}") + body)
        await writer.drain()

    return write


def _packed(window_bits: int) -> bytes:
    """Pack a mebibyte of zeros once and repeat it a thousand times."""
    packing = zlib.compressobj(9, zlib.DEFLATED, window_bits)
    first = packing.compress(bytes(MIB)) + packing.flush(zlib.Z_FULL_FLUSH)
    again = packing.compress(bytes(MIB)) + packing.flush(zlib.Z_FULL_FLUSH)
    return first + again * 1023


BOMBS = {"gzip": _packed(31), "deflate": _packed(15)}

BODIES = {
    "endless": endless,
    "until the end": until_the_end,
    "huge": huge,
    "gzip bomb": lambda status: bomb(status, "gzip"),
    "deflate bomb": lambda status: bomb(status, "deflate"),
}


@pytest.mark.parametrize("body", BODIES)
async def test_a_successful_response_that_is_too_long_is_rejected_while_it_arrives(connect, bounded, body):
    """This applies to objects and pages; the call is not retried."""
    service = await connect(BODIES[body](200))

    for call in (service.client.me(), service.room.history().first()):
        with pytest.raises(DecodeError, match=f"the response exceeds {MOST} bytes") as caught:
            await call
        assert 1 == len(caught.value.attempts)


@pytest.mark.parametrize("status", [400, 503])
@pytest.mark.parametrize("body", BODIES)
async def test_the_first_64_kib_of_an_error_body_are_kept(connect, bounded, body, status):
    """The status decides; the rest of the body is not awaited, not even for media."""
    service = await connect(BODIES[body](status))

    for call in (service.client.me(), service.room.recent(), service.open_media()):
        with pytest.raises(BadRequest if status == 400 else ServerError) as caught:
            await call
        assert 65_536 == len(caught.value.body)


@pytest.mark.parametrize("body", ["endless", "gzip bomb"])
async def test_the_body_of_a_redirect_is_not_read(connect, bounded, body):
    """Only its location is used."""
    service = await connect(_redirecting(BODIES[body](307)))

    with pytest.raises(ApiError, match="more than 5 redirects"):
        await service.client.me()


def _redirecting(write: Write) -> Write:
    class Writer:
        """Adds a Location header to the response."""

        def __init__(self, writer: asyncio.StreamWriter) -> None:
            self._writer = writer
            self.drain = writer.drain

        def write(self, data: bytes) -> None:
            self._writer.write(data.replace(b"\r\n", b"\r\nLocation: /again\r\n", 1) if b" 307 " in data[:20] else data)

    async def redirecting(writer: asyncio.StreamWriter) -> None:
        await write(Writer(writer))  # type: ignore[arg-type]  # has the two methods that are used

    return redirecting


FLOODS = {
    "many headers": b"".join(b"X-%d: y\r\n" % number for number in range(100_000)),
    "a long header": b"X: " + b"y" * 2 * MIB + b"\r\n",
    "a long name": b"X" * 2 * MIB + b": y\r\n",
    "a folded header": b"X: y\r\n" + b" y\r\n" * MIB,
}


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("status", [200, 400])
async def test_a_response_with_too_many_headers_is_cut_off(connect, bounded, flood, status):
    """It counts as malformed HTTP, long before its end."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(head(status)[:-2] + FLOODS[flood] + b"\r\n")
        await writer.drain()

    service = await connect(write)

    with pytest.raises(Ambiguous) as caught:
        await service.client.me()

    assert len(str(caught.value)) < 1000
    assert 2 == len(caught.value.attempts)


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 ", b"HTTP/1.1 200 So\r\nX: "])
async def test_a_response_whose_headers_never_end_is_cut_off(connect, bounded, start):
    """The client does not collect headers until the timeout."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    service = await connect(write)

    with pytest.raises(Ambiguous):
        await service.client.me()


DEEP = {
    "array": b"[" * 100_000 + b"]" * 100_000,
    "open array": b"[" * 100_000,
    "object": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
}
AROUND = {
    "bare": b"%s",
    "page": b'{"messages":[%s]}',
    "values": b'{"values":[%s],"cursor":""}',
    "field": b'{"account_id":%s}',
    "extra field": b'{"account_id":"a","id":"r","x":%s}',
    "message": b'{"messages":[{"id":"m","sender":{"id":"u"},"ts":"2018-06-01T08:00:00Z","text":"","body":%s}]}',
}


# Together they take long, so the ordinary run has each kind of nesting.
NESTED = [
    pytest.param(deep, around, marks=[] if around == "bare" else pytest.mark.slow) for deep in DEEP for around in AROUND
]


@pytest.mark.parametrize(("deep", "around"), NESTED)
async def test_deep_nesting_raises_no_other_error_than_a_decode_error(connect, bounded, deep, around):
    """This applies to objects, pages, lists and any JSON."""
    body = AROUND[around] % DEEP[deep]

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(head(200, f"Content-Length: {len(body)}") + body)
        await writer.drain()

    service = await connect(write)
    client, room = service.client, service.room
    calls = [
        client.me(),
        client.sites(),
        client.find_user("a@b"),
        client.request("GET", "/x"),
        client.markdown_to_document("x"),
        client.conversations().collect(limit=10),
        client.user("u").profile(),
        room.get(),
        room.roster().collect(limit=10),
        room.history().pages().__anext__(),
        room.history(oldest_first=True).pages().__anext__(),
        room.recent(),
        room.message("m"),
        room.modules("chat:bot").collect(limit=10),
        room.send("x"),
        room.upload(b"x", name="x"),
    ]

    errors = [await _error_of(call) for call in calls]

    # A message whose body alone is nested is read, and this service repeats its page for ever.
    expected = {"DecodeError", "PaginationLoop"} if around == "message" else {"DecodeError"}
    assert expected >= {error for error in errors if error is not None}
    if around == "bare":
        assert errors.count("DecodeError") >= len(calls) - 1


async def _error_of(call: Awaitable[object]) -> str | None:
    """Return the class of the error that a call ends with, if any."""
    try:
        await call
    except StrideError as error:
        return type(error).__name__
    return None


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="the frames of the caller no longer count against a decoder")
async def test_a_document_nested_too_deeply_raises_an_error_when_it_is_decoded(connect):
    """The listing may have read it where more of the stack was free."""
    body = AROUND["message"] % (b'{"type":"doc","content":' + b"[" * 400 + b"]" * 400 + b"}")

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(head(200, f"Content-Length: {len(body)}") + body)
        await writer.drain()

    message = await (await connect(write)).room.history().first()
    free = sys.getrecursionlimit() - len(inspect.stack())

    def decoded(frames: int) -> object:
        return decoded(frames - 1) if frames else message.body

    with pytest.raises(ValueError, match="cannot be decoded"):
        decoded(free - 350)


@pytest.mark.parametrize("deep", DEEP)
async def test_a_deeply_nested_error_body_does_not_hide_the_status(connect, bounded, deep):
    """The body is kept as bytes."""
    body = DEEP[deep]

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(head(400, f"Content-Length: {len(body)}") + body)
        await writer.drain()

    service = await connect(write)

    with pytest.raises(BadRequest) as caught:
        await service.client.me()
    assert body[:65_536] == caught.value.body


@pytest.mark.parametrize("body", [b"x" * 100, b"x" * 200_000, b""], ids=["short", "long", "empty"])
@pytest.mark.parametrize("status", [400, 404, 503])
async def test_errors_return_their_connections(server, body, status):
    """After 200 errors of calls and media over a connector of two connections, the next call is served."""
    room_id = server.add_conversation("general")
    media_id = server.add_media(room_id, "a.bin", b"data")
    fault = server.faults.add("*", "/site/*", status=status, body=body)
    settings = Settings(base_url=server.url, calls_per_minute=None, backoff=0.0, attempts=1, attempt_timeout=5.0)
    token = StaticToken(server.room_token(room_id))
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=2)) as http,
        StrideClient(token, cloud_id=server.cloud_id, settings=settings, session=http) as client,
    ):
        room = client.conversation(room_id)

        async def opened() -> None:
            async with room.open_media(media_id):
                pass

        for _ in range(50):
            calls = (room.get(), opened(), room.upload(b"x", name="x"), room.send("x"))
            for error in await asyncio.gather(*calls, return_exceptions=True):
                assert isinstance(error, ApiError)
        fault.remove()

        assert room_id == (await room.get()).id
        assert 0 == len(http.connector._acquired)


async def test_many_unknown_fields_take_a_time_in_proportion(client, server):
    """They are kept in the order of the service. A search for the place of each would take half a minute."""
    room = server.add_conversation("r")
    fields = {f"x{number}": number for number in range(50_000)}
    server.faults.add("GET", "*/conversation/*", body=json.dumps({"id": room, **fields}).encode())
    began = time.process_time()

    conversation = await client.conversation(room).get()

    assert list(fields.items()) == list(conversation.extra.items())
    assert time.process_time() - began < 10


BROKEN_BODIES = {
    "no gzip": head(404, "Content-Encoding: gzip", "Content-Length: 7") + b"no gzip",
    "cut off": head(404, "Content-Length: 100") + b'{"message":',
}


@pytest.mark.parametrize("response", BROKEN_BODIES.values(), ids=BROKEN_BODIES)
async def test_an_error_status_counts_though_its_body_breaks_off(connect, response):
    """Only the message is lost."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(response)
        await writer.drain()
        writer.close()

    service = await connect(write)

    for call in (service.client.me(), service.room.send("x"), service.open_media()):
        with pytest.raises(NotFound) as caught:
            await call
        assert not caught.value.maybe_processed
