"""The events of a migration, as values."""

from __future__ import annotations

import attrs

from stride_async.export.formats import Report


@attrs.frozen
class MigrationStarted:
    """The homeserver has accepted the token, and what is to be moved is known."""

    server_name: str
    conversations: int
    messages: int


@attrs.frozen
class MessagesMoved:
    """Some messages of a conversation are at the homeserver."""

    conversation_id: str
    held: int
    """Messages that an earlier migration had sent."""
    sent: int
    """Messages that were sent now."""


@attrs.frozen
class RoomDone:
    """A conversation is complete at the homeserver."""

    conversation_id: str
    room_id: str
    sent: int
    """Events that were sent into the room in this migration: messages, parts of messages, and files."""


@attrs.frozen
class RoomFailed:
    """The homeserver refused something without which a conversation cannot be moved. The others are moved."""

    conversation_id: str
    reason: str


@attrs.frozen(kw_only=True)
class Summary:
    """The migration is complete."""

    report: Report
    """What is at the homeserver now, and what could not be carried over."""
    sent: int
    """Events that were sent in this migration."""
    failed: int
    """Conversations that could not be moved."""


MigrationEvent = MigrationStarted | MessagesMoved | RoomDone | RoomFailed | Summary
"""Any event of a migration."""
