"""Read deliveries: the fields a bot needs, and what distinguishes one event from another. Pure.

The URL decides what a body is (protocol 6.3 to 6.7). Unknown fields and values are accepted, and only the fields a bot
needs are required.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from typing import Any, TypeVar

import attrs
import msgspec

from stride_async._errors import DecodeError
from stride_async._json import NOT_DECODABLE, repaired
from stride_async._wire.convert import message_at
from stride_async._wire.structuring import Id
from stride_async.bot._refusal import Refusal
from stride_async.bot._router import LIFECYCLE, MESSAGE_KINDS, Kind

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Incoming:
    """One delivery: what it is about, and how a redelivery is recognized."""

    kind: Kind
    module: str
    cloud_id: str
    conversation_id: str
    user_id: str
    body: bytes
    order: int | None = None
    """The message's `ts`, which orders the events of a conversation. `None` means the time of arrival."""
    identity: bytes | None = None
    """Digest of site, module and message id. Two deliveries with one identity are one event."""
    subject: str | None = None
    """What a body without an id is about: a person in a conversation, a conversation, or an installation."""
    digest: bytes | None = None
    """Digest of a body without an id. It is a redelivery if it equals the latest of its subject, for a while."""
    installation: InstalledFields | None = None


@attrs.frozen(kw_only=True)
class InstalledFields:
    """What a lifecycle call says about an installation (protocol 6.6)."""

    oauth_client_id: str | None = None
    version: str | None = None
    relay_state: str | None = None


class _Id(msgspec.Struct):
    id: Id


class _Message(msgspec.Struct, rename="camel"):
    cloud_id: Id
    message: msgspec.Raw
    conversation: _Id


class _Roster(msgspec.Struct, rename="camel"):
    cloud_id: Id
    conversation: _Id
    user: _Id
    action: str


class _Conversation(msgspec.Struct, rename="camel"):
    cloud_id: Id
    conversation: _Id
    action: str
    initiator: Any = None


class _Lifecycle(msgspec.Struct, rename="camel"):
    cloud_id: Id
    resource_id: Id
    user_id: Any = None
    oauth_client_id: Any = None
    version: Any = None
    relay_state: Any = None


class _Place(msgspec.Struct, rename="camel"):
    cloud_id: str | None = None
    conversation_id: str | None = None
    conversation: _Id | None = None


class _PressedMessage(msgspec.Struct):
    mid: str | None = None
    body: Any = None


class _PressContext(_Place, rename="camel"):
    message: _PressedMessage | None = None


class _Press(_Place, rename="camel"):
    context: _PressContext | None = None
    source: Any = None
    target: Any = None
    parameters: Any = None


_message = msgspec.json.Decoder(_Message).decode
_roster = msgspec.json.Decoder(_Roster).decode
_conversation = msgspec.json.Decoder(_Conversation).decode
_lifecycle = msgspec.json.Decoder(_Lifecycle).decode
_press = msgspec.json.Decoder(_Press).decode

# The largest integer a store can hold: nanoseconds up to the year 2262.
_LARGEST = 2**63 - 1
_BROKEN = (*NOT_DECODABLE, DecodeError)


def _malformed(error: Exception) -> Refusal:
    if isinstance(error, DecodeError):  # It names the path already.
        return Refusal(400, f"the body cannot be read: {error}")
    words, _, where = str(error).partition(" - at `")
    return Refusal(400, f"the body cannot be read: {words} @ {where.rstrip('`') or '$'}")


def read_delivery(kind: Kind, module: str, body: bytes) -> Incoming:
    """Return a delivery. A body with malformed text (unpaired surrogates, invalid UTF-8) is repaired.

    Raises:
        Refusal: 400, the body is not a JSON object or lacks a field that is needed; the message names its path.
    """
    return _repaired_if_broken(lambda text: _read(kind, module, text), body)


def _repaired_if_broken(read: Callable[[bytes], T], body: bytes) -> T:
    """Read a body, and if that fails once more after its text was repaired.

    Raises:
        Refusal: 400, it cannot be read.
    """
    try:
        return read(body)
    except _BROKEN:
        pass
    try:
        return read(repaired(body))
    except _BROKEN as error:
        raise _malformed(error) from None


def _read(kind: Kind, module: str, body: bytes) -> Incoming:
    if kind in MESSAGE_KINDS:
        return _read_message(kind, module, body)
    if kind == "roster":
        return _read_roster(body)
    if kind == "conversation":
        return _read_conversation(body)
    return _read_lifecycle(kind, body)


