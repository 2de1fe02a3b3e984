"""The record that one run keeps of itself: what it was asked for, what it could not fetch, how it ended."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Literal

import attrs
import msgspec

from stride_async._json import NOT_DECODABLE
from stride_async.export._archive.archive import Archive
from stride_async.export._archive.layout import (
    CALLS,
    FAILURES,
    FINISHED,
    HEADS,
    PICKED,
    SETTINGS,
    RunFile,
    run_file,
    run_name,
    stem_of_run,
)
from stride_async.export._archive.logs import RunLog
from stride_async.export._archive.state import State
from stride_async.export._archive.storage import Log
from stride_async.export._events import Failure, Summary
from stride_async.export._options import ExportOptions
from stride_async.export._shard import Shard

CONTINUED_WITHIN = 600.0
"""Seconds within which an interrupted run is continued, and what it finished is taken as fresh."""

_MOMENT = "%Y%m%dT%H%M%S.%f"
# The files whose digests finished.json has.
_DIGESTED: tuple[RunFile, ...] = (SETTINGS, PICKED, HEADS)
# How finished.json ends: with the digest of what it would be without this member.
_OWN_DIGEST = b',"sha256":"%b"}'


class RunSettings(msgspec.Struct):
    """What a run was asked for, so that the next one can see whether it is asked for the same. Has no secret."""

    archive: str
    cloud_id: str
    selectors: tuple[str, ...]
    kinds: tuple[str, ...]
    shard: str | None
    since: str | None
    until: str | None
    media: str | int
    rescan: str | None
    retry_failed: bool


class Finished(msgspec.Struct):
    """What finished.json says of the files that the run left."""

    run: str
    failures: int
    files: dict[str, str]
    """Digests of other files of the run."""


class RunRecord:
    """The files of the run that is under way."""

    def __init__(self, archive: Archive, run: str, *, continued: bool) -> None:
        self.run = run
        self.continued = continued
        """Whether the run was interrupted before and continues now."""
        self.fresh_from = time.time() - CONTINUED_WITHIN
        """What this run finished since then need not be checked again; in seconds since the epoch."""
        self._archive = archive
        self._failures: Log | None = None  # Open from the first failure to the end of the run.
        self._lock = threading.Lock()  # Conversations that fail at the same time do so in several threads.

    @classmethod
    def start(
        cls,
        archive: Archive,
        options: ExportOptions,
        picked: Mapping[str, str],
        *,
        stem: str | None = None,
        of_all_shards: bool = False,
    ) -> RunRecord:
        """Start a run over conversations, id to name; or continue the last one of its kind.

        The last run is continued if it was interrupted just now and was asked for the same, or if it has this `stem`.
        The run of all shards together has no part in their work; each of them has a run of its own.
        """
        settings = msgspec.json.encode(_settings_of(archive, options))
        part: Shard | Literal["all"] | None = "all" if of_all_shards else options.shard
        runs = started_runs(archive)
        last = next((run for run in reversed(runs) if run == run_name(stem_of_run(run), part)), None)
        if last is not None and (stem_of_run(last) == stem or _can_be_continued(archive, last, settings)):
            return cls(archive, last, continued=True)
        stem = stem or _new_stem(archive.runs())
        run = run_name(stem, part)
        archive.files.create(run_file(run, SETTINGS), settings)
        archive.files.create(run_file(run, PICKED), msgspec.json.encode(picked))
        return cls(archive, run, continued=False)

    def failures(self) -> list[Failure]:
        """Return the failures recorded so far."""
        return failures_of(self._archive, self.run)

    def add_failures(self, failures: Iterable[Failure]) -> None:
        """Record failures, one a line."""
        lines = b"".join(msgspec.json.encode(attrs.asdict(failure)) + b"\n" for failure in failures)
        with self._lock:
            if self._failures is None:
                self._failures = self._archive.files.open_log(run_file(self.run, FAILURES))
            self._failures.write(lines)

    def close(self) -> None:
        """Close what is open. Everything recorded is written then."""
        with self._lock:
            log, self._failures = self._failures, None
        if log is not None:
            log.close()

    def finish(self, heads: Mapping[str, tuple[int, str]], summary: Summary) -> None:
        """Record that the run is complete.

        The newest commit of each folder is recorded too, so that `verify` can notice a missing commit.
        """
        self.close()
        files = self._archive.files
        files.sync()  # What the summary reports survives a loss of power.
        files.create(run_file(self.run, HEADS), msgspec.json.encode(heads))
        digests = {name: files.sha256(run_file(self.run, name)) for name in _DIGESTED}
        files.create(run_file(self.run, FINISHED), _signed({**attrs.asdict(summary), "files": digests}))


def _new_stem(runs: Iterable[str]) -> str:
    """Return a stem that is greater than those of the runs: another machine's clock may be ahead."""
    now = datetime.now(UTC).strftime(_MOMENT)
    latest = max((run.partition("-")[0] for run in runs), default="")
    if latest >= now:
        with suppress(ValueError, OverflowError):  # The name of a run that something else has made.
            now = (datetime.strptime(latest, _MOMENT) + timedelta(microseconds=1)).strftime(_MOMENT)
    return f"{now}-{secrets.token_hex(3)}"


