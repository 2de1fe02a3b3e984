"""An archive read back: conversations, messages, rosters, users and media, in constant memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

import attrs
import msgspec

from stride_async._errors import DecodeError
from stride_async._models import Conversation, Key, Message, User
from stride_async._wire.convert import message_at, object_at, structure
from stride_async.export._archive.chain import Chain, keyed, sealed_lines
from stride_async.export._archive.commits import BEGINNING, HIGHEST, Held
from stride_async.export._archive.files import Archive, DamagedArchive
from stride_async.export._archive.layout import CONVERSATIONS, PEOPLE, folder_name, media_path
from stride_async.export._archive.months import Differences, digest_of, merged
from stride_async.export._archive.state import Span, State

T = TypeVar("T")
_BATCH = 256
"""Items an async loop takes from the disk at once."""


def read(archive: str | os.PathLike[str]) -> ArchiveReader:
    """What an archive holds, as far as it is committed; nothing is asked of the service.

    Raises:
        ArchiveError: the folder is no archive, or of a later version.
    """
    return ArchiveReader(Archive.open(archive))


class Rows(Generic[T]):
    """Items for a plain `for` or an `async for`; each loop begins anew."""

    def __init__(self, open_rows: Callable[[], Iterator[T]]) -> None:
        self._open = open_rows

    def __iter__(self) -> Iterator[T]:
        return self._open()

    async def __aiter__(self) -> AsyncIterator[T]:
        rows = self._open()
        while batch := await asyncio.to_thread(lambda: list(islice(rows, _BATCH))):
            for row in batch:
                yield row


@attrs.frozen(kw_only=True)
class ArchivedRoster:
    """Who was in a conversation when it was last exported."""

    user_ids: tuple[str, ...]
    taken_at: float
    """Seconds since the epoch."""


@attrs.frozen(kw_only=True)
class ArchivedMedia:
    """A file that a message shows, with its body."""

    id: str
    conversation_id: str
    path: Path
    """Where the body lies; bodies with the same content are one file."""
    sha256: str
    size: int
    name: str | None
    """As the service gives it; never use it as a path."""
    mime_type: str | None


class ArchiveReader:
    """One site as an archive holds it. It opens nothing that would have to be closed.

    A loop over it raises `DamagedArchive` where a file is missing or not what its commit says.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    @property
    def cloud_id(self) -> str:
        """The site's id."""
        return self._archive.cloud_id

    def conversations(self, *, on_undecodable: Callable[[DecodeError], None] | None = None) -> Rows[Conversation]:
        """Every conversation, as the service last listed it.

        One that cannot be decoded is given to `on_undecodable`; without it, the `DecodeError` is raised.
        """

        def rows() -> Iterator[Conversation]:
            for state in self._states():
                try:
                    yield structure(state.details, Conversation, msgspec.json.encode(state.details))
                except DecodeError as error:
                    if on_undecodable is None:
                        raise
                    on_undecodable(error)

        return Rows(rows)

    def messages(
        self, conversation_id: str, *, on_undecodable: Callable[[DecodeError], None] | None = None
    ) -> Rows[Message]:
        """A conversation's messages, oldest first; none for a conversation that is not held.

        A message that cannot be decoded is given to `on_undecodable`; without it, the `DecodeError` is raised.
        """

        def rows() -> Iterator[Message]:
            for number, line in enumerate(self.raw_messages(conversation_id)):
                try:
                    yield message_at(line, f"$[{number}]")
                except DecodeError as error:
                    if on_undecodable is None:
                        raise
                    on_undecodable(error)

        return Rows(rows)

    def raw_messages(self, conversation_id: str) -> Rows[bytes]:
        """A conversation's messages as the service sent them, oldest first, those that cannot be decoded among them.

        What has no readable time or id comes last.
        """
        folder = f"{CONVERSATIONS}/{folder_name(conversation_id)}"

        def rows() -> Iterator[bytes]:
            chain = self._chain(folder)
            given = BEGINNING
            while True:
                try:
                    for key, line in _messages_of(self._archive, chain.state):
                        if key > given:
                            given = key
                            yield line
                    yield from _unplaced(self._archive, chain.state)
                except DamagedArchive:
                    # An export that goes on meanwhile removes what its newest commit needs no more.
                    before, chain = chain, self._chain(folder)
                    if chain.head == before.head:
                        raise
                else:
                    return

        return Rows(rows)

    def roster(self, conversation_id: str) -> ArchivedRoster | None:
        """Who was in a conversation; None where the roster could not be had."""
        roster = self._chain(f"{CONVERSATIONS}/{folder_name(conversation_id)}").state.roster
        if roster is None:
            return None
        return ArchivedRoster(user_ids=people_in(self._archive, roster.file), taken_at=roster.taken_at)

    def users(self) -> Rows[User]:
        """Everybody met in rosters, messages and mentions whom the service told of."""
        return Rows(self._users)

    def media(self) -> Rows[ArchivedMedia]:
        """Every file with a body, by conversation."""
        return Rows(self._media)

    def _chain(self, folder: str) -> Chain:
        chain = Chain(self._archive, folder)
        chain.must_be_sound()
        return chain

    def _states(self) -> Iterator[State]:
        for name in self._archive.folders(CONVERSATIONS):
            state = self._chain(f"{CONVERSATIONS}/{name}").state
            if state.details is not None:
                yield state

    def _users(self) -> Iterator[User]:
        given: set[str] = set()
        for some in reversed(self._chain(PEOPLE).state.people):  # Of several profiles of one person the last counts.
            for line in self._archive.checked_lines(some.file.path, some.file.sha256):
                user = object_at(line, User)
                if user.id not in given:
                    given.add(user.id)
                    yield user

    def _media(self) -> Iterator[ArchivedMedia]:
        for state in self._states():
            assert state.details is not None
            for id, held in sorted(state.media.items()):
                yield ArchivedMedia(
                    id=id,
                    conversation_id=str(state.details["id"]),
                    path=self._archive.root / media_path(held.sha256),
                    sha256=held.sha256,
                    size=held.size,
                    name=held.name,
                    mime_type=held.mime_type,
                )


def _messages_of(archive: Archive, state: State) -> Iterator[tuple[Key, bytes]]:
    """Everything held of a conversation in order: sealed months, and above them the pages of a walk under way."""
    sealed = (row for month in sorted(state.months) for row in sealed_lines(archive, state, month))
    if state.leg is None or not state.raws:
        return sealed
    walked = Span(state.raws[-1].low, state.leg.upper or HIGHEST)
    return keyed(merged(sealed, keyed(_walked(archive, state)), walked, Differences()))


def _walked(archive: Archive, state: State) -> Iterator[bytes]:
    """Raw groups lie newest first, their messages oldest first."""
    for raw in reversed(state.raws):
        yield from archive.checked_lines(raw.file.path, raw.file.sha256)


def _unplaced(archive: Archive, state: State) -> Iterator[bytes]:
    """What came without a readable time or id, and did not come right later; each once."""
    given = set(state.unplaced_mended)
    for file in state.unplaced:
        for line in archive.checked_lines(file.path, file.sha256):
            if (digest := digest_of(line).hex()) not in given:
                given.add(digest)
                yield line


def people_in(archive: Archive, file: Held) -> tuple[str, ...]:
    """The user ids of a roster.

    Raises:
        DamagedArchive: the file is missing or no roster.
    """
    try:
        lines = archive.checked_lines(file.path, file.sha256)
        return tuple(id for line in lines for id in msgspec.json.decode(line, type=list[str]))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedArchive(f"{file.path} is no roster: {error}") from error
