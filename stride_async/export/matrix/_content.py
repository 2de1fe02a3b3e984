"""What a person, a conversation and a message of the site become in Matrix. Pure.

Every event that a migration sends has a mark in its content, `com.atlassian.stride`: the id and time of the message,
and which part or file of it the event is. The marks in a room say what is held there. Numbers in Matrix have 53 bits,
so the time, in nanoseconds, is text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from html import escape
from urllib.parse import quote

import attrs
import msgspec

from stride_async._models import Conversation, Key, Message
from stride_async._moments import to_nanoseconds
from stride_async.document._text import without_surrogates
from stride_async.export._archive.reader import ArchivedMedia
from stride_async.export.formats._mattermost_text import split
from stride_async.export.formats._names import digest_of
from stride_async.export.formats._source import Person, document_of
from stride_async.export.formats._times import MILLISECOND
from stride_async.export.formats._tree import EMPTY_MESSAGE, file_not_held
from stride_async.export.matrix._text import MatrixText, files_in

MARK = "com.atlassian.stride"
"""The key of the mark in the content of an event."""

Content = dict[str, object]
"""The content of an event."""

Piece = tuple[int | None, str | None]
"""The number of a part of a message, or the id of a file."""

NOTICE = "m.notice"
"""The type of a message that takes the place of what could not be carried over."""

_HEX_DIGITS = 20
_LONGEST_NAME = 255
_LONGEST_TOPIC = 4_096
# An event has at most 65,536 bytes, and a character at most 6 in JSON.
_LONGEST_BODY = 24_000  # bytes in JSON
_LONGEST_HTML = 24_000  # bytes in JSON
_LONGEST_PART = 4_000  # characters
_LAST_MILLISECOND = 253_402_300_799_999  # the end of the year 9999
_MIME_TYPE = re.compile(r"[\w!#$&^.+-]{1,60}/[\w!#$&^.+-]{1,120}(?=\s*(?:;|$))", re.ASCII)
_TYPES = {"image": "m.image", "video": "m.video", "audio": "m.audio"}

OWNER_LEVEL = 100
LEVELS: Mapping[str, object] = {
    "users_default": 0,
    "events_default": 0,
    "state_default": 50,
    "invite": 50,
    "kick": 50,
    "ban": 50,
    "redact": 50,
    "events": dict.fromkeys(
        (
            *("m.room.power_levels", "m.room.history_visibility", "m.room.encryption"),
            *("m.room.server_acl", "m.room.tombstone"),
        ),
        OWNER_LEVEL,
    ),
}
"""The power levels of a room that has none, as homeservers set them."""
READ_ONLY = 50
"""The level that sending requires in an archived conversation."""


class Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an event says about where it comes from."""

    id: str
    ts: str
    """Nanoseconds since the epoch."""
    digest: str
    """The digest of the message, by which one that has changed is noticed."""
    part: int | None = None
    media: str | None = None
    sha256: str | None = None

    @property
    def key(self) -> Key:
        """The key of the message."""
        return int(self.ts), self.id

    @property
    def piece(self) -> Piece:
        """Which part or file of its message the event is."""
        return self.part, self.media


@attrs.frozen
class Outgoing:
    """An event to send. That of a file gets its URL when the body is uploaded."""

    mark: Mark
    content: Content
    medium: ArchivedMedia | None = None
    """The file whose body is uploaded first."""

    def transaction(self, conversation_id: str) -> str:
        """Return the id by which the homeserver knows a repeated call as long as it remembers."""
        what = msgspec.json.encode([conversation_id, self.mark.ts, self.mark.id, *self.mark.piece])
        return hashlib.sha256(what).hexdigest()[:32]

    def for_file(self, url: str) -> Content:
        """Return the content with the URL of the uploaded body."""
        return {**self.content, "url": url}

    def too_large(self) -> Content:
        """Return the content that takes the place of a file or text that is too large for the homeserver."""
        what = (
            f"file not carried over: {self.content['body']}" if self.medium is not None else "message not carried over"
        )
        return _notice(f"({what})", self.mark)


@attrs.frozen
class Converted:
    """A message and the events that it becomes."""

    key: Key
    digest: str
    sender: Person
    sent: int
    """In milliseconds since the epoch."""
    events: tuple[Outgoing, ...]
    mentioned: tuple[Person, ...] = ()


