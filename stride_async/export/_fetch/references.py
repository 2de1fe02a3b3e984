"""Find the users and media that messages reference, without decoding each body. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from stride_async._json import NOT_DECODABLE, decoder
from stride_async._models import RawMessage
from stride_async.document import Document

# A mention with its id, written as the service does (protocol 8); or anything else that may be a mention or show media.
_REFERENCE = re.compile(rb'"me(?:ntion","attrs":\{"id":"([^"\\]*)"|ntion"|dia")')
# How an escaped letter starts; the type of a node may contain one.
_ESCAPED_LETTER = re.compile(rb"\\u00[67]")


class _Attrs(msgspec.Struct):
    id: Any = None


class _Node(msgspec.Struct):
    type: Any = None
    attrs: _Attrs | None = None
    content: list[_Node] | None = None


class _WithBody(msgspec.Struct):
    body: _Node | None = None


class _WithAnyBody(msgspec.Struct):
    body: Any = None


_decode = msgspec.json.Decoder(_WithBody).decode
_decode_any = decoder(_WithAnyBody)


def add_references(messages: Sequence[RawMessage], page: bytes, users: set[str], media: set[str]) -> None:
    """Add the senders and the people mentioned to `users`, and the media shown to `media`.

    `page` has a line for each message. It is searched as one text; a body is decoded only if it may show media, or if
    its mentions are written in an unusual way. A body that is not a document references nothing.
    """
    users.update([message.sender_id for message in messages])
    # Few pages contain these bytes, and to search for them is faster than to search with the expression.
    unclear = [found.start() for found in _ESCAPED_LETTER.finditer(page)] if b"\\u00" in page else []
    ids = set(_REFERENCE.findall(page))
    if b"" in ids:
        unclear += [found.start() for found in _REFERENCE.finditer(page) if not found[1]]
        ids.remove(b"")
    users.update([id.decode("utf-8", "replace") for id in ids])
    for number in {page.count(b"\n", 0, position) for position in unclear}:
        _add_from_body(messages[number].raw, users, media)


def _add_from_body(raw: bytes | msgspec.Raw, users: set[str], media: set[str]) -> None:
    try:
        body = _decode(raw).body
    except NOT_DECODABLE:
        _add_from_document(raw, users, media)
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


def _add_from_document(raw: bytes | msgspec.Raw, users: set[str], media: set[str]) -> None:
    """Do the same with the document, which tolerates elements that are not nodes."""
    try:
        document = Document.from_json(_decode_any(raw).body)
        users.update(document.mentions())
        media.update(document.media())
    except (ValueError, *NOT_DECODABLE):
        pass  # The body is not a document. The message is stored as it is.
