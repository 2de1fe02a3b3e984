"""A session of the caller works with every option of aiohttp, or is refused when the client is created."""

from __future__ import annotations

import asyncio
import gzip
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest

from stride_async import ClientCredentials, NotFound, Settings, StrideClient
from stride_async.server import LocalServer
from tests.net.peers import Peer, listening

DATA = b"media " * 1000


def client_over(session: aiohttp.ClientSession, server: LocalServer, base_url: str | None = None) -> StrideClient:
    """Return a client that sends through a session of the caller."""
    credentials = ClientCredentials(server.client_id, server.client_secret)
    settings = Settings(base_url=base_url or server.url, backoff=0.0, calls_per_minute=None)
    return StrideClient(credentials, cloud_id=server.cloud_id, settings=settings, session=session)


@asynccontextmanager
async def session_with(**options: object) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a session; options that aiohttp deprecates are options all the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        session = aiohttp.ClientSession(**options)
    async with session:
        yield session


async def use_everything(client: StrideClient, server: LocalServer) -> None:
    """Fetch a token, send, list, upload, download and get an error, and check what each returns."""
    room = client.conversation(server.add_conversation("general"))
    message_id = await room.send("hello")
    assert [message.id for message in await room.history().collect(limit=None)] == [message_id]
    media = await room.upload(DATA, name="a.bin")
    async with room.open_media(media.id) as body:
        assert b"".join([chunk async for chunk in body.chunks()]) == DATA
    with pytest.raises(NotFound):
        await client.conversation("nowhere").get()


@asynccontextmanager
async def proxy_to(server: LocalServer) -> AsyncIterator[Peer]:
    """Yield a proxy that alone knows where http://stride.invalid is. A connection carries one request."""
    port = int(server.url.rpartition(":")[2])

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65_536):
            writer.write(piece)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proxy.requests += 1
        method, url, rest = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)
        from_service, to_service = await asyncio.open_connection("127.0.0.1", port)
        to_service.write(b" ".join([method, url.removeprefix(b"http://stride.invalid"), rest]))
        sending = asyncio.create_task(pump(reader, to_service))
        await pump(from_service, writer)
        sending.cancel()
        to_service.close()

    async with listening(serve) as own_port:
        proxy = Peer(own_port)
        yield proxy


def once_each() -> aiohttp.TCPConnector:
    return aiohttp.TCPConnector(force_close=True)


async def refuse(response: aiohttp.ClientResponse) -> None:
    """Raise for every response, as a caller's own check may."""
    raise RuntimeError(f"checked {response.status}")


OPTIONS: dict[str, Callable[[LocalServer], dict[str, object]]] = {
    "raise_for_status": lambda _: {"raise_for_status": True},
    "raise_for_status by a function": lambda _: {"raise_for_status": refuse},
    "base_url": lambda _: {"base_url": "http://elsewhere.invalid/api/"},
    "auto_decompress": lambda _: {"auto_decompress": False},
    "headers": lambda _: {"headers": {"X-Team": "one", "Accept": "text/html", "Content-Type": "text/plain"}},
    "skip_auto_headers": lambda _: {"skip_auto_headers": ["User-Agent", "Content-Type", "Accept"]},
    "cookie_jar": lambda _: {"cookie_jar": aiohttp.CookieJar(unsafe=True)},
    "cookies": lambda _: {"cookies": {"team": "one"}},
    "timeout": lambda _: {"timeout": aiohttp.ClientTimeout(total=1e-9)},
    "trace_configs": lambda _: {"trace_configs": [aiohttp.TraceConfig()]},
    "trust_env": lambda _: {"trust_env": True},
    "connector": lambda _: {"connector": aiohttp.TCPConnector(limit=1, force_close=True)},
    "read_bufsize": lambda _: {"read_bufsize": 1024},
}