@attrs.frozen
class Converter:
    """Turns the messages of one conversation into events."""

    server_name: str
    person: Callable[[str], Person]
    medium: Callable[[str], ArchivedMedia | None]
    lost: Callable[[str, str], None]
    """Counts something that is lost: its kind and the id of the message."""

    def of(self, message: Message) -> Converted:
        """Return the events of a message: its text in one or several parts, then its files."""
        document = document_of(message)
        digest = hashlib.sha256(message.raw).hexdigest()[:32]
        mentioned: dict[str, Person] = {}

        def lose(kind: str) -> None:
            self.lost(kind, message.id)

        def user_url(id: str) -> str:
            mentioned[id] = self.person(id)
            return f"https://matrix.to/#/{quote(user_id(id, self.server_name), safe='@:')}"

        files = files_in(document)
        shown = MatrixText(user_url, lose).of(document)
        plain = without_surrogates(message.text).strip() or shown.to_text().strip()
        mark = Mark(without_surrogates(message.id), str(message.ts), digest)
        events = self._texts(plain, shown.to_html(), mark, lose) if plain else []
        events += [self._file(id, mark, lose) for id in files]
        if not events:
            lose("empty message")
            first = msgspec.structs.replace(mark, part=0)
            events = [Outgoing(first, _text_content(EMPTY_MESSAGE, first))]
        sent = min(max(message.ts // MILLISECOND, 0), _LAST_MILLISECOND)
        if sent != message.ts // MILLISECOND:
            lose("time moved")
        sender = self.person(message.sender_id)
        return Converted(mark.key, digest, sender, sent, tuple(events), tuple(mentioned.values()))

    def _texts(self, plain: str, html: str, mark: Mark, lose: Callable[[str], None]) -> list[Outgoing]:
        if html == f"<p>{escape(plain)}</p>":
            html = ""
        if _size(plain) <= _LONGEST_BODY:
            first = msgspec.structs.replace(mark, part=0)
            content = _text_content(plain, first)
            if html and _size(html) <= _LONGEST_HTML:
                content |= {"format": "org.matrix.custom.html", "formatted_body": html}
            elif html:
                lose("formatting left out")
            return [Outgoing(first, content)]
        lose("message split")
        if html:
            lose("formatting left out")
        marks = ((msgspec.structs.replace(mark, part=n), part) for n, part in enumerate(split(plain, _LONGEST_PART)))
        return [Outgoing(each, _text_content(part, each)) for each, part in marks]

    def _file(self, id: str, mark: Mark, lose: Callable[[str], None]) -> Outgoing:
        medium = self.medium(id)
        shown_id = without_surrogates(id)
        mark = msgspec.structs.replace(mark, media=shown_id)
        if medium is None:
            lose("file not held")
            return Outgoing(mark, _notice(file_not_held(shown_id), mark))
        mark = msgspec.structs.replace(mark, sha256=medium.sha256)
        mime_type = sound_mime_type(medium.mime_type)
        name = without_surrogates(medium.name or shown_id)[:_LONGEST_NAME]
        content: Content = {
            "msgtype": _TYPES.get(mime_type.partition("/")[0], "m.file"),
            "body": name,
            "filename": name,
            "info": {"mimetype": mime_type, "size": medium.size},
            "m.mentions": {},
            MARK: msgspec.to_builtins(mark),
        }
        return Outgoing(mark, content, medium)


def _text_content(text: str, mark: Mark) -> Content:
    return {"msgtype": "m.text", "body": text, "m.mentions": {}, MARK: msgspec.to_builtins(mark)}


def _notice(text: str, mark: Mark) -> Content:
    return {"msgtype": NOTICE, "body": text, "m.mentions": {}, MARK: msgspec.to_builtins(mark)}


def sound_mime_type(mime_type: str | None) -> str:
    """Return a MIME type without its parameters; that of any bytes if it is missing or malformed."""
    found = _MIME_TYPE.match(mime_type or "")
    return found[0] if found is not None else "application/octet-stream"


def local_part(id: str) -> str:
    """Return the local part of the user of a person, and of the alias of a conversation."""
    return f"stride_{digest_of(id)[:_HEX_DIGITS]}"


def user_id(id: str, server_name: str) -> str:
    """Return the Matrix id of a person."""
    return f"@{local_part(id)}:{server_name}"


def alias(id: str, server_name: str) -> str:
    """Return the alias of a conversation."""
    return f"#{local_part(id)}:{server_name}"


def is_ours(user: str, server_name: str) -> bool:
    """Return whether a Matrix id has the form of those that a migration creates for people."""
    local, _, server = user.partition(":")
    digits = local.removeprefix("@stride_")
    return server == server_name and len(digits) == _HEX_DIGITS and set(digits) <= set("0123456789abcdef")


def display_name(person: Person) -> str:
    """Return the display name of a person in Matrix, which tells equal names apart itself."""
    return _storable(person.name)[:_LONGEST_NAME]


def created_at(conversation: Conversation) -> int | None:
    """Return when a conversation was created, in milliseconds since the epoch, None if that is not known."""
    created: datetime | None = conversation.created
    return max(0, to_nanoseconds(created) // MILLISECOND) if created is not None else None


def wanted_state(conversation: Conversation) -> dict[str, Content]:
    """Return the state that the room of a conversation should have, by type, without its levels and members."""
    is_public = conversation.type != "direct" and conversation.privacy == "public" and not conversation.is_archived
    return {
        "m.room.join_rules": {"join_rule": "public" if is_public else "invite"},
        "m.room.history_visibility": {"history_visibility": "shared"},
        "m.room.name": {"name": _storable(conversation.name)[:_LONGEST_NAME]},
        "m.room.topic": {"topic": _storable(conversation.topic)[:_LONGEST_TOPIC]},
    }


def _storable(text: str) -> str:
    """Return a name with U+FFFD for what databases of homeservers cannot store: surrogates and U+0000."""
    return without_surrogates(text).replace("\0", "\N{REPLACEMENT CHARACTER}")


def _size(text: str) -> int:
    """Return the number of bytes of a text in JSON, where a control character takes six."""
    return len(msgspec.json.encode(text))


def is_cut(conversation: Conversation) -> bool:
    """Return whether the name or topic of a conversation is too long for Matrix."""
    return len(conversation.name) > _LONGEST_NAME or len(conversation.topic) > _LONGEST_TOPIC


def new_room(conversation: Conversation) -> Content:
    """Return what a room is created with. The rest is set when it exists, because creating it is not atomic."""
    is_public = conversation.type != "direct" and conversation.privacy == "public"
    return {
        "room_alias_name": local_part(conversation.id),
        "preset": "public_chat" if is_public else "private_chat",
        "is_direct": conversation.type == "direct",
        "creation_content": {"m.federate": False},
    }
