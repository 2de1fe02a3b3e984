"""What Dask loads in a scheduler or a worker of a test: all that it receives and sends is added to a file.

The file is in the folder TESTS_TAP, and its name is the number of the process.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from distributed.comm import tcp

_received, _sent = tcp.from_frames, tcp.to_frames


def _keep(frames: Sequence[bytes | memoryview]) -> None:
    with Path(os.environ["TESTS_TAP"], str(os.getpid())).open("ab") as file:
        file.writelines(frames)


async def _from_frames(frames: Sequence[bytes | memoryview], *args: object, **options: object) -> object:
    _keep(frames)
    return await _received(frames, *args, **options)


async def _to_frames(*args: object, **options: object) -> Sequence[bytes | memoryview]:
    frames = await _sent(*args, **options)
    _keep(frames)
    return frames


tcp.from_frames, tcp.to_frames = _from_frames, _to_frames
