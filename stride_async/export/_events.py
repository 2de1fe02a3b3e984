"""The events of an export, as values."""

from __future__ import annotations

import attrs


@attrs.frozen
class RunStarted:
    """A run starts."""

    run: str
    """The name of the run."""
    continued: bool
    """Whether it continues one that was interrupted."""


@attrs.frozen
class Unprotected:
    """The file system of the archive lacks something that protects it, such as locks. The export continues."""

    what: str
    """A sentence that says what is not protected."""


@attrs.frozen
class RunWaiting:
    """The run waits because an earlier one, which was killed, may have made calls that are not known."""

    why: str
    """A sentence that says what it waits for."""
    seconds: float
    """The longest time that it takes."""


@attrs.frozen
class ConversationsFound:
    """The number of conversations to export is known."""

    count: int
    """The number of conversations."""


@attrs.frozen
class ConversationStarted:
    """The export of a conversation starts."""

    conversation_id: str
    """The id of the conversation."""
    name: str
    """Its name."""


@attrs.frozen
class PagesFetched:
    """A page of the history of a conversation was received."""

    conversation_id: str
    """The id of the conversation."""
    messages: int
    """The number of messages in the page."""
    size_bytes: int
    """The length of the page."""


@attrs.frozen
class MediaFetched:
    """A media body was downloaded."""

    conversation_id: str
    """The id of the conversation."""
    media_id: str
    """The id of the file."""
    size_bytes: int
    """The length of the body."""


@attrs.frozen
class ConversationDone:
    """Everything requested from a conversation is held or recorded as failed."""

    conversation_id: str
    """The id of the conversation."""
    name: str
    """Its name."""
    messages: int
    """Messages that are held."""
    new: int
    """How many of them the last run did not have."""
    changed: int
    """Messages that differ from the last run."""
    gone: int
    """Messages of the last run that the service no longer has."""
    failures: int
    """What could not be fetched and is recorded."""


@attrs.frozen
class Failure:
    """Something could not be fetched. It is recorded in the failures.jsonl of the run."""

    conversation_id: str
    """The conversation; empty if the failure belongs to none."""
    what: str
    """`history`, `roster`, `media`, `message`, `user`, `conversation`, `selector` or `archive`."""
    id: str
    """The id of the media file, message or user, or the selector; else empty."""
    error: str
    """The message of the error."""
    hint: str
    """What to do about it."""


@attrs.frozen
class Summary:
    """The run is complete."""

    run: str
    """The name of the run."""
    conversations: int
    """Conversations that were exported."""
    messages: int
    """Messages held in the conversations of this run."""
    new: int
    """How many messages the last run did not have."""
    changed: int
    """Messages that differ from the last run."""
    gone: int
    """Messages of the last run that the service no longer has."""
    media: int
    """Media bodies that were downloaded."""
    media_bytes: int
    """Their total length."""
    users: int
    """People who are referenced."""
    failures: int
    """Failures recorded, including those of earlier runs that still apply."""
    no_longer_listed: int
    """Conversations that the service used to list and no longer does. What is held of them stays."""
    seconds: float
    """How long the run took."""
    content_digest: str
    """Digest of all conversations that the archive holds and the service lists; of a shard, if the run is for one."""


ExportEvent = (
    RunStarted
    | Unprotected
    | RunWaiting
    | ConversationsFound
    | ConversationStarted
    | PagesFetched
    | MediaFetched
    | ConversationDone
    | Failure
    | Summary
)
"""Any event of an export."""
