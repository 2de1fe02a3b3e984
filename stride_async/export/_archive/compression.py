"""Lines as compressed files, packed and unpacked in bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from itertools import islice

import zstandard

from stride_async.export._archive.errors import DamagedArchive

_LEVEL = 3
# 128 KiB: messages repeat themselves within a page, and memory must not grow with what is read.
_WINDOW_LOG = 17
# Lines compressed in one step.
_BATCH_LINES = 64


class _Local(threading.local):
    """A compressor for each thread, reused for every file: its tables are large."""

    def __init__(self) -> None:
        level = zstandard.ZstdCompressionParameters.from_level(_LEVEL, window_log=_WINDOW_LOG, write_checksum=True)
        self.compressor = zstandard.ZstdCompressor(compression_params=level)


_local = _Local()


def in_blocks(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines as blocks of several lines, each line with its line break."""
    lines = iter(lines)
    while batch := list(islice(lines, _BATCH_LINES)):
        yield b"\n".join(batch) + b"\n"


def compress(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the compressed pieces of blocks."""
    compressing = _local.compressor.compressobj()
    for block in blocks:
        if piece := compressing.compress(block):
            yield piece
    yield compressing.flush()


def lines_in(pieces: Iterable[bytes], path: str, *, compressed: bool) -> Iterator[bytes]:
    """Yield the lines of a file from its pieces, without their line breaks.

    Raises:
        DamagedArchive: The file cannot be decompressed or is cut off.
    """
    decompressing = zstandard.ZstdDecompressor().decompressobj() if compressed else None
    rest = b""
    try:
        for piece in pieces:
            *complete, rest = (rest + (decompressing.decompress(piece) if decompressing else piece)).split(b"\n")
            yield from complete
    except zstandard.ZstdError as error:
        raise DamagedArchive(f"{path} cannot be decompressed: {error}") from error
    if rest or (decompressing is not None and not decompressing.eof):
        raise DamagedArchive(f"{path} is cut off")
