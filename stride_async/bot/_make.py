"""Make the event a handler is given from what is stored, or from what a browser asks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from stride_async._client import StrideClient
from stride_async._json import decoder
from stride_async._models import Message
from stride_async._wire.convert import message_at
from stride_async.bot._events import (
    ConversationUpdate,
    DirectMessage,
    Event,
    Installation,
    Installed,
    MatchedMessage,
    Mention,
    Reply,
    RosterUpdate,
    Uninstalled,
)
from stride_async.bot._read import read_delivery
from stride_async.bot._reports import Delivery
from stride_async.bot._router import MESSAGE_KINDS
from stride_async.bot._rows import Stored, StoredInstallation
from stride_async.bot._text import BotText

_MESSAGE_EVENTS: dict[str, type[Mention | DirectMessage | MatchedMessage]] = {
    "mention": Mention,
    "direct_message": DirectMessage,
    "message": MatchedMessage,
}


class _Body(msgspec.Struct):
    message: msgspec.Raw


class _Action(msgspec.Struct):
    action: str


_message_in = decoder(_Body)
_action_in = decoder(_Action)


def moment(seconds: float) -> datetime:
    """Return an aware datetime of seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC)


def delivery_of(stored: Stored) -> Delivery:
    """Return what is said of an event as the bot received it."""
    return Delivery(
        id=str(stored.number),
        kind=stored.kind,
        module=stored.module,
        received_at=moment(stored.received_at),
        attempt=stored.attempts,
    )


def message_of(stored: Stored) -> Message | None:
    """Return the message of an event that has one."""
    if stored.kind not in MESSAGE_KINDS:
        return None
    return message_at(bytes(_message_in(stored.body).message), "$.message")


def message_event(
    stored: Stored, delivery: Delivery, client: StrideClient, reply: Reply, message: Message, text: BotText
) -> Event:
    """Return the event of a message."""
    kind = _MESSAGE_EVENTS[stored.kind]
    return kind(**_common(stored, delivery, client, reply), message=message, text=text.text)


def other_event(stored: Stored, delivery: Delivery, client: StrideClient, reply: Reply) -> Event:
    """Return the event of a roster, conversation or lifecycle call."""
    common = _common(stored, delivery, client, reply)
    if stored.kind == "roster":
        return RosterUpdate(**common, action=_action_in(stored.body).action)
    if stored.kind == "conversation":
        return ConversationUpdate(**common, action=_action_in(stored.body).action)
    incoming = read_delivery(stored.kind, stored.module, stored.body)
    assert incoming.installation is not None
    installation = installation_of(
        StoredInstallation(
            stored.cloud_id,
            stored.conversation_id,
            stored.user_id,
            incoming.installation.oauth_client_id,
            incoming.installation.version,
            incoming.installation.relay_state,
            stored.received_at,
        )
    )
    kind = Installed if stored.kind == "installed" else Uninstalled
    return kind(**common, installation=installation)


def installation_of(stored: StoredInstallation) -> Installation:
    """Return an installation as users see it."""
    return Installation(
        cloud_id=stored.cloud_id,
        conversation_id=stored.conversation_id,
        user_id=stored.user_id,
        oauth_client_id=stored.oauth_client_id,
        version=stored.version,
        relay_state=stored.relay_state,
        installed_at=moment(stored.installed_at),
    )


def _common(stored: Stored, delivery: Delivery, client: StrideClient, reply: Reply) -> dict[str, Any]:
    return {
        "cloud_id": stored.cloud_id,
        "conversation_id": stored.conversation_id,
        "user_id": stored.user_id,
        "delivery": delivery,
        "raw": stored.body,
        "client": client,
        "reply": reply,
    }
