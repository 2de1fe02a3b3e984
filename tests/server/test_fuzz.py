"""Thousands of altered requests, and bytes that are not HTTP: the server never fails and never hangs."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Self
from urllib.parse import quote

import pytest
from attrs import define, evolve

from stride_async.server import Choices, LocalServer

REQUESTS = 5_000
CONNECTIONS = 4
TIMEOUT = 10.0  # seconds after which a request counts as hanging

TEXT = {"type": "text", "text": "hi", "marks": [{"type": "link", "attrs": {"href": "https://example.invalid"}}]}
MENTION = {"type": "mention", "attrs": {"id": "{user}", "text": "@Ann"}}
ITEM = {"type": "listItem", "content": [{"type": "paragraph", "content": [TEXT]}]}
DOCUMENT = {
    "version": 1,
    "type": "doc",
    "content": [
        {"type": "paragraph", "content": [TEXT, MENTION, {"type": "hardBreak"}]},
        {"type": "heading", "attrs": {"level": 2}, "content": [TEXT]},
        {"type": "orderedList", "attrs": {"order": 2}, "content": [ITEM]},
        {"type": "codeBlock", "attrs": {"language": "python"}, "content": [{"type": "text", "text": "x = 1"}]},
        {"type": "taskList", "attrs": {"localId": "t"}, "content": []},
        {
            "type": "mediaGroup",
            "content": [{"type": "media", "attrs": {"id": "{media}", "type": "file", "collection": "{room}"}}],
        },
    ],
}
DOCUMENT["content"][4]["content"] = [
    {"type": "taskItem", "attrs": {"localId": "i", "state": "TODO"}, "content": [TEXT]}
]
MARKDOWN = "# Title\n\n* a\n  1. b\n\n| c | d |\n|---|---|\n| ~~e~~ | [f](g) |\n\n```py\nx\n```\n> quote"
CREDENTIALS = {"grant_type": "client_credentials", "client_id": "{client_id}", "client_secret": "{client_secret}"}
CONTEXT = {"cloudId": "{site}", "conversationId": "{room}", "userId": "{user}"}
ROOM, USER = "/site/{site}/conversation/{room}", "/site/{site}/conversation/user/{user}"

# A valid request for each operation of protocol 5, in its order; braces stand for ids of the site.
VALID_REQUESTS = [
    ("POST", "/oauth/token", CREDENTIALS),
    ("GET", "/site/", None),
    ("GET", "/site/{site}/conversation?limit=2&query=e&sort=desc&include-archived=true&exclude-direct=false", None),
    ("POST", "/site/{site}/conversation", {"name": "new", "privacy": "private", "topic": "t"}),
    ("GET", ROOM, None),
    ("PATCH", ROOM, {"name": "other", "topic": "u", "privacy": "public"}),
    ("PUT", ROOM + "/archive", {}),
    ("PUT", ROOM + "/unarchive", None),
    ("GET", ROOM + "/roster?start=0&limit=5", None),
    ("PATCH", ROOM + "/roster", {"add": ["{user}"], "remove": []}),
    ("GET", USER, None),
    ("POST", ROOM + "/message", DOCUMENT),
    ("POST", USER + "/message", {"body": DOCUMENT}),
    ("PUT", ROOM + "/message/{message}", MARKDOWN),
    ("PUT", USER + "/message/{note}", DOCUMENT),
    ("DELETE", ROOM + "/message/{message}", None),
    ("DELETE", USER + "/message/{note}", None),
    ("GET", ROOM + "/message/{message}", None),
    ("GET", ROOM + "/message?limit=7&beforeMessage={message}&afterTimestamp=2018-01-01T00:00:00Z", None),
    ("GET", ROOM + "/message/recent?limit=3", None),
    ("GET", ROOM + "/message/{message}/context?before=3&after=4", None),
    ("POST", ROOM + "/media?name=a.txt", "octets"),
    ("GET", ROOM + "/media/{media}", None),
    ("DELETE", ROOM + "/media/{media}", None),
    ("GET", ROOM + "/app/module/chat:bot?start=0&limit=5", None),
    ("PUT", ROOM + "/app/module/chat:glance/{key}", {"name": {"value": "x"}}),
    ("DELETE", ROOM + "/app/module/chat:glance/{key}", None),
    ("PUT", ROOM + "/app/module/chat:glance/{key}/state", {"label": "x", "metadata": {}}),
    ("PUT", ROOM + "/app/module/chat:configuration/{key}/state", {"configured": True}),
    ("POST", "/app/module/chat/conversation/chat:glance/{key}/state", {"context": CONTEXT, "label": {"value": "x"}}),
    ("POST", "/app/module/chat/conversation/chat:configuration/{key}/state", {"context": CONTEXT, "configured": True}),
    ("GET", "/scim/site/{site}/Users/{user}", None),
    ("GET", "/users/lookup?email=ann@example.invalid&site={site}&product=chat", None),
    ("GET", "/me", None),
    ("POST", "/pf-editor-service/convert?from=markdown&to=adf", {"input": MARKDOWN}),
    ("POST", "/pf-editor-service/render", DOCUMENT),
]

UNUSUAL_TEXTS = [
    "",
    " ",
    "\x00",
    "\x7f\x1b[31m",
    "ü💥\u202e",
    "%",
    "%zz",
    "..",
    "/",
    "a" * 3000,
    "-1",
    "0",
    "76",
    "1e9",
    "9" * 30,
    "١٢",
    "null",
    "true",
    "asc; DROP TABLE message",
    "' OR 1=1 --",
    "2018-02-30T00:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59.999999999-23:59",
    "{site}",
    "{room}",
    "{user}",
    "{message}",
]
UNUSUAL_VALUES = [None, True, 0, -1, 1 << 80, 1.5, 1e300, [], {}, [[]], {"": None}, {"type": "doc"}, DOCUMENT, TEXT]
UNUSUAL_BODIES = [
    b"",
    b" ",
    b"null",
    b"[]",
    b'"x"',
    b"\xff\xfe{",
    b"\xef\xbb\xbf{}",
    b'{"a":' * 5_000,
    b"[" * 50_000 + b"]" * 50_000,
    b'{"name":"\\ud800"}',
    b'{"name":"x","name":5}',
    b"9" * 6_000,
    b"NaN",
    b"grant_type=client_credentials&client_id=%00&client_secret=%ff&&=",
    b"*" * 20_001,
    b"> " * 2_000,
    b"x" * 1_048_577,
]
UNUSUAL_HEADERS = {
    "Content-Type": [
        "",
        "application/json;;",
        "Application/Json",
        "text/markdown",
        "text/plain",
        "multipart/form-data",
    ],
    "Authorization": ["", "null", "Bearer", "Bearer ", "Basic eDp5", "Bearer x y", "bearer {token}", "\xff"],
    "Range": ["bytes=0-0", "bytes=-0", "bytes=9-1", "bytes=99-", "bytes=0-1,3-4", "x", "bytes=" + "9" * 40 + "-"],
    "If-Range": ['"x"', "W/", "Wed, 21 Oct 2015 07:28:00 GMT"],
    "Accept": ["*/*", "text/html", "\xfc"],
    "Accept-Encoding": ["gzip", "br;q=x"],
    "Content-Encoding": ["gzip", "deflate", "identity"],
    "Expect": ["100-continue", "200-nonsense"],
    "X-Odd": ["", "y" * 4000],
    "Cookie": ["a=b; ;=;"],
}
_REASONS = {"message", "error_description", "detail"}
METHODS = ["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "PROPFIND"]


@define
class Draft:
    """A request that is not encoded yet: its text may have names of ids in braces."""

    method: str
    segments: list[str]
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: object

    def encoded(self, known: dict[str, list[str]], chance: Random) -> bytes:
        """Return the bytes to send, with an id for each name in braces."""

        def filled(text: str) -> str:
            for name, values in known.items():
                if "{" + name + "}" in text:
                    text = text.replace("{" + name + "}", chance.choice(values))
            return text

        path = "/".join(quote(filled(part), safe=chance.choice(["", ":"])) for part in self.segments)
        query = "&".join(f"{name}{'=' if name else ''}{quote(filled(value))}" for name, value in self.query)
        body = self.body if isinstance(self.body, bytes) else filled(_text_of(self.body)).encode()
        headers = {"Host": "service", "Content-Length": str(len(body)), **self.headers}
        lines = [f"{self.method} {path}{'?' if self.query else ''}{query} HTTP/1.1"]
        lines += [f"{name}: {filled(value)}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _text_of(body: object) -> str:
    if isinstance(body, bytes):
        return body.decode("latin-1")
    return body if isinstance(body, str) else "" if body is None else json.dumps(body)


def valid(number: int) -> Draft:
    method, target, body = VALID_REQUESTS[number]
    path, _, query = target.partition("?")
    kind = "application/json"
    if isinstance(body, str):
        kind = "text/markdown" if body is MARKDOWN else "application/octet-stream"
    return Draft(
        method=method,
        segments=path.split("/"),
        query=[(name, value) for name, _, value in (pair.partition("=") for pair in query.split("&") if pair)],
        headers={"Authorization": "Bearer {token}", "Content-Type": kind},
        body=json.loads(json.dumps(body)),
    )


def altered(draft: Draft, chance: Random) -> Draft:
    """Return the request with one invalid or unusual part."""
    match chance.randrange(8):
        case 0:
            return evolve(draft, method=chance.choice(METHODS))
        case 1:
            segments = list(draft.segments)
            segments[chance.randrange(1, len(segments))] = chance.choice(UNUSUAL_TEXTS)
            return evolve(draft, segments=segments)
        case 2:
            more = chance.choice([["", ""], ["archive"], ["message"], ["%2e%2e", "me"], ["user"], ["state"]])
            kept = draft.segments[: chance.randrange(2, len(draft.segments) + 1)]
            return evolve(draft, segments=[*kept, *more])
        case 3:
            names = [name for name, _ in draft.query] + ["limit", "cursor", "start", "afterMessage", "before", ""]
            return evolve(draft, query=[*draft.query[1:], (chance.choice(names), chance.choice(UNUSUAL_TEXTS))])
        case 4:
            name = chance.choice(list(UNUSUAL_HEADERS))
            return evolve(draft, headers=draft.headers | {name: chance.choice(UNUSUAL_HEADERS[name])})
        case 5:
            return evolve(draft, body=chance.choice(UNUSUAL_BODIES))
        case 6:
            text = _text_of(draft.body)
            return evolve(draft, body=text[: chance.randrange(len(text) + 1)])
        case _:
            return evolve(draft, body=_changed(draft.body, chance))


def _changed(body: object, chance: Random) -> object:
    """Return the JSON value with a nested value replaced or removed."""
    if isinstance(body, dict | list) and body and chance.random() < 0.8:
        key = chance.choice(list(body) if isinstance(body, dict) else range(len(body)))
        copied = body.copy()
        if chance.random() < 0.15:
            del copied[key]
        else:
            copied[key] = _changed(body[key], chance)
        return copied
    return chance.choice([*UNUSUAL_VALUES, *UNUSUAL_TEXTS])


class Connection:
    """A connection that is opened again when the server has closed it."""

    def __init__(self, server: LocalServer) -> None:
        self._port = int(server.url.rpartition(":")[2])
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, request: bytes, *, head: bool = False) -> tuple[int, bytes]:
        """Return status and body of the response; reconnect if the server has closed the connection."""
        async with asyncio.timeout(TIMEOUT):
            for _ in range(2):
                if self._writer is None:
                    self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
                try:
                    self._writer.write(request)
                    await self._writer.drain()
                    return await self._read_response(head)
                except (asyncio.IncompleteReadError, ConnectionError):
                    await self.close()
        raise AssertionError(f"no response: {request[:300]!r}")

    async def _read_response(self, head: bool) -> tuple[int, bytes]:
        while True:
            lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            status = int(lines[0].split()[1])
            if status >= 200:
                break
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        length = 0 if head or status in {204, 304} else int(headers.get("content-length", 0))
        body = await self._reader.readexactly(length)
        if headers.get("connection") == "close":
            await self.close()
        return status, body

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@pytest.fixture
async def site():
    """A server with a generated site."""
    async with LocalServer(generate="conversations=4,messages=20,seed=3", rate_limit=None, calls_kept=10) as server:
        yield server


async def known_of(server: LocalServer, connection: Connection) -> dict[str, list[str]]:
    """Return ids of the site by their names in braces, enough of them that many can be deleted."""
    room, ann = server.add_conversation("here"), server.add_user("Ann", email="ann@example.invalid")
    known = {
        "site": [server.cloud_id],
        "room": [room],
        "user": [ann],
        "message": server.fill(room, messages=400),
        "media": [server.add_media(room, "a.txt", b"hello") for _ in range(100)],
        "key": ["key"],
        "client_id": [server.client_id],
        "client_secret": [server.client_secret],
    }
    chance = Random(0)
    _, body = await connection.send(valid(0).encoded(known, chance))
    known["token"] = [json.loads(body)["access_token"]]
    known["note"] = []
    for _ in range(100):
        _, body = await connection.send(valid(12).encoded(known, chance))
        known["note"].append(json.loads(body)["id"])
    return known


@pytest.mark.parametrize("value", [{}, [], None, True, 5, "news", {"type": {}}, "9" * 4_000])
async def test_documents_of_any_shape_are_accepted_by_the_lenient_check(value):
    """Below the root the lenient check accepts anything, and sending and rendering still work."""
    document = {
        "type": "doc",
        "content": [
            {"type": value, "content": [{"type": value, "attrs": value, "text": value, "marks": value}, value]},
            {"type": "orderedList", "attrs": {"order": value}, "content": [{"type": "listItem", "content": value}]},
            {
                "type": "paragraph",
                "content": [{"type": "mention", "attrs": {"id": value}}, {"type": "text", "text": value}],
            },
        ],
    }
    async with LocalServer(rate_limit=None, choices=Choices(lenient_documents=True)) as server:
        token = server.room_token(room := server.add_conversation("here"))
        known = {"site": [server.cloud_id], "room": [room], "token": [token]}
        async with Connection(server) as connection:
            statuses = {
                (await connection.send(evolve(valid(number), body=document).encoded(known, Random(0))))[0]
                for number in (11, 35)
            }

    assert {200, 201} == statuses


async def test_no_request_makes_the_server_fail_or_hang(site, caplog):
    """Each operation gets valid and invalid requests; no status is above 499, and each error has a reason in JSON."""
    caplog.set_level(logging.WARNING)
    statuses: Counter[int] = Counter()
    reached: set[int] = set()

    async def send_all(numbers: Iterator[int], known: dict[str, list[str]]) -> None:
        async with Connection(site) as connection:
            for seed in numbers:
                chance = Random(seed)
                number = chance.randrange(len(VALID_REQUESTS))
                draft = valid(number)
                for _ in range(chance.choice([0, 1, 1, 1, 2, 3])):
                    draft = altered(draft, chance)
                request = draft.encoded(known, chance)
                status, body = await connection.send(request, head=draft.method == "HEAD")
                statuses[status] += 1
                assert status < 500, (seed, request[:500], body)
                if status < 300:
                    reached.add(number)
                elif draft.method != "HEAD":
                    assert _REASONS & json.loads(body).keys(), (seed, request[:500], body)

    async with Connection(site) as connection:
        known = await known_of(site, connection)
    numbers = iter(range(REQUESTS))
    async with asyncio.TaskGroup() as tasks:
        for _ in range(CONNECTIONS):
            tasks.create_task(send_all(numbers, known))

    assert set(range(len(VALID_REQUESTS))) == reached
    assert {200, 201, 204, 400, 401, 403, 404, 405, 413, 415} <= set(statuses)
    assert REQUESTS == statuses.total()
    assert [] == [record.getMessage() for record in caplog.records]


CRLF = b"\r\n"
POST = b"POST /oauth/token HTTP/1.1\r\nHost: x\r\n"
NOT_HTTP = {
    "nothing": b"",
    "a blank line": CRLF,
    "text": b"hello there\r\n\r\n",
    "binary": bytes(range(256)) * 40,
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(190),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /me\r\n",
    "HTTP/9.9": b"GET /me HTTP/9.9\r\nHost: x\r\n\r\n",
    "no path": b"GET HTTP/1.1\r\nHost: x\r\n\r\n",
    "spaces in the path": b"GET /a b c HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path of bytes": b"GET /site/\xff\xfe\x80 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a NUL in the path": b"GET /me\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a star": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "a complete URL": b"GET http://elsewhere.invalid/me HTTP/1.1\r\nHost: x\r\n\r\n",
    "an invalid URL": b"GET http://[::1/me HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT": b"CONNECT elsewhere.invalid:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT without a port": b"CONNECT a:b:c HTTP/1.1\r\nHost: x\r\n\r\n",
    "a lowercase method": b"get /me HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long method": b"G" * 9_000 + b" /me HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long path": b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long header": b"GET /me HTTP/1.1\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
    "many headers": b"GET /me HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + CRLF,
    "no host": b"GET /me HTTP/1.1\r\n\r\n",
    "a header without a colon": b"GET /me HTTP/1.1\r\nHost\r\n\r\n",
    "a header without a name": b"GET /me HTTP/1.1\r\n: x\r\n\r\n",
    "a folded header": b"GET /me HTTP/1.1\r\nHost: x\r\n y: z\r\n\r\n",
    "control characters": b"GET /me HTTP/1.1\r\nHost: x\r\nX: \x00\x01\x7f\r\n\r\n",
    "bare line feeds": b"GET /me HTTP/1.1\nHost: x\n\n",
    "bare returns": b"GET /me HTTP/1.1\rHost: x\r\r",
    "a negative length": b"POST /me HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    "a length in letters": b"POST /me HTTP/1.1\r\nHost: x\r\nContent-Length: five\r\n\r\n",
    "a huge length": POST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n{}",
    "two lengths": b"POST /me HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
    "a length and chunks": (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "an unknown coding": POST + b"Transfer-Encoding: gzip\r\n\r\nxyz",
    "chunks without a size": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a chunk that is too short": POST + b"Transfer-Encoding: chunked\r\n\r\n9\r\n{}\r\n0\r\n\r\n",
    "a huge chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + CRLF,
    "a body that ends early": POST + b"Content-Length: 100\r\n\r\n{",
    "an upload that ends early": b"POST {upload} HTTP/1.1\r\nHost: x\r\n{auth}Content-Length: 100\r\n\r\nhello",
    "chunks that end early": b"POST {upload} HTTP/1.1\r\nHost: x\r\n{auth}Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
    "an upgrade": b"GET /me HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x80",
    "a request in a body": b"GET /me HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    "pipelined requests": b"GET /me HTTP/1.1\r\nHost: x\r\n\r\n" * 50,
    "an unknown expectation": POST + b"Expect: miracles\r\nContent-Length: 2\r\n\r\n{}",
}


@pytest.fixture
async def upload(site) -> dict[bytes, bytes]:
    """The path and the header of an upload, by their names in braces."""
    room = site.add_conversation("here")
    path = f"/site/{site.cloud_id}/conversation/{room}/media?name=x"
    token = site.room_token(room)
    return {b"{upload}": path.encode(), b"{auth}": f"Authorization: Bearer {token}\r\n".encode()}


@pytest.mark.parametrize("sent", NOT_HTTP.values(), ids=NOT_HTTP)
async def test_bytes_that_are_not_a_request_do_no_harm(site, upload, sent):
    """They get a 400 or the connection is closed at once; the next request is served, and nothing is stored."""
    before = site.truth()
    for name, value in upload.items():
        sent = sent.replace(name, value)

    async with asyncio.timeout(TIMEOUT):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(site.url.rpartition(":")[2]))
        writer.write(sent)
        writer.write_eof()
        try:
            response = await reader.read()
        except ConnectionError:
            response = b""
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    assert {int(line.split()[1]) // 100 for line in response.split(CRLF) if line.startswith(b"HTTP/1.")} <= {4}
    async with Connection(site) as connection:
        assert (401, b'{"code":401,"message":"Unauthorized"}') == await connection.send(
            b"GET /me HTTP/1.1\r\nHost: x\r\n\r\n"
        )
    assert before == site.truth()


async def test_incomplete_requests_do_not_keep_the_server_from_closing():
    """A client in the middle of a line, a header, a body or a chunk is cut off."""
    incomplete = [
        b"GE",
        b"GET /me HTTP/1.1\r\nHos",
        POST + b"Content-Length: 100\r\n\r\n{",
        POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"",
    ]
    server, arrived = LocalServer(), asyncio.Barrier(2)
    server.faults.add("POST", "*", do=lambda _: arrived.wait())
    await server.start()
    opened = [await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2])) for _ in incomplete]
    for (_, writer), sent in zip(opened, incomplete, strict=True):
        writer.write(sent)
        await writer.drain()
    for _ in range(2):  # The two with complete headers are being processed.
        await arrived.wait()

    async with asyncio.timeout(TIMEOUT):
        await server.close()
        ended = await asyncio.gather(*(reader.read() for reader, _ in opened), return_exceptions=True)

    assert len(incomplete) == len(ended)
    for _, writer in opened:
        writer.close()
