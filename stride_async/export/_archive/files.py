"""A folder as the place of an archive: every file operation of an export is here.

A file is complete or absent. It is written next to its final name, made durable, and linked to that name, which fails
if the name is taken: of several writers one wins, and a kill leaves at most a stray temporary file, never a torn one.

The content of a file is durable before it gets its name. The name itself is durable after `sync`.

Some file systems (FAT, exFAT, SMB, many FUSE ones) do not offer all of this. Without hard links, a file is renamed to
its name if that is free, under a lock. Without locks or syncing, the work goes on, and `take_refused` returns what is
not protected. A full or broken disk is always an error.

An archive may come from someone else, so nothing in it leads outside: below the root, no symbolic link is followed, to
read, list, write or remove, and only regular files are opened.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Self

from stride_async._files import NamedFile, errors_about, is_not_offered, lock, sync_content, sync_file, sync_folder
from stride_async.export._archive.errors import DamagedArchive
from stride_async.export._archive.layout import MOST_FOLDERS
from stride_async.export._archive.storage import LONGEST_READ, Contents, LeaseKind

_TEMPORARY = ".tmp-"
# Locked while a process compares what others hold with what it is about to take, so that only one at a time does.
_GATE = ".lock"
# A temporary file that was not written to for this long was left by a process that was killed.
_STRAY_SECONDS = 3600.0
_READ_BYTES = 16_384
_NO_NAMES = frozenset({"", ".", ".."})
_NO_LOCK = (
    "The file system offers no locks: do not run two exports into this archive at the same time, they may damage it"
)
_NO_SYNC = "The file system does not sync files or folders: a loss of power may damage what was fetched last"


class Folder:
    """A local folder that holds an archive.

    Paths are relative to it and use `/`. Reading a file that does not exist raises `DamagedArchive`.
    """

    # Each has a compressor of its own, and files on a disk are not worth more of them.
    threads = 2
    reads_at_once = 1
    # What is written to a log survives a kill.
    has_lost_lines = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self._root = os.path.join(root, "")  # noqa: PTH118 -- with a separator at its end, unlike a Path
        self._lease: NamedFile | None = None
        # Folders that have names which are not durable yet, each with a marker that a later name replaces.
        self._unsynced: dict[str, object] = {}
        self._unsynced_lock = threading.Lock()
        # What the file system does not offer, and whether `take_refused` has returned it.
        self._refused: dict[str, bool] = {}

    @property
    def name(self) -> str:
        """The path of the folder."""
        return str(self.root)

    def take_refused(self) -> list[str]:
        """Return what the file system does not protect, as sentences, each once in the life of this object."""
        new = [sentence for sentence, was_taken in self._refused.copy().items() if not was_taken]
        self._refused.update(dict.fromkeys(new, True))
        return new

    def prepare(self) -> None:
        """Make the folder, and the folders that it lies in."""
        for parent in _make(self.root):
            self._sync_folder(parent)

    def is_empty(self) -> bool:
        """Return whether the folder is missing or has nothing in it but temporary files.

        Raises:
            NotADirectoryError: It is not a folder, or its parent is not one.
        """
        if not self.root.exists():
            return True
        return all(entry.name.startswith(_TEMPORARY) or entry.name == _GATE for entry in self.root.iterdir())

    def create(self, path: str, data: bytes) -> bool:
        """Create a file, durable with its name. Return False, and do nothing, if the name is taken."""
        is_new = self.create_from_file(path, self.gather(path, [data], durable=True))
        self.sync(path)
        return is_new

    def create_from_file(self, path: str, file: Path, *, named_by_content: bool = False) -> bool:
        """Move a complete and durable local file to its name. Return False if the name is taken.

        `file` is removed in either case.
        """
        del named_by_content  # The name is given only once in any case.
        try:
            final = self._in_made_folder(path)
            try:
                return self._link(file, final)
            finally:
                self.mark_unsynced(_parent(path))
        finally:
            with suppress(FileNotFoundError):
                file.unlink()

    def _link(self, file: Path, final: Path) -> bool:
        """Give a file its name, as a link or else by renaming it. Return False if the name is taken."""
        try:
            os.link(file, final)
        except FileExistsError:
            return False
        except OSError as error:
            if not (is_not_offered(error) or error.errno == errno.EXDEV):
                raise
            with self._gate():
                if _exists(final):
                    return False
                file.rename(final)
        return True

    def replace(self, path: str, file: Path) -> None:
        """Move a complete and durable local file to a name that a damaged file has."""
        try:
            file.replace(self._inside(path))
        except IsADirectoryError:
            raise _not_regular(path) from None
        self.mark_unsynced(_parent(path))

    def gather(self, path: str, pieces: Iterable[bytes], *, durable: bool = False) -> Path:
        """Write pieces to a new temporary file next to what will be its name."""
        temporary = self._in_made_folder(path).with_name(f"{_TEMPORARY}{secrets.token_hex(8)}")
        try:
            with NamedFile(temporary, "xb") as file:
                for piece in pieces:
                    _write_all(file, piece)
                if durable:
                    self._note_sync(is_synced=sync_content(file.fileno(), temporary))
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return temporary

    def discard(self, file: Path) -> None:
        """Remove a temporary file."""
        file.unlink(missing_ok=True)

    def local_path(self, path: str, *, is_replaced: bool = False) -> Path:
        """Return where a file that is written from outside, such as a download, belongs; its folder is made.

        Raises:
            DamagedArchive: A symbolic link is in the way, for the file or for one next to it, such as `NAME.part`; or,
                unless the caller replaces what is there, something else than a regular file, such as a pipe.
        """
        file = self._in_made_folder(path)
        for entry in file.parent.iterdir():
            if entry.name.startswith(file.name):
                name = entry.relative_to(self.root).as_posix()
                if entry.is_symlink():
                    raise _link(name)
                if not is_replaced and not entry.is_file():
                    raise _not_regular(name)
        return file

    def sync(self, path: str = "") -> None:
        """Make names durable: those in the folder `path`, beneath it and on the way to it; all without a path."""
        for folder, marker in self._unsynced.copy().items():
            if _lies_in(folder, path) or _lies_in(path, folder):
                self._sync_folder(self.root / folder)
                with self._unsynced_lock:
                    if self._unsynced.get(folder) is marker:
                        del self._unsynced[folder]

    def sync_file(self, file: Path) -> None:
        """Make the content of a local file durable."""
        self._note_sync(is_synced=sync_file(file))

    def mark_unsynced(self, folder: str) -> None:
        """Have the next `sync` include a folder in which another process may have created names."""
        with self._unsynced_lock:
            self._unsynced[folder] = object()

    def read(self, path: str, longest: int = LONGEST_READ) -> bytes:
        """Return the content of a file of up to `longest` bytes."""
        with self.open(path) as file:
            data = file.read(longest + 1)
        if len(data) > longest:
            raise DamagedArchive(f"{path} is larger than {longest:,} bytes")
        return data

    def read_end(self, path: str, length: int) -> bytes:
        """Return the last bytes of a file, up to `length` of them."""
        with self.open(path) as file, errors_about(file.name):
            file.seek(max(0, os.fstat(file.fileno()).st_size - length))
            return file.read(length)

    def stream(self, path: str) -> Iterator[bytes]:
        """Yield the content of a file in small pieces."""
        with _damaged_if_unreadable(path), self.open(path) as file:
            while piece := file.read(_READ_BYTES):
                yield piece

    def open(self, path: str) -> BufferedReader:
        """Open a file for reading.

        Raises:
            DamagedArchive: It does not exist, is not a regular file, or a symbolic link leads to it.
        """
        return open_file(self._inside(path), path)

    @contextmanager
    def local_copy(self, path: str) -> Iterator[Path]:
        """Yield the full path of a file, which is not copied."""
        yield self._inside(path)

    def sha256(self, path: str) -> str:
        """Return the digest of a file."""
        with _damaged_if_unreadable(path), self.open(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def size(self, path: str) -> int:
        """Return the size of a file in bytes."""
        with self.open(path) as file, errors_about(file.name):
            return os.fstat(file.fileno()).st_size

    def exists(self, path: str) -> bool:
        """Return whether there is something of this name."""
        return _exists(self._inside(path))

    def age(self, path: str) -> float | None:
        """Return the seconds since a file was last written to, None if it does not exist."""
        try:
            return max(0.0, self._now() - self._inside(path).lstat().st_mtime)
        except FileNotFoundError:
            return None

    def list(self, folder: str) -> Contents:
        """Return the names in a folder; there are none in one that does not exist."""
        contents = Contents([], [])
        try:
            with os.scandir(self._inside(folder, is_folder=True)) as entries:
                for entry in entries:
                    if not entry.name.startswith("."):
                        is_folder = entry.is_dir(follow_symlinks=False)
                        (contents.folders if is_folder else contents.files).append(entry.name)
        except (FileNotFoundError, NotADirectoryError):
            pass
        contents.files.sort()
        contents.folders.sort()
        return contents

    def walk(self) -> Iterator[str]:
        """Yield the paths of all files, without those whose names or folders begin with a dot.

        A folder that lies too deep for any file of an archive is yielded itself instead of what is in it.
        """
        folders = [""]
        while folders:
            folder = folders.pop()
            prefix = f"{folder}/" if folder else ""
            contents = self.list(folder)
            yield from (f"{prefix}{name}" for name in contents.files)
            inner = [f"{prefix}{name}" for name in contents.folders]
            if prefix.count("/") < MOST_FOLDERS:
                folders += inner[::-1]
            else:
                yield from inner

    def total_size(self) -> int:
        """Return the space that the archive takes on disk in bytes, as `du` counts it."""
        found = {status.st_ino: _allocated(status) for status in (self.root.lstat(), *self._statuses())}
        return sum(found.values())

    def _statuses(self) -> Iterator[os.stat_result]:
        for entry in self._everything():
            with suppress(OSError):  # An export that runs at the same time has removed it.
                yield os.lstat(entry)

    def delete(self, paths: Iterable[str]) -> None:
        """Delete files."""
        for path in paths:
            self._inside(path).unlink(missing_ok=True)

    def open_log(self, path: str) -> Log:
        """Open a file to append lines to.

        Only a log is ever changed after it was created. If a kill cut off its last line, that line is ended first.
        """
        cut_off = self.exists(path) and self.read_end(path, 1) not in (b"", b"\n")
        file = _open(self._in_made_folder(path), path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, "ab")
        with ExitStack() as closing:
            log = closing.enter_context(Log(file))
            if cut_off:
                log.write(b"\n")
            closing.pop_all()
        return log

    def acquire_lease(self, path: str, others: Callable[[str], LeaseKind]) -> str | None:
        """Take a lease, and remove stray temporary files if no other lease is held.

        The system releases it at the latest with the process.

        Args:
            path: The lease.
            others: Says of the name of any other file in its folder what kind of lease that is.

        Returns:
            None, or the name of the lease that another process holds: this one, or one that excludes it.
        """
        folder, _, own = path.rpartition("/")
        file = self._open_lock(path)
        try:
            with self._gate():
                if not self._lock(file):
                    file.close()
                    return own
                kinds = {name: others(name) for name in self.list(folder).files if name != own}
                held = [name for name, kind in kinds.items() if kind != "none" and self._is_locked(f"{folder}/{name}")]
                if excluding := [name for name in held if kinds[name] == "excluding"]:
                    file.close()
                    return excluding[0]
            self._lease = file
            if not held:
                self._remove_strays()
        except BaseException:
            self._lease = None
            file.close()
            raise
        return None

    @property
    def has_locks(self) -> bool:
        """Whether the file system offered every lock that was asked for."""
        return _NO_LOCK not in self._refused

    @contextmanager
    def _gate(self) -> Iterator[None]:
        """Wait until no other process is in this context."""
        with self._open_lock(_GATE) as file:
            self._lock(file, wait=True)
            yield

    def make_lock(self, path: str) -> None:
        """Make a file that can be locked, if it does not exist."""
        self._open_lock(path).close()

    def _open_lock(self, path: str) -> NamedFile:
        return _open(self._in_made_folder(path), path, os.O_RDWR | os.O_CREAT, "r+b")

    def _is_locked(self, path: str) -> bool:
        with self._open_lock(path) as file:
            return not self._lock(file)

    def _lock(self, file: NamedFile, *, wait: bool = False) -> bool:
        """Lock a file. Return False if another process has locked it."""
        is_locked = lock(file, Path(file.name), wait=wait)
        if is_locked is None:
            self._refused.setdefault(_NO_LOCK, False)
        return is_locked is not False

    def _remove_strays(self) -> None:
        now = self._now()
        for entry in self._everything():
            if entry.name.startswith(_TEMPORARY):
                with suppress(FileNotFoundError):
                    if now - os.lstat(entry).st_mtime > _STRAY_SECONDS:
                        os.unlink(entry.path)  # noqa: PTH108 -- a path of os.scandir

    @contextmanager
    def shared_leases(self, paths: Iterable[str]) -> Iterator[str | None]:
        """Keep other processes from taking leases until the context ends. Nothing is written.

        Without a lease file there was no export yet, or the archive is a copy; then there is nothing to keep out.
        Yields None, or the path of the lease that another process holds.
        """
        with ExitStack() as files:
            yield next((path for path in paths if not self._share(path, files)), None)

    def _share(self, path: str, files: ExitStack) -> bool:
        """Lock a file, if it exists, so that others can do the same. Return False if another process has locked it."""
        if not self.exists(path):
            return True
        return lock(files.enter_context(self.open(path)), self.root / path, shared=True) is not False

    def release_lease(self) -> None:
        """Give the lease back, if this process has it. All names are durable then."""
        if self._lease is not None:
            try:
                self.sync()
            finally:
                self._lease.close()
                self._lease = None

    def _now(self) -> float:
        """Return the time by the clock of the file system, which may differ from the one of this machine."""
        if self._lease is None:
            return time.time()
        if not _touched(self._lease):
            self._lease.seek(0)
            self._lease.write(b"\n")  # This sets the time, too.
        return self._lease.status().st_mtime

    def _sync_folder(self, folder: Path) -> None:
        self._note_sync(is_synced=sync_folder(folder) or sys.platform == "win32")

    def _note_sync(self, *, is_synced: bool) -> None:
        if not is_synced:
            self._refused.setdefault(_NO_SYNC, False)

    def _everything(self) -> Iterator[os.DirEntry[str]]:
        """Yield everything in the archive, however deep. No symbolic link is followed.

        Not with `os.walk`, which some versions of Python let recurse. Folders that cannot be listed are left out.
        """
        folders = [os.fspath(self.root)]
        while folders:
            try:
                with os.scandir(folders.pop()) as scanned:
                    entries = list(scanned)
                folders += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
            except OSError:
                continue
            yield from entries

    def _inside(self, path: str, *, is_folder: bool = False) -> Path:
        """Return the full path of a name in the archive. Of a folder, the name itself must not be a symbolic link.

        Raises:
            DamagedArchive: The path leads outside, or goes through a symbolic link.
        """
        parts = path.split("/") if path else []
        if "\0" in path or not _NO_NAMES.isdisjoint(parts):
            raise DamagedArchive(f"{path!r} is not a path that an archive can have")
        way = self._root  # A text: a Path for each folder would double the calls that the threads of an export make.
        for name in parts if is_folder else parts[:-1]:
            way += name
            if os.path.islink(way):  # noqa: PTH114
                raise _link(way.removeprefix(self._root))
            way += "/"
        return self.root / path

    def _in_made_folder(self, path: str) -> Path:
        """Return the full path, and make the folders on the way to it."""
        final = self._inside(path)
        try:
            made = _make(final.parent)
        except (FileExistsError, NotADirectoryError) as error:
            name = Path(os.fsdecode(error.filename)).relative_to(self.root).as_posix()
            raise DamagedArchive(f"{name} is not a folder") from None
        for parent in made:
            self.mark_unsynced("" if parent == self.root else parent.relative_to(self.root).as_posix())
        return final


class Log:
    """A file that lines are appended to, to be used with `with`. Each write is handed to the system at once."""

    def __init__(self, file: NamedFile) -> None:
        self._file = file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, data: bytes) -> None:
        """Append all of the data."""
        _write_all(self._file, data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def open_file(path: Path, name: str) -> BufferedReader:
    """Open a file of an archive for reading.

    Raises:
        DamagedArchive: It does not exist, or is not a regular file. The message has its `name`.
    """
    return BufferedReader(_open(path, name, os.O_RDONLY, "rb"))


@contextmanager
def _damaged_if_unreadable(name: str) -> Iterator[None]:
    """Treat content that the disk cannot read as damaged, because it can be fetched again."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise DamagedArchive(f"{name} cannot be read: {error.strerror}") from None


