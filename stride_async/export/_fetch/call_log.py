"""A log of the calls of a run, so that the rate limit is kept across a restart."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable
from functools import lru_cache

from stride_async._client import StrideClient
from stride_async._events import AttemptEnded, AttemptStarted, Event
from stride_async._net.throttle import WINDOW
from stride_async._wire.endpoints.conversations import limit_key_of
from stride_async.export._archive.archive import Archive
from stride_async.export._archive.errors import ArchiveError
from stride_async.export._archive.layout import CALLS, run_file
from stride_async.export._archive.logs import RunLog

_STARTED, _ENDED = b"+", b"-"
# More than a minute of calls takes.
_LAST_BYTES = 16_777_216
_LAST_FILES = 30


class CallLog:
    """Receives the events of a client, and writes down when each call to a conversation started and ended.

    An end is written together with the next start. If a kill loses it, the call counts as one that was under way.

    An event cannot fail its call, so a disk or store that refuses a write ends the log, and `require_written` ends the
    run.
    """

    def __init__(self, archive: Archive, run: str) -> None:
        self._file = archive.files.open_log(run_file(run, CALLS))
        self._ended = b""
        self._is_open = True
        self._error: OSError | ArchiveError | None = None

    def close(self) -> None:
        """Write the last lines, and ignore events from now on."""
        self._write(b"")
        self._is_open = False
        try:
            self._file.close()
        except ArchiveError as error:
            self._error = self._error or error

    def note(self, event: Event) -> None:
        """Take one event."""
        if not isinstance(event, AttemptStarted | AttemptEnded) or not self._is_open:
            return
        key = _limit_key(event.path)
        if key is None:
            return
        if isinstance(event, AttemptEnded):
            self._ended += b"%s%.3f %s\n" % (_ENDED, time.time(), key)
        else:
            self._write(b"%s%.3f %s\n" % (_STARTED, time.time(), key))

    def require_written(self) -> None:
        """Raise the error if a call could not be written down: the next run would not know of it.

        Raises:
            OSError, ArchiveError: The disk or the object store refused it.
        """
        if self._error is not None:
            raise self._error

    def _write(self, started: bytes) -> None:
        if self._error is None:
            try:
                self._file.write(self._ended + started)
            except (OSError, ArchiveError) as error:
                self._error = error
        self._ended = b""


def recent_calls(archive: Archive, runs: Iterable[str]) -> list[tuple[str, float]]:
    """Return the calls that runs made in the last minute: the key of the limit, and the seconds since the end.

    A limit slot is free again one window after its call ended. A call that was under way when its process was killed
    may have been counted by the service as late as now.

    The clock of the machine that wrote a log may be behind the one of this machine. So its last line counts as no older
    than the file, by the clock of what holds it.
    """
    now = time.time()
    calls: list[tuple[str, float]] = []
    for run in runs:
        log = RunLog(archive.files, run, CALLS)
        age = log.age()
        if age is None or age > WINDOW:
            continue
        under_way: Counter[str] = Counter()
        lines = log.read_end(_LAST_BYTES, _LAST_FILES).splitlines()
        behind = max(0.0, now - age - max((_seconds(line[1:].partition(b" ")[0]) for line in lines), default=now))
        for line in lines:
            at, _, name = line[1:].partition(b" ")
            key = name.decode("utf-8", "replace")
            if line.startswith(_STARTED):
                under_way[key] += 1
            elif line.startswith(_ENDED):
                under_way[key] -= 1
                seconds_ago = now - behind - _seconds(at)
                if seconds_ago < WINDOW:
                    calls.append((key, max(0.0, seconds_ago)))
        calls += [(key, 0.0) for key in under_way.elements()]
    return calls


class LostCalls:
    """The calls of a killed run that are missing at the end of its log, for the conversations that it was for.

    Such a conversation may have used its limit up just before the kill.
    """

    def __init__(self, client: StrideClient, conversation_ids: Collection[str]) -> None:
        self._client = client
        self._ids = set(conversation_ids)
        self._since = time.monotonic()

    def count(self, conversation_ids: Iterable[str]) -> int:
        """Return how many of these conversations have to wait."""
        limit = self._client.settings.calls_per_minute
        return sum(id in self._ids for id in conversation_ids) if limit is not None else 0

    def recall(self, conversation_id: str) -> None:
        """Make the first call to a conversation wait until the limit has room again in any case."""
        limit, seconds_ago = self._client.settings.calls_per_minute, time.monotonic() - self._since
        if conversation_id in self._ids and limit is not None and seconds_ago < WINDOW:
            for _ in range(limit):
                self._client.recall_call(conversation_id, seconds_ago)
        self._ids.discard(conversation_id)


def _seconds(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0  # A kill cut the line off.


@lru_cache
def _limit_key(path: str) -> bytes | None:
    key = limit_key_of(path)
    return None if key is None else key.encode("utf-8", "surrogatepass")
