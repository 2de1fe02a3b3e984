"""The lease of an archive in an object store: an object that its holder renews, and that expires without that.

No clock is compared with another one: a lease has expired when a process has watched it for `EXPIRES` seconds, by its
own clock, without seeing it renewed. So a process that finds a lease watches it first, and takes it over by a
conditional update, which only one of several can win.

A lease that has expired is marked when it is freed or taken. For a minute, everyone who takes one that excludes or
replaces it knows by that mark that the last calls of its holder are missing in the log.

The lease keeps two exports from sharing the service's limit. The commits are right without it.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from stride_async._json import NOT_DECODABLE
from stride_async.export._archive.errors import ArchiveBusy, StoreRefused, StoreUnavailable

EXPIRES = 30.0
"""Seconds after which a lease that was not renewed can be taken over."""
RENEWED_EVERY = 10.0
"""Seconds between two renewals."""
_LOOKED_AT_EVERY = 5.0
# A call counts against the limit for so long.
_CALLS_COUNT = 60.0

_log = logging.getLogger(__name__)


class Conditional(Protocol):
    """What a lease needs of a store. A version is what the store calls the ETag of an object."""

    def read_version(self, path: str) -> tuple[bytes, str] | None:
        """Return the content and the version of an object, None if it does not exist."""

    def age(self, path: str) -> float | None:
        """Return the seconds since an object was put, None if it does not exist."""

    def put_version(self, path: str, data: bytes, version: str | None) -> str | None:
        """Replace an object of this version, or create it for None. Return its new version, None if it has another."""


class LeaseHeld(Exception):
    """The holder of the lease has renewed it, so it is working."""


class _Content(msgspec.Struct):
    """What the object of a lease contains."""

    holder: str
    """Empty if the lease is free."""
    renewals: int = 0
    expired: bool = False


class ObjectLease:
    """The lease at one path, taken or watched."""

    def __init__(
        self, store: Conditional, path: str, archive: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._path = path
        self._archive = archive
        self._clock = clock
        self._owner = secrets.token_hex(8)
        self._renewals = 0
        # The version that was seen first, and when.
        self._watched: tuple[str, float] | None = None
        self._version: str | None = None
        self._ended = threading.Event()
        self._renewing: threading.Thread | None = None
        self._is_lost = False
        self._refusal: StoreRefused | None = None  # of the last renewal
        self._taken_at = 0.0
        self.had_expired = False
        """Whether a holder did not give the lease back, so short a time ago that its calls may still count."""

    def is_free(self) -> bool:
        """Return whether the lease has no holder."""
        found = self._store.read_version(self._path)
        return found is None or _holder_in(found[0]) == ""

    def look(self) -> float:
        """Return 0 if the lease is free or has expired, else the seconds after which to look again.

        Raises:
            LeaseHeld: It was renewed since the first look.
        """
        return self._look()[0]

    def free(self) -> float:
        """Do the same, and free a lease that has expired."""
        wait, version = self._look()
        if not wait and self.had_expired and version is not None:
            if self._store.put_version(self._path, _encoded("", 0, has_expired=True), version) is None:
                raise LeaseHeld
            self._watched = None
        return wait

    def take(self) -> bool:
        """Take a lease that is free, and renew it from now on. Return False if another process was faster."""
        found = self._store.read_version(self._path)
        if found is not None and not self._is_free(found[0]):
            return False
        self._version = self._put(found[1] if found is not None else None)
        if self._version is None:
            return False
        self._taken_at = self._clock()
        self._ended.clear()
        self._renewing = threading.Thread(target=self._keep_renewing, name="stride_async lease", daemon=True)
        self._renewing.start()
        return True

    def renew(self) -> None:
        """Renew the lease once."""
        try:
            version = self._put(self._version)
        except StoreUnavailable as error:  # The work itself will fail, or the next renewal will not.
            _log.warning("the lease of %s could not be renewed: %s", self._archive, error)
            return
        except StoreRefused as error:
            self._refusal = error
            return
        self._refusal = None
        self._is_lost = version is None
        self._version = version

    def release(self) -> None:
        """Give the lease back, if this process still has it."""
        if self._renewing is None:
            return
        self._ended.set()
        self._renewing.join()
        self._renewing = None
        if not self._is_lost:
            has_expired = self.had_expired and self._clock() < self._taken_at + _CALLS_COUNT
            self._store.put_version(self._path, _encoded("", 0, has_expired=has_expired), self._version)

    def require_held(self) -> None:
        """Refuse to go on without the lease.

        Raises:
            ArchiveBusy: Another process has taken it over.
            StoreRefused: The store refuses to renew it.
        """
        if self._refusal is not None:
            raise self._refusal
        if self._is_lost:
            raise ArchiveBusy(f"another export has taken over {self._archive}: this one could not reach it for a while")

    def _look(self) -> tuple[float, str | None]:
        """Return the seconds to wait, and the version that was found."""
        found = self._store.read_version(self._path)
        if found is None:
            return 0.0, None
        data, version = found
        if self._is_free(data):
            return 0.0, version
        first, since = self._watched or (version, self._clock())
        self._watched = first, since
        if version != first:
            raise LeaseHeld
        left = since + EXPIRES - self._clock()
        if left > 0:
            return min(left, _LOOKED_AT_EVERY), version
        self.had_expired = True
        return 0.0, version

    def _is_free(self, data: bytes) -> bool:
        """Return whether the lease has no holder, and see whether one before did not give it back."""
        if _has_mark(data) and (self._store.age(self._path) or 0.0) < _CALLS_COUNT:
            self.had_expired = True
        return _holder_in(data) == ""

    def _put(self, version: str | None) -> str | None:
        self._renewals += 1
        return self._store.put_version(self._path, _encoded(self._owner, self._renewals, has_expired=False), version)

    def _keep_renewing(self) -> None:
        while not (self._ended.wait(RENEWED_EVERY) or self._is_lost):
            self.renew()


def _encoded(holder: str, renewals: int, *, has_expired: bool) -> bytes:
    return msgspec.json.encode(_Content(holder, renewals, has_expired))


def _holder_in(data: bytes) -> str:
    """Return the holder of a lease; that of a folder has none. A lease that is undecodable may have one."""
    return _decoded(data).holder if data.strip() else ""


def _has_mark(data: bytes) -> bool:
    return _decoded(data).expired


def _decoded(data: bytes) -> _Content:
    try:
        return msgspec.json.decode(data, type=_Content)
    except NOT_DECODABLE:
        return _Content("unknown")
