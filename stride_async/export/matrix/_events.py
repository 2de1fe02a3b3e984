"""The events of a migration, as values."""

from __future__ import annotations

import attrs

from stride_async.export.formats import Report


@attrs.frozen
class MigrationStarted:
    """The homeserver has accepted the token, and what is to be moved is known."""

    server_name: str
    """The part of Matrix ids after the colon."""
    conversations: int
    """Conversations to move."""
    messages: int
    """Messages to move."""


@attrs.frozen
class MessagesMoved:
    """Some messages of a conversation are at the homeserver."""

    conversation_id: str
    """The id of the conversation."""
    held: int
    """Messages that an earlier migration had sent."""
    sent: int
    """Messages that were sent now."""


@attrs.frozen
class Waiting:
    """A call failed in a way that may pass, and is repeated after a wait."""

    reason: str
    """What was called, and how it failed."""
    seconds: float
    """What the homeserver asked for, or a time that grows with each attempt."""


@attrs.frozen
class RoomDone:
    """A conversation is complete at the homeserver."""

    conversation_id: str
    """The id of the conversation."""
    room_id: str
    """The Matrix id of the room."""
    sent: int
    """Events that were sent into the room in this migration: messages, parts of messages, and files."""


@attrs.frozen
class RoomFailed:
    """The homeserver refused something without which a conversation cannot be moved. The others are moved."""

    conversation_id: str
    """The id of the conversation."""
    reason: str
    """Why it could not be moved."""


@attrs.frozen(kw_only=True)
class Summary:
    """The migration is complete."""

    report: Report
    """What is at the homeserver now, and what could not be carried over."""
    sent: int
    """Events that were sent in this migration."""
    failed: int
    """Conversations that could not be moved."""


MigrationEvent = MigrationStarted | MessagesMoved | Waiting | RoomDone | RoomFailed | Summary
"""Any event of a migration."""
