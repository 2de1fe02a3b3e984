"""Media bodies: files beside a database that is one, bytes in memory otherwise.

A body is written whole under a name of its own before anything refers to it, so a broken upload leaves nothing.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from attrs import frozen

CHUNK_BYTES = 262_144


@frozen
class Stretch:
    """Part of a stored body: `size` bytes from `start` on, read when sent."""

    open: Callable[[], BinaryIO]
    start: int
    size: int

    def chunks(self) -> Iterator[bytes]:
        """The bytes, at most `CHUNK_BYTES` at a time."""
        with self.open() as stream:
            stream.seek(self.start)
            left = self.size
            while left and (chunk := stream.read(min(left, CHUNK_BYTES))):
                left -= len(chunk)
                yield chunk


class Bodies:
    """Stored bodies by the number of their media record."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._held: dict[int, bytes] = {}

    def receive(self, number: int) -> Incoming:
        """A body to be written chunk by chunk."""
        return Incoming(self, number)

    def open(self, number: int) -> BinaryIO:
        """The body from its start."""
        return io.BytesIO(self._held[number]) if self._folder is None else self._path(number).open("rb")

    def delete(self, number: int) -> None:
        """Forget the body, if it is there."""
        self._held.pop(number, None)
        if self._folder is not None:
            self._path(number).unlink(missing_ok=True)

    def delete_all(self) -> None:
        """Forget every body, and the folder."""
        self._held.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def start_writing(self, number: int) -> BinaryIO:
        """Where a new body is written to."""
        if self._folder is None:
            return io.BytesIO()
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._path(number).open("w+b")

    def keep(self, number: int, stream: BinaryIO) -> None:
        """Keep what was written to the stream as the body of this number."""
        if isinstance(stream, io.BytesIO):
            self._held[number] = stream.getvalue()

    def _path(self, number: int) -> Path:
        assert self._folder is not None
        return self._folder / str(number)


class Incoming:
    """A body on its way in; leaving the block with an exception drops it."""

    def __init__(self, bodies: Bodies, number: int) -> None:
        self._bodies = bodies
        self._number = number
        self._stream: BinaryIO | None = None
        self._digest = hashlib.sha256()
        self.size = 0

    def __enter__(self) -> Self:
        self._stream = self._bodies.start_writing(self._number)
        return self

    def write(self, chunk: bytes) -> None:
        """Add the chunk to the body."""
        assert self._stream is not None
        self._stream.write(chunk)
        self._digest.update(chunk)
        self.size += len(chunk)

    @property
    def sha256(self) -> str:
        """Digest of what was written so far, in hexadecimal."""
        return self._digest.hexdigest()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._stream is not None
        with self._stream as stream:
            if kind is None:
                self._bodies.keep(self._number, stream)
        if kind is not None:
            self._bodies.delete(self._number)