def started_runs(archive: Archive) -> list[str]:
    """Return the runs that selected conversations and began to work, oldest first."""
    return [run for run in archive.runs() if archive.files.exists(run_file(run, PICKED))]


def picked_by_unfinished(archive: Archive, runs: Iterable[str]) -> set[str]:
    """Return the ids of the conversations that those of the runs selected which did not finish."""
    picked: set[str] = set()
    for run in runs:
        if not archive.files.exists(run_file(run, FINISHED)):
            with suppress(*NOT_DECODABLE):
                picked.update(msgspec.json.decode(archive.files.read(run_file(run, PICKED)), type=dict[str, str]))
    return picked


def failures_of(archive: Archive, run: str) -> list[Failure]:
    """Return what a run could not fetch. A line that a loss of power cut off is left out."""
    failures = []
    for line in RunLog(archive.files, run, FAILURES).read().splitlines():
        with suppress(*NOT_DECODABLE):
            failures.append(msgspec.json.decode(line, type=Failure))
    return failures


def summary_of(archive: Archive, run: str) -> Summary | None:
    """Return the summary of a run, None if it has not finished."""
    path = run_file(run, FINISHED)
    return msgspec.json.decode(archive.files.read(path), type=Summary) if archive.files.exists(path) else None


def failures_in(conversation_id: str, state: State) -> list[Failure]:
    """Return what could not be fetched of a conversation, or of the people, and is still missing."""
    failures = []
    for failed in state.failed.values():
        hint = "run again with --retry-failed" if failed.final else "run again"
        hint = hint if state.listed else "the service no longer lists its conversation"
        failures.append(Failure(conversation_id, failed.what, failed.id, failed.error, hint))
    return failures


def has_valid_signature(data: bytes) -> bool:
    """Return whether a finished.json ends with its own digest."""
    unsigned = data[: -len(_OWN_DIGEST % _sha256(b""))]
    return data == unsigned + _OWN_DIGEST % _sha256(unsigned + b"}")


def _signed(value: Mapping[str, object]) -> bytes:
    data = msgspec.json.encode(value)
    return data[:-1] + _OWN_DIGEST % _sha256(data)


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()


def _can_be_continued(archive: Archive, run: str, settings: bytes) -> bool:
    files = archive.files
    if files.exists(run_file(run, FINISHED)):
        return False
    path = run_file(run, SETTINGS)
    ages = (files.age(path), RunLog(files, run, CALLS).age())
    if min((age for age in ages if age is not None), default=CONTINUED_WITHIN) >= CONTINUED_WITHIN:
        return False
    return files.exists(path) and files.read(path) == settings


def _settings_of(archive: Archive, options: ExportOptions) -> RunSettings:
    return RunSettings(
        archive=archive.id,
        cloud_id=archive.cloud_id,
        selectors=options.selection.selectors,
        kinds=tuple(sorted(options.selection.kinds)),
        shard=None if options.shard is None else str(options.shard),
        since=options.since.isoformat() if options.since else None,
        until=options.until.isoformat() if options.until else None,
        media=options.media,
        rescan=str(options.rescan) if options.rescan is not None else None,
        retry_failed=options.retry_failed,
    )
