"""What the routes work on: the store, the tokens and limits, and what the service does on its own."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
import time
import uuid
from collections.abc import Iterable
from urllib.parse import quote

from attrs import define, field

from stride_async.server._choices import Choices
from stride_async.server._clock import Clock
from stride_async.server._deliver import Deliveries
from stride_async.server._documents import to_plain_text
from stride_async.server._limits import App, Grants, RateLimit
from stride_async.server._mentions import Document, mentions
from stride_async.server._paths import CONVERSATION, MEDIA_FILE, SCIM_USER, SITE
from stride_async.server._records import Conversation, compact_json
from stride_async.server._store import MediaFile, Store, StoredConversation
from stride_async.server._times import format_milliseconds, format_ts

_AVATARS = "https://static.stride.com/default-room-avatars/web/96pt/default_{:02}-96.png"
_DIRECT_PRIVACY = "private"  # protocol 4.1


@define(eq=False)
class World:
    """A running site.

    `url` and `media_url` are the base URLs of its two origins, set once they are bound. `direct_failures` counts the
    failed calls for a direct conversation by client id and user id.
    """

    store: Store
    choices: Choices
    deliveries: Deliveries
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

    def site_url(self) -> str:
        """Return the API URL of the site."""
        return self.url + SITE.format(site=self.store.cloud_id)

    def conversation_url(self, conversation_id: str) -> str:
        """Return the API URL of a conversation."""
        return self.url + CONVERSATION.format(site=self.store.cloud_id, conversation=conversation_id)

    def user_url(self, user_id: str) -> str:
        """Return the SCIM URL of a user."""
        return self.url + SCIM_USER.format(site=self.store.cloud_id, user=quote(user_id, safe=":"))

    def conversation_object(self, conversation: StoredConversation) -> dict[str, object]:
        """Return the conversation as the service does (protocol 4.1)."""
        return {
            "cloudId": self.store.cloud_id,
            **json.loads(conversation.json),
            "isArchived": conversation.archived,
            "_links": {conversation.id: self.conversation_url(conversation.id)},
        }

    def create_conversation(
        self,
        name: str,
        *,
        app: App | None,
        topic: str = "",
        type: str = "group",
        privacy: str = "public",
        archived: bool = False,
        roster: tuple[str, ...] = (),
        direct_user: str | None = None,
        id: str | None = None,
    ) -> StoredConversation:
        """Create a conversation; the app may use it only after it is added as a member.

        `direct_user` makes it the app's direct conversation with that person; by default it is the only person on the
        roster of a direct conversation.
        """
        conversation_id = id or str(uuid.uuid4())
        now = format_milliseconds(self.clock.now())
        content = {
            "cloudId": self.store.cloud_id,
            "id": conversation_id,
            "name": name,
            "topic": topic,
            "type": type,
            "created": now,
            "modified": now,
            "avatarUrl": _AVATARS.format(1 + len(name) % 10),
            "privacy": privacy,
            "isArchived": archived,
        }
        record = Conversation(conversation_id, name, type, privacy, archived, compact_json(content), roster)
        self.store.conversations.insert(record, app=app, direct_user=direct_user)
        created = self.store.conversations.find(conversation_id)
        assert created is not None
        return created

    def open_to(
        self, app: App, conversation: StoredConversation, by: str, *, created: bool = False, delay: float = 0.0
    ) -> None:
        """Let the app use a new conversation after a delay, and call it then (protocol 1.5)."""
        since = time.time() + delay if delay else 0.0
        self.store.conversations.add_member(app.client_id, [conversation.number], since=since)
        if not delay:
            self._announce(app, conversation, by, created=created)
        elif self.deliveries.registrations:
            self.deliveries.start(self._announce_at(since, app, conversation, by, created=created))

    async def _announce_at(
        self, since: float, app: App, conversation: StoredConversation, by: str, *, created: bool
    ) -> None:
        await asyncio.sleep(since - time.time() + 0.001)  # The loop's clock may be a little ahead.
        self._announce(app, conversation, by, created=created)

    def _announce(self, app: App, conversation: StoredConversation, by: str, *, created: bool) -> None:
        self.deliveries.lifecycle(app.client_id, conversation.id, "installed", by)
        if created:
            self.deliveries.conversation_changed(conversation, "create", by)

    def change_conversation(
        self, conversation: StoredConversation, *, by: str | None = None, **changes: object
    ) -> StoredConversation:
        """Store the conversation with these changes, made by a user, and a new `modified` time."""
        content = {**json.loads(conversation.json), "isArchived": conversation.archived, **changes}
        content["modified"] = format_milliseconds(self.clock.now())
        self.store.conversations.change(conversation.number, content)
        changed = self.store.conversations.find(conversation.id)
        assert changed is not None
        action = "update"
        if changed.archived != conversation.archived:
            action = "archive" if changed.archived else "unarchive"
        self.deliveries.conversation_changed(changed, action, by or self.someone(changed))
        return changed

    def change_roster(
        self, conversation: StoredConversation, *, add: Iterable[str] = (), remove: Iterable[str] = ()
    ) -> None:
        """Add people to the roster and remove people from it."""
        with self.store.transaction():
            joined = self.store.conversations.join(conversation.number, add)
            left = self.store.conversations.leave(conversation.number, remove)
        self.deliveries.roster_changed(conversation, joined, "add")
        self.deliveries.roster_changed(conversation, left, "remove")

    def replace_roster(self, conversation: StoredConversation, user_ids: Iterable[str]) -> None:
        """Replace the roster with these people, in this order."""
        conversations, number = self.store.conversations, conversation.number
        with self.store.transaction():
            before = conversations.leave(number, conversations.roster(number))
            after = conversations.join(number, user_ids)
        self.deliveries.roster_changed(conversation, [user_id for user_id in before if user_id not in after], "remove")
        self.deliveries.roster_changed(conversation, [user_id for user_id in after if user_id not in before], "add")

    def someone(self, conversation: StoredConversation) -> str:
        """Return a person in the conversation, or the app if there is none."""
        people = self.store.conversations.roster(conversation.number, limit=1)
        return people[0] if people else self.store.app.account_id

    def direct_conversation(self, app: App, user_id: str) -> StoredConversation:
        """Return the app's direct conversation with the person, and create it if there is none (protocol 1.5)."""
        if (found := self.store.conversations.direct(app.client_id, user_id)) is not None:
            return found
        with self.store.transaction():
            conversation = self.create_conversation(
                (self.store.people.display_name(user_id) or "") if self.choices.direct_named else "",
                app=app,
                type="direct",
                privacy=_DIRECT_PRIVACY,
                roster=(user_id, app.account_id) if self.choices.roster_lists_app else (user_id,),
                direct_user=user_id,
            )
            self.open_to(app, conversation, user_id)
        return conversation

    def message_json(self, id: str, document: Document, sender_id: str, ts: int) -> bytes:
        """Return the message as the service does (protocol 4.3)."""
        message = {
            "id": id,
            "body": document,
            "text": to_plain_text(document),
            "sender": {"id": sender_id},
            "ts": format_ts(ts),
        }
        return compact_json(message).encode()

    def add_message(
        self,
        conversation: StoredConversation,
        document: Document,
        sender_id: str,
        *,
        ts: int | None = None,
        id: str | None = None,
    ) -> str:
        """Store a message and return its id; the people it mentions join a room (protocol 5.3)."""
        mentioned = self._fill_in_mentions(document)
        ts = self.clock.now() if ts is None else ts
        message_id = id or self.clock.message_id(ts)
        content = self.message_json(message_id, document, sender_id, ts)
        self.store.messages.insert([(conversation.number, ts, message_id, sender_id, content)])
        self.deliveries.message_sent(conversation, content, sender_id)
        if conversation.type != "direct":
            self.change_roster(conversation, add=mentioned)
        return message_id

    def edited_json(self, content: bytes, document: Document) -> bytes:
        """Return the stored message with another document; id, sender and time stay."""
        self._fill_in_mentions(document)
        return compact_json({**json.loads(content), "body": document, "text": to_plain_text(document)}).encode()

    def add_media(
        self,
        conversation: StoredConversation,
        name: str,
        chunks: Iterable[bytes],
        *,
        mime_type: str,
        id: str | None = None,
    ) -> MediaFile:
        """Store a file of the conversation."""
        with self.store.files.receive() as body:
            for chunk in chunks:
                body.write(chunk)
        return self.store.files.insert(body, conversation.number, name, mime_type, id=id)

    def signed_media_url(self, conversation_id: str, media_id: str) -> str:
        """Return a URL of the file at the second origin, which needs no token and expires (protocol 9)."""
        path = MEDIA_FILE.format(conversation=quote(conversation_id, safe=""), media=quote(media_id, safe=""))
        expires = int((time.time() + self.choices.media_url_seconds) * 1000)
        return f"{self.media_url}{path}?expires={expires}&signature={self._signature(media_id, str(expires))}"

    def is_valid_signature(self, media_id: str, expires: str, signature: str) -> bool:
        """Return whether this server signed the URL, and it has not expired."""
        expected = self._signature(media_id, expires)
        genuine = hmac.compare_digest(signature.encode(errors="replace"), expected.encode())
        return genuine and time.time() * 1000 < int(expires)

    def _signature(self, media_id: str, expires: str) -> str:
        text = f"{media_id}\n{expires}".encode(errors="replace")
        return hmac.new(self._media_key, text, hashlib.sha256).hexdigest()

    def _fill_in_mentions(self, document: Document) -> list[str]:
        """Give mentions without text the name of the person (protocol 8.2); return the ids of the people mentioned."""
        mentioned = []
        for attrs in mentions(document):
            user_id = str(attrs.get("id"))
            name = self.store.people.display_name(user_id)
            if name is None:
                continue
            if not attrs.get("text"):
                attrs["text"] = f"@{name}"
            if self.store.people.is_person(user_id):
                mentioned.append(user_id)
        return mentioned
