"""Thousands of requests made up from right ones, and bytes that are no HTTP: never a failure, never silence."""

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
LANES = 4
PATIENCE = 10.0
"""Seconds after which a request counts as hanging."""

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

RIGHT_ONES = [
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
"""A right request for each operation of protocol 5, in its order; braces name ids of the site."""

ODD_TEXTS = [
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
ODD_VALUES = [None, True, 0, -1, 1 << 80, 1.5, 1e300, [], {}, [[]], {"": None}, {"type": "doc"}, DOCUMENT, TEXT]
ODD_BODIES = [
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
ODD_HEADERS = {
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
class Question:
    """A request before it is written: text may hold names of ids in braces, replaced at the end."""

    method: str
    segments: list[str]
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: object

    def written(self, known: dict[str, list[str]], chance: Random) -> bytes:
        """The bytes that go out."""

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


def right(number: int) -> Question:
    method, target, body = RIGHT_ONES[number]
    path, _, query = target.partition("?")
    kind = "application/json"
    if isinstance(body, str):
        kind = "text/markdown" if body is MARKDOWN else "application/octet-stream"
    return Question(
        method=method,
        segments=path.split("/"),
        query=[(name, value) for name, _, value in (pair.partition("=") for pair in query.split("&") if pair)],
        headers={"Authorization": "Bearer {token}", "Content-Type": kind},
        body=json.loads(json.dumps(body)),
    )


def bent(question: Question, chance: Random) -> Question:
    """The request with one thing about it wrong, or odd."""
    match chance.randrange(8):
        case 0:
            return evolve(question, method=chance.choice(METHODS))
        case 1:
            segments = list(question.segments)
            segments[chance.randrange(1, len(segments))] = chance.choice(ODD_TEXTS)
            return evolve(question, segments=segments)
        case 2:
            more = chance.choice([["", ""], ["archive"], ["message"], ["%2e%2e", "me"], ["user"], ["state"]])
            kept = question.segments[: chance.randrange(2, len(question.segments) + 1)]
            return evolve(question, segments=[*kept, *more])
        case 3:
            names = [name for name, _ in question.query] + ["limit", "cursor", "start", "afterMessage", "before", ""]
            return evolve(question, query=[*question.query[1:], (chance.choice(names), chance.choice(ODD_TEXTS))])
        case 4:
            name = chance.choice(list(ODD_HEADERS))
            return evolve(question, headers=question.headers | {name: chance.choice(ODD_HEADERS[name])})
        case 5:
            return evolve(question, body=chance.choice(ODD_BODIES))
        case 6:
            text = _text_of(question.body)
            return evolve(question, body=text[: chance.randrange(len(text) + 1)])
        case _:
            return evolve(question, body=_changed(question.body, chance))


def _changed(body: object, chance: Random) -> object:
    """The JSON value with something in its depths replaced, or left out."""
    if isinstance(body, dict | list) and body and chance.random() < 0.8:
        key = chance.choice(list(body) if isinstance(body, dict) else range(len(body)))
        copied = body.copy()
        if chance.random() < 0.15:
            del copied[key]
        else:
            copied[key] = _changed(body[key], chance)
        return copied
    return chance.choice([*ODD_VALUES, *ODD_TEXTS])


class Connection:
    """One connection that is opened again whenever the server closes it."""

    def __init__(self, server: LocalServer) -> None:
        self._port = int(server.url.rpartition(":")[2])
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, request: bytes, *, head: bool = False) -> tuple[int, bytes]:
        """Status and body of the answer; a connection the server closed between two requests is opened anew."""
        async with asyncio.timeout(PATIENCE):
            for _ in range(2):
                if self._writer is None:
                    self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
                try:
                    self._writer.write(request)
                    await self._writer.drain()
                    return await self._answer(head)
                except (asyncio.IncompleteReadError, ConnectionError):
                    await self.close()
        raise AssertionError(f"no answer: {request[:300]!r}")

    async def _answer(self, head: bool) -> tuple[int, bytes]:
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
    """A generated site with a room of our own in it."""
    async with LocalServer(generate="conversations=4,messages=20,seed=3", rate_limit=None, calls_kept=10) as server:
        yield server


async def known_of(server: LocalServer, connection: Connection) -> dict[str, list[str]]:
    """Ids of the site by the names that stand in braces, enough of them for many to be deleted."""
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
    _, told = await connection.ask(right(0).written(known, chance))
    known["token"] = [json.loads(told)["access_token"]]
    known["note"] = []
    for _ in range(100):
        _, told = await connection.ask(right(12).written(known, chance))
        known["note"].append(json.loads(told)["id"])
    return known


@pytest.mark.parametrize("odd", [{}, [], None, True, 5, "news", {"type": {}}, "9" * 4_000])
async def test_documents_of_any_shape_are_shown(odd):
    """The lenient form lets everything through below the root; rendering and sending still answer."""
    document = {
        "type": "doc",
        "content": [
            {"type": odd, "content": [{"type": odd, "attrs": odd, "text": odd, "marks": odd}, odd]},
            {"type": "orderedList", "attrs": {"order": odd}, "content": [{"type": "listItem", "content": odd}]},
            {
                "type": "paragraph",
                "content": [{"type": "mention", "attrs": {"id": odd}}, {"type": "text", "text": odd}],
            },
        ],
    }
    async with LocalServer(rate_limit=None, choices=Choices(lenient_documents=True)) as server:
        token = server.room_token(room := server.add_conversation("here"))
        known = {"site": [server.cloud_id], "room": [room], "token": [token]}
        async with Connection(server) as connection:
            statuses = {
                (await connection.ask(evolve(right(number), body=document).written(known, Random(0))))[0]
                for number in (11, 35)
            }

    assert {200, 201} == statuses


async def test_no_request_makes_the_server_fail_or_hang(site, caplog):
    """Every operation is asked rightly and wrongly; each answer is below 500 and each refusal says why, in JSON."""
    caplog.set_level(logging.WARNING)
    statuses: Counter[int] = Counter()
    reached: set[int] = set()

    async def lane(numbers: Iterator[int], known: dict[str, list[str]]) -> None:
        async with Connection(site) as connection:
            for seed in numbers:
                chance = Random(seed)
                number = chance.randrange(len(RIGHT_ONES))
                question = right(number)
                for _ in range(chance.choice([0, 1, 1, 1, 2, 3])):
                    question = bent(question, chance)
                request = question.written(known, chance)
                status, body = await connection.ask(request, head=question.method == "HEAD")
                statuses[status] += 1
                assert status < 500, (seed, request[:500], body)
                if status < 300:
                    reached.add(number)
                elif question.method != "HEAD":
                    assert _REASONS & json.loads(body).keys(), (seed, request[:500], body)

    async with Connection(site) as connection:
        known = await known_of(site, connection)
    numbers = iter(range(REQUESTS))
    async with asyncio.TaskGroup() as lanes:
        for _ in range(LANES):
            lanes.create_task(lane(numbers, known))

    assert set(range(len(RIGHT_ONES))) == reached
    assert {200, 201, 204, 400, 401, 403, 404, 405, 413, 415} <= set(statuses)
    assert REQUESTS == statuses.total()
    assert [] == [record.getMessage() for record in caplog.records]


ENTER = b"\r\n"
POST = b"POST /oauth/token HTTP/1.1\r\nHost: x\r\n"
NO_HTTP = {
    "nothing": b"",
    "a blank line": ENTER,
    "words": b"hello there\r\n\r\n",
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
    "a whole address": b"GET http://elsewhere.invalid/me HTTP/1.1\r\nHost: x\r\n\r\n",
    "a broken address": b"GET http://[::1/me HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT": b"CONNECT elsewhere.invalid:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT to no port": b"CONNECT a:b:c HTTP/1.1\r\nHost: x\r\n\r\n",
    "a small method": b"get /me HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long method": b"G" * 9_000 + b" /me HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long path": b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long header": b"GET /me HTTP/1.1\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
    "many headers": b"GET /me HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + ENTER,
    "no host": b"GET /me HTTP/1.1\r\n\r\n",
    "a header without a colon": b"GET /me HTTP/1.1\r\nHost\r\n\r\n",
    "a header without a name": b"GET /me HTTP/1.1\r\n: x\r\n\r\n",
    "a header that goes on": b"GET /me HTTP/1.1\r\nHost: x\r\n y: z\r\n\r\n",
    "control characters": b"GET /me HTTP/1.1\r\nHost: x\r\nX: \x00\x01\x7f\r\n\r\n",
    "bare line feeds": b"GET /me HTTP/1.1\nHost: x\n\n",
    "bare returns": b"GET /me HTTP/1.1\rHost: x\r\r",
    "a negative length": b"POST /me HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    "a length in words": b"POST /me HTTP/1.1\r\nHost: x\r\nContent-Length: five\r\n\r\n",
    "a huge length": POST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n{}",
    "two lengths": b"POST /me HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
    "a length and chunks": (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "an unknown coding": POST + b"Transfer-Encoding: gzip\r\n\r\nxyz",
    "chunks of no size": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a chunk too short": POST + b"Transfer-Encoding: chunked\r\n\r\n9\r\n{}\r\n0\r\n\r\n",
    "a huge chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + ENTER,
    "a body that ends early": POST + b"Content-Length: 100\r\n\r\n{",
    "an upload that ends early": b"POST {upload} HTTP/1.1\r\nHost: x\r\n{auth}Content-Length: 100\r\n\r\nhello",
    "chunks that end early": b"POST {upload} HTTP/1.1\r\nHost: x\r\n{auth}Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
    "an upgrade": b"GET /me HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x80",
    "a request in a body": b"GET /me HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    "requests in a row": b"GET /me HTTP/1.1\r\nHost: x\r\n\r\n" * 50,
    "an unasked expectation": POST + b"Expect: miracles\r\nContent-Length: 2\r\n\r\n{}",
}


@pytest.fixture
async def upload(site) -> dict[bytes, bytes]:
    """Where and on whose behalf something can be uploaded, for the bytes in braces."""
    room = site.add_conversation("here")
    path = f"/site/{site.cloud_id}/conversation/{room}/media?name=x"
    token = site.room_token(room)
    return {b"{upload}": path.encode(), b"{auth}": f"Authorization: Bearer {token}\r\n".encode()}


@pytest.mark.parametrize("sent", NO_HTTP.values(), ids=NO_HTTP)
async def test_bytes_that_are_no_request_do_no_harm(site, upload, sent):
    """They are refused or the connection is closed, at once; the next one is served, and nothing half is kept."""
    before = site.truth()
    for name, value in upload.items():
        sent = sent.replace(name, value)

    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(site.url.rpartition(":")[2]))
        writer.write(sent)
        writer.write_eof()
        try:
            answer = await reader.read()
        except ConnectionError:
            answer = b""
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    assert {int(line.split()[1]) // 100 for line in answer.split(ENTER) if line.startswith(b"HTTP/1.")} <= {4}
    async with Connection(site) as connection:
        assert (401, b'{"code":401,"message":"Unauthorized"}') == await connection.ask(
            b"GET /me HTTP/1.1\r\nHost: x\r\n\r\n"
        )
    assert before == site.truth()


async def test_requests_that_never_end_do_not_keep_the_server_from_closing():
    """Whoever is in the middle of a line, a header, a body or a chunk is cut off."""
    begun = [
        b"GE",
        b"GET /me HTTP/1.1\r\nHos",
        POST + b"Content-Length: 100\r\n\r\n{",
        POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"",
    ]
    server, arrived = LocalServer(), asyncio.Barrier(2)
    server.faults.add("POST", "*", do=lambda _: arrived.wait())
    await server.start()
    opened = [await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2])) for _ in begun]
    for (_, writer), sent in zip(opened, begun, strict=True):
        writer.write(sent)
        await writer.drain()
    for _ in range(2):  # Those whose headers are through are being answered by now.
        await arrived.wait()

    async with asyncio.timeout(PATIENCE):
        await server.close()
        ended = await asyncio.gather(*(reader.read() for reader, _ in opened), return_exceptions=True)

    assert len(begun) == len(ended)
    for _, writer in opened:
        writer.close()
