"""Move one conversation into its room.

There is no journal. What a room holds is read back from it, so a move can be stopped anywhere and started again:

1. The room is found by its alias, or created with nothing but the alias. If it lacks its owner, the owner joins; if the
   homeserver was stopped before there was anything to join, the alias is deleted, and the room created anew.
2. Its name, topic, rules and members are compared with what they should be, and set where they differ. A room may lack
   all of them if the homeserver was stopped while it created it.
3. Its history and the archive are read side by side, both in the order of keys. What the archive has after the last
   message in the room is sent, in this order, and each event is acknowledged before the next. So the room always holds
   the beginning of the conversation, and of a message that was under way its first events.
4. Those who have sent messages but are not members leave, and an archived conversation is closed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import attrs
import msgspec

from stride_async._json import NOT_DECODABLE
from stride_async._models import Key
from stride_async.export.formats._report import Tally
from stride_async.export.formats._source import Person, Room
from stride_async.export.matrix._content import (
    LEVELS,
    OWNER_LEVEL,
    READ_ONLY,
    Content,
    Converted,
    Outgoing,
    alias,
    created_at,
    display_name,
    is_ours,
    new_room,
    sound_mime_type,
    user_id,
    wanted_state,
)
from stride_async.export.matrix._errors import Foreign, HomeserverUnavailable, Refused
from stride_async.export.matrix._held import HeldMessage, History
from stride_async.export.matrix._homeserver import Event, Homeserver
from stride_async.export.matrix._puppets import Puppets

_MEMBER = "m.room.member"
_LEVELS = "m.room.power_levels"
_MOST_ATTEMPTS = 4  # to create a room, if the homeserver is stopped in the middle each time

State = dict[tuple[str, str], Event]


@attrs.define
class RoomMove:
    """The move of one conversation."""

    homeserver: Homeserver
    puppets: Puppets
    urls: dict[str, str]
    """The URLs of uploaded bodies by digest."""
    invite: tuple[str, ...]
    """The ids of those who are invited."""
    tally: Tally
    """Counts what is at the homeserver, and what is lost there."""
    moved: Callable[[int, int], None]
    """Called with the numbers of messages held and sent since it was called last."""
    room: Room
    members: tuple[Person, ...]
    sent: int = attrs.field(default=0, init=False)
    """Events sent so far."""
    _room_id: str = attrs.field(default="", init=False)
    _joined: dict[str, str | None] = attrs.field(factory=dict, init=False)
    _levels: Content | None = attrs.field(default=None, init=False)

    async def run(self, messages: AsyncIterator[Converted]) -> str:
        """Move everything that is not there yet, and return the id of the room.

        Raises:
            Refused: The homeserver refuses something without which the room cannot be complete.
            Foreign: The room, or the user of someone in it, is not one of ours.
        """
        state = await self._enter()
        await self._put_right(state)
        for person in self.members:
            await self._join(person)
        await self._invite(state)
        await self._move(messages)
        await self._close()
        return self._room_id

    @property
    def _server_name(self) -> str:
        return self.homeserver.registration.server_name

    @property
    def _owner(self) -> str:
        return self.homeserver.registration.owner

    @property
    def _alias(self) -> str:
        return alias(self.room.id, self._server_name)

    async def _enter(self) -> State:
        """Find the room or create it, have the owner in it, and return its state."""
        for _ in range(_MOST_ATTEMPTS):
            found = await self.homeserver.room_of(self._alias)
            self._room_id = found if found is not None else await self._create()
            state = await self._state()
            if state is None or _membership(state, self._owner) != "join":
                state = await self._join_owner(state)
            if state is not None:
                return state
            await self.homeserver.delete_alias(self._alias)
        raise HomeserverUnavailable(f"{self._alias} was created {_MOST_ATTEMPTS} times, and never had a room then")

    async def _create(self) -> str:
        wanted = new_room(self.room.conversation)
        return await self.homeserver.create_room(wanted, lambda: self.homeserver.room_of(self._alias))

    async def _join_owner(self, before: State | None) -> State | None:
        """Have the owner join, and return the state then; None if the homeserver has no room but only the alias.

        A homeserver that was stopped while it created the room may have stored only its first event, which names the
        creator, or only the alias. The owner may also have been removed from the room.
        """
        try:
            await self._set_membership(self._owner, "join", by=None)
        except Refused as refused:
            if before is None and refused.is_about_absence:
                return None
            raise self._foreign(f"{self._owner} is not in it, and cannot join: {refused}") from refused
        try:
            return await self._state()
        except Foreign:
            await self._set_membership(self._owner, "leave", by=None)
            raise

    async def _state(self) -> State | None:
        """Return the state of the room, as of when the owner left if it did; None if it was never in it."""
        try:
            events = await self.homeserver.state(self._room_id)
        except Refused as refused:
            if refused.errcode != "M_FORBIDDEN" and not refused.is_about_absence:
                raise
            return None
        state = {(event.type, event.state_key): event for event in events if event.state_key is not None}
        created = state.get(("m.room.create", ""))
        if created is None or created.sender != self._owner:
            raise self._foreign(f"{self._owner} did not create it")
        return state

    def _foreign(self, why: str) -> Foreign:
        return Foreign(
            f"{self._alias} is the alias of the room {self._room_id}, which no migration can use ({why}). "
            "Delete the alias on the homeserver, and run the migration again"
        )

    async def _put_right(self, state: State) -> None:
        """Set what differs from what the room should be. Its levels are open until everything is sent."""
        for type, wanted in wanted_state(self.room.conversation).items():
            event = state.get((type, ""))
            has = _content(event)
            is_empty = not any(wanted.values())
            if any(has.get(name) != value for name, value in wanted.items()) and not (is_empty and event is None):
                await self._set(type, wanted)
        if ("m.room.canonical_alias", "") not in state:
            await self._set("m.room.canonical_alias", {"alias": self._alias})
        levels = state.get((_LEVELS, ""))
        self._levels = _content(levels) if levels is not None else None
        if self._levels is None:
            await self._set_levels(0)
        self._joined = {
            key: self._name_given(event)
            for (type, key), event in state.items()
            if type == _MEMBER and is_ours(key, self._server_name) and _membership(state, key) == "join"
        }

    def _name_given(self, join: Event) -> str | None:
        """Return the display name of someone who has joined, None if that was not the doing of a migration.

        Others may have joined too, but not at the time of the creation: only an application service can choose a time.
        """
        at = created_at(self.room.conversation)
        name = _content(join).get("displayname")
        return name if isinstance(name, str) and at is not None and join.origin_server_ts == at else None

    async def _set_levels(self, events_default: int) -> None:
        """Set the level that sending requires, and leave the levels that people have changed."""
        has = self._levels if self._levels is not None else LEVELS
        users = has.get("users")
        wanted: Content = {
            **has,
            "events_default": events_default,
            "users": {**(users if isinstance(users, dict) else {}), self._owner: OWNER_LEVEL},
        }
        if wanted != self._levels:
            await self._set(_LEVELS, wanted)
            self._levels = wanted

    async def _set(self, type: str, content: Content) -> None:
        await self.homeserver.set_state(self._room_id, type, content, at=created_at(self.room.conversation))

    async def _join(self, person: Person) -> None:
        user = self.puppets.id_of(person)
        if user in self._joined and self._joined[user] == display_name(person):
            return
        await self.puppets.ensure(person)
        if user in self._joined:
            self._joined[user] = self.puppets.names[user]
            return
        if wanted_state(self.room.conversation)["m.room.join_rules"]["join_rule"] == "invite":
            await self._set_membership(user, "invite", by=None)
        await self._set_membership(user, "join", by=user)
        self._joined[user] = self.puppets.names[user]

    async def _set_membership(self, user: str, membership: str, *, by: str | None) -> None:
        content: Content = {"membership": membership}
        if membership == "join":
            content["displayname"] = self.puppets.names[user]
        if membership == "invite" and self.room.conversation.type == "direct":
            content["is_direct"] = True

        async def is_set() -> bool:
            return _membership(await self._state() or {}, user) == membership

        at = created_at(self.room.conversation) if is_ours(user, self._server_name) else None
        await self.homeserver.set_membership(self._room_id, user, content, user=by, at=at, look=is_set)

    async def _invite(self, state: State) -> None:
        """Invite those who are to see the room. Someone who was invited before, and left, is not invited anew."""
        for user in self.invite:
            if (_MEMBER, user) not in state:
                await self._set_membership(user, "invite", by=None)

    async def _move(self, messages: AsyncIterator[Converted]) -> None:
        history = History(self.homeserver, self._room_id, self.urls)
        held = history.messages()
        there = await anext(held, None)
        last: Key | None = None
        async for message in messages:
            while there is not None and there.key < message.key:
                self.tally.lose("message deleted after it was moved", there.key[1])
                last, there = there.key, await anext(held, None)
            if there is not None and there.key == message.key:
                found = there
                last, there = there.key, await anext(held, None)
                await self._compare(history, message, found, is_last=there is None)
            elif self._was_removed(history, message):
                self.tally.lose("message removed at the homeserver", message.key[1])
            elif there is not None or (last is not None and message.key <= last):
                self.tally.lose("message older than those moved before", message.key[1])
            else:
                await self._send(history, message, message.events)
                last = message.key
        while there is not None:
            self.tally.lose("message deleted after it was moved", there.key[1])
            there = await anext(held, None)

    def _was_removed(self, history: History, message: Converted) -> bool:
        """Return whether an event of a message that the room does not show was removed; all of them are taken."""
        sender = self.puppets.id_of(message.sender)
        taken = [history.take_removed(sender, message.sent) for _ in message.events]
        return any(taken)

    async def _compare(self, history: History, message: Converted, found: HeldMessage, *, is_last: bool) -> None:
        """Count a message that is in the room. Only the last one can lack events, if it was under way."""
        for event in message.events:
            self._count_held(event, found, message.key[1])
        if found.digest != message.digest:
            self.tally.lose("message changed after it was moved", message.key[1])
        elif is_last and (missing := self._missing(history, message, found)):
            await self._send(history, message, missing)
            return
        self.tally.message()
        self.moved(1, 0)

    def _count_held(self, event: Outgoing, found: HeldMessage, message_id: str) -> None:
        held = found.pieces.get(event.mark.piece)
        if held is None:
            return
        if held.piece not in found.notices:
            if event.medium is not None:
                self.tally.file(event.medium.size)
        elif held.sha256 != event.mark.sha256:
            self.tally.lose("message changed after it was moved", message_id)
        else:
            self._count_too_large(event, message_id)

    def _count_too_large(self, event: Outgoing, message_id: str) -> None:
        """Count what a notice takes the place of. A file that the archive does not hold is counted already."""
        if event.medium is not None:
            self.tally.lose("file too large", event.medium.id)
        elif event.mark.media is None:
            self.tally.lose("message too large", message_id)

    def _missing(self, history: History, message: Converted, found: HeldMessage) -> list[Outgoing]:
        """Return the events of a message that were not sent yet."""
        sender = self.puppets.id_of(message.sender)
        absent = [event for event in message.events if event.mark.piece not in found.pieces]
        return [event for event in absent if not history.take_removed(sender, message.sent)]

    async def _send(self, history: History, message: Converted, events: tuple[Outgoing, ...] | list[Outgoing]) -> None:
        await self._set_levels(0)
        await self._join(message.sender)
        for person in message.mentioned:
            await self.puppets.ensure(person)
        for event in events:
            await self._send_event(history, message, event)
        self.tally.message()
        self.moved(0, 1)

    async def _send_event(self, history: History, message: Converted, event: Outgoing) -> None:
        content = await self._content_to_send(event)
        is_carried = content is not None and await self._is_accepted(history, message, event, content)
        if is_carried and event.medium is not None:
            self.tally.file(event.medium.size)
        if not is_carried:
            self._count_too_large(event, message.key[1])
            is_carried = await self._is_accepted(history, message, event, event.too_large())
        self.sent += is_carried

    async def _is_accepted(self, history: History, message: Converted, event: Outgoing, content: Content) -> bool:
        """Send an event, and return whether the homeserver accepts its size."""

        async def is_there() -> bool:
            return await history.last() == event.mark

        how = {"transaction": event.transaction(self.room.id), "user": self.puppets.id_of(message.sender)}
        try:
            await self.homeserver.send(self._room_id, content=content, at=message.sent, look=is_there, **how)
        except Refused as refused:
            if not refused.is_too_large:
                raise refused.about(f"message {message.key[1]}") from refused
            return False
        return True

    async def _content_to_send(self, event: Outgoing) -> Content | None:
        """Return the content of an event, for a file with the URL of its body; None if that is too large.

        A body is uploaded once.
        """
        medium = event.medium
        if medium is None:
            return event.content
        url = self.urls.get(medium.sha256)
        if url is None:
            try:
                name, mime_type = str(event.content["filename"]), sound_mime_type(medium.mime_type)
                url = await self.homeserver.upload(medium.path, name, mime_type)
            except Refused as refused:
                if not refused.is_too_large:
                    raise refused.about(f"file {medium.id}") from refused
                return None
            self.urls[medium.sha256] = url
        return event.for_file(url)

    async def _close(self) -> None:
        """Have those leave who are not members, and close an archived conversation."""
        members = {user_id(person.id, self._server_name) for person in self.members}
        for user in sorted(self._joined.keys() - members):
            await self._set_membership(user, "leave", by=user)
        await self._set_levels(READ_ONLY if self.room.conversation.is_archived else 0)


def _membership(state: State, user: str) -> object:
    """Return the membership of a user, None if it was never in the room."""
    return _content(state.get((_MEMBER, user))).get("membership")


def _content(event: Event | None) -> dict[str, object]:
    """Return the content of a state, empty if there is none or it is not an object."""
    if event is None:
        return {}
    try:
        return msgspec.json.decode(event.content, type=dict[str, object])
    except NOT_DECODABLE:
        return {}
