"""What the site contains, as values to compare with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from attrs import frozen


@frozen
class MediaTruth:
    """A file: its name, its size in bytes, and the SHA-256 of its body in hexadecimal."""

    name: str
    size: int
    sha256: str


@frozen
class ConversationTruth:
    """A conversation.

    `messages` is the number of messages and `sha256` the digest of all of them: oldest first by (ts, id), each as JSON
    in UTF-8 with sorted keys, without spaces and with non-ASCII characters as they are, followed by a newline. `media`
    has the files by id.
    """

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
    """The site: its conversations by id and the ids of its people, both in the order they were added."""

    cloud_id: str
    name: str
    conversations: Mapping[str, ConversationTruth]
    users: tuple[str, ...]


def digest(messages: Iterable[bytes]) -> tuple[int, str]:
    """Return the number of messages, and their digest as `ConversationTruth` describes it."""
    count, sha256 = 0, hashlib.sha256()
    for count, message in enumerate(messages, 1):  # noqa: B007 -- the last count is the number of messages
        text = json.dumps(json.loads(message), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        sha256.update(text.encode() + b"\n")
    return count, sha256.hexdigest()
