"""The summary at the end of `stride export`, and what it needs of the events before."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import attrs
from rich import filesize

from stride_async._cli import show
from stride_async._cli.escape import printable
from stride_async._cli.export_progress import ExportProgress
from stride_async.export import (
    ConversationStarted,
    ExportEvent,
    Failure,
    RunStarted,
    RunWaiting,
    Shard,
    Summary,
    Unprotected,
)

# At most so many, to keep the summary short; the run's failures.jsonl lists all of them.
_FAILURES_SHOWN = 5
_LONGEST_SHOWN_ERROR = 160
# Kinds of failures that another run does not fix.
_NOT_RETRIED = frozenset({"selector", "archive", "conversation"})

# A run with this option also fetches what was refused for good; any run fetches the rest.
_RETRY = "--retry-failed"


@attrs.define
class RunReport:
    """What happened in a run: collected from its events, and reported at its end."""

    shard: Shard | None = None
    started: bool = False
    failures: list[Failure] = attrs.field(factory=list)
    _names: dict[str, str] = attrs.field(factory=dict, init=False)  # Of conversations, by id.
    _summary: Summary | None = attrs.field(default=None, init=False)

    def take(self, event: ExportEvent) -> None:
        """Keep what the report needs of an event, and say if it resumes an interrupted run."""
        match event:
            case RunStarted():
                self.started = True
                if event.continued:
                    show.message(f"Resuming the interrupted run of {_started_at(event.run)}.")
            case Unprotected():
                show.message(f"Warning: {event.what}.")
            case RunWaiting():
                show.message(f"Waiting up to {event.seconds:.0f} s: {event.why}.")
            case ConversationStarted():
                self._names[event.conversation_id] = event.name
            case Failure():
                self.failures.append(event)
            case Summary():
                self._summary = event

    def summary_lines(self, progress: ExportProgress, archive: Path | str) -> Iterator[str]:
        """Yield the lines of the summary of a complete run, the verdict first."""
        summary = self._summary
        assert summary is not None
        fetched = bool(summary.messages or progress.messages or summary.media or summary.users)
        yield _verdict(len(self.failures), fetched=fetched)
        yield from self._failure_lines(f"{archive}/runs/{summary.run}/failures.jsonl")
        conversations = show.counted(summary.conversations, "conversation")
        changes = f"{summary.new:,} new, {summary.changed:,} changed, {summary.gone:,} deleted"
        yield f"{conversations}, {summary.messages:,} messages ({changes}), {summary.users:,} people."
        files = f"{show.counted(summary.media, 'file')} ({filesize.decimal(summary.media_bytes)})"
        yield f"Fetched {files} in this run. It took {progress.calls:,} calls and {summary.seconds:.1f} s."
        of_shard = "" if self.shard is None else f"of shard {self.shard} "
        yield f"Content digest {of_shard}{summary.content_digest}"
        yield from self._advice()
        yield "To check the archive, run:"
        yield f"  stride verify {shlex.quote(str(archive))}"

    def _failure_lines(self, list_of_all: str) -> Iterator[str]:
        hints_differ = len({failure.hint for failure in self.failures}) > 1
        for failure in self.failures[:_FAILURES_SHOWN]:
            room = self._names.get(failure.conversation_id, failure.conversation_id)
            what = " ".join(filter(None, (failure.what, failure.id, room and f"of {room}")))
            hint = f" ({failure.hint})" if hints_differ else ""
            yield printable(f"- {what}: {failure.error[:_LONGEST_SHOWN_ERROR]}{hint}")
        if len(self.failures) > _FAILURES_SHOWN:
            yield f"  ... and {len(self.failures) - _FAILURES_SHOWN:,} more, all listed in {list_of_all}"

    def _advice(self) -> Iterator[str]:
        hints = {failure.hint for failure in self.failures}
        if len(hints) == 1:
            yield printable(f"Hint: {next(iter(hints))}.")
        if any(failure.what not in _NOT_RETRIED for failure in self.failures):
            yield "To fetch what is missing, run:"
            refused = any(_RETRY in hint for hint in hints) and _RETRY not in sys.argv
            yield f"  {_command_line()}{f' {_RETRY}' if refused else ''}"


def _started_at(run: str) -> str:
    """Return when a run started, which its name says."""
    started = datetime.strptime(run.partition(".")[0], "%Y%m%dT%H%M%S")
    return f"{started:%Y-%m-%d %H:%M} UTC"


def _verdict(missing: int, *, fetched: bool) -> str:
    if not missing:
        return "Complete: everything that was selected is in the archive."
    items = f"{show.counted(missing, 'item')} {'is' if missing == 1 else 'are'} missing"
    return f"Partial: {items}, everything else is in the archive." if fetched else f"Nothing was fetched: {items}."


def stopped_message(how: str, progress: ExportProgress) -> str:
    """Return the message about a run that did not complete: what is kept, and how to resume."""
    if progress.total is None:
        return f"{how} before the first conversation. To start again, run:\n  {_command_line()}"
    done = f"{progress.conversations:,} of {show.counted(progress.total, 'conversation')} done"
    return f"{how}. What was fetched is kept ({done}). To resume, run:\n  {_command_line()}"


def _command_line() -> str:
    return shlex.join(["stride", *sys.argv[1:]])
