"""Make many deliveries to one bot, and print the seconds they took; every one must be acknowledged.

Each connection sends its next delivery after the response to the last one.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from collections.abc import Iterator
from typing import Any

import jwt

CLOUD, ROOM, PERSON = (str(uuid.UUID(int=number, version=4)) for number in range(3))


async def deliver(request: dict[str, Any]) -> float:
    """Make `count` deliveries over `together` connections."""
    token = _token(request["client_id"], request["secret"])
    deliveries = iter([_delivery(token) for _ in range(request["count"])])
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(request["together"]):
            group.create_task(_one_after_another(request["port"], deliveries))
    return time.perf_counter() - began


async def _one_after_another(port: int, deliveries: Iterator[bytes]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for delivery in deliveries:
        writer.write(delivery)
        response = await reader.readuntil(b"\r\n\r\n")
        if not response.startswith(b"HTTP/1.1 204 "):
            raise AssertionError(f"a delivery was not acknowledged: {response!r}")
    writer.close()


def _token(client_id: str, secret: str) -> str:
    now = int(time.time())
    context = {"cloudId": CLOUD, "resourceType": "conversation", "resourceId": ROOM}
    claims = {"iss": client_id, "sub": PERSON, "iat": now, "exp": now + 900, "context": context}
    return jwt.encode(claims, secret, algorithm="HS256")


def _delivery(token: str) -> bytes:
    """Return an HTTP request with a message that mentions the bot, as the service sends it (protocol 6.3)."""
    mention = {"type": "mention", "attrs": {"id": "557058:bot", "text": "@Deployer", "accessLevel": None}}
    content = [mention, {"type": "text", "text": " deploy api 3", "marks": None}]
    message = {
        "id": str(uuid.uuid4()),
        "type": "message",
        "text": "@Deployer deploy api 3",
        "ts": "2018-02-27T08:54:23.197123456Z",
        "sender": {"id": PERSON},
        "body": {"version": 1, "type": "doc", "content": [{"type": "paragraph", "content": content}]},
    }
    conversation = {
        "id": ROOM,
        "name": "Releases",
        "topic": "What goes out, and when",
        "type": "group",
        "privacy": "public",
        "isArchived": False,
        "created": "2018-02-27T08:54:23.197Z",
        "modified": "2018-02-27T08:54:23.197Z",
        "avatarUrl": f"https://static.example.invalid/{ROOM}/avatar.png",
    }
    body = {
        "cloudId": CLOUD,
        "message": message,
        "recipients": [PERSON],
        "sender": {"id": PERSON},
        "conversation": conversation,
        "type": "chat_message_sent",
    }
    data = json.dumps(body).encode()
    head = (
        "POST /mention HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


if __name__ == "__main__":
    print(json.dumps(asyncio.run(deliver(json.load(sys.stdin)))))
