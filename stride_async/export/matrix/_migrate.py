"""Move an archive to a homeserver: the checks before it, the conversations next to each other, and the report."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from itertools import islice
from os import PathLike
from typing import TypeVar

import attrs
from yarl import URL

from stride_async._arguments import of_type, several
from stride_async._files import completed, run_to_completion
from stride_async.export._archive.address import folder_at
from stride_async.export._archive.archive import Archive
from stride_async.export._archive.errors import DamagedArchive
from stride_async.export._archive.reader import ArchivedMedia
from stride_async.export._selection import Selection
from stride_async.export.formats._options import selection_in_report
from stride_async.export.formats._output import file_sha256
from stride_async.export.formats._report import Report, Tally
from stride_async.export.formats._source import Person, Room, Source
from stride_async.export.matrix._content import Converted, Converter, is_cut
from stride_async.export.matrix._errors import Foreign, Refused
from stride_async.export.matrix._events import (
    MessagesMoved,
    MigrationEvent,
    MigrationStarted,
    RoomDone,
    RoomFailed,
    Summary,
    Waiting,
)
from stride_async.export.matrix._homeserver import Homeserver
from stride_async.export.matrix._lock import only_migration_of, write_report
from stride_async.export.matrix._puppets import Puppets
from stride_async.export.matrix._registration import Registration
from stride_async.export.matrix._room import RoomMove

T = TypeVar("T")

_ROOMS_AT_ONCE = 4  # The homeserver is the limit: more brings nothing.
_MESSAGES_AT_ONCE = 50
_LOCAL_PART = r"@[^\s:@]+"


async def migrate(
    archive: str | PathLike[str],
    homeserver: str,
    registration: Registration,
    *,
    selection: Selection | None = None,
    invite: Sequence[str] = (),
) -> AsyncGenerator[MigrationEvent, None]:
    """Move an archive to a Matrix homeserver, and yield what happens.

    People become users, conversations become rooms, and messages are sent in the names of their senders with their
    original times. Whatever ends a migration, the next one continues: what a room holds is read back from it, so that
    nothing is sent twice. After an update of the archive, the new messages are appended. The archive is not changed,
    apart from a lock and the report in its folder `derived`, and no export can run meanwhile.

    Args:
        archive: The folder of the archive.
        homeserver: The URL of the homeserver.
        registration: What `new_registration` wrote, and the homeserver has read.
        selection: The conversations to move; `None` means all.
        invite: The Matrix ids of users of this homeserver to invite into every room.

    Raises:
        NotAnArchive, NewerArchive, DamagedArchive: The archive cannot be read.
        ArchiveBusy: An export into the archive, or another migration of it, is running.
        NothingSelected: No conversation matches the selection.
        HomeserverRefusal: The homeserver does not accept the token.
        HomeserverUnavailable: It cannot be reached, keeps failing, or does not follow the Matrix specification.
        BadRegistration: The registration is that of another homeserver.
        ValueError: `homeserver` is not an http or https URL, someone to invite is not a user of the homeserver, or the
            archive is in an object store.
    """
    chosen = of_type(Selection() if selection is None else selection, "selection", Selection)
    of_type(registration, "registration", Registration)
    _check_url(of_type(homeserver, "homeserver", str))
    _check_users(invite, registration.server_name)
    events: asyncio.Queue[MigrationEvent | None] = asyncio.Queue()
    migration = _Migration(Archive.open(folder_at(archive)), chosen, registration, tuple(invite), events.put_nowait)
    with migration.archive.kept_unchanged(), only_migration_of(migration.archive):
        running = asyncio.create_task(migration.run(homeserver), name="stride migration")
        running.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield event
            await running
        finally:
            if not running.done():
                running.cancel()
                with suppress(asyncio.CancelledError):
                    await completed(running)


def preview(archive: str | PathLike[str], *, selection: Selection | None = None) -> Report:
    """Return the report that the migration of an archive would have, without a homeserver.

    What a homeserver refuses, and what earlier migrations have moved, is not known. All messages are read; in a
    coroutine, use `asyncio.to_thread`.

    Args:
        archive: The folder of the archive.
        selection: The conversations to move; None means all.

    Raises:
        NotAnArchive, NewerArchive, ArchiveBusy, DamagedArchive: The archive cannot be read.
        NothingSelected: No conversation matches the selection.
        ValueError: The archive is in an object store.
    """
    chosen = of_type(Selection() if selection is None else selection, "selection", Selection)
    opened = Archive.open(folder_at(archive))
    tally = Tally()
    with opened.kept_unchanged():
        source = Source(opened, chosen, tally)
        for room in source.rooms():
            _count_losses(room, tally)
            for message in _converted(source, room, "homeserver.invalid", tally):
                tally.message()
                for event in message.events:
                    if event.medium is not None:
                        tally.file(event.medium.size)
            tally.conversation()
        return source.report("matrix", selection_in_report(chosen))


def _converted(source: Source, room: Room, server_name: str, tally: Tally) -> Iterator[Converted]:
    converter = Converter(server_name, source.people.__getitem__, _checked(room.medium), tally.lose)
    return map(converter.of, room.messages())


def _checked(medium: Callable[[str], ArchivedMedia | None]) -> Callable[[str], ArchivedMedia | None]:
    """Return a function that also checks the digest of each body once, before it is uploaded."""
    sound: set[str] = set()

    def checked(id: str) -> ArchivedMedia | None:
        found = medium(id)
        if found is not None and found.sha256 not in sound:
            if file_sha256(found.path) != found.sha256:
                raise DamagedArchive(f"{found.path} is not what was committed: its digest differs")
            sound.add(found.sha256)
        return found

    return checked


def _count_losses(room: Room, tally: Tally) -> None:
    if is_cut(room.conversation):
        tally.lose("name cut", room.id)


def _add(total: Tally, part: Tally) -> None:
    """Add what was counted of one conversation."""
    total.conversations += part.conversations
    total.messages += part.messages
    total.files += part.files
    total.file_bytes += part.file_bytes
    total.add_losses(part.losses())


@attrs.define
class _Migration:
    """A migration under way.

    The archive is read in one thread, and its losses are counted there, apart from what the event loop counts. Each
    conversation has tallies of its own, which are added up in the order of the archive, whichever is done first.
    """

    archive: Archive
    selection: Selection
    registration: Registration
    invite: tuple[str, ...]
    emit: Callable[[MigrationEvent], None]
    _total: Tally = attrs.field(factory=Tally, init=False)
    _parts: dict[int, tuple[Tally, Tally]] = attrs.field(factory=dict, init=False)
    _urls: dict[str, str] = attrs.field(factory=dict, init=False)
    _sent: int = attrs.field(default=0, init=False)
    _failed: int = attrs.field(default=0, init=False)
    _thread: ThreadPoolExecutor = attrs.field(factory=lambda: ThreadPoolExecutor(1), init=False)

    async def run(self, url: str) -> None:
        """Move everything."""
        try:
            async with Homeserver(url, self.registration, self._waiting) as homeserver:
                await homeserver.check()
                source = await self._in_thread(lambda: Source(self.archive, self.selection, self._total))
                self.emit(
                    MigrationStarted(
                        self.registration.server_name, self._total.total_conversations, self._total.total_messages
                    )
                )
                puppets = Puppets(homeserver)
                try:
                    await puppets.ensure_owner()
                except Refused as refused:
                    raise homeserver.not_let_in(refused) from None
                await self._move_all(source, homeserver, puppets)
            for number in sorted(self._parts):
                for part in self._parts[number]:
                    _add(self._total, part)
            report = source.report("matrix", selection_in_report(self.selection))
            write_report(self.archive, report)
            self.emit(Summary(report=report, sent=self._sent, failed=self._failed))
        finally:
            self._thread.shutdown(wait=False)

    def _waiting(self, reason: str, seconds: float) -> None:
        self.emit(Waiting(reason, seconds))

    async def _move_all(self, source: Source, homeserver: Homeserver, puppets: Puppets) -> None:
        rooms = enumerate(source.rooms())

        async def work() -> None:
            while (numbered := await self._in_thread(lambda: next(rooms, None))) is not None:
                number, room = numbered
                read, moved = self._parts[number] = Tally(), Tally()
                await self._move(source, attrs.evolve(room, tally=read), homeserver, puppets, read, moved)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_ROOMS_AT_ONCE):
                    group.create_task(work())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors

    async def _move(
        self, source: Source, room: Room, homeserver: Homeserver, puppets: Puppets, read: Tally, moved: Tally
    ) -> None:
        def members() -> tuple[Person, ...]:
            _count_losses(room, read)
            return tuple(source.people[id] for id in room.user_ids)

        counts = _Counts(room.id, self.emit)
        move = RoomMove(
            homeserver=homeserver,
            puppets=puppets,
            urls=self._urls,
            invite=self.invite,
            tally=moved,
            moved=counts.add,
            room=room,
            members=await self._in_thread(members),
        )
        messages = _converted(source, room, self.registration.server_name, read)
        try:
            async with aclosing(self._in_batches(messages)) as batches:
                room_id = await move.run(batches)
        except (Refused, Foreign) as error:
            self._failed += 1
            counts.flush()
            self.emit(RoomFailed(room.id, str(error)))
        else:
            counts.flush()
            moved.conversation()
            self.emit(RoomDone(room.id, room_id, move.sent))
        finally:
            self._sent += move.sent

    async def _in_batches(self, items: Iterator[T]) -> AsyncGenerator[T, None]:
        while batch := await self._in_thread(lambda: list(islice(items, _MESSAGES_AT_ONCE))):
            for item in batch:
                yield item

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await run_to_completion(work, self._thread)


@attrs.define
class _Counts:
    """The messages of a conversation since the last event about them."""

    conversation_id: str
    emit: Callable[[MigrationEvent], None]
    _held: int = attrs.field(default=0, init=False)
    _sent: int = attrs.field(default=0, init=False)

    def add(self, held: int, sent: int) -> None:
        """Count messages."""
        self._held += held
        self._sent += sent
        if self._held + self._sent >= _MESSAGES_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Report what was counted."""
        if self._held or self._sent:
            self.emit(MessagesMoved(self.conversation_id, self._held, self._sent))
            self._held = self._sent = 0


def _check_url(homeserver: str) -> None:
    try:
        url = URL(homeserver)
    except ValueError:
        url = URL()
    if url.scheme not in {"http", "https"} or not url.host or url.query_string or url.fragment:
        raise ValueError(f"homeserver: {homeserver!r} is not an http or https URL")
    if url.raw_user is not None or url.raw_password is not None:
        raise ValueError("homeserver: the URL contains a user or password, which a migration does not need")


def _check_users(users: Sequence[str], server_name: str) -> None:
    for user in several(users, "invite"):
        if not re.fullmatch(f"{_LOCAL_PART}:{re.escape(server_name)}", of_type(user, "a user to invite", str)):
            raise ValueError(f"invite: {user!r} is not a user of this homeserver, such as @ann:{server_name}")
