"""Lines as compressed files, packed and unpacked in bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from itertools import islice

from stride_async.export._archive.errors import DamagedArchive

try:
    import zstandard
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        f"stride_async.export requires {_error.name}: pip install 'stride-async[export]'", name=_error.name
    ) from _error

_LEVEL = 3
# 128 KiB: messages repeat themselves within a page, and memory must not grow with what is read.
_WINDOW_LOG = 17
# Lines compressed in one step.
_BATCH_LINES = 64
# What a file from someone else may cost. A block of 128 KiB takes at least 4 bytes, so 32 bytes decompress to at most
# 1 MiB. A file that would need a larger window, or has a longer line, is refused.
_INPUT_STEP = 32
_LARGEST_WINDOW = 8 * 1024 * 1024
_LONGEST_LINE = 64 * 1024 * 1024


Block = tuple[int, bytes]
"""A number of lines, and these lines as one piece, each with its line break."""


class _Local(threading.local):
    """A compressor for each thread, reused for every file: its tables are large."""

    def __init__(self) -> None:
        level = zstandard.ZstdCompressionParameters.from_level(_LEVEL, window_log=_WINDOW_LOG, write_checksum=True)
        self.compressor = zstandard.ZstdCompressor(compression_params=level)


_local = _Local()


def in_blocks(lines: Iterable[bytes]) -> Iterator[Block]:
    """Yield lines as blocks of several lines."""
    lines = iter(lines)
    while batch := list(islice(lines, _BATCH_LINES)):
        yield len(batch), b"\n".join(batch) + b"\n"


def compress(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the compressed pieces of a file."""
    compressing = _local.compressor.compressobj()
    for piece in pieces:
        if compressed := compressing.compress(piece):
            yield compressed
    yield compressing.flush()


def lines_in(pieces: Iterable[bytes], path: str, *, compressed: bool) -> Iterator[bytes]:
    """Yield the lines of a file from its pieces, without their line breaks.

    Memory is bounded whatever the file contains.

    Raises:
        DamagedArchive: The file cannot be decompressed, is cut off, or has a line of more than 64 MiB.
    """
    rest: list[bytes] = []
    length = 0
    for piece in _decompressed(pieces, path) if compressed else pieces:
        first, *more = piece.split(b"\n")
        rest.append(first)
        length += len(first)
        if more:
            yield b"".join(rest)
            yield from more[:-1]
            rest, length = [more[-1]], len(more[-1])
        if length > _LONGEST_LINE:
            raise DamagedArchive(f"{path} has a line of more than {_LONGEST_LINE:,} bytes")
    if length:
        raise DamagedArchive(f"{path} is cut off")


def _decompressed(pieces: Iterable[bytes], path: str) -> Iterator[bytes]:
    """Yield the content of one compressed frame in pieces of up to 1 MiB."""
    decompressing = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW).decompressobj()
    try:
        for piece in pieces:
            for start in range(0, len(piece), _INPUT_STEP):
                if content := decompressing.decompress(piece[start : start + _INPUT_STEP]):
                    yield content
    except zstandard.ZstdError as error:
        raise DamagedArchive(f"{path} cannot be decompressed: {error}") from error
    if not decompressing.eof:
        raise DamagedArchive(f"{path} is cut off")
