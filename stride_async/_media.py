"""Media bodies in and out: sources, files that are whole or absent, progress, resuming."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import attrs
import msgspec

from stride_async._body import Body, Progress
from stride_async._errors import LengthMismatch
from stride_async._net.session import Session
from stride_async._net.stream import ProgressCallback, RemoteBody
from stride_async._net.stream import upload as send_body
from stride_async._wire.request import Request

if sys.platform != "win32":
    import fcntl

_WRITE_BYTES = 1_048_576
"""Gathered before a thread writes them."""


@attrs.frozen
class Download:
    """A file that arrived whole.

    `verified` is False when the service never told the length, so that only the connection's own end was checked.
    """

    path: Path
    size: int
    sha256: str
    verified: bool


def body_of(source: str | os.PathLike[str] | bytes | Body) -> Body:
    """A source as a `Body`: a path, bytes, or a body already.

    Raises:
        OSError: the path cannot be read.
    """
    if isinstance(source, Body):
        return source
    if isinstance(source, bytes):
        return Body.from_bytes(source)
    return Body.from_path(source)


async def upload(session: Session, request: Request[Any], body: Body, progress: ProgressCallback | None) -> Any:
    """Send a body in blocks; gives what the service says of it."""
    return await send_body(session, request, body, progress)


async def download(
    session: Session,
    request: Request[Any],
    media_id: str,
    to: str | os.PathLike[str],
    progress: ProgressCallback | None,
) -> Download:
    """Fetch a body into `to`, which appears only when whole; a kept `.part` of the same body goes on where it ended.

    Raises:
        BodyInterrupted: it broke off too often; the `.part` is kept for the next call.
        LengthMismatch: it ended with another length than was told.
        OSError: the target cannot be written.
    """
    target = Path(to)
    with _part_of(target) as part:
        return await _fetch(session, request, media_id, part, progress)


async def _fetch(
    session: Session, request: Request[Any], media_id: str, part: _Part, progress: ProgressCallback | None
) -> Download:
    held = await asyncio.to_thread(part.resume, media_id)
    body = RemoteBody(session, request)
    async with session.media_lane:
        try:
            going_on = await body.open_at(held, part.validator)
            if body.start == 0:
                part.start_over()
            part.remember(media_id, body.validator)
            if going_on:
                await _write(body, part, media_id, progress)
        finally:
            await body.close()
    if body.size is not None and part.size != body.size:
        raise LengthMismatch(f"{request}: {part.size} bytes came, {body.size} were told").with_facts(
            received=part.size, expected=body.size
        )
    await asyncio.to_thread(part.finish)
    return Download(part.target, part.size, part.sha256, verified=body.size is not None)


async def _write(body: RemoteBody, part: _Part, media_id: str, progress: ProgressCallback | None) -> None:
    gathered: list[bytes] = []
    size, reached = 0, part.size
    async for offset, piece in body.pieces():
        if offset != reached:
            gathered, size = [], 0
            part.start_over()
            part.remember(media_id, body.validator)
        gathered.append(piece)
        size += len(piece)
        reached = offset + len(piece)
        if size >= _WRITE_BYTES:
            await asyncio.to_thread(part.write, gathered)
            gathered, size = [], 0
        if progress is not None:
            progress(Progress(reached, body.size, body.interruptions + 1))
    if gathered:
        await asyncio.to_thread(part.write, gathered)


class _Memo(msgspec.Struct):
    media_id: str
    validator: str


class _Part:
    """The unfinished file beside the target, with the note that says what it is a part of."""

    def __init__(self, target: Path, path: Path, file: BinaryIO, *, shared: bool) -> None:
        self.target = target
        self.validator: str | None = None
        self.size = 0
        self._path = path
        self._memo = path.with_name(path.name + ".json")
        self._file = file
        self._shared = shared
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Of all bytes written."""
        return self._digest.hexdigest()

    def resume(self, media_id: str) -> int:
        """How many bytes of this very media are held already."""
        try:
            memo = msgspec.json.decode(self._memo.read_bytes(), type=_Memo)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            memo = None
        if not self._shared or memo is None or memo.media_id != media_id:
            self.start_over()
            return 0
        self.validator = memo.validator
        self._file.seek(0)
        while block := self._file.read(_WRITE_BYTES):
            self._digest.update(block)
            self.size += len(block)
        return self.size

    def start_over(self) -> None:
        """Forget what is held."""
        self._file.seek(0)
        self._file.truncate()
        self.size = 0
        self._digest = hashlib.sha256()

    def remember(self, media_id: str, validator: str | None) -> None:
        """Write down what this is a part of; without a validator nothing can be resumed."""
        self.validator = validator
        if validator is None or not self._shared:
            self._memo.unlink(missing_ok=True)
        else:
            self._memo.write_bytes(msgspec.json.encode(_Memo(media_id, validator)))

    def write(self, pieces: list[bytes]) -> None:
        """Append."""
        for piece in pieces:
            self._file.write(piece)
            self._digest.update(piece)
            self.size += len(piece)

    def finish(self) -> None:
        """Make it durable and give it its name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._path.replace(self.target)
        self._memo.unlink(missing_ok=True)
        _sync_folder(self.target.parent)

    def drop_if_useless(self) -> None:
        """Leave nothing behind that no later call could go on with."""
        self._file.flush()
        if not self._shared or self.validator is None or not self.size:
            self._path.unlink(missing_ok=True)
            self._memo.unlink(missing_ok=True)


@contextmanager
def _part_of(target: Path) -> Iterator[_Part]:
    """The target's `.part`, locked; one of our own where somebody else holds it."""
    path = target.with_name(target.name + ".part")
    file, shared = path.open("a+b"), True
    if not _locked(file):
        file.close()
        path = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
        file, shared = path.open("x+b"), False
    part = _Part(target, path, file, shared=shared)
    with file:
        try:
            yield part
        except BaseException:
            with suppress(OSError):
                part.drop_if_useless()
            raise


def _locked(file: BinaryIO) -> bool:
    """Whether this process now holds the file for itself; without file locks, always."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    """Make a new name durable, where the system knows how."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
