"""Read an archive back: conversations, messages, rosters, users and media, in constant memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from os import PathLike
from pathlib import Path
from types import NoneType
from typing import BinaryIO, Generic, TypeVar

import attrs
import msgspec

from stride_async._arguments import function, of_type
from stride_async._errors import DecodeError
from stride_async._files import run_to_completion
from stride_async._json import NOT_DECODABLE
from stride_async._models import Conversation, Message, User
from stride_async._wire.convert import message_at, object_at, structure
from stride_async.export._archive.archive import Archive
from stride_async.export._archive.chain import Chain, read_conversations, sound_chain
from stride_async.export._archive.commits import BEGINNING, MediaStored, Stored
from stride_async.export._archive.errors import DamagedArchive
from stride_async.export._archive.files import Folder
from stride_async.export._archive.layout import PEOPLE, conversation_folder, media_path
from stride_async.export._archive.parts import UNSEALED, ArchivedMonth, lines_of, messages_of, months_of, unplaced
from stride_async.export._archive.state import State
from stride_async.export._archive.storage import Storage

T = TypeVar("T")
# Items that an async loop reads from disk at a time.
_BATCH = 256


def read(archive: str | PathLike[str]) -> ArchiveReader:
    """Open an archive for reading. Only what is committed is read, and the service is not called.

    Args:
        archive: The folder or URL of the archive.

    Raises:
        NotAnArchive: The folder is not an archive.
        NewerArchive: Its format is later than this version reads.
        StoreRefused, StoreUnavailable: The object store of the archive cannot be used.
        ValueError: The URL is not one of an archive.
    """
    return ArchiveReader(Archive.open(archive))


class Rows(Generic[T]):
    """Items for a plain `for` or an `async for`. Each loop starts from the first item."""

    def __init__(self, open_rows: Callable[[], Iterator[T]]) -> None:
        self._open = open_rows

    def __iter__(self) -> Iterator[T]:
        return self._open()

    async def __aiter__(self) -> AsyncIterator[T]:
        rows = self._open()
        while batch := await run_to_completion(lambda: list(islice(rows, _BATCH))):
            for row in batch:
                yield row


@attrs.frozen(kw_only=True)
class ArchivedRoster:
    """The roster of a conversation when it was last exported."""

    user_ids: tuple[str, ...]
    """The ids of the members, in the order of the service."""
    taken_at: float
    """Seconds since the epoch."""


@attrs.frozen(kw_only=True)
class ArchivedMedia:
    """A file that a message shows, with its body."""

    id: str
    """The media id."""
    conversation_id: str
    """The conversation that it belongs to."""
    sha256: str
    """The digest of the body, in hexadecimal. Bodies with the same content are one file."""
    size: int
    """In bytes."""
    name: str | None
    """The name that the service has for it. Never use it as a path."""
    mime_type: str | None
    """The media type that the service has for it."""
    _files: Storage = attrs.field(eq=False, repr=False)

    @property
    def path(self) -> Path:
        """Where the body is.

        Raises:
            ValueError: The archive is in an object store. Use `open` or `local_copy`.
        """
        if isinstance(self._files, Folder):
            return self._files.root / self.path_in_archive
        raise ValueError(f"{self._files.name} is in an object store, where the body of {self.id} has no path")

    @property
    def path_in_archive(self) -> str:
        """Where the body is, relative to the archive."""
        return media_path(self.sha256)

    def open(self) -> BinaryIO:
        """Open the body for reading, as a binary file to be closed.

        Raises:
            DamagedArchive: The body is missing.
        """
        return self._files.open(self.path_in_archive)

    def local_copy(self) -> AbstractContextManager[Path]:
        """Return a local file with the body, for as long as the context lasts. In a folder, it is the body itself."""
        return self._files.local_copy(self.path_in_archive)


def archived_media(archive: Archive, conversation_id: str, stored: MediaStored) -> ArchivedMedia:
    """Return a file of a conversation whose body is held."""
    return ArchivedMedia(
        id=stored.id,
        conversation_id=conversation_id,
        sha256=stored.sha256,
        size=stored.size,
        name=stored.name,
        mime_type=stored.mime_type,
        files=archive.files,
    )


def check_body(medium: ArchivedMedia, sha256: str) -> None:
    """Compare the digest of a body with that which was committed.

    Raises:
        DamagedArchive: They differ.
    """
    if sha256 != medium.sha256:
        raise DamagedArchive(f"{medium.path_in_archive} is not what was committed: its digest differs")


class ArchiveReader:
    """One site as an archive holds it. Nothing stays open, so nothing has to be closed.

    An `async for` reads in a thread. Everything else blocks while it reads.

    A loop over its items raises `DamagedArchive` when a file is missing or does not match its commit.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    @property
    def cloud_id(self) -> str:
        """The id of the site."""
        return self._archive.cloud_id

    def conversations(self, *, on_undecodable: Callable[[DecodeError], None] | None = None) -> Rows[Conversation]:
        """Return all conversations, as the service last listed them.

        Args:
            on_undecodable: Called with the `DecodeError` of each conversation that cannot be decoded. Without a
                callable, the error is raised.
        """
        function(on_undecodable, "on_undecodable")

        def rows() -> Iterator[Conversation]:
            for state in self._states():
                try:
                    yield structure(state.details, Conversation, msgspec.json.encode(state.details))
                except DecodeError as error:
                    if on_undecodable is None:
                        raise
                    on_undecodable(error)

        return Rows(rows)

    def months(self, conversation_id: str) -> tuple[ArchivedMonth, ...]:
        """Return the months of a conversation that have messages, oldest first, and what is in no month last.

        Together, they contain each message once. While an export of the conversation is unfinished, what it has read
        belongs to no month yet: it is the part named `unsealed`, and so are elements without a readable time and id.

        Args:
            conversation_id: The id of the conversation.
        """
        folder = conversation_folder(conversation_id)
        chain = self._chain(folder)
        while True:
            try:
                return months_of(self._archive, chain.state)
            except DamagedArchive as error:
                chain = self._newer(chain, error)

    def messages(
        self,
        conversation_id: str,
        *,
        month: str | None = None,
        on_undecodable: Callable[[DecodeError], None] | None = None,
    ) -> Rows[Message]:
        """Return the messages of a conversation, oldest first. A conversation that is not held has none.

        Args:
            conversation_id: The id of the conversation.
            month: Only this part: a month such as `2018-03`, or `unsealed`.
            on_undecodable: Called with the `DecodeError` of each message that cannot be decoded. Without a callable,
                the error is raised.
        """
        function(on_undecodable, "on_undecodable")
        of_type(month, "month", str, NoneType)
        conversation_folder(conversation_id)  # Checks the type of the id now.

        def rows() -> Iterator[Message]:
            for number, line in enumerate(self.raw_messages(conversation_id, month=month)):
                try:
                    yield message_at(line, f"$[{number}]")
                except DecodeError as error:
                    if on_undecodable is None:
                        raise
                    on_undecodable(error)

        return Rows(rows)

    def raw_messages(self, conversation_id: str, *, month: str | None = None) -> Rows[bytes]:
        """Return the messages of a conversation as JSON, as the service sent them, oldest first.

        Messages that cannot be decoded are included. Elements without a readable time and id come last.

        Args:
            conversation_id: The id of the conversation.
            month: Only this part: a month such as `2018-03`, or `unsealed`.
        """
        of_type(month, "month", str, NoneType)
        folder = conversation_folder(conversation_id)

        def rows() -> Iterator[bytes]:
            chain = self._chain(folder)
            last = BEGINNING
            while True:
                try:
                    if month is None:
                        lines = messages_of(self._archive, chain.state)
                    else:
                        lines = lines_of(self._archive, chain.state, month)
                    for key, line in lines:
                        if key > last:
                            last = key
                            yield line
                    if month in {None, UNSEALED}:
                        yield from unplaced(self._archive, chain.state)
                except DamagedArchive as error:
                    chain = self._newer(chain, error)
                else:
                    return

        return Rows(rows)

    def roster(self, conversation_id: str) -> ArchivedRoster | None:
        """Return the roster of a conversation, None if it is not held.

        Args:
            conversation_id: The id of the conversation.
        """
        roster = self._chain(conversation_folder(conversation_id)).state.roster
        if roster is None:
            return None
        return ArchivedRoster(user_ids=roster_in(self._archive, roster.file), taken_at=roster.taken_at)

    def users(self, *, on_undecodable: Callable[[DecodeError], None] | None = None) -> Rows[User]:
        """Return the profiles of everyone in rosters, messages and mentions whom the service knows.

        Args:
            on_undecodable: Called with the `DecodeError` of each profile that cannot be decoded. Without a callable,
                the error is raised.
        """
        function(on_undecodable, "on_undecodable")
        return Rows(lambda: self._users(on_undecodable))

    def media(self) -> Rows[ArchivedMedia]:
        """Return all files whose body is held, by conversation."""
        return Rows(self._media)

    def _chain(self, folder: str) -> Chain:
        return sound_chain(self._archive, folder)

    def _newer(self, before: Chain, error: DamagedArchive) -> Chain:
        """Return the chain as it is now. If it is the same as before, raise the error that reading caused.

        An export that runs at the same time removes files that its newest commit no longer needs.
        """
        chain = self._chain(before.folder)
        if chain.head == before.head:
            raise error
        return chain

    def _states(self) -> Iterator[State]:
        for _, chain in read_conversations(self._archive):
            chain.require_sound()
            if chain.state.details is not None:
                yield chain.state

    def _users(self, on_undecodable: Callable[[DecodeError], None] | None) -> Iterator[User]:
        seen: set[str] = set()
        for group in reversed(self._chain(PEOPLE).state.profiles):  # The latest profile of a person counts.
            for id, line in zip(group.ids, self._archive.checked_lines(group.file), strict=True):
                if id in seen:
                    continue
                seen.add(id)
                try:
                    yield object_at(line, User)
                except DecodeError as error:
                    if on_undecodable is None:
                        raise
                    on_undecodable(error)

    def _media(self) -> Iterator[ArchivedMedia]:
        for state in self._states():
            assert state.details is not None
            for _, stored in sorted(state.media.items()):
                yield archived_media(self._archive, str(state.details["id"]), stored)


def roster_in(archive: Archive, file: Stored) -> tuple[str, ...]:
    """Return the user ids in a file.

    Raises:
        DamagedArchive: It is missing or is not a roster.
    """
    try:
        lines = archive.checked_lines(file)
        return tuple(id for line in lines for id in msgspec.json.decode(line, type=list[str]))
    except NOT_DECODABLE as error:
        raise DamagedArchive(f"{file.path} is not a roster: {error}") from error
