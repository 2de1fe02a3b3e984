"""A log in an object store: numbered objects, each with the lines of at most ten seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Self

from stride_async.export._archive.errors import ArchiveError

LONGEST_HELD = 10.0
"""Seconds after which a line is in the store. A kill loses the lines of this time."""


class ObjectLog:
    """Gathers lines and puts them into the store in a thread, so that `write` never waits for it.

    If the store fails, the next `write` or `close` raises the error.
    """

    def __init__(self, put: Callable[[bytes], None]) -> None:
        self._put = put
        self._lines: list[bytes] = []
        self._lock = threading.Lock()
        self._putting = threading.Lock()
        self._timer: threading.Timer | None = None
        self._error: ArchiveError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, data: bytes) -> None:
        """Append all of the data.

        Raises:
            StoreRefused, StoreUnavailable: What was written before could not be put into the store.
        """
        with self._lock:
            if self._error is not None:
                raise self._error
            self._lines.append(data)
            if self._timer is None:
                self._timer = threading.Timer(LONGEST_HELD, self._flush_in_time)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Put what was written into the store.

        Raises:
            StoreRefused, StoreUnavailable: That failed. The lines are kept for the next time.
        """
        with self._putting:
            with self._lock:
                lines, self._lines = self._lines, []
                if self._timer is not None:
                    self._timer.cancel()
                    self._timer = None
            if data := b"".join(lines):
                try:
                    self._put(data)
                except ArchiveError:
                    with self._lock:
                        self._lines[:0] = lines
                    raise

    def close(self) -> None:
        """Put what is left into the store."""
        self.flush()

    def _flush_in_time(self) -> None:
        try:
            self.flush()
        except ArchiveError as error:
            self._error = error
