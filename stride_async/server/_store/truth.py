"""What the site holds, as values to compare with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from attrs import frozen


@frozen
class MediaTruth:
    """One file: its name, its size in bytes, and the sha256 of its bytes in hexadecimal."""

    name: str
    size: int
    sha256: str


@frozen
class ConversationTruth:
    """One conversation: `messages` is their number, `sha256` the digest of all (see `digest`), `media` by id."""

    id: str
    name: str
    type: str
    privacy: str
    archived: bool
    roster: tuple[str, ...]
    messages: int
    sha256: str
    media: Mapping[str, MediaTruth]


@frozen
class Truth:
    """The whole site: conversations by id and ids of the people, in the order they were added."""

    cloud_id: str
    name: str
    conversations: Mapping[str, ConversationTruth]
    users: tuple[str, ...]


def digest(messages: Iterable[bytes]) -> tuple[int, str]:
    """How many messages there are, and their sha256.

    It is taken over the messages, oldest first by (time, id), each as JSON in UTF-8 with sorted keys, without spaces
    and with nothing escaped that need not be, and a newline after each.
    """
    count, sha256 = 0, hashlib.sha256()
    for count, message in enumerate(messages, 1):  # noqa: B007 -- the last count is the number of messages
        text = json.dumps(json.loads(message), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        sha256.update(text.encode() + b"\n")
    return count, sha256.hexdigest()
