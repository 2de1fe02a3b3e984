"""The events of an export, as values."""

from __future__ import annotations

import attrs


@attrs.frozen
class RunStarted:
    """A run starts. `continued` is True if it continues one that was interrupted."""

    run: str
    continued: bool


@attrs.frozen
class Unprotected:
    """The file system of the archive lacks something that protects it, such as locks. The export continues."""

    what: str
    """A sentence that says what is not protected."""


@attrs.frozen
class ConversationsFound:
    """The number of conversations to export is known."""

    count: int


@attrs.frozen
class ConversationStarted:
    """The export of a conversation starts."""

    conversation_id: str
    name: str


@attrs.frozen
class PagesFetched:
    """A page of the history of a conversation was received."""

    conversation_id: str
    messages: int
    size_bytes: int


@attrs.frozen
class MediaFetched:
    """A media body was downloaded."""

    conversation_id: str
    media_id: str
    size_bytes: int


@attrs.frozen
class ConversationDone:
    """Everything requested from a conversation is held or recorded as failed.

    `messages` is the number of messages held; `new`, `changed` and `gone` count the differences from the last run.
    """

    conversation_id: str
    name: str
    messages: int
    new: int
    changed: int
    gone: int
    failures: int


@attrs.frozen
class Failure:
    """Something could not be fetched. It is recorded in the failures.jsonl of the run."""

    conversation_id: str
    what: str
    """`history`, `roster`, `media`, `message`, `user`, `conversation`, `selector` or `archive`."""
    id: str
    """The id of the media file, message or user, or the selector; else empty."""
    error: str
    hint: str
    """What to do about it."""


@attrs.frozen
class Summary:
    """The run is complete."""

    run: str
    conversations: int
    messages: int
    """Messages held in the conversations of this run."""
    new: int
    changed: int
    gone: int
    media: int
    media_bytes: int
    users: int
    failures: int
    """Failures recorded, including those of earlier runs that still apply."""
    no_longer_listed: int
    """Conversations that the service used to list and no longer does. What is held of them stays."""
    seconds: float
    content_digest: str
    """Digest of all conversations that the archive holds and the service lists; of a shard, if the run is for one."""


ExportEvent = (
    RunStarted
    | Unprotected
    | ConversationsFound
    | ConversationStarted
    | PagesFetched
    | MediaFetched
    | ConversationDone
    | Failure
    | Summary
)
"""Any event of an export."""
