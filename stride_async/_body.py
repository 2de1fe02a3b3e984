"""The content of an upload, in a form that can be opened again for a retry."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import AsyncIterator, Callable
from types import NoneType
from typing import BinaryIO

import attrs

from stride_async._arguments import function, of_type
from stride_async._arguments import path as checked_path

ByteStream = BinaryIO | AsyncIterator[bytes]
"""A binary file, or an async iterator of bytes."""


@attrs.frozen
class Progress:
    """The progress of one transfer."""

    done: int
    """How many bytes were transferred."""
    total: int | None
    """How many there are in all; None if the length is unknown."""
    attempt: int
    """The number of the attempt of the call, counted from 1."""


ProgressCallback = Callable[[Progress], None]
"""Called with a `Progress` as a transfer advances. It is called inline, so it should return quickly."""


@attrs.frozen(repr=False)
class Body:
    """The content of an upload, its length, and a way to open it from the start.

    Create one with `from_path`, `from_bytes`, `from_factory` or `once`.
    """

    open: Callable[[], ByteStream]
    """Return a stream that starts at the first byte."""
    size: int | None
    """Length in bytes. It is sent as Content-Length and enforced. None means unknown, and a chunked upload."""
    replayable: bool = True
    """Whether the body can be opened again. If not, a failed upload is not retried."""
    name: str | None = None
    """The file name to upload it under, if the source has one."""

    def __attrs_post_init__(self) -> None:
        function(self.open, "open", required=True)
        of_type(self.size, "size", int, NoneType)
        of_type(self.replayable, "replayable", bool)
        of_type(self.name, "name", str, NoneType)

    @classmethod
    def from_path(cls, path: str | os.PathLike[str]) -> Body:
        """Return a body that reads a file. Its size is measured now; each attempt opens the file again.

        Args:
            path: The path of a regular file.

        Raises:
            OSError: The file does not exist or cannot be read.
            ValueError: The path is not a regular file. A pipe or device has no length; use `once` for it.
        """
        path = checked_path(path, "path")
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError(f"{path} is not a regular file; upload a stream with Body.once")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
        return cls(lambda: path.open("rb"), size, name=path.name)

    @classmethod
    def from_bytes(cls, data: bytes) -> Body:
        """Return a body that sends bytes from memory.

        Args:
            data: The content.

        Raises:
            TypeError: They are not bytes.
        """
        of_type(data, "data", bytes, bytearray, memoryview)
        return cls(lambda: io.BytesIO(data), len(data))

    @classmethod
    def from_factory(cls, open_stream: Callable[[], ByteStream], *, size: int | None = None) -> Body:
        """Return a body that calls `open_stream` for each attempt.

        Args:
            open_stream: Returns a new binary file, which is closed after use, or a new async iterator of bytes, each
                time it is called.
            size: The length in bytes; None means unknown, and a chunked upload.
        """
        of_type(size, "size", int, NoneType)
        return cls(function(open_stream, "open_stream", required=True), size)

    @classmethod
    def once(cls, chunks: AsyncIterator[bytes], *, size: int | None = None) -> Body:
        """Return a body for a stream that can be read only once. Its upload is not retried.

        Args:
            chunks: The content, in chunks of any size.
            size: The length in bytes; None means unknown, and a chunked upload.
        """
        of_type(chunks, "chunks", AsyncIterator)
        of_type(size, "size", int, NoneType)
        return cls(lambda: chunks, size, replayable=False)

    def __repr__(self) -> str:
        size = "unknown size" if self.size is None else f"{self.size} bytes"
        return f"Body({self.name or 'unnamed'}, {size}{'' if self.replayable else ', once'})"
