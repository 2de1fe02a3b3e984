"""The objects of the service as frozen values (protocol 4).

Names are the service's own, in snake_case. Fields that the service sends in addition to these are in `extra`.
"""
# No `from __future__ import annotations`: msgspec reads the types of these classes.

from collections.abc import Callable, Mapping
from datetime import datetime
from operator import attrgetter
from typing import Any, Literal, Protocol

import attrs
import msgspec

from stride_async._arguments import text as checked_text
from stride_async._json import NOT_DECODABLE, decoder
from stride_async._moments import to_datetime
from stride_async.document import Document
from stride_async.document._document import usual_document

Json = Any
"""A decoded JSON value whose form the protocol does not define."""

Key = tuple[int, str]
"""`(ts, id)` of a message: nanoseconds since the epoch, then the message id. Keys order a history."""


_NOT_EMPTY: Callable[[Any, "attrs.Attribute[str]", str], Any] = attrs.validators.min_len(
    1
)  # an empty id cannot be used in any call


@attrs.frozen(kw_only=True)
class Conversation:
    """A room or a direct conversation (protocol 4.1)."""

    id: str = attrs.field(validator=_NOT_EMPTY)
    """The id of the conversation."""
    name: str = ""
    """The name of a room. That of a direct conversation may be empty."""
    topic: str = ""
    """The topic; empty if there is none."""
    type: str = "group"
    """`group` or `direct`."""
    privacy: str = "public"
    """`public` or `private`."""
    is_archived: bool = False
    """Whether it is archived and rejects new messages."""
    created: datetime | None = None
    """When it was created, as an aware datetime with milliseconds."""
    modified: datetime | None = None
    """When it was last changed, as `created`."""
    avatar_url: str | None = None
    """The URL of its picture, if it has one."""
    cloud_id: str | None = None
    """The site. None where the service sends it outside of the conversation object."""
    extra: Mapping[str, Json] = attrs.field(factory=dict, repr=False)
    """The fields that the service sent in addition to these."""


class _OnlyBody(msgspec.Struct):
    body: Any = None


_body_of = decoder(_OnlyBody)
_fields_of = decoder(dict[str, Json])
_MESSAGE_FIELDS = frozenset({"id", "sender", "ts", "text", "body"})


@attrs.define(eq=False, repr=False, init=False)
class UnfrozenMessage:
    """The fields of a message, while it is being filled. It is made without any, which takes the least time."""

    id: str
    """The id of the message, unique within its conversation."""
    sender_id: str
    """The id of the person or the app that sent it."""
    ts: int
    """Nanoseconds since the epoch: the service sends up to nine fraction digits, and a `datetime` holds six."""
    text: str
    """The plain text, as the service sent it."""
    # Its bytes, or a function that copies them out of the page, and the number to call it with.
    _raw: bytes | tuple[Callable[[int], bytes], int]
    # Until it is decoded: a view of its bytes in the page, or None if they are to be found in `raw`.
    _body: Document | msgspec.Raw | None = attrs.field(default=None, init=False)


@attrs.frozen(eq=False, repr=False)
class Message(UnfrozenMessage):
    """A message (protocol 4.3). Messages are equal if their bytes are; sort them by `key`.

    The body is decoded when `body` is first accessed, so reading many messages does not pay for it.
    """

    def __attrs_post_init__(self) -> None:
        # `attrs.evolve` hands over a reference to the page, which the copy must not keep. Listings do not come here.
        _ = self.raw

    @property
    def raw(self) -> bytes:
        """The exact bytes of this message, as the service sent them."""
        raw = self._raw
        if not isinstance(raw, bytes):
            copied, number = raw
            raw = copied(number)
            object.__setattr__(self, "_raw", raw)
            if isinstance(self._body, msgspec.Raw):
                object.__setattr__(self, "_body", None)
        return raw

    @property
    def key(self) -> Key:
        """`(ts, id)`: the position of the message in its history. Sort messages by it."""
        return key_of(self)

    @property
    def sent_at(self) -> datetime:
        """When the message was sent, as a UTC datetime rounded down to microseconds; `ts` has all nine digits.

        Raises:
            ValueError: `ts` is outside the years 1 to 9999, which the service cannot have sent.
        """
        return to_datetime(self.ts)

    @property
    def body(self) -> Document:
        """The document of the message, decoded when it is first accessed.

        Raises:
            ValueError: The service sent a body that is not a document. `raw` contains it.
        """
        body = self._body
        if not isinstance(body, Document):
            body = self._document_in(body)
            object.__setattr__(self, "_body", body)
        return body

    def _document_in(self, body: msgspec.Raw | None) -> Document:
        document = None if body is None else usual_document(body)
        if document is not None:
            return document
        try:
            return Document.from_json(_body_of(self.raw).body)
        except NOT_DECODABLE as error:
            raise ValueError(f"the body cannot be decoded: {error}") from error

    def __reduce__(self) -> tuple[Any, ...]:
        return Message, (self.id, self.sender_id, self.ts, self.text, self.raw)

    @property
    def extra(self) -> Mapping[str, Json]:
        """The fields that are not known, decoded on each access.

        Raises:
            ValueError: They cannot be decoded, for example because of a number out of range. `raw` contains them.
        """
        try:
            fields = _fields_of(self.raw)
        except NOT_DECODABLE as error:
            raise ValueError(f"the fields of the message cannot be decoded: {error}") from error
        return {name: value for name, value in fields.items() if name not in _MESSAGE_FIELDS}

    def __eq__(self, other: object) -> bool:
        return self.raw == other.raw if isinstance(other, Message) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        text = self.text if len(self.text) <= 40 else self.text[:39] + "…"
        return f"Message(id={self.id!r}, sender_id={self.sender_id!r}, ts={self.ts}, text={text!r})"


