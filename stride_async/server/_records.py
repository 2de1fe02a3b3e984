"""The parts of a site as plain values.

A seed and the generator produce records, and the store keeps them. What the service returns travels along as compact
JSON text with its keys in the given order, so that nothing is lost between a seed and a response.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from attrs import frozen


@frozen
class Site:
    """The site itself, which is the first record of every stream of records."""

    cloud_id: str
    name: str


@frozen
class User:
    """A person; `json` is the SCIM user (protocol 4.7)."""

    id: str
    email: str
    json: str


@frozen
class Conversation:
    """A conversation.

    `json` is its object (protocol 4.1). `roster` lists the people in it, without the app, in the order they joined.
    """

    id: str
    name: str
    type: str
    privacy: str
    archived: bool
    json: str
    roster: tuple[str, ...]

    @property
    def direct_user(self) -> str | None:
        """The person whose direct conversation with the app this is: the only one on the roster of a direct one."""
        return self.roster[0] if self.type == "direct" and len(self.roster) == 1 else None


@frozen
class Message:
    """A message; `json` is its object as given (protocol 4.3) and `ts` its time in nanoseconds since 1970."""

    conversation_id: str
    id: str
    sender_id: str
    ts: int
    json: str


@frozen
class Media:
    """A file of a conversation; `sha256` is the hexadecimal digest of its body, and `open` opens the body.

    With a `path`, the body stays where it is; otherwise it is copied.
    """

    conversation_id: str
    id: str
    name: str
    mime_type: str
    size: int
    sha256: str
    open: Callable[[], BinaryIO]
    path: Path | None = None


Record = Site | User | Conversation | Message | Media


def compact_json(value: object) -> str:
    """Return the value as JSON text without spaces, with non-ASCII characters as they are.

    Only half a surrogate pair, which has no form in UTF-8, is an escape.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()
