"""What a conversion reads: the selected conversations of an archive, oldest first, their messages and the people.

Only one month of one conversation has to be in memory at a time. Of each conversation, a few words are kept for the
order; of each person, the name and the profile as bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs
import msgspec

from stride_async._errors import DecodeError
from stride_async._json import NOT_DECODABLE, decoder
from stride_async._models import Conversation, Message, User, new_message
from stride_async._wire.convert import key_at, message_at, object_at, structure
from stride_async.document import Document
from stride_async.export._archive.address import absolute
from stride_async.export._archive.archive import Archive
from stride_async.export._archive.chain import Chain, sound_chain
from stride_async.export._archive.errors import DamagedArchive
from stride_async.export._archive.layout import CONVERSATIONS, PEOPLE, conversation_folder, media_path
from stride_async.export._archive.parts import UNSEALED, ArchivedMonth, lines_of, messages_of, months_of, unplaced
from stride_async.export._archive.reader import ArchivedMedia, archived_media, roster_in
from stride_async.export._archive.state import NOT_PEOPLE, State, content_digest, site_digest
from stride_async.export._archive.verdict import verdict_of
from stride_async.export._selection import NothingSelected, Selection, kinds_of, name_of, nothing_selected
from stride_async.export.formats._names import digest_of
from stride_async.export.formats._report import Parts, Report, Tally

UNKNOWN_SENDER = "unknown"
"""The sender of a message whose sender is unreadable."""

_NEVER = datetime.max.replace(tzinfo=UTC)
_LABEL_DIGITS = 4
_ROOMS_KEPT = 128


@attrs.frozen(kw_only=True)
class Person:
    """Someone who is a member, a sender or mentioned. Everyone has a name and an address, whatever the site knows."""

    id: str
    name: str
    """The display name; the id of someone without one."""
    label: str
    """The display name, followed by digits of the id if someone else has the same name."""
    email: str
    active: bool
    is_known: bool
    """Whether the archive has a profile."""


class People:
    """The people of a conversion, by id. Someone who is not listed exists from when first asked for."""

    def __init__(self, profiles: Mapping[str, bytes], ids: set[str], tally: Tally) -> None:
        self._profiles = profiles
        self._tally = tally
        self._people: dict[str, Person] = {}
        self._names: Counter[str] = Counter()
        users = {id: self.profile(id) for id in sorted(ids)}
        self._names.update(user.display_name for user in users.values() if user is not None)
        for id, user in users.items():
            self._add(id, user)

    def __getitem__(self, id: str) -> Person:
        person = self._people.get(id)
        return person if person is not None else self._add(id, self.profile(id))

    def __contains__(self, id: str) -> bool:
        return id in self._people

    def __iter__(self) -> Iterator[Person]:
        """Yield everyone, by id."""
        return (self._people[id] for id in sorted(self._people))

    def profile(self, id: str) -> User | None:
        """Return the profile of a person, None if there is none that can be decoded."""
        raw = self._profiles.get(id)
        try:
            return object_at(raw, User) if raw is not None else None
        except DecodeError:
            return None

    def raw_profile(self, id: str) -> bytes | None:
        """Return the profile of a person as the service sent it."""
        return self._profiles.get(id)

    def _add(self, id: str, user: User | None) -> Person:
        self._tally.person()
        if user is None:
            self._tally.lose("person without a profile", id)
        name = (user.display_name if user is not None else "") or id
        addresses = [user.user_name, *(email.value for email in user.emails)] if user is not None else []
        person = Person(
            id=id,
            name=name,
            label=name if self._names[name] < 2 else f"{name} ({digest_of(id)[:_LABEL_DIGITS]})",
            email=next((address for address in addresses if "@" in address), f"{digest_of(id)[:16]}@unknown.invalid"),
            active=user is not None and user.active,
            is_known=user is not None,
        )
        self._people[id] = person
        return person


@attrs.frozen(kw_only=True)
class Room:
    """One conversation of the archive."""

    conversation: Conversation
    details: Mapping[str, Any]
    """The conversation as the service listed it."""
    user_ids: tuple[str, ...]
    """The members, as last fetched."""
    roster_taken_at: float | None
    """When, in seconds since the epoch."""
    verdict: str
    """What the archive proves about its history."""
    months: tuple[ArchivedMonth, ...]
    """The parts that together contain each message once."""
    _archive: Archive
    _state: State
    _tally: Tally

    @property
    def id(self) -> str:
        """The id of the conversation."""
        return self.conversation.id

    @property
    def referenced_ids(self) -> set[str]:
        """The members, and those whom the archive lists as referenced in messages."""
        return {*self._state.referenced_users, *self.user_ids}

    @property
    def rows(self) -> int:
        """The number of messages, including those that cannot be decoded."""
        return sum(month.rows for month in self.months)

    def raw_messages(self, month: str | None = None) -> Iterator[bytes]:
        """Yield the messages as JSON, oldest first, of all parts or of one. Elements without a key come last."""
        if month is None:
            yield from (line for _, line in messages_of(self._archive, self._state))
        else:
            yield from (line for _, line in lines_of(self._archive, self._state, month))
        if month in {None, UNSEALED}:
            yield from unplaced(self._archive, self._state)

    def messages(self, month: str | None = None) -> Iterator[Message]:
        """Yield the messages, oldest first, of all parts or of one.

        A message that cannot be decoded is carried as its text, or counted as lost if that is unreadable too.

        Raises:
            DamagedArchive: A file is missing, differs from its commit, or is not in order.
        """
        for line in self.raw_messages(month):
            try:
                yield message_at(line, "$")
            except DecodeError as error:
                message = _as_text(line)
                if message is not None:
                    self._tally.lose("message carried as its text", message.id)
                    yield message
                else:
                    self._tally.lose("undecodable message", _id_of(error.raw) or self.id)

    def member_ids(self) -> set[str]:
        """Return everyone who is a member or has sent a message; this reads all messages."""
        found = set(self.user_ids)
        for line in self.raw_messages():
            try:
                found.add(_sender_in(line).sender.id or UNKNOWN_SENDER)
            except NOT_DECODABLE:
                if (message := _as_text(line)) is not None:
                    found.add(message.sender_id)
        return found

    def media(self) -> Iterator[ArchivedMedia]:
        """Yield the files of the conversation whose bodies are held, by id."""
        for id in sorted(self._state.media):
            if (found := self.medium(id)) is not None:
                yield found

    def media_not_held(self) -> Iterator[str]:
        """Yield the ids of files whose bodies were not fetched, or are missing."""
        unfetched = {*self._state.skipped_media, *(id for what, id in self._state.failed if what == "media")}
        return (id for id in sorted({*self._state.media, *unfetched}) if self.medium(id) is None)

    def medium(self, id: str) -> ArchivedMedia | None:
        """Return a file of the conversation with its body; None if that is not held.

        Raises:
            DamagedArchive: The body has another size than was committed.
        """
        stored = self._state.media.get(id)
        if stored is None:
            return None
        path = media_path(stored.sha256)
        if not self._archive.files.exists(path):
            return None
        if self._archive.files.size(path) != stored.size:
            raise DamagedArchive(f"{path} is not what was committed: its size differs")
        return archived_media(self._archive, self.id, stored)


@attrs.frozen(order=True)
class _Entry:
    """What is kept of a conversation between looking at it and reading it."""

    created: datetime
    id: str
    folder: str


class Source:
    """The selected part of an archive.

    All its files, except the bodies, are compared with their commits at once: so a damaged archive is refused before
    anything is written, also by an update that leaves most months alone.

    Raises:
        DamagedArchive: The commits or files of a conversation are damaged.
        NothingSelected: No conversation matches the selection, or one of its selectors.
    """

    def __init__(self, archive: Archive, selection: Selection, tally: Tally) -> None:
        self.archive_address: str = absolute(archive.files.name)
        self.archive_id: str = archive.id
        self.cloud_id: str = archive.cloud_id
        self.verdicts: dict[str, str] = {}
        self._archive = archive
        self._tally = tally
        self._entries: list[_Entry] = []
        self._recent = RecentRooms(archive, tally)
        digests: list[tuple[str, str]] = []
        names: dict[str, str] = {}
        ids: set[str] = set()
        for name in archive.conversations():
            chain = sound_chain(archive, f"{CONVERSATIONS}/{name}")
            if chain.counts_in_site:
                digests.append((name, content_digest(chain.state)))
            details = chain.state.details
            if details is None:
                continue
            id = str(details["id"])
            names[id] = name_of(details)
            if selection.picks(id, names[id], kinds_of(details)):
                ids.update(self._look_at(details, chain))
        if selection.selectors or selection.kinds:
            _require_matches(selection, names, is_empty=not self._entries)
        self.content_digest: str = site_digest(digests)
        self._entries.sort()
        profiles = _profiles(archive)
        if not (selection.selectors or selection.kinds):
            ids.update(profiles)
        tally.total_conversations = len(self._entries)
        self.people: People = People(profiles, ids - NOT_PEOPLE, tally)

    def rooms(self) -> Iterator[Room]:
        """Yield the selected conversations, oldest first. Each iteration reads them anew."""
        for entry in self._entries:
            yield _room(self._archive, sound_chain(self._archive, entry.folder).state, self._tally)

    def room(self, id: str) -> Room:
        """Return a selected conversation by its id. Those used last are kept in memory."""
        return self._recent.room(id)

    def body(self, conversation_id: str, id: str, sha256: str, size: int) -> ArchivedMedia:
        """Return a file whose body is held, without what the service says of it."""
        files = self._archive.files
        return ArchivedMedia(
            id=id, conversation_id=conversation_id, sha256=sha256, size=size, name=None, mime_type=None, files=files
        )

    def report(
        self,
        format: str,
        options: Mapping[str, object],
        *,
        digest: str = "",
        parts: Parts | None = None,
        basis: str = "",
    ) -> Report:
        """Return the report of a conversion to a format, with what was counted so far."""
        return Report(
            format=format,
            archive={"id": self.archive_id, "digest": self.content_digest},
            options=options,
            conversations=self._tally.conversations,
            messages=self._tally.messages,
            people=self._tally.people,
            files=self._tally.files,
            file_bytes=self._tally.file_bytes,
            digest=digest,
            parts=parts or {},
            basis=basis,
            verdicts=self.verdicts,
            lost=self._tally.losses(),
        )

    def _look_at(self, details: Mapping[str, Any], chain: Chain) -> set[str]:
        """Take a selected conversation in, count what its state has lost, and return the people it references."""
        state = chain.state
        for file in state.files():
            self._archive.require_unaltered(file)
        self._tally.step()
        room = _room(self._archive, state, self._tally)
        if not _is_decodable(details):
            self._tally.lose("undecodable conversation", room.id)
        self._entries.append(_Entry(room.conversation.created or _NEVER, room.id, chain.folder))
        self.verdicts[room.id] = room.verdict
        self._tally.total_messages += room.rows
        if state.leg is not None or verdict_of(state)[0] in {"gap", "unknown"}:
            self._tally.lose("conversation unfinished", room.id)
        for kind, count in (("earlier revision", state.changed_messages), ("deleted message", state.gone_messages)):
            if count:
                self._tally.lose(kind, room.id, count)
        return room.referenced_ids


class RecentRooms:
    """Reads conversations of an archive, and keeps those used last in memory."""

    def __init__(self, archive: Archive, tally: Tally) -> None:
        self._archive = archive
        self._tally = tally
        self._rooms: dict[str, Room] = {}

    def room(self, id: str) -> Room:
        """Return a conversation by its id.

        Raises:
            DamagedArchive: Its commits are damaged.
        """
        room = self._rooms.pop(id, None)
        if room is None:
            room = _room(self._archive, sound_chain(self._archive, conversation_folder(id)).state, self._tally)
        self._rooms[id] = room
        if len(self._rooms) > _ROOMS_KEPT:
            del self._rooms[next(iter(self._rooms))]
        return room


def _room(archive: Archive, state: State, tally: Tally) -> Room:
    assert state.details is not None
    roster = state.roster
    return Room(
        conversation=_conversation(state.details),
        details=state.details,
        user_ids=roster_in(archive, roster.file) if roster is not None else (),
        roster_taken_at=roster.taken_at if roster is not None else None,
        verdict=verdict_of(state)[1],
        months=months_of(archive, state),
        archive=archive,
        state=state,
        tally=tally,
    )


def document_of(message: Message) -> Document:
    """Return the body of a message; its text as one paragraph if the body cannot be decoded."""
    try:
        return message.body
    except ValueError:
        # Not built: what the service sent as text need not be valid in a document.
        text = {"type": "text", "text": message.text}
        return Document.from_json({"type": "doc", "content": [{"type": "paragraph", "content": [text]}]})


def _require_matches(selection: Selection, names: Mapping[str, str], *, is_empty: bool) -> None:
    """Refuse a selection that selects nothing, and a misspelled selector. An exclusion may match nothing."""
    if not names:
        raise NothingSelected("the archive has no conversations", [])
    if is_empty:
        raise nothing_selected(selection, names)
    unmatched = tuple(selector for selector in selection.unmatched(names) if not selector.startswith("^"))
    if unmatched:
        raise nothing_selected(Selection(unmatched), names)


def _conversation(details: Mapping[str, Any]) -> Conversation:
    """Return a conversation, without the fields that cannot be decoded."""
    if not _is_decodable(details):
        id = details["id"]
        details = {name: value for name, value in details.items() if _is_decodable({"id": id, name: value})}
    return structure(details, Conversation, b"")


def _is_decodable(details: Mapping[str, Any]) -> bool:
    try:
        structure(details, Conversation, b"")
    except DecodeError:
        return False
    return True


def _profiles(archive: Archive) -> dict[str, bytes]:
    """Return the latest profile of each person."""
    profiles: dict[str, bytes] = {}
    for group in sound_chain(archive, PEOPLE).state.profiles:
        profiles.update(zip(group.ids, archive.checked_lines(group.file), strict=True))
    return profiles


class _Sender(msgspec.Struct):
    id: str


class _WithSender(msgspec.Struct):
    sender: _Sender


class _WithText(msgspec.Struct):
    text: str


class _WithId(msgspec.Struct):
    id: str


_text_in, _sender_in, _id_in = decoder(_WithText), decoder(_WithSender), decoder(_WithId)


def _as_text(line: bytes) -> Message | None:
    """Return an undecodable message as far as it is readable; None without a key or a text."""
    key = key_at(line)
    if key is None:
        return None
    try:
        text = _text_in(line).text
    except NOT_DECODABLE:
        return None
    try:
        sender = _sender_in(line).sender.id or UNKNOWN_SENDER
    except NOT_DECODABLE:
        sender = UNKNOWN_SENDER
    return new_message(key[1], sender, key[0], text, line)


def _id_of(line: bytes) -> str | None:
    try:
        return _id_in(line).id
    except NOT_DECODABLE:
        return None
