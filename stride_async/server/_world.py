"""All that the routes work on: the store, who may call, and what the service would change by itself."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
import uuid
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from attrs import define, field

from stride_async.server._answers import dumps
from stride_async.server._choices import Choices
from stride_async.server._clock import Clock, milliseconds
from stride_async.server._documents import to_plain_text
from stride_async.server._limits import App, Grants, RateLimit
from stride_async.server._records import Conversation, format_ts
from stride_async.server._store import Room, Store
from stride_async.server._store.files import File

Document = dict[str, object]

_DIRECT_PRIVACY = "private"  # protocol 4.1
_AVATARS = "https://static.stride.com/default-room-avatars/web/96pt/default_{:02}-96.png"


@define(eq=False)
class World:
    """One running site. `url` and `media_url` are the two origins it answers at, known once they are bound."""

    store: Store
    choices: Choices
    rate_limit: RateLimit
    outer_limit: RateLimit
    token_limit: RateLimit
    media_redirect: bool
    grants: Grants = field(factory=Grants)
    clock: Clock = field(factory=Clock)
    url: str = ""
    media_url: str = ""
    direct_failures: dict[tuple[str, str], int] = field(factory=dict)
    _media_key: bytes = field(factory=lambda: secrets.token_bytes(32), repr=False)

    def conversation(self, room: Room) -> dict[str, object]:
        """The conversation as the service answers it (protocol 4.1)."""
        cloud_id = self.store.cloud_id
        return {
            "cloudId": cloud_id,
            **json.loads(room.json),
            "isArchived": room.archived,
            "_links": {room.id: f"{self.url}/site/{cloud_id}/conversation/{room.id}"},
        }

    def create_conversation(
        self,
        name: str,
        *,
        app: App,
        topic: str = "",
        type: str = "group",
        privacy: str = "public",
        archived: bool = False,
        roster: tuple[str, ...] = (),
        direct_user: str | None = None,
        id: str | None = None,
    ) -> Room:
        """A new conversation without members; the app is one only once it is admitted."""
        room_id = id or str(uuid.uuid4())
        now = milliseconds(self.clock.now())
        content = {
            "cloudId": self.store.cloud_id,
            "id": room_id,
            "name": name,
            "topic": topic,
            "type": type,
            "created": now,
            "modified": now,
            "avatarUrl": _AVATARS.format(1 + len(name) % 10),
            "privacy": privacy,
            "isArchived": archived,
        }
        record = Conversation(room_id, name, type, privacy, archived, dumps(content).decode(), roster)
        self.store.conversations.insert(record, app=app.client_id, direct_user=direct_user)
        created = self.store.conversations.find(room_id)
        assert created is not None
        return created

    def change_conversation(self, room: Room, **changes: object) -> Room:
        """Store the changed conversation with a new time of modification."""
        content = {**json.loads(room.json), "isArchived": room.archived, **changes}
        content["modified"] = milliseconds(self.clock.now())
        self.store.conversations.change(room.number, content)
        changed = self.store.conversations.find(room.id)
        assert changed is not None
        return changed

    def direct_conversation(self, app: App, user_id: str) -> Room:
        """The app's direct conversation with the person, opened now if it never was (protocol 1.5)."""
        if (found := self.store.conversations.direct(app.client_id, user_id)) is not None:
            return found
        named = self.choices.direct_named
        with self.store.transaction():
            room = self.create_conversation(
                (self.store.people.display_name(user_id) or "") if named else "",
                app=app,
                type="direct",
                privacy=_DIRECT_PRIVACY,
                roster=((user_id, app.account_id) if self.choices.roster_lists_app else (user_id,)),
                direct_user=user_id,
            )
            self.store.conversations.admit(app.client_id, [room.number])
        return room

    def message_json(self, id: str, document: Document, sender_id: str, ts: int) -> bytes:
        """The message as the service answers it (protocol 4.3)."""
        return dumps(
            {
                "id": id,
                "body": document,
                "text": to_plain_text(document),
                "sender": {"id": sender_id},
                "ts": format_ts(ts),
            }
        )

    def add_message(
        self, room: Room, document: Document, sender_id: str, *, ts: int | None = None, id: str | None = None
    ) -> str:
        """Store a message with mentions named, and bring those it mentions into the conversation."""
        mentioned = self._name_mentions(document)
        ts = self.clock.now() if ts is None else ts
        message_id = id or self.clock.message_id(ts)
        with self.store.transaction():
            content = self.message_json(message_id, document, sender_id, ts)
            self.store.messages.insert([(room.number, ts, message_id, sender_id, content)])
            if room.type != "direct":  # a mention brings people into a room (protocol 5.3)
                self.store.conversations.join(room.number, mentioned)
        return message_id

    def edited_json(self, content: bytes, document: Document) -> bytes:
        """The stored message with another document; id, sender and time stay."""
        self._name_mentions(document)
        return dumps({**json.loads(content), "body": document, "text": to_plain_text(document)})

    def add_file(
        self, room: Room, name: str, chunks: Iterable[bytes], *, mime_type: str, id: str | None = None
    ) -> File:
        """Store a file of the conversation."""
        number, incoming = self.store.files.receive()
        with incoming:
            for chunk in chunks:
                incoming.write(chunk)
        file = File(number, id or str(uuid.uuid4()), room.number, name, mime_type, incoming.size, incoming.sha256)
        self.store.files.insert(file)
        return file

    def media_location(self, conversation_id: str, media_id: str) -> str:
        """An address of the file at the second origin that needs no token and expires (protocol 9)."""
        path = f"/file/{quote(conversation_id, safe='')}/{quote(media_id, safe='')}"
        expires = int((time.time() + self.choices.media_url_seconds) * 1000)
        return f"{self.media_url}{path}?expires={expires}&signature={self._signature(media_id, str(expires))}"

    def media_location_is_good(self, media_id: str, expires: str, signature: str) -> bool:
        """Whether the address was given by this server, and has not expired."""
        expected = self._signature(media_id, expires)
        genuine = hmac.compare_digest(signature.encode(errors="replace"), expected.encode())
        return genuine and time.time() * 1000 < int(expires)

    def _signature(self, media_id: str, expires: str) -> str:
        text = f"{media_id}\n{expires}".encode(errors="replace")
        return hmac.new(self._media_key, text, hashlib.sha256).hexdigest()

    def _name_mentions(self, document: Document) -> list[str]:
        """Give nameless mentions their name, as the service did (protocol 8.2); the people mentioned."""
        mentioned = []
        for attrs in _mentions(document):
            user_id = str(attrs.get("id"))
            name = self.store.people.display_name(user_id)
            if name is None:
                continue
            if not attrs.get("text"):
                attrs["text"] = f"@{name}"
            if self.store.people.is_person(user_id):
                mentioned.append(user_id)
        return mentioned


def _mentions(document: Document) -> Iterator[dict[str, object]]:
    waiting: list[object] = [document]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, dict):
            continue
        attrs = node.get("attrs")
        if node.get("type") == "mention" and isinstance(attrs, dict):
            yield attrs
        if isinstance(content := node.get("content"), list):
            waiting.extend(content)
