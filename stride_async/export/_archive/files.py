"""The archive on disk: each file whole or absent. Every file operation of an export is here.

A file is written beside its final name, made durable, and linked to that name, which fails where it exists: of several
writers one wins, and a kill leaves a stray temporary file at most, never a torn one.

Files that a commit names get their names just before it, and all names that it needs are durable when it gets its own:
what a loss of power takes is the newest commits, never a part of what an older one names.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar

import attrs
import msgspec
import zstandard

from stride_async._files import run_to_completion, sync_folder
from stride_async.export._archive.layout import folder_name, media_path

if sys.platform != "win32":
    import fcntl

R = TypeVar("R")
_HEAD = "archive.json"
FORMAT = 1
"""The layout that this version writes and reads."""
_TEMPORARY = ".tmp-"
_LEVEL = 3
"""Of compression."""
_WINDOW_LOG = 17
"""128 KiB: messages repeat themselves within a page, and memory must not grow with what is read."""
_STRAY_SECONDS = 3600.0
"""A temporary file that was not written to for so long belongs to nobody."""
_THREADS = 2
"""Each packs with memory of its own, whatever the number of processors."""
_READ_BYTES = 16_384
"""At once, of what may be compressed."""
_BATCH_LINES = 64
"""Lines that are packed at once."""


class ArchiveError(Exception):
    """An archive cannot be used as asked."""


class NotAnArchive(ArchiveError):
    """A folder that holds something else; nothing in it was touched."""


class NewerArchive(ArchiveError):
    """Written by a later version of this package."""


class ArchiveBusy(ArchiveError):
    """Another export works on it now."""


class DamagedArchive(ArchiveError):
    """A file is missing or not what its commit says."""


class _Head(msgspec.Struct):
    format: int
    id: str
    cloud_id: str


@attrs.frozen
class Stored:
    """A file of the archive: its path in it, the digest of its content before compression, and lines it holds."""

    path: str
    sha256: str
    rows: int
    packed: str
    """The digest of the file as it lies there."""


class Archive:
    """A folder that holds one site."""

    def __init__(self, root: Path, id: str, cloud_id: str) -> None:
        self.root = root
        self.id = id
        self.cloud_id = cloud_id
        self._lease: BinaryIO | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._staged: dict[str, tuple[Path, str]] = {}
        """Files without their names yet: where each lies and its digest, by its path to be."""
        self._unsettled: dict[str, object] = {}
        """Folders with names that are not durable yet, each with a sign of its own for the last such name."""
        self._noting = threading.Lock()

    @classmethod
    def open(cls, root: str | os.PathLike[str]) -> Archive:
        """An archive that is there.

        Raises:
            NotAnArchive: the folder is missing, or is no archive.
            NewerArchive: its format is later than this version reads.
        """
        root = Path(root)
        try:
            head = msgspec.json.decode((root / _HEAD).read_bytes(), type=_Head)
        except (FileNotFoundError, NotADirectoryError):
            raise NotAnArchive(f"{root} is no archive: it has no archive.json") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise NotAnArchive(f"{root} is no archive: archive.json cannot be read: {error}") from error
        if head.format > FORMAT:
            raise NewerArchive(f"{root} has format {head.format}; this version reads up to {FORMAT}")
        return cls(root, head.id, head.cloud_id)

    @classmethod
    def open_or_create(cls, root: str | os.PathLike[str], cloud_id: str) -> Archive:
        """The archive of this site in a folder; made where the folder is missing or empty.

        Raises:
            NotAnArchive: the folder holds something else, or another site.
            NewerArchive: its format is later than this version reads.
            OSError: the folder cannot be written.
        """
        root = Path(root)
        if cls.find(root, cloud_id) is None:
            for parent in _make(root):
                sync_folder(parent)
            made = cls(root, secrets.token_hex(16), cloud_id)
            made.put(_HEAD, msgspec.json.encode(_Head(FORMAT, made.id, cloud_id)))
        return _of_site(cls.open(root), cloud_id)

    @classmethod
    def find(cls, root: str | os.PathLike[str], cloud_id: str) -> Archive | None:
        """The archive of this site in a folder; None where one would be made.

        Raises:
            NotAnArchive: the folder holds something else, or another site.
            NewerArchive: its format is later than this version reads.
        """
        root = Path(root)
        try:
            if not root.exists():
                return None
            there = {entry.name for entry in root.iterdir() if not entry.name.startswith(_TEMPORARY)}
        except NotADirectoryError:
            raise NotAnArchive(f"{root} is no folder, or lies in none") from None
        if not there:
            return None
        if _HEAD not in there:
            raise NotAnArchive(f"{root} is not empty and is no archive: give a new folder; nothing was touched")
        return _of_site(cls.open(root), cloud_id)

    def hold(self) -> None:
        """Tell other exports to stay away, for the service's limit; released with the process at the latest.

        Raises:
            ArchiveBusy: another one holds it.
        """
        file: BinaryIO = self._made("runs/lease").open("a+b")
        if sys.platform != "win32":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                raise ArchiveBusy(f"another export works on {self.root} now") from None
        self._lease = file
        for stray in self.root.rglob(f"{_TEMPORARY}*"):
            with suppress(FileNotFoundError):
                if time.time() - stray.stat().st_mtime > _STRAY_SECONDS:
                    stray.unlink()

    def release(self) -> None:
        """Let others at it; what was committed is durable now."""
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None
        while self._staged:
            self._staged.popitem()[1][0].unlink(missing_ok=True)
        if self._lease is not None:
            try:
                self.settle()
            finally:
                self._lease.close()
                self._lease = None

    async def whole(self, work: Callable[[], R]) -> R:
        """Do work on files in one of few threads, to its end even when the caller is cancelled meanwhile."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="stride_async export")
        return await run_to_completion(work, self._threads)

    def put(self, path: str, data: bytes) -> bool:
        """Make a file whole and durable under its name; False, and nothing done, where the name is taken."""
        is_ours = self._link(self._written(path, data), path)
        self.settle(path)
        return is_ours

    def stage_lines(self, folder: str, name: str, lines: Iterable[bytes]) -> Stored:
        """Write lines, compressed; the file gets its name with the first commit that names it.

        The name ends in a digest of the content, so that equal content is one file.
        """
        blocks = (b"\n".join(some) + b"\n" for some in _in_batches(lines))
        return self.stage_blocks(folder, name, blocks)

    def stage_blocks(self, folder: str, name: str, blocks: Iterable[bytes], *, packed: bool = True) -> Stored:
        """The same, of blocks of lines with their line breaks; compressed unless told."""
        packing = _packers.compressor.compressobj() if packed else None
        digest, lying, rows = hashlib.sha256(), hashlib.sha256(), 0
        temporary = self._temporary(f"{folder}/{name}")
        try:
            with temporary.open("xb", buffering=0) as file:
                for block in blocks:
                    digest.update(block)
                    rows += block.count(b"\n")
                    if packing is None:
                        _write(file, block)
                    elif piece := packing.compress(block):
                        lying.update(piece)
                        _write(file, piece)
                if packing is not None:
                    piece = packing.flush()
                    lying.update(piece)
                    _write(file, piece)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sha256 = digest.hexdigest()
        path = f"{folder}/{name}-{sha256[:12]}.jsonl{'.zst' if packed else ''}"
        lies_there = lying.hexdigest() if packing is not None else sha256
        if self.holds(path):
            lies_there = self._taken(path, temporary, sha256, lies_there)
        elif path in self._staged:
            temporary.unlink()
            lies_there = self._staged[path][1]
        else:
            self._staged[path] = temporary, lies_there
        return Stored(path, sha256, rows, lies_there)

    def _taken(self, path: str, temporary: Path, sha256: str, ours: str) -> str:
        """The name is taken already; gives the digest of what lies there, which is put right where it is damaged."""
        lies_there = self.sha256_of(path)
        if lies_there != ours and not self.is_sound(path, sha256):
            _sync(temporary)
            temporary.replace(self.root / path)
            lies_there = ours
        temporary.unlink(missing_ok=True)
        self._note(path.rpartition("/")[0])
        return lies_there

    def discard(self, stored: Stored) -> None:
        """Forget a staged file."""
        if (staged := self._staged.pop(stored.path, None)) is not None:
            staged[0].unlink()

    def commit(self, folder: str, name: str, data: bytes, needs: Sequence[str]) -> bool:
        """Make a commit in a folder, when all it needs is durable under its name; False where somebody was faster.

        It is durable itself with the next commit there, or with `settle`.
        """
        staged = {path: self._staged[path] for path in needs if path in self._staged}
        for temporary, _ in staged.values():
            _sync(temporary)
        for path, (temporary, lies_there) in staged.items():
            if not self._link(temporary, path) and self.sha256_of(path) != lies_there:
                return False  # The same lines, packed otherwise: what its maker has committed must be read.
            del self._staged[path]
        commit = f"{folder}/commit/{name}"
        temporary = self._written(commit, data)
        self._note(f"{folder}/commit")  # The commit before this one may be of a process that was killed.
        self.settle(folder)
        return self._link(temporary, commit)

    def settle(self, path: str = "") -> None:
        """Make the names durable that are in a folder, beneath it, and on the way to it; without one, all names."""
        for folder, sign in self._unsettled.copy().items():
            if _lies_in(folder, path) or _lies_in(path, folder):
                sync_folder(self.root / folder)
                with self._noting:
                    if self._unsettled.get(folder) is sign:
                        del self._unsettled[folder]

    def adopt_media(self, file: Path, sha256: str) -> str:
        """Move a whole body to where bodies lie by content; gives its path."""
        path = media_path(sha256)
        final = self._made(path)
        if final.exists() and self.sha256_of(path) != sha256:
            file.replace(final)  # What lies there is damaged.
            self._note(path.rpartition("/")[0])
        else:
            try:
                self._link(file, path)
            except FileNotFoundError:
                if not final.exists():
                    raise  # Else another export has adopted the same file meanwhile.
        self.settle(path)
        return path

    def has_media(self, sha256: str, size: int, *, read: bool) -> bool:
        """Whether a body lies there whole: by its size, or by all that is in it."""
        path = media_path(sha256)
        return self.holds(path) and self.size_of(path) == size and (not read or self.sha256_of(path) == sha256)

    def part_of_media(self, conversation_id: str, media_id: str) -> Path:
        """Where a body is gathered until it is whole."""
        return self._made(f"media/part/{folder_name(conversation_id)}/{folder_name(media_id)}")

    def read(self, path: str) -> bytes:
        """A file's bytes.

        Raises:
            DamagedArchive: it is not there.
        """
        try:
            return (self.root / path).read_bytes()
        except FileNotFoundError:
            raise DamagedArchive(f"{path} is missing") from None

    def end_of(self, path: str, most: int) -> bytes:
        """A file's last bytes, so many at most.

        Raises:
            DamagedArchive: it is not there.
        """
        try:
            with (self.root / path).open("rb") as file:
                file.seek(max(0, self.size_of(path) - most))
                return file.read(most)
        except FileNotFoundError:
            raise DamagedArchive(f"{path} is missing") from None

    def lines(self, path: str) -> Iterator[bytes]:
        """The lines of a file, unpacked where its name says that they are packed, in constant memory.

        Raises:
            DamagedArchive: it is not there, or cannot be unpacked.
        """
        unpacking = zstandard.ZstdDecompressor().decompressobj() if path.endswith(".zst") else None
        rest = b""
        try:
            with (self.root / path).open("rb") as file:
                while block := file.read(_READ_BYTES):
                    *whole, rest = (rest + (unpacking.decompress(block) if unpacking else block)).split(b"\n")
                    yield from whole
        except FileNotFoundError:
            raise DamagedArchive(f"{path} is missing") from None
        except zstandard.ZstdError as error:
            raise DamagedArchive(f"{path} cannot be unpacked: {error}") from error
        if rest or (unpacking is not None and not unpacking.eof):
            raise DamagedArchive(f"{path} is cut off")

    def checked_lines(self, path: str, sha256: str) -> Iterator[bytes]:
        """The lines of a file; when all were taken they are held against their digest.

        Raises:
            DamagedArchive: it is not there, cannot be unpacked, or is not what was committed.
        """
        digest = hashlib.sha256()
        for line in self.lines(path):
            digest.update(line + b"\n")
            yield line
        if digest.hexdigest() != sha256:
            raise DamagedArchive(f"{path} is not what was committed: its digest differs")

    def is_sound(self, path: str, sha256: str) -> bool:
        """Whether a file is there and has the lines that were committed."""
        try:
            deque(self.checked_lines(path, sha256), maxlen=0)
        except DamagedArchive:
            return False
        return True

    def holds(self, path: str) -> bool:
        """Whether the file is there."""
        return (self.root / path).exists()

    def size_of(self, path: str) -> int:
        """Bytes of a file.

        Raises:
            DamagedArchive: it is not there.
        """
        try:
            return (self.root / path).stat().st_size
        except FileNotFoundError:
            raise DamagedArchive(f"{path} is missing") from None

    def sha256_of(self, path: str) -> str:
        """The digest of a file's bytes, read in chunks.

        Raises:
            DamagedArchive: it is not there.
        """
        try:
            return _sha256(self.root / path)
        except FileNotFoundError:
            raise DamagedArchive(f"{path} is missing") from None

    def names(self, folder: str) -> list[str]:
        """Names in a folder, sorted; those that begin with a dot are nobody's, or of files that are not whole."""
        return [entry.name for entry in self._entries(folder)]

    def folders(self, folder: str) -> list[str]:
        """Names of the folders in a folder, sorted."""
        return [entry.name for entry in self._entries(folder) if entry.is_dir()]

    def _entries(self, folder: str) -> list[Path]:
        try:
            return sorted(entry for entry in (self.root / folder).iterdir() if not entry.name.startswith("."))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def remove(self, folder: str, paths: Iterable[str]) -> None:
        """Delete files that the newest commit of a folder does not need any more."""
        self._note(f"{folder}/commit")
        self.settle(folder)
        for path in paths:
            (self.root / path).unlink(missing_ok=True)

    def log(self, path: str) -> BinaryIO:
        """A file to add lines to, each with the system as soon as it is written.

        Logs are read by people and by the next run, never relied on for content. A line that was cut off is ended.
        """
        cut_off = self.holds(path) and self.end_of(path, 1) not in (b"", b"\n")
        file = self._made(path).open("ab", buffering=0)
        if cut_off:
            file.write(b"\n")
        return file

    def seconds_since_written(self, path: str) -> float | None:
        """How long ago a file was last written to; None where there is none."""
        try:
            return max(0.0, time.time() - (self.root / path).stat().st_mtime)
        except FileNotFoundError:
            return None

    def bytes_used(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self.root.rglob("*") if path.is_file())

    def _made(self, path: str) -> Path:
        """The full path, with the folders on the way to it."""
        final = self.root / path
        for parent in _make(final.parent):
            self._note(_within(self.root, parent))
        return final

    def _note(self, folder: str) -> None:
        """There is a name in the folder that is not durable yet."""
        with self._noting:
            self._unsettled[folder] = object()

    def _temporary(self, path: str) -> Path:
        return self._made(path).with_name(f"{_TEMPORARY}{secrets.token_hex(8)}")

    def _written(self, path: str, data: bytes) -> Path:
        """A durable file beside what is to be its name."""
        temporary = self._temporary(path)
        try:
            with temporary.open("xb", buffering=0) as file:
                _write(file, data)
                os.fsync(file.fileno())
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return temporary

    def _link(self, temporary: Path, path: str) -> bool:
        """Give a file its name; False where the name is taken. The temporary one goes in any case."""
        try:
            os.link(temporary, self.root / path)
        except FileExistsError:
            return False
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
            self._note(path.rpartition("/")[0])
        return True


def _of_site(archive: Archive, cloud_id: str) -> Archive:
    if archive.cloud_id != cloud_id:
        raise NotAnArchive(f"{archive.root} holds the site {archive.cloud_id}, not {cloud_id}; nothing was touched")
    return archive


def _in_batches(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    lines = iter(lines)
    while some := list(islice(lines, _BATCH_LINES)):
        yield some


def _make(folder: Path) -> list[Path]:
    """Make a folder and those it lies in; the folders that have new names in them."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
    return [folder.parent for folder in missing]


class _Packers(threading.local):
    """One for each thread, used again for every file: its tables are large."""

    def __init__(self) -> None:
        level = zstandard.ZstdCompressionParameters.from_level(_LEVEL, window_log=_WINDOW_LOG, write_checksum=True)
        self.compressor = zstandard.ZstdCompressor(compression_params=level)


_packers = _Packers()


def _write(file: FileIO, data: bytes) -> None:
    """All of it: a disk that fills up may take a part at first."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _within(root: Path, folder: Path) -> str:
    """A folder's path in the archive; empty for the archive itself."""
    return "" if folder == root else folder.relative_to(root).as_posix()


def _lies_in(path: str, folder: str) -> bool:
    return not folder or path == folder or path.startswith(f"{folder}/")
