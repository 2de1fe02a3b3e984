"""Whom and what a message speaks of, read without making a document of it. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from stride_async._models import Message

_MAY_SPEAK = (b'"me', b"\\u00")
"""`"mention"` and `"media"` begin so, and any letter may be written as an escape."""


class _Attrs(msgspec.Struct):
    id: Any = None


class _Node(msgspec.Struct):
    type: Any = None
    attrs: _Attrs | None = None
    content: list[_Node] | None = None


class _Spoken(msgspec.Struct):
    body: _Node | None = None


_read = msgspec.json.Decoder(_Spoken).decode


def add_met(message: Message, users: set[str], media: set[str]) -> None:
    """Add the sender, the people mentioned and the media shown; a body that is no document speaks of nobody."""
    users.add(message.sender_id)
    if not any(sign in message.raw for sign in _MAY_SPEAK):
        return
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
