"""Sites with unusual names, people, times and documents, for Hypothesis."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import attrs
from hypothesis import strategies as st

from stride_async.server import LocalServer
from tests.conftest import client_of
from tests.documents import expressible
from tests.export.exporting import exported

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    [
        *("general", "General", "GENERAL!", "all", "here", "channel", "system", "town-square", "a", "-", "..", "con"),
        *("0" * 40, "x" * 300, "日本語", "Ö", "a/b\\c", "__uploads", "channels.json", "<@U1>", "💩" * 70, "\u202ex"),
    ]
)
MOMENTS = st.sampled_from(
    [
        *(-(10**18), -1, 0, 1, 999_999, 1_000_000, 10**18, 10**18 + 1, 1_530_403_199_999_999_999),
        *(1_530_403_200_000_000_000, 2**63 - 1),
    ]
)


def _encodable(text: str) -> str:
    """Return JSON without halves of surrogate pairs, which the server cannot hold."""
    return re.sub(r"\\ud[89a-f][0-9a-f]{2}", "?", text)


PEOPLE = st.integers(0, 5)  # by number; the last ones are unknown to the service
KNOWN = 4


@attrs.frozen
class Sent:
    """A message of a site that is to be made."""

    room: int
    sender: int
    ts: int
    blocks: list[dict[str, Any]]
    mentioned: int | None
    files: list[str]
    instead: dict[str, Any] | None
    """A body that is not a document, or hardly one."""


MESSAGES = st.builds(
    Sent,
    room=st.integers(0, 3),
    sender=PEOPLE,
    ts=MOMENTS,
    blocks=expressible.map(lambda document: json.loads(_encodable(json.dumps(document.to_json()["content"])))),
    mentioned=st.none() | PEOPLE,
    files=st.lists(NAMES.filter(bool), max_size=7),
    instead=st.sampled_from([None] * 5 + [{"type": "nothing"}, {"type": "doc", "content": None}, {"type": "doc"}]),
)
ROOMS = st.tuples(
    NAMES,
    st.sampled_from(["group", "direct"]),
    st.sampled_from(["public", "private"]),
    st.booleans(),
    st.sets(PEOPLE),
)


def id_of(person: int) -> str:
    return f"u:{person}"


async def archive_of(people: list[str], rooms: list[Any], messages: list[Sent], folder: Path) -> Path:
    async with LocalServer(rate_limit=None) as server, client_of(server) as client:
        for number, name in enumerate(people):
            server.add_user(name, email=f"P{number % 2}@Example.com{number}", id=id_of(number))
        ids = [
            server.add_conversation(name, type=type, privacy=privacy, archived=archived, roster=map(id_of, roster))
            for name, type, privacy, archived, roster in rooms
        ]
        for message in messages:
            room = ids[message.room % len(ids)]
            server.add_message(room, body_of(message, room, server), sender_id=id_of(message.sender), ts=message.ts)
        await exported(client, folder)
    return folder


def body_of(message: Sent, room: str, server: LocalServer) -> dict[str, Any]:
    if message.instead is not None:
        return message.instead
    blocks = list(message.blocks)
    if message.mentioned is not None:
        mention = {"type": "mention", "attrs": {"id": id_of(message.mentioned), "text": "@x"}}
        blocks.insert(0, {"type": "paragraph", "content": [mention, {"type": "text", "text": "s"}]})
    media = [
        {"type": "media", "attrs": {"type": "file", "id": server.add_media(room, name, b"x"), "collection": room}}
        for name in message.files
    ]
    if media:
        blocks.append({"type": "mediaGroup", "content": media})
    return {"version": 1, "type": "doc", "content": blocks}
