"""Media bodies in and out: sources, files that are whole or absent, progress, resuming."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Self

import attrs
import msgspec

from stride_async._body import Body, Progress, ProgressCallback
from stride_async._errors import LengthMismatch, StrideError
from stride_async._files import run_to_completion, sync_folder
from stride_async._net.download import BodyReader
from stride_async._net.session import Session
from stride_async._wire.names import name_key, safe_name
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
    name: str | None = None
    """What the service calls it; never use it as a path."""
    content_type: str | None = None


@attrs.frozen
class DownloadResult:
    """What became of one of many: `download`, or the `error` that stood against it."""

    media_id: str
    download: Download | None = None
    error: StrideError | OSError | None = None


def body_of(source: str | os.PathLike[str] | bytes | Body) -> Body:
    """A source as a `Body`: a path, bytes, or a body already.

    Raises:
        OSError: the path cannot be read.
        ValueError: the path is of no regular file.
    """
    if isinstance(source, Body):
        return source
    if isinstance(source, bytes):
        return Body.from_bytes(source)
    return Body.from_path(source)


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
    with _part_of(Path(to)) as part:
        held = await run_to_completion(partial(part.resume, media_id))
        async with BodyReader(session, request, offset=held, validator=part.validator) as body:
            return await _fetch(body, media_id, part, progress)


def download_many(
    session: Session,
    request_of: Callable[[str], Request[Any]],
    media_ids: Iterable[str],
    to: str | os.PathLike[str],
    concurrency: int,
) -> AsyncIterator[DownloadResult]:
    """Fetch bodies into a folder under their own names, made safe and told apart; results as they come.

    An error is a result, not raised. Leaving the loop early cancels what is under way and keeps its `.part`.

    Raises:
        ValueError: `concurrency` is below 1, or a media id cannot be one; nothing was sent.
        NotADirectoryError: `to` is no folder.
    """
    if concurrency < 1:
        raise ValueError(f"concurrency is {concurrency}; expected 1 or more")
    folder = Path(to)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder")
    requests = {media_id: request_of(media_id) for media_id in media_ids}
    return _each(session, requests, folder, concurrency)


async def _each(
    session: Session,
    requests: Mapping[str, Request[Any]],
    folder: Path,
    concurrency: int,
) -> AsyncIterator[DownloadResult]:
    names: set[str] = set()
    waiting = iter(requests.items())
    running: set[asyncio.Task[DownloadResult]] = set()

    async def one(media_id: str, request: Request[Any]) -> DownloadResult:
        try:
            return DownloadResult(media_id, await _into(session, request, media_id, folder, names))
        except (StrideError, OSError) as error:
            return DownloadResult(media_id, error=error)

    try:
        while True:
            for media_id, request in waiting:
                running.add(asyncio.create_task(one(media_id, request), name=f"stride_async download {media_id}"))
                if len(running) >= concurrency:
                    break
            if not running:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _into(session: Session, request: Request[Any], media_id: str, folder: Path, names: set[str]) -> Download:
    """One body into the folder, under the name that the service gives with it."""
    async with BodyReader(session, request) as body:
        name = safe_name(body.name or media_id, media_id, names)
        names.add(name_key(name))
        with _part_of(folder / name) as part:
            held = await run_to_completion(partial(part.resume, media_id))
            if held:
                await body.open_at(held, part.validator)
            return await _fetch(body, media_id, part, None)


async def _fetch(body: BodyReader, media_id: str, part: _Part, progress: ProgressCallback | None) -> Download:
    """What is missing of an opened body, into its part; then the part becomes the file."""
    if body.start != part.size:
        part.start_over()
    part.remember(media_id, body.validator)
    with _WriteBehind(part) as writing:
        reached = part.size
        async for offset, piece in body.pieces():
            if offset != reached:
                await writing.settle()
                part.start_over()
                part.remember(media_id, body.validator)
            reached = offset + len(piece)
            await writing.add(piece)
            if progress is not None:
                progress(Progress(reached, body.size, body.interruptions + 1))
        await writing.settle()
    if body.size is not None and part.size != body.size:
        raise LengthMismatch(
            f"{part.target.name}: {part.size} bytes arrived, but the stated length is {body.size}",
            received=part.size,
            expected=body.size,
        )
    await run_to_completion(part.finish)
    return Download(
        part.target, part.size, part.sha256, body.size is not None, name=body.name, content_type=body.content_type
    )


class _WriteBehind:
    """Writes and digests one block in a thread while the next comes in."""

    def __init__(self, part: _Part) -> None:
        self._part = part
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="stride_async download")
        self._writing: Future[None] | None = None
        self._gathered: list[bytes] = []
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # What came is kept for the next call, whatever stopped this one; it is two blocks at most.
        self._thread.shutdown(wait=True)
        failed = self._writing is not None and self._writing.exception() is not None
        if self._gathered and not failed:
            with suppress(OSError):
                self._part.write(self._gathered)

    async def add(self, piece: bytes) -> None:
        """Take a piece; waits only while the block before it is still being written."""
        self._gathered.append(piece)
        self._size += len(piece)
        if self._size >= _WRITE_BYTES:
            await self._begin()

    async def settle(self) -> None:
        """Everything taken is written."""
        if self._gathered:
            await self._begin()
        await self._written()

    async def _begin(self) -> None:
        await self._written()
        self._writing = self._thread.submit(self._part.write, self._gathered)
        self._gathered, self._size = [], 0

    async def _written(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            await asyncio.wrap_future(writing)


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
        if validator is None or not self._shared:
            self._memo.unlink(missing_ok=True)
        elif validator != self.validator or not self._memo.exists():
            self._memo.write_bytes(msgspec.json.encode(_Memo(media_id, validator)))
        self.validator = validator

    def write(self, pieces: list[bytes]) -> None:
        """Append."""
        block = b"".join(pieces)
        rest = memoryview(block)
        while rest:
            rest = rest[self._file.write(rest) :]  # Unbuffered, so that what is counted is with the system.
        self._digest.update(block)
        self.size += len(block)

    def finish(self) -> None:
        """Make it durable and give it its name."""
        if not os.path.samestat(os.fstat(self._file.fileno()), self._path.stat()):
            raise FileExistsError(f"{self._path} was replaced by another file meanwhile")
        os.fsync(self._file.fileno())
        self._path.replace(self.target)
        self._memo.unlink(missing_ok=True)
        sync_folder(self.target.parent)

    def drop_if_useless(self) -> None:
        """Leave nothing behind that no later call could go on with."""
        if not self._shared or self.validator is None or not os.fstat(self._file.fileno()).st_size:
            self._path.unlink(missing_ok=True)
            self._memo.unlink(missing_ok=True)


@contextmanager
def _part_of(target: Path) -> Iterator[_Part]:
    """The target's `.part`, locked; one of our own where somebody else holds it."""
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder; give the name of a file")
    if target.exists() and not target.is_file():
        raise FileExistsError(f"{target} is no regular file, and is not replaced")
    path = target.with_name(target.name + ".part")
    file = _locked(path)
    shared = file is not None
    if file is None:
        path = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
        file = path.open("x+b", buffering=0)
    part = _Part(target, path, file, shared=shared)
    with file:
        try:
            yield part
        except BaseException:
            with suppress(OSError):
                part.drop_if_useless()
            raise


def _locked(path: Path) -> BinaryIO | None:
    """The file, opened and held by this process alone; None when somebody else holds it."""
    while True:
        file: BinaryIO = path.open("a+b", buffering=0)
        if sys.platform == "win32":
            return file
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except BlockingIOError:
            file.close()
            return None
        except FileNotFoundError:
            pass
        # Another download finished between our opening and our locking: what we hold is its finished file.
        file.close()
