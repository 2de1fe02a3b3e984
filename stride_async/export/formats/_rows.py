"""The rows of the tables: what SQLite and Parquet have of each conversation, person, message and file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import attrs
import msgspec

from stride_async._json import NOT_DECODABLE
from stride_async._models import Message
from stride_async._moments import to_nanoseconds
from stride_async.document import Document
from stride_async.document._nodes import JsonObject, attr, json_of, kind_of, objects
from stride_async.export._archive.reader import ArchivedMedia
from stride_async.export._archive.state import NOT_PEOPLE
from stride_async.export.formats._report import Tally
from stride_async.export.formats._source import People, Person, Room, document_of

_CARDS = ("inlineCard", "blockCard", "embedCard")  # Not a set: the type of a malformed node may be a list.
# What a message with a mention, a link or a file contains. An escaped letter may hide the type of a node.
_MAY_REFER = re.compile(rb'"(?:mention|link|media|inlineCard|blockCard|embedCard)"|\\u00[67]')


@attrs.frozen
class ConversationRow:
    """A conversation."""

    id: str
    name: str
    topic: str
    type: str
    privacy: str
    is_archived: bool
    created_us: int | None
    modified_us: int | None
    verdict: str
    raw: str


@attrs.frozen
class UserRow:
    """A person."""

    id: str
    name: str
    email: str
    nick_name: str | None
    title: str | None
    timezone: str | None
    active: bool
    has_profile: bool
    raw: str | None


@attrs.frozen
class MediaRow:
    """A file whose body is held; `path` is that of the body in the archive."""

    conversation_id: str
    id: str
    name: str | None
    mime_type: str | None
    size: int
    sha256: str
    path: str


@attrs.frozen
class MessageRow:
    """A message."""

    conversation_id: str
    id: str
    sender_id: str
    sent_us: int
    ts_ns: int
    text: str
    markdown: str
    raw: str


@attrs.frozen
class References:
    """What a message refers to: the people it mentions, and its links as URL and text."""

    user_ids: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()


NOTHING = References()


def conversation_row(room: Room) -> ConversationRow:
    """Return the row of a conversation."""
    about = room.conversation
    return ConversationRow(
        id=about.id,
        name=about.name,
        topic=about.topic,
        type=about.type,
        privacy=about.privacy,
        is_archived=about.is_archived,
        created_us=_microseconds(about.created),
        modified_us=_microseconds(about.modified),
        verdict=room.verdict,
        raw=msgspec.json.encode(room.details, order="sorted").decode(),
    )


def user_row(person: Person, people: People) -> UserRow:
    """Return the row of a person."""
    user, raw = people.profile(person.id), people.raw_profile(person.id)
    return UserRow(
        id=person.id,
        name=person.name,
        email=person.email,
        nick_name=user.nick_name if user is not None else None,
        title=user.title if user is not None else None,
        timezone=user.timezone if user is not None else None,
        active=person.active,
        has_profile=raw is not None,
        raw=None if raw is None else raw.decode("utf-8", "replace"),
    )


def media_row(medium: ArchivedMedia) -> MediaRow:
    """Return the row of a file."""
    return MediaRow(
        conversation_id=medium.conversation_id,
        id=medium.id,
        name=medium.name,
        mime_type=medium.mime_type,
        size=medium.size,
        sha256=medium.sha256,
        path=medium.path_in_archive,
    )


def message_rows(room: Room, tally: Tally, month: str | None = None) -> Iterator[tuple[MessageRow, References]]:
    """Yield the messages of a conversation, oldest first, of all parts or of one. Counts them, and what is lost."""
    for message in room.messages(month):
        document = _as_json(message) or document_of(message)
        found = _references(document, room, tally) if _MAY_REFER.search(message.raw) else NOTHING
        tally.message()
        yield _message_row(room.id, message, document, tally), found


class _OnlyBody(msgspec.Struct):
    body: Any = None


_body_in = msgspec.json.Decoder(_OnlyBody).decode


def _as_json(message: Message) -> Document | None:
    """Return the body as a view of its JSON, which Markdown is made from; `Message.body` would decode it twice."""
    try:
        return Document.from_json(_body_in(message.raw).body)
    except (*NOT_DECODABLE, ValueError):
        return None


def _message_row(conversation_id: str, message: Message, document: Document, tally: Tally) -> MessageRow:
    try:
        raw = message.raw.decode()
    except UnicodeDecodeError:
        raw = message.raw.decode("utf-8", "replace")
        tally.lose("character left out", message.id)
    return MessageRow(
        conversation_id=conversation_id,
        id=message.id,
        sender_id=message.sender_id,
        sent_us=message.ts // 1000,
        ts_ns=message.ts,
        text=message.text,
        markdown=document.to_markdown(),
        raw=raw,
    )


def _references(document: Document, room: Room, tally: Tally) -> References:
    user_ids: dict[str, None] = {}
    links: dict[tuple[str, str], None] = {}
    # `Document.walk` would make a value of each node, which shows in the speed of a conversion.
    stack: list[object] = [json_of(node) for node in reversed(document.content)]
    while stack:
        json = stack.pop()
        if not isinstance(json, dict):
            continue
        kind = json.get("type")
        if kind == "text":
            if "marks" in json:
                links.update(dict.fromkeys(_links_of(json)))
        elif kind == "mention":
            if (id := attr(json, "id")) and id not in NOT_PEOPLE:
                user_ids[id] = None
        elif kind == "media":
            if (id := attr(json, "id")) and room.medium(id) is None:
                tally.lose("file not held", id)
        elif kind in _CARDS and (url := attr(json, "url")):
            links[url, ""] = None
        if "content" in json and isinstance(content := json["content"], list):
            stack += content[::-1]
    return References(tuple(user_ids), tuple(links))


def _links_of(json: JsonObject) -> Iterator[tuple[str, str]]:
    text = json.get("text")
    for mark in objects(json.get("marks")):
        if kind_of(mark) == "link" and (url := attr(mark, "href")):
            yield url, text if isinstance(text, str) else ""


def _microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else to_nanoseconds(moment) // 1000