def _open(path: Path, name: str, flags: int, mode: str) -> NamedFile:
    """Open a regular file and nothing else. Opening a pipe or a device could block or have an effect."""
    safely = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags | safely, 0o666)
    except FileNotFoundError:
        raise DamagedArchive(f"{name} is missing") from None
    except OSError as error:
        if path.is_symlink():
            raise _link(name) from None
        if error.errno in {errno.EISDIR, errno.ENXIO, errno.ENOTDIR}:
            raise _not_regular(name) from None
        raise
    try:
        with errors_about(path):
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return NamedFile(path, mode, descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    raise _not_regular(name)


def _exists(path: Path) -> bool:
    """Return whether there is something of this name. `os.path.lexists` would also say no if the disk is broken."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _not_regular(name: str) -> DamagedArchive:
    return DamagedArchive(f"{name} is not a regular file")


def _link(name: str) -> DamagedArchive:
    return DamagedArchive(f"{name} is a symbolic link, which is not followed in an archive")


def _touched(file: NamedFile) -> bool:
    """Set the time of an open file to now; return False if the system or the file system does not offer that."""
    if sys.platform == "win32":
        return False  # It sets the times of paths only.
    try:
        with errors_about(file.name):
            os.utime(file.fileno())
    except OSError as error:
        if not is_not_offered(error):
            raise
        return False
    return True


def _allocated(status: os.stat_result) -> int:
    blocks = getattr(status, "st_blocks", None)  # Windows does not have it.
    return status.st_size if blocks is None else blocks * 512


def _make(folder: Path) -> list[Path]:
    """Make a folder and those it lies in. Return the folders that have new names in them."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
    return [folder.parent for folder in missing]


def _write_all(file: NamedFile, data: bytes) -> None:
    """Write all of it; a disk that is filling up may take only a part at first."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _lies_in(path: str, folder: str) -> bool:
    return not folder or path == folder or path.startswith(f"{folder}/")