def _read_message(kind: Kind, module: str, body: bytes) -> Incoming:
    found = _message(body)
    message = message_at(bytes(found.message), "$.message")
    cloud_id, conversation_id = found.cloud_id, found.conversation.id
    return Incoming(
        kind=kind,
        module=module,
        cloud_id=cloud_id,
        conversation_id=conversation_id,
        user_id=message.sender_id,
        body=body,
        order=storable_ts(message.ts),
        identity=identity_of(kind, module, cloud_id, message.id),
    )


def storable_ts(ts: int) -> int:
    """Return a message's `ts`, or the nearest one that a store can hold."""
    return min(max(ts, -_LARGEST - 1), _LARGEST)


def identity_of(kind: Kind, module: str, cloud_id: str, message_id: str) -> bytes:
    """Return the identity of a message event. Mentions and direct messages belong to one module, `chat:bot`."""
    type = "chat:bot:messages" if kind == "message" else "chat:bot"
    return _digest(type, module, cloud_id, message_id)


def _read_roster(body: bytes) -> Incoming:
    found = _roster(body)
    cloud_id, conversation_id = found.cloud_id, found.conversation.id
    return Incoming(
        kind="roster",
        module="roster",
        cloud_id=cloud_id,
        conversation_id=conversation_id,
        user_id=found.user.id,
        body=body,
        subject=_subject("roster", cloud_id, conversation_id, found.user.id),
        digest=_content_digest(body),
    )


def _read_conversation(body: bytes) -> Incoming:
    found = _conversation(body)
    cloud_id, conversation_id = found.cloud_id, found.conversation.id
    return Incoming(
        kind="conversation",
        module="conversation",
        cloud_id=cloud_id,
        conversation_id=conversation_id,
        user_id=_person(found.initiator.get("id") if isinstance(found.initiator, dict) else None),
        body=body,
        subject=_subject("conversation", cloud_id, conversation_id),
        digest=_content_digest(body),
    )


def _read_lifecycle(kind: Kind, body: bytes) -> Incoming:
    found = _lifecycle(body)
    cloud_id, conversation_id = found.cloud_id, found.resource_id
    return Incoming(
        kind=kind,
        module=LIFECYCLE,
        cloud_id=cloud_id,
        conversation_id=conversation_id,
        user_id=_person(found.user_id),
        body=body,
        subject=_subject("installation", cloud_id, conversation_id),
        digest=_digest(kind, _content_digest(body).hex()),
        installation=InstalledFields(
            oauth_client_id=_text(found.oauth_client_id),
            version=_text(found.version),
            relay_state=_text(found.relay_state),
        ),
    )


def _person(value: object) -> str:
    """Return the id of a person; an empty one if it is missing or malformed, because no event requires it."""
    return value if isinstance(value, str) else ""


def _text(value: object) -> str | None:
    """Return a field as text, which it is by the protocol, whatever type was sent."""
    return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()


def _subject(*parts: str) -> str:
    return "\0".join(parts)


def _digest(*parts: str) -> bytes:
    return blake2b("\0".join(parts).encode(errors="surrogatepass"), digest_size=16).digest()


def _content_digest(body: bytes) -> bytes:
    """Return the digest of a body's JSON, which does not depend on the order of fields or on white space.

    It is that of the bytes if a field that is not needed cannot be decoded, such as the number 1e999.
    """
    with suppress(*NOT_DECODABLE):
        body = msgspec.json.encode(msgspec.json.decode(body), order="sorted")
    return blake2b(body, digest_size=16).digest()


@attrs.frozen(kw_only=True)
class Press:
    """The body of a press (protocol 6.7)."""

    body: bytes
    cloud_id: str | None
    conversation_id: str | None
    message_id: str | None
    document: Any
    parameters: dict[str, Any]
    source: Any
    target: Any


def read_press(body: bytes) -> Press:
    """Return what was pressed. A body with malformed text is repaired, as a delivery is.

    Raises:
        Refusal: 400, the body is not a JSON object, or a field in it has another type than documented.
    """
    body, found = _repaired_if_broken(lambda text: (text, _press(text)), body)
    context = found.context or _PressContext()
    message = context.message or _PressedMessage()
    named = [
        *(place.conversation_id for place in (found, context)),
        *(place.conversation.id for place in (found, context) if place.conversation is not None),
    ]
    conversations = {name for name in named if name is not None}
    sites = {place.cloud_id for place in (found, context) if place.cloud_id is not None}
    if len(conversations) > 1 or len(sites) > 1:
        raise Refusal(403, "the body names more than one conversation or site")
    return Press(
        body=body,
        cloud_id=next(iter(sites), None),
        conversation_id=next(iter(conversations), None),
        message_id=message.mid,
        document=message.body,
        parameters=found.parameters if isinstance(found.parameters, dict) else {},
        source=found.source,
        target=found.target,
    )
