"""The client follows redirects itself: only for reads, with URLs as written, and without the token to other origins."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from yarl import URL

from stride_async import (
    ApiError,
    AuthError,
    ClientCredentials,
    ForbiddenOrigin,
    NotFound,
    Settings,
    StaticToken,
    StrideClient,
    StrideError,
)
from stride_async._net.pool import Pool
from stride_async._net.transport import Transport, origin_of
from stride_async._wire.request import Request
from stride_async.server import LocalServer
from tests.conftest import client_of
from tests.net.peers import listening

ACCOUNT = json.dumps({"account_id": "from elsewhere"})
STATUSES = [301, 302, 303, 307, 308]


@pytest.fixture
async def stranger() -> AsyncIterator[LocalServer]:
    """Another origin, which answers every request and records every header."""
    async with LocalServer(rate_limit=None) as stranger:
        stranger.faults.add("*", "*", status=200, body=ACCOUNT)
        yield stranger


def redirect(server: LocalServer, to: str, *, status: int = 302, path: str = "/me", method: str = "GET") -> None:
    server.faults.add(method, path, status=status, headers={"Location": to})


def port(server: LocalServer) -> int:
    return URL(server.url).port


def token_of(server: LocalServer) -> str:
    return server.calls.matching("GET", "*")[0].headers["Authorization"].removeprefix("Bearer ")


def everything_seen(server: LocalServer) -> str:
    return repr([(call.method, call.path, call.query, dict(call.headers), call.body) for call in server.calls])


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("to", ["/site/", "{url}/site/", "HTTP://127.0.0.1:{port}/site/", "//127.0.0.1:{port}/site/"])
async def test_a_redirect_within_the_origin_carries_the_token(client, server, status, to):
    """The location may be relative or absolute; the request has all its headers again."""
    redirect(server, to.format(url=server.url, port=port(server)), status=status)

    assert {"values": [server.cloud_id]}.items() <= (await client.request("GET", "/me")).items()

    assert ["/oauth/token", "/me", "/site/"] == [call.path for call in server.calls]
    assert 1 == len({(call.headers["Authorization"], call.headers["User-Agent"]) for call in server.calls[1:]})


async def test_a_redirect_does_not_count_as_an_attempt(client, server):
    """One attempt includes all its redirects."""
    redirect(server, "/nowhere")

    with pytest.raises(NotFound) as caught:
        await client.me()

    assert [404] == [attempt.status for attempt in caught.value.attempts]
    assert ["/me", "/nowhere"] == [call.path for call in server.calls.matching("GET", "*")]


@pytest.mark.parametrize(
    ("written", "requested"),
    [
        ("/a%2Fb/%C3%BC?q=%2B+%20&x=%26", "/a%2Fb/%C3%BC?q=%2B+%20&x=%26"),
        ("/%7e%41?%7e", "/%7e%41?%7e"),
        ("/a//b/;p=1", "/a//b/;p=1"),
        ("/signed?sig=a%3Db==&e=1#part", "/signed?sig=a%3Db==&e=1"),
        ("/with blank", "/with%20blank"),
        ("/ü", "/%C3%BC"),
        ("x/y", "/x/y"),
        ("?only=query", "/me?only=query"),
    ],
)
async def test_the_location_is_used_as_it_is_written(written, requested):
    """Another encoding would break a signature over the URL; only what HTTP cannot carry is quoted."""
    targets = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        targets.append((await reader.readuntil(b"\r\n\r\n")).split()[1].decode())
        body = b"" if len(targets) == 1 else ACCOUNT.encode()
        head = f"HTTP/1.1 302 Found\r\nLocation: {written}" if len(targets) == 1 else "HTTP/1.1 200 OK"
        writer.write(f"{head}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()

    async with listening(answer) as at:
        settings = Settings(base_url=f"http://127.0.0.1:{at}")
        async with StrideClient(StaticToken("t"), cloud_id="c", settings=settings) as client:
            assert "from elsewhere" == (await client.me()).account_id

    assert ["/me", requested] == targets


async def test_at_most_five_redirects_are_followed(client, server):
    """The sixth is an error that says so, also in a loop."""
    for number in range(5):
        server.faults.add("GET", f"/{number}", status=302, headers={"Location": f"/{number + 1}"})
    server.faults.add("GET", "/5", status=200, body='"there"')
    redirect(server, "/0")
    server.faults.add("GET", "/loop", status=307, headers={"Location": "/loop"})
    server.faults.add("GET", "/empty", status=307, headers={"Location": ""})

    assert "there" == await client.request("GET", "/0")
    for path in ("/me", "/loop", "/empty"):
        server.calls.clear()
        with pytest.raises(ApiError, match="more than 5 redirects"):
            await client.request("GET", path)
        assert 6 == len(server.calls)


async def test_a_redirect_without_a_location_is_an_error(client, server):
    """The error says that the redirect does not say where it leads."""
    server.faults.add("GET", "/me", status=302)

    with pytest.raises(ApiError, match="answered 302 with a redirect that does not say where it leads") as caught:
        await client.me()

    assert (302, 1) == (caught.value.status, len(caught.value.attempts))


@pytest.mark.parametrize("status", STATUSES)
async def test_a_write_is_never_redirected(client, server, stranger, status):
    """It goes to neither origin, and does not become a read: the service may have acted on it."""
    room = client.conversation("r")
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        redirect(server, f"{stranger.url}/x", status=status, path="*conversation*", method=method)
    writes = [
        room.send("x"),
        room.archive(),
        room.invite("u"),
        room.delete("m"),
        room.upload(b"data", name="x"),
        client.create_conversation("x"),
        client.request("POST", "/conversation"),
    ]

    for write in writes:
        with pytest.raises(ApiError, match="a write is not redirected") as caught:
            await write
        assert status == caught.value.status

    assert len(writes) + 1 == len(server.calls)
    assert 0 == len(stranger.calls)


async def test_the_token_call_is_never_redirected(server, stranger):
    """The secret goes to no other origin."""
    redirect(server, f"{stranger.url}/oauth/token", status=307, path="/oauth/token", method="POST")

    async with client_of(server) as client:
        with pytest.raises(ApiError, match="a write is not redirected"):
            await client.me()

    assert (1, 0) == (len(server.calls), len(stranger.calls))


ELSEWHERE = [
    "{other}/x",
    "//127.0.0.1:{port}/x",
    "http://localhost:{port}/x",
    "HTTP://127.0.0.1:{port}/x",
    "hTtP://LOCALHOST:{port}/x",
    "http:///127.0.0.1:{port}/x",
    "http:/127.0.0.1:{port}/x",
    "http:127.0.0.1:{port}/x",
    "https://127.0.0.1:{port}/x",
    "http://{home}@127.0.0.1:{port}/x",
    "http://user:word@127.0.0.1:{port}/x",
    "http://user:word@{home}/x",
    "http://{home}\\@127.0.0.1:{port}/x",
    "http://{home}#@127.0.0.1:{port}/x",
    "http://{home}?@127.0.0.1:{port}/x",
    "http://{home}%40127.0.0.1:{port}/x",
    "\\\\127.0.0.1:{port}\\x",
    "/\\127.0.0.1:{port}/x",
    "http:\\\\127.0.0.1:{port}\\x",
    "\thttp://127.0.0.1:{port}/x",
    "http://127.0.0.1:{port}",
    "http://127.1:{port}/x",
    "http://[::ffff:127.0.0.1]:{port}/x",
    "http://127.0.0.1:0{port}/x",
    "http://127.0.0.1:99999/x",
    "http://[::1/x",
    "http://.:{port}/x",
    "http://" + "x" * 64 + ".invalid/x",
    "ftp://127.0.0.1:{port}/x",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "data:application/json,{{}}",
    "/x/../../..//127.0.0.1:{port}/x",
]


@pytest.mark.parametrize("to", ELSEWHERE)
@pytest.mark.parametrize("status", STATUSES)
async def test_the_token_never_reaches_another_origin(client, server, stranger, status, to):
    """This applies to JSON, listings and media, however the URL is written."""
    home = f"127.0.0.1:{port(server)}"
    to = to.format(other=stranger.url, port=port(stranger), home=home)
    for path in ("/me", "*/media/*", "*/roster"):
        redirect(server, to, status=status, path=path)
    room = client.conversation("r")

    async def opened() -> None:
        async with room.open_media("m") as media:
            async for _ in media.chunks():
                pass

    for call in (client.me(), room.roster().collect(limit=None), opened()):
        with suppress(StrideError):
            await call

    token = token_of(server)
    assert [] == [call for call in stranger.calls if "Authorization" in call.headers]
    assert token not in everything_seen(stranger)
    assert server.client_secret not in everything_seen(stranger)
    assert {"/x", "/"} >= {call.path for call in stranger.calls}


async def test_json_is_not_requested_from_another_origin(client, server, stranger):
    """The other origin gets no request at all."""
    redirect(server, f"{stranger.url}/x")

    with pytest.raises(ForbiddenOrigin, match="not in allowed_origins") as caught:
        await client.me()

    assert 0 == len(stranger.calls)
    assert 1 == len(caught.value.attempts)


@pytest.mark.parametrize("to", ["http://user:word@{home}/x", "http://user@{home}/x", "ftp://{home}/x", "mailto:a@b"])
async def test_a_redirect_to_an_unusable_url_is_rejected(client, server, to):
    """It is not http(s), or contains credentials, which the error does not repeat."""
    redirect(server, to.format(home=f"127.0.0.1:{port(server)}"))

    with pytest.raises(ForbiddenOrigin, match="redirected") as caught:
        await client.me()

    assert "word" not in caught.value.explain()
    assert 1 == len(server.calls.matching("GET", "*"))


async def test_media_may_be_at_another_origin_that_gets_no_token(client, server, stranger):
    """The headers that select bytes are sent, and the token is not."""
    room_id = server.add_conversation("general")
    media_id = server.add_media(room_id, "a.bin", b"from here")
    redirect(server, f"{stranger.url}/signed?key=a%2Fb", path=f"*/media/{media_id}")

    async with client.conversation(room_id).open_media(media_id) as media:
        got = b"".join([chunk async for chunk in media.chunks()])

    [call] = stranger.calls
    assert ACCOUNT.encode() == got
    assert ("/signed", [("key", "a/b")]) == (call.path, call.query)
    assert "identity" == call.headers["Accept-Encoding"]
    assert "Authorization" not in call.headers


async def test_a_redirect_back_to_the_origin_carries_the_token_again(client, server, stranger):
    """Each redirect is judged by where it leads."""
    room_id = server.add_conversation("general")
    media_id = server.add_media(room_id, "a.bin", b"from here")
    stranger.faults.clear()
    path = f"/site/{server.cloud_id}/conversation/{room_id}/media/{media_id}"
    server.faults.add("GET", path, status=302, headers={"Location": f"{stranger.url}/x"}, times=1)
    redirect(stranger, server.url + path, path="/x")

    async with client.conversation(room_id).open_media(media_id) as media:
        assert b"from here" == b"".join([chunk async for chunk in media.chunks()])

    assert [False] == ["Authorization" in call.headers for call in stranger.calls]
    assert [True, True] == ["Authorization" in call.headers for call in server.calls.matching("GET", path)]


async def test_an_allowed_origin_gets_the_token(server, stranger):
    """The user listed it in `allowed_origins`, which applies to JSON, too."""
    redirect(server, f"{stranger.url}/x")

    async with client_of(server, allowed_origins=(stranger.url,)) as client:
        assert "from elsewhere" == (await client.me()).account_id

    assert [f"Bearer {token_of(server)}"] == [call.headers["Authorization"] for call in stranger.calls]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://h", "http://h:80", True),
        ("https://h", "https://h:443", True),
        ("http://h/a?b#c", "http://h/d", True),
        ("http://H", "http://h", True),
        ("http://bücher.example", "http://xn--bcher-kva.example", True),
        ("http://h", "https://h", False),
        ("http://h:443", "https://h", False),
        ("http://h:80", "http://h:8080", False),
        ("http://h", "http://h.", False),
        ("http://h", "http://hh", False),
        ("http://[::1]", "http://[::1]:80", True),
    ],
)
def test_origins_are_compared_by_scheme_host_and_effective_port(one, other, same):
    """Different spellings of an origin are equal."""
    assert same == (origin_of(URL(one)) == origin_of(URL(other)))


@pytest.mark.parametrize("anywhere", [True, False])
@pytest.mark.parametrize("to", ["http://h/x", "http://h:443/x", "HTTP://h/x", "http://elsewhere/x"])
def test_a_redirect_from_https_to_http_is_not_followed(to, anywhere):
    """Not even for media, and not even to an allowed origin."""
    settings = Settings(base_url="https://h", allowed_origins=("http://h", "http://h:443", "http://elsewhere"))
    transport = Transport(settings, Pool(StaticToken("t"), None))
    request = Request(method="GET", path="/x", read=lambda _: None)

    with pytest.raises(ForbiddenOrigin, match="from https to http"):
        transport._redirected(request, URL("https://h/me"), to, anywhere=anywhere)


async def test_wrong_credentials_are_sent_to_no_other_origin(server, stranger):
    """An allowed origin gets tokens, never a secret."""
    credentials = ClientCredentials(server.client_id, "wrong")
    settings = Settings(base_url=server.url, allowed_origins=(stranger.url,), backoff=0.0)

    async with StrideClient(credentials, cloud_id="c", settings=settings) as client:
        with pytest.raises(AuthError):
            await client.me()

    assert 0 == len(stranger.calls)
