"""Media bodies: files in a folder next to the database file, or bytes in memory.

A body is complete under a number of its own before any record refers to it, so an interrupted upload leaves nothing.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from attrs import frozen

CHUNK_BYTES = 262_144


@frozen
class ByteRange:
    """A part of a stored body: `size` bytes from offset `start`, read while they are sent."""

    open: Callable[[], BinaryIO]
    start: int
    size: int

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes, at most `CHUNK_BYTES` at a time."""
        with self.open() as stream:
            stream.seek(self.start)
            missing = self.size
            while missing and (chunk := stream.read(min(missing, CHUNK_BYTES))):
                missing -= len(chunk)
                yield chunk


class Bodies:
    """Stored bodies, by the number of their media record."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._in_memory: dict[int, bytes] = {}

    def receive(self, number: int) -> IncomingBody:
        """Return a new body to be written in chunks."""
        return IncomingBody(self, number)

    def open(self, number: int) -> BinaryIO:
        """Open the body for reading."""
        return io.BytesIO(self._in_memory[number]) if self._folder is None else self._path(number).open("rb")

    def delete(self, number: int) -> None:
        """Delete the body, if it exists."""
        self._in_memory.pop(number, None)
        if self._folder is not None:
            self._path(number).unlink(missing_ok=True)

    def delete_all(self) -> None:
        """Delete every body, and the folder."""
        self._in_memory.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def start_writing(self, number: int) -> BinaryIO:
        """Open a stream for a new body."""
        if self._folder is None:
            return io.BytesIO()
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._path(number).open("w+b")

    @contextmanager
    def errors_named(self, number: int) -> Iterator[None]:
        """Add the path of the body to an error of the disk, which names a file only if it cannot be opened."""
        try:
            yield
        except OSError as error:
            if self._folder is not None and error.filename is None:
                error.filename = str(self._path(number))
            raise

    def keep(self, number: int, stream: BinaryIO) -> None:
        """Keep what was written to the stream as the body with this number."""
        if isinstance(stream, io.BytesIO):
            self._in_memory[number] = stream.getvalue()

    def _path(self, number: int) -> Path:
        assert self._folder is not None
        return self._folder / str(number)


class IncomingBody:
    """A body that is being received, as a context manager; an exception in the block discards it."""

    def __init__(self, bodies: Bodies, number: int) -> None:
        self._bodies = bodies
        self._stream: BinaryIO | None = None
        self._digest = hashlib.sha256()
        self.number = number
        self.size = 0

    def __enter__(self) -> Self:
        self._stream = self._bodies.start_writing(self.number)
        return self

    def write(self, chunk: bytes) -> None:
        """Append the chunk to the body."""
        assert self._stream is not None
        with self._bodies.errors_named(self.number):
            self._stream.write(chunk)
        self._digest.update(chunk)
        self.size += len(chunk)

    @property
    def sha256(self) -> str:
        """The hexadecimal digest of what was written so far."""
        return self._digest.hexdigest()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._stream is not None
        is_complete = False
        try:
            with self._bodies.errors_named(self.number), self._stream as stream:
                if kind is None:
                    self._bodies.keep(self.number, stream)
            is_complete = kind is None
        finally:
            if not is_complete:  # Closing writes the last bytes, which may fail, too.
                self._bodies.delete(self.number)
