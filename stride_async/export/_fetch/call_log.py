"""The calls of a run, written down as they are made: the limit is kept across a restart."""

from __future__ import annotations

import time
from collections import Counter
from functools import lru_cache
from types import TracebackType
from typing import Self
from urllib.parse import unquote

from stride_async._client import StrideClient
from stride_async._events import AttemptEnded, AttemptStarted, Event
from stride_async._net.throttle import WINDOW
from stride_async.export._archive.files import Archive

_BEGUN, _ENDED = b"+", b"-"
_LAST_BYTES = 16_777_216
"""More than a minute of calls takes."""


class CallLog:
    """Receives a client's events; notes when each call to a conversation began and ended.

    An end is written with the beginning that follows: lost in a kill, the call counts as one that was under way.
    """

    def __init__(self, archive: Archive, run: str) -> None:
        self._file = archive.log(_path_of(run))
        self._ended = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.write(self._ended)
        self._file.close()

    def note(self, event: Event) -> None:
        """One event."""
        if not isinstance(event, AttemptStarted | AttemptEnded) or self._file.closed:
            return
        key = _limit_key(event.path)
        if key is None:
            return
        if isinstance(event, AttemptEnded):
            self._ended += b"%s%.3f %s\n" % (_ENDED, time.time(), key)
        else:
            self._file.write(self._ended + b"%s%.3f %s\n" % (_BEGUN, time.time(), key))
            self._ended = b""


def recall(archive: Archive, client: StrideClient, runs: list[str]) -> None:
    """Count the calls that earlier runs made in the last minute against the limit of this client.

    A place is free one window after its call ended. A call that was under way when its process was killed may have
    been counted by the service as late as now.
    """
    now = time.time()
    for run in runs:
        age = archive.seconds_since_written(_path_of(run))
        if age is None or age > WINDOW:
            continue
        begun: Counter[str] = Counter()
        for line in archive.end_of(_path_of(run), _LAST_BYTES).splitlines():
            at, _, name = line[1:].partition(b" ")
            key = name.decode("utf-8", "replace")
            if line.startswith(_BEGUN):
                begun[key] += 1
            elif line.startswith(_ENDED):
                begun[key] -= 1
                ago = now - _seconds(at)
                if ago < WINDOW:
                    client.recall_call(key, max(0.0, ago))
        for key in begun.elements():
            client.recall_call(key, 0.0)


def _path_of(run: str) -> str:
    return f"runs/{run}/calls.log"


def _seconds(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0  # A line that a kill cut off.


@lru_cache
def _limit_key(path: str) -> bytes | None:
    """The limit's key in a path of the service: a conversation id, or `user/ID`."""
    parts = path.split("/")
    if len(parts) > 4 and parts[1] == "site" and parts[3] == "conversation":
        key = f"user/{unquote(parts[5])}" if parts[4] == "user" and len(parts) > 5 else unquote(parts[4])
        return key.encode("utf-8", "surrogatepass")
    return None
