"""Whom and what a message speaks of, read without making a document of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from stride_async._models import Message

_SPOKEN = re.compile(rb'"me(?:ntion","attrs":\{"id":"([^"\\]*)"|ntion"|dia")')
"""A mention as the service writes it (protocol 8), with the id; or whatever else may be a mention or show media."""
_ESCAPED = re.compile(rb"\\u00[67]")
"""A node's type may be written with letters that begin so."""


class _Attrs(msgspec.Struct):
    id: Any = None


class _Node(msgspec.Struct):
    type: Any = None
    attrs: _Attrs | None = None
    content: list[_Node] | None = None


class _Spoken(msgspec.Struct):
    body: _Node | None = None


_read = msgspec.json.Decoder(_Spoken).decode


def add_met(messages: Sequence[Message], page: bytes, users: set[str], media: set[str]) -> None:
    """Add the senders, the people mentioned and the media shown; a body that is no document speaks of nobody.

    `page` has a line for each of the messages. It is searched at once; bodies are decoded only where they may
    show media, and where mentions are not written in the usual way.
    """
    users.update([message.sender_id for message in messages])
    odd = [found.start() for found in _ESCAPED.finditer(page)] if b"\\" in page else []
    ids = set(_SPOKEN.findall(page))
    if b"" in ids:
        odd += [found.start() for found in _SPOKEN.finditer(page) if not found[1]]
        ids.remove(b"")
    users.update([id.decode() for id in ids])
    for number in {page.count(b"\n", 0, place) for place in odd}:
        _add_from_body(messages[number], users, media)


def _add_from_body(message: Message, users: set[str], media: set[str]) -> None:
    try:
        body = _read(message.raw).body
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        _add_from_odd_body(message, users, media)
        return
    nodes = [body] if body is not None else []
    while nodes:
        node = nodes.pop()
        if node.content:
            nodes += node.content
        if node.attrs is not None and isinstance(id := node.attrs.id, str) and id:
            if node.type == "mention":
                users.add(id)
            elif node.type == "media":
                media.add(id)


def _add_from_odd_body(message: Message, users: set[str], media: set[str]) -> None:
    """The same by way of the document, which tolerates what the service may send beside nodes."""
    try:
        users.update(message.body.mentions())
        media.update(message.body.media())
    except (ValueError, msgspec.DecodeError, RecursionError):
        pass  # The message is kept as it is.
