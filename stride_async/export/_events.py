"""What an export tells of its work, as values."""

from __future__ import annotations

import attrs


@attrs.frozen
class RunStarted:
    """A run begins, or one that was interrupted goes on (`continued`)."""

    run: str
    continued: bool


@attrs.frozen
class ConversationsFound:
    """So many conversations are to be worked on."""

    count: int


@attrs.frozen
class ConversationStarted:
    """A conversation is being worked on."""

    conversation_id: str
    name: str


@attrs.frozen
class PagesFetched:
    """A page of a conversation's history came in."""

    conversation_id: str
    messages: int
    size_bytes: int


@attrs.frozen
class MediaFetched:
    """A media body is held."""

    conversation_id: str
    media_id: str
    size_bytes: int


@attrs.frozen
class ConversationDone:
    """Everything asked of a conversation is held, or listed as failed: `new`, `changed` and `gone` messages."""

    conversation_id: str
    name: str
    messages: int
    new: int
    changed: int
    gone: int
    failures: int


@attrs.frozen
class Failure:
    """Something that could not be had; it is listed in the run's failures.jsonl."""

    conversation_id: str
    what: str
    id: str
    error: str
    hint: str


@attrs.frozen
class Summary:
    """A run is over."""

    run: str
    conversations: int
    messages: int
    """Held in all, of the conversations of this run."""
    new: int
    changed: int
    gone: int
    media: int
    media_bytes: int
    users: int
    failures: int
    """Things that are missing and listed, those of earlier runs that are missing still among them."""
    no_longer_listed: int
    """Conversations the service told of once and does not now; what is held of them stays."""
    seconds: float
    content_digest: str
    """Of every conversation the archive holds and the service lists."""


ExportEvent = (
    RunStarted
    | ConversationsFound
    | ConversationStarted
    | PagesFetched
    | MediaFetched
    | ConversationDone
    | Failure
    | Summary
)
