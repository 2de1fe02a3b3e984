"""Something to send that can be opened again."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO

import attrs

Source = BinaryIO | AsyncIterator[bytes]


@attrs.frozen
class Progress:
    """How far a media body is: `done` of `total` bytes (None: never told), in the call's `attempt`-th try."""

    done: int
    total: int | None
    attempt: int


@attrs.frozen(repr=False)
class Body:
    """A body with its length and a way to open it from the start, as often as its kind allows.

    Use `from_path`, `from_bytes`, `from_factory` or `once`.
    """

    open: Callable[[], Source]
    """Gives a binary file or an async iterator of bytes, from the first byte."""
    size: int | None
    """Length in bytes, sent as Content-Length and held to; None: sent in chunks, unmeasured."""
    replayable: bool = True
    """False: it can be opened only once, so a failed upload is not sent again."""
    name: str | None = None
    """A file name to upload it under, when the source has one."""

    @classmethod
    def from_path(cls, path: str | os.PathLike[str]) -> Body:
        """A file on disk, measured now and opened at each sending.

        Raises:
            OSError: the file is not there or cannot be read.
            ValueError: it is no regular file: a folder, or a pipe or device, which has no length to measure.
        """
        path = Path(path)
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError(f"{path} is no regular file; what comes as a stream goes by Body.once")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
        return cls(lambda: path.open("rb"), size, name=path.name)

    @classmethod
    def from_bytes(cls, data: bytes) -> Body:
        """Bytes in memory."""
        return cls(lambda: io.BytesIO(data), len(data))

    @classmethod
    def from_factory(cls, open_stream: Callable[[], Source], *, size: int | None = None) -> Body:
        """Whatever `open_stream` opens: a binary file (closed afterwards) or an async iterator, anew at each call."""
        return cls(open_stream, size)

    @classmethod
    def once(cls, chunks: AsyncIterator[bytes], *, size: int | None = None) -> Body:
        """A stream that can be read only once, so the upload is sent only once."""
        return cls(lambda: chunks, size, replayable=False)

    def __repr__(self) -> str:
        size = "unmeasured" if self.size is None else f"{self.size} bytes"
        return f"Body({self.name or 'unnamed'}, {size}{'' if self.replayable else ', once'})"
