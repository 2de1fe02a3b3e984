"""An object store as the place of an archive, through obstore.

An object is complete or absent, and durable when its PUT has returned. Of several that create the same name, one wins:
`If-None-Match: *` makes a create conditional. What becomes one object is gathered in the system's temporary folder.

Every request can be repeated. A create whose answer was lost finds its own object when it is repeated, so a name that
is taken by the same content counts as created.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, InvalidPathError, PreconditionError
from obstore.store import AzureStore, GCSStore, S3Store

from stride_async._files import errors_about
from stride_async.export._archive.address import StoreAddress
from stride_async.export._archive.errors import DamagedArchive, StoreRefused, StoreUnavailable
from stride_async.export._archive.layout import PROBE, RUNS, log_number, log_part
from stride_async.export._archive.object_answers import Answer, require_environment
from stride_async.export._archive.object_lease import EXPIRES, LeaseHeld, ObjectLease
from stride_async.export._archive.object_log import ObjectLog
from stride_async.export._archive.storage import LONGEST_READ, Contents, LeaseKind, LeaseWatched

if TYPE_CHECKING:
    from obstore.store import RetryConfig

T = TypeVar("T")

_log = logging.getLogger(__name__)

# obstore retries within a request what it knows to be safe; all of it is retried here.
_RETRIES: RetryConfig = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=30),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2},
}
# Seconds before each further attempt.
_WAITS = (0.5, 1.0, 2.0, 4.0)
# A larger file goes up in parts, unless only one request can make sure that the name is free.
_LARGEST_PUT = 8 * 1024 * 1024
_PART = 4 * 1024 * 1024
# Parts of one upload that are in memory at the same time, of 5 MiB each.
_PARTS_AT_ONCE = 2
_READ_BYTES = 16_384
_LONGEST_LEASE = 4096  # bytes; anything longer was not written by an export
_THREADS = 8
_READS = 8
_TEMPORARY = "stride_async-"

Store = S3Store | GCSStore | AzureStore
_STORES: Mapping[str, type[Store]] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}


class ObjectStore:
    """The part of a bucket that holds an archive."""

    threads = _THREADS
    reads_at_once = _READS
    has_locks = True
    has_lost_lines = False

    def __init__(self, store: Store, address: StoreAddress, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.name = str(address)
        self._store = store
        self._address = address
        self._sleep = sleep
        self._lease: ObjectLease | None = None
        self._watched: dict[str, ObjectLease] = {}
        # By how much the clock of the store is ahead of the one of this machine, as far as it is known.
        self._ahead = timedelta()
        self._temporary: Path | None = None
        self._temporary_lock = threading.Lock()

    @classmethod
    def at(cls, address: StoreAddress) -> ObjectStore:
        """Return the storage at an address. Nothing is requested yet.

        Raises:
            StoreRefused: The environment has no credentials, or names an endpoint that cannot be used.
        """
        require_environment(address)
        try:
            store = _STORES[address.scheme](address.bucket, prefix=address.prefix or None, retry_config=_RETRIES)
        except (BaseError, ValueError):
            what = f"{address} cannot be opened: a variable of the environment for the store is not valid"
            raise StoreRefused(what) from None
        return cls(store, address)

    def prepare(self) -> None:
        """Create an object twice, and delete it.

        Raises:
            StoreRefused: Nothing can be created, or the second create succeeds, too.
        """
        path = f"{RUNS}/{PROBE}{secrets.token_hex(8)}"
        is_new = self.create(path, b"first")
        is_overwritten = self.create(path, b"second")
        self.delete([path])
        if not is_new or is_overwritten:
            what = "an object that exists can be created again, so two exports could overwrite each other"
            raise StoreRefused(f"{self.name} cannot hold an archive: {what}")

    def take_refused(self) -> list[str]:
        """Return nothing: a store that protects less is refused."""
        return []

    def is_empty(self) -> bool:
        """Return whether no object has the prefix, except for probes, which a kill may have left."""
        return all(path.startswith(f"{RUNS}/{PROBE}") for path, _ in self._objects(None, at_a_time=10))

    def create(self, path: str, data: bytes) -> bool:
        """Create an object. Return False if the name is taken by another content."""
        self._require_lease()
        try:
            self._call(path, lambda: obstore.put(self._store, path, data, mode="create"))
        except AlreadyExistsError:
            return self._has(path, data)
        return True

    def create_from_file(self, path: str, file: Path, *, named_by_content: bool = False) -> bool:
        """Create an object with the content of a local file, which is removed. Return False if the name is taken."""
        try:
            if not named_by_content or file.stat().st_size <= _LARGEST_PUT:
                return self.create(path, file.read_bytes())
            if self.exists(path):
                return False
            self._require_lease()
            self._put(path, file)
            return True
        finally:
            file.unlink(missing_ok=True)

    def replace(self, path: str, file: Path) -> None:
        """Replace an object by the content of a local file, which is removed."""
        self._require_lease()
        self._put(path, file)
        file.unlink(missing_ok=True)

    def delete(self, paths: Iterable[str]) -> None:
        """Delete objects, if they exist."""
        for path in paths:
            with suppress(DamagedArchive):  # It does not exist.
                self._call(path, partial(obstore.delete, self._store, path))

    def gather(self, path: str, pieces: Iterable[bytes], *, durable: bool = False) -> Path:
        """Write pieces to a new file in the system's temporary folder."""
        del path, durable
        file = self._temporary_folder() / secrets.token_hex(8)
        try:
            with errors_about(file), file.open("xb") as opened:
                opened.writelines(pieces)
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        return file

    def local_path(self, path: str, *, is_replaced: bool = False) -> Path:
        """Return a path in the system's temporary folder, where nothing is in the way."""
        del is_replaced
        file = self._temporary_folder() / path
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def discard(self, file: Path) -> None:
        """Remove a local file."""
        file.unlink(missing_ok=True)

    def sync_file(self, file: Path) -> None:
        """Do nothing: the file does not become part of the archive, a copy of it does."""

    def mark_unsynced(self, folder: str) -> None:
        """Do nothing: names are durable."""

    def sync(self, path: str = "") -> None:
        """Do nothing: names are durable."""

    def read(self, path: str, longest: int = LONGEST_READ) -> bytes:
        """Return the content of an object of up to `longest` bytes."""

        def get() -> bytes:
            found = obstore.get(self._store, path)
            if found.meta["size"] > longest:
                raise DamagedArchive(f"{path} is larger than {longest:,} bytes")
            return bytes(found.bytes())

        return self._call(path, get)

    def read_end(self, path: str, length: int) -> bytes:
        """Return the last bytes of an object, up to `length` of them."""
        size = self.size(path)
        return self._range(path, max(0, size - length), min(size, length))

    def stream(self, path: str) -> Iterator[bytes]:
        """Yield the content of an object in small pieces, fetched a few MiB at a time."""
        size = self.size(path)
        for start in range(0, size, _PART):
            part = memoryview(self._range(path, start, min(_PART, size - start)))
            for offset in range(0, len(part), _READ_BYTES):
                yield bytes(part[offset : offset + _READ_BYTES])

    def open(self, path: str) -> BinaryIO:
        """Open an object for reading. A large one is copied to a temporary file first, which has no name."""
        if self.size(path) <= _PART:
            return BytesIO(self.read(path))
        file = tempfile.TemporaryFile()  # noqa: SIM115 -- the caller closes it
        try:
            with errors_about(tempfile.gettempdir()):  # The file has no name.
                file.writelines(self.stream(path))
                file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    @contextmanager
    def local_copy(self, path: str) -> Iterator[Path]:
        """Yield a temporary file with the content of an object."""
        descriptor, name = tempfile.mkstemp(prefix=_TEMPORARY)
        try:
            with errors_about(name), open(descriptor, "wb") as file:  # noqa: PTH123 -- there is no Path of a descriptor
                file.writelines(self.stream(path))
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)

    def sha256(self, path: str) -> str:
        """Return the digest of an object's content."""
        digest = hashlib.sha256()
        for piece in self.stream(path):
            digest.update(piece)
        return digest.hexdigest()

    def size(self, path: str) -> int:
        """Return the size of an object in bytes."""
        return self._call(path, lambda: obstore.head(self._store, path)["size"])

    def exists(self, path: str) -> bool:
        """Return whether an object exists."""
        try:
            self.size(path)
        except DamagedArchive:
            return False
        return True

    def age(self, path: str) -> float | None:
        """Return the seconds since an object was put, by the clock of the store once this process has put its lease."""
        put_at = self._put_at(path)
        return None if put_at is None else max(0.0, (datetime.now(UTC) + self._ahead - put_at).total_seconds())

    def _put_at(self, path: str) -> datetime | None:
        try:
            put_at: datetime = self._call(path, lambda: obstore.head(self._store, path)["last_modified"])
        except DamagedArchive:
            return None
        return put_at

    def list(self, folder: str) -> Contents:
        """Return the names in a folder: the parts of names between two `/` are as good as folders."""
        found = self._call(folder, lambda: obstore.list_with_delimiter(self._store, folder or None))
        files = (each["path"].rpartition("/")[2] for each in found["objects"])
        folders = (each.rstrip("/").rpartition("/")[2] for each in found["common_prefixes"])
        return Contents(*(sorted(name for name in names if name[:1] not in {"", "."}) for names in (files, folders)))

    def walk(self) -> Iterator[str]:
        """Yield the paths of all objects."""
        return (path for path, _ in self._objects(None))

    def total_size(self) -> int:
        """Return the size of all objects in bytes."""
        return sum(size for _, size in self._objects(None))

    def open_log(self, path: str) -> ObjectLog:
        """Open a log: a series of objects with the numbers after those that exist."""
        folder, _, name = path.rpartition("/")
        numbers = (log_number(each, name) for each in self.list(folder).files)
        last = max((number for number in numbers if number is not None), default=0)

        def put(data: bytes) -> None:
            nonlocal last
            last += 1
            while not self.create(log_part(path, last), data):
                last += 1

        return ObjectLog(put)

    def acquire_lease(self, path: str, others: Callable[[str], LeaseKind]) -> str | None:
        """Take a lease. Return None, or the name of the lease that is in the way: this one, or one that excludes it.

        Raises:
            LeaseWatched: A lease has a holder that may have been killed.
        """
        folder, _, own = path.rpartition("/")
        waits = []
        for name in (*self._excluding(folder, own, others), own):
            try:
                waits.append(self._watch(f"{folder}/{name}").free())
            except LeaseHeld:
                return name
        if longest := max(waits):
            raise LeaseWatched(longest)
        lease = self._watch(path)
        if not lease.take():
            return own
        self._lease = lease
        if (put_at := self._put_at(path)) is not None:
            self._ahead = put_at - datetime.now(UTC)
        for name in self._excluding(folder, own, others):  # One that another process has taken at the same time.
            if not self._watch(f"{folder}/{name}").is_free():
                self.release_lease()
                return name
        self.has_lost_lines = any(each.had_expired for each in self._watched.values())
        return None

    def _excluding(self, folder: str, own: str, others: Callable[[str], LeaseKind]) -> Sequence[str]:
        return [name for name in self.list(folder).files if name != own and others(name) == "excluding"]

    def _watch(self, path: str) -> ObjectLease:
        return self._watched.setdefault(path, ObjectLease(self, path, self.name))

    def make_lock(self, path: str) -> None:
        """Do nothing: what is only read cannot keep others out."""

    @contextmanager
    def shared_leases(self, paths: Iterable[str]) -> Iterator[str | None]:
        """Wait until it is known whether another process has one of the leases. One taken later is not kept out.

        Yields None, or the path of the lease that another process renews.
        """
        try:
            yield self._first_renewed({path: ObjectLease(self, path, self.name) for path in paths})
        finally:
            self._remove_temporary()

    def _first_renewed(self, leases: Mapping[str, ObjectLease]) -> str | None:
        """Watch leases until each is free, has expired or is renewed."""
        is_waiting = False
        while leases:
            waits = {}
            for path, lease in leases.items():
                try:
                    waits[path] = lease.look()
                except LeaseHeld:
                    return path
            longest = max(waits.values())
            if longest and not is_waiting:
                is_waiting = True
                _log.warning(
                    "waiting up to %g seconds: an export of %s was killed, or is working on it", EXPIRES, self.name
                )
            self._sleep(longest)
            leases = {path: lease for path, lease in leases.items() if waits[path]}
        return None

    def release_lease(self) -> None:
        """Give the lease back, if this process has it."""
        self._remove_temporary()
        if self._lease is not None:
            lease, self._lease = self._lease, None
            lease.release()

    def read_version(self, path: str) -> tuple[bytes, str] | None:
        """Return the content and the version of an object, None if it does not exist. A large one is not read."""

        def get() -> tuple[bytes, str]:
            found = obstore.get(self._store, path)
            is_large = found.meta["size"] > _LONGEST_LEASE
            return b"large" if is_large else bytes(found.bytes()), found.meta["e_tag"] or ""

        try:
            return self._call(path, get)
        except DamagedArchive:
            return None

    def put_version(self, path: str, data: bytes, version: str | None) -> str | None:
        """Replace an object of this version, or create it for None. Return its new version, None if it has another."""
        try:
            put = self._call(
                path,
                lambda: obstore.put(
                    self._store,
                    path,
                    data,
                    mode="create" if version is None else {"e_tag": version},
                    use_multipart=False,
                ),
            )
        except (AlreadyExistsError, PreconditionError, DamagedArchive):
            found = self.read_version(path)
            return found[1] if found is not None and found[0] == data else None
        return put["e_tag"] or ""

    def _put(self, path: str, file: Path) -> None:
        self._call(path, lambda: obstore.put(self._store, path, file, max_concurrency=_PARTS_AT_ONCE))

    def _has(self, path: str, data: bytes) -> bool:
        try:
            return self.size(path) == len(data) and self.sha256(path) == hashlib.sha256(data).hexdigest()
        except DamagedArchive:
            return False

    def _range(self, path: str, start: int, length: int) -> bytes:
        if not length:
            return b""  # A store refuses an empty range.
        return self._call(path, lambda: bytes(obstore.get_range(self._store, path, start=start, length=length)))

    def _objects(self, folder: str | None, at_a_time: int = 1000) -> Iterator[tuple[str, int]]:
        """Yield the paths and sizes of all objects in a folder and beneath it."""
        last: str | None = None

        def following() -> list[tuple[str, int]]:
            # A listing is begun anew each time: one that has failed could end early.
            found = obstore.list(self._store, folder, offset=last, chunk_size=at_a_time)
            return [(each["path"], each["size"]) for each in next(iter(found), ())]

        while last != "" and (chunk := self._call("", following)):
            # Many tools mark a folder by an object named `FOLDER/`; that of the archive itself comes first.
            yield from (each for each in chunk if each[0])
            last = chunk[-1][0]

    def _temporary_folder(self) -> Path:
        with self._temporary_lock:
            if self._temporary is None:
                self._temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY))
            return self._temporary

    def _remove_temporary(self) -> None:
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None

    def _require_lease(self) -> None:
        if self._lease is not None:
            self._lease.require_held()

    def _call(self, path: str, request: Callable[[], T]) -> T:
        """Return the result of a request, repeated as long as that can help.

        Raises:
            DamagedArchive: The object does not exist.
            StoreRefused, StoreUnavailable: The request was refused, or not answered.
            AlreadyExistsError, PreconditionError: The condition of the request does not hold.
        """
        for wait in (*_WAITS, None):
            try:
                return request()
            except (AlreadyExistsError, PreconditionError):
                raise
            except InvalidPathError:  # Only a list has names that others have chosen.
                what = "an empty part, a part . or .., or a control character"
                raise StoreRefused(f"{self.name} has an object with {what} in its name: remove it") from None
            except (BaseError, FileNotFoundError) as error:
                answer = Answer.of(error)
                if isinstance(error, FileNotFoundError) and not answer.has_no_bucket:
                    raise DamagedArchive(f"{path} is missing") from None
                if answer.is_out_of_range:
                    raise DamagedArchive(f"{path} has become shorter while it was read") from None
                if answer.is_refusal:
                    raise StoreRefused(answer.refusal(self._address)) from None
                if wait is None:
                    raise StoreUnavailable(f"{self.name} is unavailable: {answer}") from None
            self._sleep(wait)
        raise AssertionError("the last attempt returns or raises")
