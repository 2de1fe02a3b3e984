"""What the site contains, as values to compare with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from attrs import frozen


@frozen
class MediaTruth:
    """A file."""

    name: str
    """The name of the file."""
    size: int
    """The length of the body in bytes."""
    sha256: str
    """The digest of the body, in hexadecimal."""


@frozen
class ConversationTruth:
    """A conversation."""

    id: str
    """The id of the conversation."""
    name: str
    """Its name."""
    type: str
    """`group` or `direct`."""
    privacy: str
    """`public` or `private`."""
    archived: bool
    """Whether it is archived."""
    roster: tuple[str, ...]
    """The ids of the members, in order."""
    messages: int
    """The number of messages."""
    sha256: str
    """The digest of all messages: oldest first by (ts, id), each as JSON in UTF-8 with sorted keys, without spaces and
    with non-ASCII characters as they are, followed by a newline."""
    media: Mapping[str, MediaTruth]
    """The files, by id."""


@frozen
class Truth:
    """A site."""

    cloud_id: str
    """The id of the site."""
    name: str
    """The name of the site."""
    conversations: Mapping[str, ConversationTruth]
    """The conversations by id, in the order in which they were added."""
    users: tuple[str, ...]
    """The ids of the people, in the order in which they were added."""


def digest(messages: Iterable[bytes]) -> tuple[int, str]:
    """Return the number of messages, and their digest as `ConversationTruth` describes it."""
    count, sha256 = 0, hashlib.sha256()
    for count, message in enumerate(messages, 1):  # noqa: B007 -- the last count is the number of messages
        text = json.dumps(json.loads(message), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        sha256.update(text.encode() + b"\n")
    return count, sha256.hexdigest()