class RawMessage(msgspec.Struct, frozen=True, gc=False):
    """The bytes of a message that could be decoded, and what an export needs to know of it."""

    ts: int
    id: str
    sender_id: str
    raw: bytes | msgspec.Raw


class HasKey(Protocol):
    """A message in any form."""

    @property
    def ts(self) -> int:
        """Nanoseconds since the epoch."""

    @property
    def id(self) -> str:
        """The message id."""


# `message.key` without the property call, for loops over many messages.
key_of: Callable[[HasKey], Key] = attrgetter("ts", "id")


def just_above(key: Key) -> Key:
    """Return the least key above this one."""
    return key[0], f"{key[1]}\0"


def new_message(id: str, sender_id: str, ts: int, text: str, raw: bytes) -> Message:
    """Return `Message(…)` at half the cost, by freezing it after its fields are set. Listings create many."""
    message: Any = UnfrozenMessage()
    message.id, message.sender_id, message.ts, message.text = id, sender_id, ts, text
    message._raw, message._body = raw, None  # noqa: SLF001 (it is not frozen yet)
    message.__class__ = Message
    return message  # type: ignore[no-any-return]  # its class was changed in the line above


@attrs.frozen
class Markdown:
    """Text to send that the service converts from Markdown (protocol 5.10)."""

    text: str
    """The text, in Markdown."""

    def __attrs_post_init__(self) -> None:
        checked_text(self.text, "text")


Content = str | Markdown | Document
"""The content of a message to send: plain text, `Markdown`, or a `Document`."""


@attrs.frozen(kw_only=True)
class Email:
    """An email address of a user."""

    value: str
    """The address."""
    primary: bool = False
    """Whether it is the main address."""


@attrs.frozen(kw_only=True)
class Photo:
    """The URL of a picture of a user."""

    value: str
    """The URL."""
    primary: bool = False
    """Whether it is the main picture."""


@attrs.frozen(kw_only=True)
class PersonName:
    """The parts of a user's name."""

    given_name: str | None = None
    """The given name, if the service has one."""
    family_name: str | None = None
    """The family name, if the service has one."""
    formatted: str | None = None
    """The complete name as it is displayed."""


@attrs.frozen(kw_only=True)
class User:
    """The SCIM profile of a person or an app (protocol 4.7)."""

    id: str = attrs.field(validator=_NOT_EMPTY)
    """The id of the person or the app."""
    user_name: str = ""
    """The email address."""
    display_name: str = ""
    """The name that others see."""
    active: bool = True
    """Whether the account is in use."""
    nick_name: str | None = None
    """The mention name."""
    title: str | None = None
    """The job title."""
    timezone: str | None = None
    """The name of the time zone, such as `Europe/Berlin`."""
    name: PersonName | None = None
    """The parts of the name, if the service sent them."""
    emails: tuple[Email, ...] = ()
    """All email addresses."""
    photos: tuple[Photo, ...] = ()
    """The pictures."""
    extra: Mapping[str, Json] = attrs.field(factory=dict, repr=False)
    """The fields that the service sent in addition to these."""


@attrs.frozen(kw_only=True)
class Account:
    """The app's own account (protocol 4.8)."""

    account_id: str = attrs.field(validator=_NOT_EMPTY)
    """The id to mention the app with, and the `sender_id` of its messages."""
    name: str = ""
    """The name of the app."""
    email: str | None = None
    """The email address, if the service sent one."""
    picture: str | None = None
    """The URL of the picture."""
    extra: Mapping[str, Json] = attrs.field(factory=dict, repr=False)
    """The fields that the service sent in addition to these."""


@attrs.frozen(kw_only=True)
class Site:
    """A site that the app can use (protocol 4.10)."""

    id: str = attrs.field(validator=_NOT_EMPTY)
    """The cloud id."""
    url: str | None = None
    """The address of the site, if the service sent one."""
    extra: Mapping[str, Json] = attrs.field(factory=dict, repr=False)
    """The fields that the service sent in addition to these."""


@attrs.frozen(kw_only=True)
class Media:
    """A file that belongs to a conversation (protocol 4.9)."""

    id: str = attrs.field(validator=_NOT_EMPTY)
    """The media id."""
    conversation_id: str
    """The id of its conversation, which is also its collection in documents."""
    name: str | None = None
    """The name of the file. Never use it as a path."""
    size: int | None = None
    """The length in bytes."""
    mime_type: str | None = None
    """The media type, such as `image/png`."""
    media_type: str | None = None
    """The kind of file, in the service's own words."""
    processing_status: str | None = None
    """How far the service has processed the file, in its own words."""
    extra: Mapping[str, Json] = attrs.field(factory=dict, repr=False)
    """The fields that the service sent in addition to these."""


ModuleType = Literal[
    "chat:actionTarget",
    "chat:bot",
    "chat:bot:messages",
    "chat:dialog",
    "chat:externalPage",
    "chat:glance",
    "chat:sidebar",
    "chat:webhook",
]
"""The module types that the service lists (protocol 5, operations 25 to 27)."""


@attrs.frozen(kw_only=True)
class Module:
    """A module of an app in a conversation (protocol 5.19, 6.1)."""

    key: str
    """The key of the module in the descriptor."""
    type: str
    """The type, such as `chat:glance`."""
    descriptor: Mapping[str, Json] = attrs.field(factory=dict)
    """The descriptor of the module without its key. Its fields depend on `type`."""
