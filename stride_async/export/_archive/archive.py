"""An archive of one site: its parts, and the order in which its files become durable.

A commit names files that are staged, that is, written under temporary names. `Archive.commit` makes them durable in
this order:

1. sync the staged files;
2. link them to their names;
3. write and sync the commit;
4. sync the folders, which makes these names durable;
5. link the commit to its name, which is synced with the next commit.

A loss of power therefore takes at most the newest commits, never a part of what a remaining commit names.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import msgspec

from stride_async._json import NOT_DECODABLE
from stride_async.export._archive.address import storage_at
from stride_async.export._archive.commits import Stored
from stride_async.export._archive.compression import Block, compress, in_blocks, lines_in
from stride_async.export._archive.errors import ArchiveBusy, ArchiveError, DamagedArchive, NewerArchive, NotAnArchive
from stride_async.export._archive.layout import (
    ARCHIVE_JSON,
    CONVERSATIONS,
    LEASE,
    RUNS,
    commit_folder,
    commit_path,
    is_compressed,
    is_folder_name,
    is_run_name,
    lease_path,
    lines_path,
    media_part,
    media_path,
    shard_of_lease,
)
from stride_async.export._archive.months import Line, with_keys
from stride_async.export._archive.storage import LeaseKind, Storage
from stride_async.export._shard import Shard

FORMAT = 1
"""The format that this version writes, and the latest that it reads."""

_LONGEST_ARCHIVE_JSON = 64 * 1024  # bytes


class _ArchiveJson(msgspec.Struct):
    """The content of archive.json."""

    format: int
    id: str
    cloud_id: str


class Archive:
    """An archive of one site."""

    def __init__(self, files: Storage, format: int, id: str, cloud_id: str) -> None:
        self.files = files
        self.format = format
        self.id = id
        self.cloud_id = cloud_id
        # Files that have no name yet, by the path that each will have: the temporary file and its digest.
        self._staged: dict[str, tuple[Path, str]] = {}

    @classmethod
    def open(cls, root: str | PathLike[str]) -> Archive:
        """Open an archive that exists.

        Raises:
            NotAnArchive: The folder is missing or is not an archive.
            NewerArchive: Its format is later than this version reads.
        """
        files = storage_at(root)
        try:
            head = msgspec.json.decode(files.read(ARCHIVE_JSON, _LONGEST_ARCHIVE_JSON), type=_ArchiveJson)
        except (DamagedArchive, NotADirectoryError):
            raise NotAnArchive(f"{files.name} is not an archive: it has no {ARCHIVE_JSON}") from None
        except NOT_DECODABLE as error:
            raise NotAnArchive(f"{files.name} is not an archive: {ARCHIVE_JSON} cannot be decoded: {error}") from error
        if head.format > FORMAT:
            raise NewerArchive(f"{files.name} has format {head.format}; this version reads formats up to {FORMAT}")
        return cls(files, head.format, head.id, head.cloud_id)

    @classmethod
    def open_or_create(cls, root: str | PathLike[str], cloud_id: str) -> Archive:
        """Open the archive of a site, or create it if the folder is missing or empty.

        Raises:
            NotAnArchive: The folder holds something else, or another site.
            NewerArchive: Its format is later than this version reads.
            OSError: The folder cannot be written.
        """
        is_new = cls.find(root, cloud_id) is None
        files = storage_at(root)
        files.prepare()
        if is_new:
            files.create(ARCHIVE_JSON, msgspec.json.encode(_ArchiveJson(FORMAT, secrets.token_hex(16), cloud_id)))
        return _of_site(cls.open(root), cloud_id)

    @classmethod
    def find(cls, root: str | PathLike[str], cloud_id: str) -> Archive | None:
        """Open the archive of a site; return None if the folder is missing or empty, so that one can be created.

        Raises:
            NotAnArchive: The folder holds something else, or another site.
            NewerArchive: Its format is later than this version reads.
        """
        files = storage_at(root)
        try:
            if files.is_empty():
                return None
        except NotADirectoryError:
            raise NotAnArchive(f"{root} is not a folder, or lies in a file") from None
        if not files.exists(ARCHIVE_JSON):
            raise NotAnArchive(f"{root} is not empty and is not an archive: choose a new folder; nothing was changed")
        return _of_site(cls.open(root), cloud_id)

    def conversations(self) -> list[str]:
        """Return the names of the folders of conversations, in order. A folder of any other name is foreign."""
        return [name for name in self.files.list(CONVERSATIONS).folders if is_folder_name(name)]

    def runs(self) -> list[str]:
        """Return the names of the folders of runs, in order. A folder of any other name is foreign."""
        return [name for name in self.files.list(RUNS).folders if is_run_name(name)]

    def acquire_lease(self, shard: Shard | None = None) -> None:
        """Keep other exports out until `release`, because they would share the service's limit.

        Exports of other shards of the same number are not kept out: they call other conversations.

        Raises:
            ArchiveBusy: Another export has a lease that excludes this one.
            ArchiveError: The file system offers no locks, so other shards would not be safe.
            LeaseWatched: A run that was killed may have it. Try again later.
        """

        def kind(name: str) -> LeaseKind:
            other = shard_of_lease(name)
            if other is None:
                return "excluding" if name == LEASE else "none"
            return "compatible" if shard is not None and other.count == shard.count else "excluding"

        if shard is not None:
            self.files.make_lock(lease_path(None))  # A conversion locks the leases that exist.
        held = self.files.acquire_lease(lease_path(shard), kind)
        if held is not None:
            raise ArchiveBusy(self._why_busy(shard, shard_of_lease(held)))
        if shard is not None and not self.files.has_locks:
            self.files.release_lease()
            raise ArchiveError(f"{self.files.name} cannot be exported in shards: its file system offers no locks")

    def _why_busy(self, wanted: Shard | None, held: Shard | None) -> str:
        root = self.files.name
        if held is None:
            return f"another export or a conversion is working on {root}"
        if wanted == held:
            return f"another export of shard {held}, or a conversion, is working on {root}"
        waits = "an export of all shards" if wanted is None else f"shard {wanted}"
        return f"an export of shard {held} is working on {root}, and {waits} cannot run at the same time"

    @contextmanager
    def kept_unchanged(self) -> Iterator[None]:
        """Keep exports out until the context ends, without writing anything. Several readers can do so at once.

        Raises:
            ArchiveBusy: An export has the lease.
        """
        with self.files.shared_leases(self._leases()) as held:
            if held is not None:
                raise ArchiveBusy(f"an export is working on {self.files.name}")
            yield

    def _leases(self) -> Iterator[str]:
        """Yield the paths of the leases that exist, first the one that is not for a shard.

        A shard takes its own lease before it looks at that one, so at least one of the two notices the other.
        """
        yield lease_path(None)
        for name in self.files.list(RUNS).files:
            if shard_of_lease(name) is not None:
                yield f"{RUNS}/{name}"

    def release(self) -> None:
        """Remove files that no commit named, and let other exports in. Everything committed is durable then."""
        try:
            while self._staged:
                _, (temporary, _) = self._staged.popitem()
                self.files.discard(temporary)
        finally:
            self.files.release_lease()

    def stage_lines(self, stem: str, lines: Iterable[bytes]) -> Stored:
        """Write lines to a compressed file. It gets its name with the first commit that names it.

        The name ends in a digest of the content, so equal content is one file.
        """
        return self.stage_blocks(stem, in_blocks(lines))

    def stage_blocks(self, stem: str, blocks: Iterable[Block], *, compressed: bool = True) -> Stored:
        """Write blocks of lines to a file that gets its name with the first commit that names it."""
        tally = _Tally()
        pieces = tally.of_file(compress(tally.of_content(blocks))) if compressed else tally.of_content(blocks)
        temporary = self.files.gather(stem, pieces)
        sha256 = tally.content.hexdigest()
        file_sha256 = tally.file.hexdigest() if compressed else sha256
        path = lines_path(stem, sha256, compressed=compressed)
        with self._discarded_on_failure(temporary):
            if self.files.exists(path):
                file_sha256 = self._reuse(Stored(path, sha256, tally.rows, file_sha256), temporary)
            elif path in self._staged:
                self.files.discard(temporary)
                file_sha256 = self._staged[path][1]
            else:
                self._staged[path] = temporary, file_sha256
        return Stored(path, sha256, tally.rows, file_sha256)

    @contextmanager
    def _discarded_on_failure(self, temporary: Path) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.files.discard(temporary)
            raise

    def _reuse(self, stored: Stored, temporary: Path) -> str:
        """Return the digest of the file that has the name already; a damaged one is replaced by the new one."""
        try:
            existing = self.files.sha256(stored.path)
        except DamagedArchive:
            existing = ""  # It cannot be read.
        if existing != stored.file_sha256 and not self.is_sound(stored):
            self.files.sync_file(temporary)
            self.files.replace(stored.path, temporary)
            existing = stored.file_sha256
        self.files.discard(temporary)
        self.files.mark_unsynced(stored.path.rpartition("/")[0])
        return existing

    def discard(self, stored: Stored) -> None:
        """Remove a staged file that no commit will name."""
        if (staged := self._staged.pop(stored.path, None)) is not None:
            self.files.discard(staged[0])

    def commit(self, folder: str, number: int, data: bytes, needs: Sequence[str]) -> bool:
        """Create a commit once the files that it needs are durable. Return False if another process was faster.

        The name of the commit itself becomes durable with the next commit in the folder, or with `files.sync`.
        """
        staged = {path: self._staged[path] for path in needs if path in self._staged}
        for temporary, _ in staged.values():
            self.files.sync_file(temporary)
        for path, (temporary, file_sha256) in staged.items():
            del self._staged[path]  # The temporary file is gone in any case, also after an error.
            if not self.files.create_from_file(path, temporary) and self.files.sha256(path) != file_sha256:
                # The same lines, compressed differently: what the other process has committed must be read first.
                return False
        path = commit_path(folder, number)
        temporary = self.files.gather(path, [data], durable=True)
        with self._discarded_on_failure(temporary):
            # The commit before this one may have been made by a process that was killed.
            self.files.mark_unsynced(commit_folder(folder))
            self.files.sync(folder)
        return self.files.create_from_file(path, temporary)

    def delete(self, folder: str, paths: Iterable[str]) -> None:
        """Delete files that the newest commit of a folder no longer needs, once that commit is durable."""
        self.files.mark_unsynced(commit_folder(folder))
        self.files.sync(folder)
        self.files.delete(paths)

    def lines(self, path: str) -> Iterator[bytes]:
        """Yield the lines of a file in constant memory.

        Raises:
            DamagedArchive: The file is missing, cut off, or cannot be decompressed.
        """
        return lines_in(self.files.stream(path), path, compressed=is_compressed(path))

    def checked_lines(self, stored: Stored) -> Iterator[bytes]:
        """Yield the lines of a file. Their digest is checked after the last one.

        Raises:
            DamagedArchive: The file is missing, cut off, cannot be decompressed, or is not what was committed.
        """
        digest = hashlib.sha256()
        rows = 0
        for line in self.lines(stored.path):
            rows += 1
            if rows > stored.rows:
                break
            digest.update(line + b"\n")
            yield line
        if rows != stored.rows or digest.hexdigest() != stored.sha256:
            raise DamagedArchive(f"{stored.path} is not what was committed: its digest differs")

    def messages(self, stored: Stored | None) -> Iterator[Line]:
        """Yield the messages of a file with their keys; there are none without a file.

        Raises:
            DamagedArchive: As for `checked_lines`, or a line is not a message.
        """
        return with_keys(self.checked_lines(stored)) if stored is not None else iter(())

    def is_sound(self, stored: Stored) -> bool:
        """Return whether a file exists and has the lines that were committed."""
        try:
            deque(self.checked_lines(stored), maxlen=0)
        except DamagedArchive:
            return False
        return True

    def require_unaltered(self, stored: Stored) -> None:
        """Compare a file, as it is stored, with its commit. This is much faster than reading its lines.

        Raises:
            DamagedArchive: The file is missing or is not what was committed.
        """
        if self.files.sha256(stored.path) != stored.file_sha256:
            raise DamagedArchive(f"{stored.path} is not what was committed: its digest differs")

    def media_part(self, conversation_id: str, media_id: str) -> Path:
        """Return the local file into which a media body is downloaded."""
        return self.files.local_path(media_part(conversation_id, media_id))

    def adopt_media(self, file: Path, sha256: str) -> str:
        """Move a complete media body to its place by content, replacing a damaged one. Return its path."""
        path = media_path(sha256)
        if self.files.exists(path) and not self._is_body(path, sha256):
            self.files.replace(path, file)
        else:
            try:
                self.files.create_from_file(path, file, named_by_content=True)
            except FileNotFoundError:
                if not self.files.exists(path):
                    raise  # Otherwise another export has just moved the same file.
        self.files.sync(path)
        return path

    def has_media(self, sha256: str, size: int, *, read: bool) -> bool:
        """Return whether a media body is complete, judged by its size, or with `read` by its content."""
        path = media_path(sha256)
        return self.files.exists(path) and self.files.size(path) == size and (not read or self._is_body(path, sha256))

    def _is_body(self, path: str, sha256: str) -> bool:
        try:
            return self.files.sha256(path) == sha256
        except DamagedArchive:
            return False


class _Tally:
    """Digests and counts what passes through while a file is written."""

    def __init__(self) -> None:
        self.content = hashlib.sha256()
        self.file = hashlib.sha256()
        self.rows = 0

    def of_content(self, blocks: Iterable[Block]) -> Iterator[bytes]:
        for rows, block in blocks:
            self.content.update(block)
            self.rows += rows
            yield block

    def of_file(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self.file.update(piece)
            yield piece


def _of_site(archive: Archive, cloud_id: str) -> Archive:
    if archive.cloud_id != cloud_id:
        raise NotAnArchive(
            f"{archive.files.name} holds the site {archive.cloud_id}, not {cloud_id}; nothing was changed"
        )
    return archive
