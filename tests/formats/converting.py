"""Convert in child processes, which can be killed at any touch of the output, or be short of space.

`python -m tests.formats.converting` reads jobs from stdin, one JSON object a line, and forks for each of them.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs

from stride_async.export import Selection
from stride_async.export.formats import ConvertOptions, convert
from stride_async.export.formats._convert import FORMATS, writer_of

# What changes something on disk; of `open`, only what can write.
CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate"}


@attrs.frozen
class Ended:
    """How a conversion in a child process ended."""

    killed: bool
    error: str = ""
    touches: int = 0
    """How often something next to or in the output was about to be changed."""
    peak: int = 0
    """The most memory of the process, in bytes."""
    digest: str = ""


class Converter:
    """A process that converts in children of its own."""

    def __init__(self, **variables: str) -> None:
        self._variables = variables

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.formats.converting"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **self._variables},
            cwd=Path(__file__).parents[2],
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._process.communicate()

    def convert(
        self, archive: Path, format: str, out: Path, *, kill_at: int = 0, largest_file: int = 0, kind: str = ""
    ) -> Ended:
        """Convert; kill the child before the nth change on disk, or let no file become larger than some bytes."""
        job: dict[str, object] = {"archive": str(archive), "format": format, "out": str(out), "kind": kind}
        job |= {"kill_at": kill_at, "largest": largest_file}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(job)}\n")
        self._process.stdin.flush()
        return Ended(**json.loads(self._process.stdout.readline()))


def main() -> None:
    """Serve jobs until stdin ends."""
    for format in FORMATS:
        writer_of(format)
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            os.write(writing, json.dumps(_convert(json.loads(line))).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as result:
            text = result.read()
        os.waitpid(child, 0)
        sys.stdout.write(f"{text.decode() or json.dumps({'killed': True})}\n")
        sys.stdout.flush()


def _convert(job: Mapping[str, object]) -> dict[str, object]:
    out, touches = str(job["out"]), 0

    def note(event: str, args: tuple[object, ...]) -> None:
        nonlocal touches
        if event not in CHANGES or not any(isinstance(arg, str | Path) and _is_near(str(arg), out) for arg in args[:2]):
            return
        if event == "open" and isinstance(args[2], int) and not args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        touches += 1
        if touches == job["kill_at"]:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(note)
    if largest := int(str(job["largest"])):
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    error = digest = ""
    try:
        options = ConvertOptions(selection=Selection(kinds=frozenset(filter(None, [str(job["kind"])]))))
        digest = convert(str(job["archive"]), str(job["format"]), out, options=options).digest
    except Exception as caught:  # noqa: BLE001 -- the parent sees what it is
        error = repr(caught)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"killed": False, "error": error, "touches": touches, "peak": peak, "digest": digest}


def _is_near(path: str, out: str) -> bool:
    """Return whether a path is the output, in it, or next to it with a name made from it."""
    parent, _, name = out.rpartition("/")
    return path.startswith((out, f"{parent}/.{name}"))


if __name__ == "__main__":
    main()
