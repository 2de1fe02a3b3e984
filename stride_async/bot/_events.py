"""Events: what handlers receive."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from types import NoneType
from typing import Any

import attrs
import msgspec

from stride_async._arguments import of_type, optional_text
from stride_async._client import StrideClient
from stride_async._conversation import ConversationClient
from stride_async._json import decoder
from stride_async._models import Content, Conversation, Json, Message
from stride_async._user import UserClient
from stride_async._wire.convert import object_at
from stride_async.bot._reports import Delivery

Reply = Callable[[Content], Awaitable[str]]


class _Body(msgspec.Struct):
    conversation: msgspec.Raw


_body = decoder(_Body)


@attrs.frozen(kw_only=True, eq=False)
class Event:
    """Base class of the events: a call of the service to the bot."""

    cloud_id: str
    """The site."""
    conversation_id: str
    """The conversation."""
    user_id: str
    """The person who caused the call; empty if the service names none."""
    delivery: Delivery
    """What was received, and how often the event was begun."""
    raw: bytes = attrs.field(repr=False)
    """The body of the call, repaired if its text was malformed; empty if the call had none."""
    client: StrideClient = attrs.field(repr=False)
    """A client of the site."""
    state: dict[str, Any] = attrs.field(factory=dict, repr=False)
    """A dict in which middlewares pass values to the handler."""
    _reply: Reply = attrs.field(repr=False)

    @property
    def room(self) -> ConversationClient:
        """The conversation."""
        return self.client.conversation(self.conversation_id)

    async def reply(self, content: Content) -> str:
        """Send a message to the conversation and return its id.

        A reply to a queued event is sent once, even if the event is begun again after the process was killed. For this,
        a handler must send its replies in the same order each time.

        Args:
            content: Plain text, `Markdown` or a `Document`.

        Raises:
            StrideError: As `ConversationClient.send`.
        """
        return await self._reply(content)


@attrs.frozen(kw_only=True, eq=False)
class _ConversationEvent(Event):
    """Base class of the events whose call contains the conversation."""

    @property
    def conversation(self) -> Conversation:
        """The conversation as it was when the bot was called, decoded on each access.

        Raises:
            DecodeError: The service sent something else.
        """
        return object_at(_body(self.raw).conversation, Conversation, "$.conversation", cloud_id=self.cloud_id)


@attrs.frozen(kw_only=True, eq=False)
class MessageEvent(_ConversationEvent):
    """Base class of the events of a message (protocol 6.3)."""

    message: Message
    """The message."""
    text: str
    """The message's plain text, without the mention of the bot and without surrounding white space."""

    @property
    def sender(self) -> UserClient:
        """The person who sent it."""
        return self.client.user(self.message.sender_id)


@attrs.frozen(kw_only=True, eq=False)
class Mention(MessageEvent):
    """A message that mentions the bot."""


@attrs.frozen(kw_only=True, eq=False)
class DirectMessage(MessageEvent):
    """A message in the direct conversation of the bot and a person."""


@attrs.frozen(kw_only=True, eq=False)
class MatchedMessage(MessageEvent):
    """A message that matches a pattern and does not mention the bot."""


@attrs.frozen(kw_only=True, eq=False)
class RosterUpdate(_ConversationEvent):
    """A person joined or left a conversation; `user_id` is that person (protocol 6.4)."""

    action: str
    """`add` or `remove`."""


@attrs.frozen(kw_only=True, eq=False)
class ConversationUpdate(_ConversationEvent):
    """A conversation changed; `user_id` is who changed it (protocol 6.5)."""

    action: str
    """`create`, `update`, `archive`, `unarchive` or `delete`."""


@attrs.frozen(kw_only=True)
class Installation:
    """The bot in one conversation (protocol 6.6)."""

    cloud_id: str
    """The site."""
    conversation_id: str
    """The conversation."""
    user_id: str
    """The person who installed it; empty if the service names none."""
    oauth_client_id: str | None = None
    """The client id of the app, as the service names it."""
    version: str | None = None
    """The version of the descriptor, as the service names it."""
    relay_state: str | None = None
    """The `relayState` of the installation link."""
    installed_at: datetime
    """When the bot was called about it, aware."""


@attrs.frozen(kw_only=True, eq=False)
class Installed(Event):
    """The bot was installed in a conversation."""

    installation: Installation
    """The new installation."""


@attrs.frozen(kw_only=True, eq=False)
class Uninstalled(Event):
    """The bot was removed from a conversation; it can no longer post there."""

    installation: Installation
    """The installation that ended."""


@attrs.frozen(kw_only=True, eq=False)
class ActionCall(Event):
    """A person pressed something whose target is an action of the bot (protocol 6.7)."""

    key: str
    """The key of the action target."""
    message_id: str | None
    """The message in which it was pressed."""
    document: Json = attrs.field(repr=False)
    """That message's document, as decoded JSON."""
    parameters: Mapping[str, Json]
    """The parameters of the action."""
    source: Json = None
    """What the person pressed, as decoded JSON."""
    target: Json = None
    """The target as the message names it, as decoded JSON."""


@attrs.frozen(kw_only=True, eq=False)
class GlanceQuery(Event):
    """A browser asks for the label of a glance (protocol 6.8)."""

    key: str
    """The key of the glance."""


@attrs.frozen(kw_only=True, eq=False)
class ConfigurationQuery(Event):
    """A browser asks whether the bot is configured in the conversation (protocol 6.8)."""

    key: str
    """The key of the configuration."""


@attrs.frozen
class ActionAnswer:
    """What a browser shows after an action.

    Raises:
        TypeError: A part is of another type.
        ValueError: A text cannot be encoded as UTF-8.
    """

    message: str | None = None
    """A text that says what was done."""
    error: str | None = None
    """A text that says what went wrong."""
    next_action: Mapping[str, Json] | None = None
    """A target to open next, e.g. `{"openDialog": {"key": "details"}}`."""

    def __attrs_post_init__(self) -> None:
        optional_text(self.message, "message")
        optional_text(self.error, "error")
        of_type(self.next_action, "next_action", Mapping, NoneType)


@attrs.frozen(kw_only=True)
class Failure:
    """An event whose handling failed for good."""

    delivery: Delivery
    """What was received, and how often the event was begun."""
    cloud_id: str
    """The site."""
    conversation_id: str
    """The conversation."""
    user_id: str
    """The person who caused the call; empty if the service names none."""
    error: str
    """Class of the error, e.g. `ValueError`, `HandlerTimeout` or `GaveUp`."""
    message: str
    """The error's own text."""
    failed_at: datetime
    """When it failed for good, aware."""
    raw: bytes = attrs.field(repr=False)
    """The body of the delivery."""
