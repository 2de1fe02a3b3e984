"""No input makes the server fail."""

from __future__ import annotations

import random
from urllib.parse import quote

import pytest
from yarl import URL

from stride_async.server._routes.table import ROUTES

UNUSUAL = [
    "",
    "\x00",
    "é",
    "💥",
    "%",
    "..",
    "a" * 3000,
    "-1",
    "1e9",
    "9" * 30,
    "null",
    "[]",
    "desc",
    "１２",
    "2018-02-27T08:54:23.197Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999Z",
]
PARAMETERS = [
    "limit",
    "cursor",
    "sort",
    "query",
    "start",
    "afterMessage",
    "beforeMessage",
    "afterTimestamp",
    "beforeTimestamp",
    "before",
    "after",
    "name",
    "email",
    "site",
    "from",
    "to",
    "include-private",
    "exclude-direct",
]
BODIES = [
    None,
    b"",
    b"{}",
    b"[]",
    b"null",
    b"1" * 6000,
    b"\xff\xfe",
    b"\xef\xbb\xbf{}",
    b"[" * 100_000,
    b'{"version":1,"type":"doc","content":' + b'[{"type":"bulletList","content":' * 3000 + b"[]" + b"}]" * 3000 + b"}",
    b'{"name":"\\ud800","input":"\\udfff"}',
    b'{"name":"\\u0000","privacy":"private","input":"\\u0000"}',
    b'{"type":"doc","version":1,"content":[5,null,{"type":"paragraph","content":null}]}',
    b'{"add":["x"],"remove":{}}',
    b'{"context":{"cloudId":5},"label":{"value":[]},"configured":1e400}',
    b'{"input":"# x\\n> * a"}',
    b"NaN",
    b"grant_type=client_credentials&client_id=%ff&client_secret=%00",
]
TYPES = [
    "application/json",
    "text/plain",
    "text/markdown",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "é",
]
METHODS = ["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "FOO"]


@pytest.mark.parametrize("seed", range(4))
async def test_no_input_causes_a_server_error(api, server, room, seed):
    """Half of the methods, paths, queries, headers and bodies are random, the others nearly valid."""
    chance = random.Random(seed)
    known = {
        "site": server.cloud_id,
        "conversation": room,
        "message": server.add_message(room, "x"),
        "user": server.add_user("Ann"),
        "media": server.add_media(room, "a.txt", b"hello"),
        "type": "chat:bot",
        "key": "k",
    }

    def segment(part):
        if not part.startswith("{"):
            return part
        return quote(
            known[part[1:-1]] if chance.random() < 0.8 else chance.choice(UNUSUAL), safe=chance.choice(["", ":"])
        )

    async def reply():
        route = chance.choice(ROUTES)
        path = "/".join(map(segment, route.path.split("/"))) + chance.choice([""] * 20 + ["/", "//", "/%2F", "/.."])
        values = [*UNUSUAL, known["message"], "markdown", "adf"]
        pairs = (
            f"{chance.choice(PARAMETERS)}={quote(chance.choice(values))}" for _ in range(chance.choice([0, 0, 1, 3]))
        )
        query = "&".join([*pairs, chance.choice(["", "", "%ff=%00&&&==&10"])])
        headers = {"Content-Type": chance.choice(TYPES), "Range": chance.choice(["", "bytes=0-1", "bytes=-0", "x"])}
        return await api.call(
            route.method if chance.random() < 0.85 else chance.choice(METHODS),
            URL(f"{path}?{query}", encoded=True).raw_path_qs,
            headers=headers,
            data=chance.choice(BODIES),
        )

    statuses = {(await reply()).status for _ in range(250)}

    assert statuses <= {200, 201, 204, 206, 400, 401, 403, 404, 405, 413, 415, 416}
    assert {200, 400, 404} <= statuses