@pytest.mark.parametrize("option", OPTIONS)
async def test_a_session_with_an_option_can_do_everything(server, option):
    """Where the option contradicts what the client needs, the client's need comes first."""
    async with session_with(**OPTIONS[option](server)) as session, client_over(session, server) as client:
        await use_everything(client, server)

    assert 1 == len(server.calls.matching("POST", "/oauth/token"))


async def test_headers_cookies_and_traces_of_the_session_apply(server):
    """They reach the service with every request, and the trace sees every request."""
    traced = []
    trace = aiohttp.TraceConfig()

    async def note(_: object, __: object, parameters: aiohttp.TraceRequestStartParams) -> None:
        traced.append(parameters.url.path)

    trace.on_request_start.append(note)
    async with session_with(
        headers={"X-Team": "one"},
        cookies={"team": "one"},
        cookie_jar=aiohttp.CookieJar(unsafe=True),
        trace_configs=[trace],
    ) as session:
        sent = []

        async def watch(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
            sent.append((request.headers["X-Team"], request.headers["Cookie"]))
            return await handler(request)

        session._middlewares = (watch,)
        async with client_over(session, server) as client:
            await client.me()

    assert traced == ["/oauth/token", "/me"]
    assert sent == [("one", "team=one")] * 2


async def test_a_proxy_of_the_session_carries_every_call(server):
    """The host of the service is only known to the proxy."""
    async with (
        proxy_to(server) as proxy,
        session_with(proxy=proxy.url, connector=once_each()) as session,
        client_over(session, server, "http://stride.invalid") as client,
    ):
        await use_everything(client, server)

    assert proxy.requests == len(server.calls)


async def test_a_proxy_of_the_environment_is_used_if_the_session_trusts_it(server, monkeypatch):
    """`trust_env` reads HTTP_PROXY."""
    for name, value in {"HTTP_PROXY": "", "NO_PROXY": "", "no_proxy": ""}.items():
        monkeypatch.setenv(name, value)
    async with (
        proxy_to(server) as proxy,
        session_with(trust_env=True, connector=once_each()) as session,
        client_over(session, server, "http://stride.invalid") as client,
    ):
        monkeypatch.setenv("http_proxy", proxy.url)
        await use_everything(client, server)

    assert proxy.requests == len(server.calls)


@pytest.mark.parametrize("line", ["machine 127.0.0.1 login ann password p", "default login ann password p"])
async def test_a_netrc_does_not_replace_the_token(server, monkeypatch, tmp_path, line):
    """Its line for the host is not used, neither for calls nor for the token call."""
    netrc = tmp_path / "netrc"
    netrc.write_text(f"{line}\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with session_with(trust_env=True) as session, client_over(session, server) as client:
        await use_everything(client, server)

    token, *others = [call.headers.get("Authorization", "") for call in server.calls]
    assert "" == token
    assert all(header.startswith("Bearer ") for header in others)


async def test_compressed_json_is_decompressed(server):
    """Also if the session leaves that to its user."""
    body = gzip.compress(b'{"account_id": "a", "name": "App", "email": null}')
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    server.faults.add("GET", "/me", status=200, body=body, headers=headers)
    async with session_with(auto_decompress=False) as session, client_over(session, server) as client:
        assert (await client.me()).account_id == "a"


async def test_a_session_with_auth_is_refused(server):
    """The message is one sentence, and nothing is sent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        auth = aiohttp.BasicAuth("ann", "p")
    async with session_with(auth=auth) as session:
        with pytest.raises(ValueError, match="the session has auth=, which would replace the bearer token"):
            client_over(session, server)

    assert len(server.calls) == 0


async def test_a_session_with_an_authorization_header_is_refused(server):
    """It is the same thing, spelled differently."""
    async with session_with(headers={"authorization": "Basic YW5uOnA="}) as session:
        with pytest.raises(ValueError, match="the session has an Authorization header in place of the token"):
            client_over(session, server)

    assert len(server.calls) == 0
