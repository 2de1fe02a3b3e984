"""`stride export`: export a site to a folder, or bring the folder up to date."""

from __future__ import annotations

import asyncio
import re
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import attrs
import click
from rich import filesize

from stride_async import StrideClient, StrideError
from stride_async._cli import show
from stride_async._cli.archives import archive_errors, json_fields
from stride_async._cli.connect import with_client
from stride_async._cli.exits import CommandError, Exit, os_exit_code
from stride_async._cli.export_progress import ExportProgress
from stride_async._cli.options import json_option, verbose_option
from stride_async._settings import MOST_ITEMS_A_PAGE
from stride_async.export import (
    ConversationStarted,
    Estimate,
    ExportEvent,
    ExportOptions,
    Failure,
    RunStarted,
    Selection,
    Summary,
    estimate,
    export,
    room_in_address,
)

# At most so many, to keep the summary short; the run's failures.jsonl lists all of them.
_FAILURES_SHOWN = 5
_LONGEST_SHOWN_ERROR = 160
# Kinds of failures that another run with `--retry-failed` does not fix.
_NOT_RETRIED = frozenset({"selector", "archive", "conversation"})
_SIZE = re.compile(r"(\d{1,15}(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_SPAN = re.compile(r"(\d{1,9})([dhm])")
_SPAN_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}


def _parse_media(_: click.Context, __: click.Parameter, value: str) -> Literal["all", "none"] | int:
    if value == "all":
        return "all"
    if value == "none":
        return "none"
    match = _SIZE.fullmatch(value.removeprefix("<"))
    if not value.startswith("<") or match is None:
        raise click.BadParameter(f"{value!r} is not all, none or a size such as '<10MB'.")
    number, unit, binary = match.groups()
    power = " kmgt".index(unit.lower() or " ")
    return max(0, int(float(number) * (1024 if binary else 1000) ** power) - 1)


def _parse_rescan(_: click.Context, __: click.Parameter, value: str | None) -> timedelta | Literal["all"] | None:
    if value is None:
        return None
    if value == "all":
        return "all"
    match = _SPAN.fullmatch(value)
    if match is None:
        raise click.BadParameter(f"{value!r} is not all or a time span such as 30d, 12h or 90m.")
    return int(match[1]) * _SPAN_UNITS[match[2]]


def _parse_zone(_: click.Context, __: click.Parameter, value: str | None) -> ZoneInfo | None:
    try:
        return None if value is None else ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:
        raise click.BadParameter(f"{value!r} is not a time zone such as Europe/Berlin.") from error


@click.command(name="export")
@click.argument("selectors", nargs=-1)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder of the archive.")
@click.option(
    "--type",
    "kinds",
    type=click.Choice(["public", "private", "direct", "group"]),
    multiple=True,
    help="Only conversations of this type; can be repeated.",
)
@click.option("--since", metavar="TIME", help="Only messages sent at or after this time.")
@click.option("--until", metavar="TIME", help="Only messages sent before this time.")
@click.option("--tz", "zone", metavar="ZONE", callback=_parse_zone, help="Time zone of a TIME that has none.")
@click.option("--media", default="all", show_default=True, callback=_parse_media, help="Files: all, none, or '<SIZE'.")
@click.option("--concurrency", type=click.IntRange(1), default=32, show_default=True, help="Conversations at once.")
@click.option(
    "--rescan", metavar="SPAN|all", callback=_parse_rescan, help="Fetch held messages again: all, or the last 30d."
)
@click.option("--dry-run", is_flag=True, help="Only show what would be done, and how long it takes.")
@click.option("--retry-failed", is_flag=True, help="Fetch only what earlier runs missed.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first failure.")
@json_option
@verbose_option
def command(
    *,
    selectors: Sequence[str],
    output: Path,
    kinds: Sequence[str],
    since: str | None,
    until: str | None,
    zone: ZoneInfo | None,
    media: Literal["all", "none"] | int,
    concurrency: int,
    rescan: timedelta | Literal["all"] | None,
    dry_run: bool,
    retry_failed: bool,
    fail_fast: bool,
    as_json: bool,
) -> None:
    """Export a site to a folder, or bring the folder up to date.

    However an export ends, the same command resumes it. Run later, the command fetches what is new or has changed.

    A SELECTOR is a conversation's id, its URL, or its name, where * matches any text and ? any character. With ^ in
    front, it excludes what it matches. @FILE stands for the selectors in FILE, one per line, and ^@FILE excludes what
    they match. If a name begins with ^ or @, write ? instead. Without selectors, all conversations are exported.

    TIME is ISO 8601, such as 2018-06-01T08:00:00Z, or 2018-06-01 with --tz.

    On a terminal, the export ends with a summary on stderr. JSON lines report each event as it happens. What could not
    be fetched is listed there and in the archive, and the exit code is 5.

    \b
    Examples:
        stride export -o site
        stride export -o site --dry-run
        stride export 'team-*' ^team-test -o teams --media '<10MB'
        stride export @rooms.txt -o rooms --since 2018-06-01 --tz Europe/Berlin
        stride export -o site --rescan 30d
        stride export -o site --retry-failed
    """
    try:
        options = ExportOptions(
            selection=Selection(tuple(_read_selectors(selectors)), frozenset(kinds)),
            since=_parse_time("--since", since, zone),
            until=_parse_time("--until", until, zone),
            media=media,
            rescan=rescan,
            concurrency=concurrency,
            retry_failed=retry_failed,
            fail_fast=fail_fast,
        )
    except ValueError as error:
        raise CommandError(Exit.USAGE, str(error)) from error

    async def work(client: StrideClient) -> int:
        _check_site(client, options.selection)
        if dry_run:
            await _estimate(client, output, options, as_json=as_json)
            return Exit.DONE
        return await _export(client, output, options, as_json=as_json)

    with archive_errors():
        code = with_client(work)
    if code != Exit.DONE:
        raise click.exceptions.Exit(code)


def _read_selectors(given: Sequence[str]) -> Iterator[str]:
    """Yield the selectors, with those of each `@FILE` in its place.

    Raises:
        CommandError: A file cannot be used, or all files that were to select something are empty.
    """
    expanded = {each: [each] if not each.removeprefix("^").startswith("@") else _in_file(each) for each in given}
    including = [each for each in expanded if not each.startswith("^")]
    if including and not any(expanded[each] for each in including):
        files = ", ".join(each[1:] for each in including)
        raise CommandError(Exit.NOTHING_SELECTED, f"There are no selectors in {files}.")
    for each in given:
        yield from expanded[each]


def _in_file(given: str) -> list[str]:
    """Return the selectors of an `@FILE` or `^@FILE`, the latter each with its `^`."""
    sign, _, file = given.partition("@")
    try:
        lines = Path(file).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise CommandError(Exit.USAGE, f"{file} is not a UTF-8 text file: {error}") from error
    selectors = list(filter(None, map(str.strip, lines)))
    if sign and (excluding := next((each for each in selectors if each.startswith("^")), None)):
        message = f"{given} excludes everything in {file}, so no selector in it can begin with ^, as {excluding} does."
        raise CommandError(Exit.USAGE, message)
    return [sign + selector for selector in selectors]


def _parse_time(option: str, value: str | None, zone: ZoneInfo | None) -> datetime | None:
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        message = f"{option}: {value!r} is not a valid time, such as 2018-06-01T08:00:00Z."
        raise CommandError(Exit.USAGE, message) from None
    if time.tzinfo is not None:
        return time
    if zone is None:
        message = f"{option}: {value!r} has no time zone. Write {time.isoformat()}Z, or add --tz."
        raise CommandError(Exit.USAGE, message)
    return time.replace(tzinfo=zone)


def _check_site(client: StrideClient, selection: Selection) -> None:
    for selector in selection.selectors:
        address = room_in_address(selector.removeprefix("^"))
        if address is not None and address[0] != client.cloud_id:
            message = f"{selector} belongs to site {address[0]}, but STRIDE_CLOUD_ID is {client.cloud_id}."
            raise CommandError(Exit.USAGE, message)


async def _estimate(client: StrideClient, archive: Path, options: ExportOptions, *, as_json: bool) -> None:
    """Show what an export would fetch and how long it takes, as far as that can be known beforehand."""
    found = await estimate(client, archive, options)
    if show.for_people(as_json=as_json):
        rows = ((one.name, f"{one.held:,}", f"{one.calls:,}", one.conversation_id) for one in found)
        show.table(("CONVERSATION", "HELD", "MIN. CALLS", "ID"), rows)
    else:
        show.json_lines(map(json_fields, found))
    conversations, held = show.counted(len(found), "conversation"), sum(one.held for one in found)
    show.message(f"{conversations}, {held:,} messages held, at least {sum(one.calls for one in found):,} calls.")
    if any(one.open_ended for one in found):
        show.message(
            "The length of a history is not known before it is read. "
            f"Each {MOST_ITEMS_A_PAGE} messages take one more call, and so does each file."
        )
    if client.settings.calls_per_minute is not None:
        show.message(_pace(found, client.settings.calls_per_minute, options.concurrency))


def _pace(found: Sequence[Estimate], limit: int, concurrency: int) -> str:
    at_once = min(concurrency, len(found))
    # The calls of one minute may be made at once: only those beyond them have to wait.
    waits = [max(0, one.calls - 1) // limit * 60 for one in found]
    seconds = max(*waits, sum(waits) / at_once)
    waiting = f"at least {seconds:,.0f} s of waiting" if seconds else "no waiting as far as known"
    messages = limit * MOST_ITEMS_A_PAGE * at_once
    return (
        f"With {limit:,} calls per minute and conversation, and {show.counted(at_once, 'conversation')} at once: "
        f"{waiting}, up to {messages:,} messages per minute."
    )


@attrs.define
class _Events:
    """What the messages at the end of a run need of its events."""

    started: bool = False
    names: dict[str, str] = attrs.field(factory=dict)
    """Names of conversations by id."""
    failures: list[Failure] = attrs.field(factory=list)
    summary: Summary | None = None

    def take(self, event: ExportEvent) -> None:
        match event:
            case RunStarted():
                self.started = True
                if event.continued:
                    show.message(f"Resuming the interrupted run of {_started_at(event.run)}.")
            case ConversationStarted():
                self.names[event.conversation_id] = event.name
            case Failure():
                self.failures.append(event)
            case Summary():
                self.summary = event


async def _export(client: StrideClient, archive: Path, options: ExportOptions, *, as_json: bool) -> int:
    progress, taken = ExportProgress(client.settings.calls_per_minute, options.concurrency), _Events()
    watched = client.with_settings(attrs.evolve(client.settings, on_event=progress.on_client_event))
    try:
        with _cancelling_on_signals() as stopped:
            async with progress.shown(), aclosing(export(watched, archive, options)) as events:
                async for event in events:
                    progress.on_export_event(event)
                    taken.take(event)
                    if not show.for_people(as_json=as_json):
                        _print(event)
    except asyncio.CancelledError:
        if not stopped.is_set():
            raise
        if (task := asyncio.current_task()) is not None:
            task.uncancel()
        show.message(_stopped("Interrupted", progress))
        return Exit.INTERRUPTED
    except StrideError:
        if taken.started:
            show.message(_stopped("Stopped", progress))
        raise
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        resume = ". What was written is kept: run the same command again to resume." if taken.started else ""
        message = f"Cannot write the archive: {where}{error.strerror or error}{resume}"
        raise CommandError(os_exit_code(error), message) from error
    assert taken.summary is not None
    show.message("\n".join(_summary(taken.summary, taken, progress, archive)))
    return Exit.PARTIAL if taken.failures else Exit.DONE


def _print(event: ExportEvent) -> None:
    try:
        show.json_lines([{"event": type(event).__name__, **json_fields(event)}])
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CommandError(os_exit_code(error), f"Cannot write to stdout: {error.strerror or error}") from error


def _started_at(run: str) -> str:
    """Return when a run started, which its name says."""
    started = datetime.strptime(run.partition(".")[0], "%Y%m%dT%H%M%S")
    return f"{started:%Y-%m-%d %H:%M} UTC"


def _stopped(how: str, progress: ExportProgress) -> str:
    if progress.total is None:
        return f"{how} before the first conversation. To start again, run:\n  {_command_line()}"
    done = f"{progress.conversations:,} of {show.counted(progress.total, 'conversation')} done"
    return f"{how}. What was fetched is kept ({done}). To resume, run:\n  {_command_line()}"


@contextmanager
def _cancelling_on_signals() -> Iterator[threading.Event]:
    """Cancel the current task on the first Ctrl-C or SIGTERM, and end the process at once on the second.

    Yields an event that is set if a signal came. Ending at once is safe: an archive is consistent at every instant.
    """
    stopped = threading.Event()
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield stopped
        return

    def stop(number: int) -> None:
        if stopped.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stopped.set()
        show.message("\nStopping, and keeping what was fetched. Press Ctrl-C again to stop at once.")
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        yield stopped
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _command_line() -> str:
    return shlex.join(["stride", *sys.argv[1:]])


def _summary(summary: Summary, taken: _Events, progress: ExportProgress, archive: Path) -> Iterator[str]:
    """Yield the lines of the summary, the verdict first."""
    failures = taken.failures
    hints = {failure.hint for failure in failures}
    fetched = bool(summary.messages or progress.messages or summary.media or summary.users)
    yield _verdict(len(failures), fetched=fetched)
    for failure in failures[:_FAILURES_SHOWN]:
        room = taken.names.get(failure.conversation_id, failure.conversation_id)
        what = " ".join(filter(None, (failure.what, failure.id, room and f"of {room}")))
        hint = f" ({failure.hint})" if len(hints) > 1 else ""
        yield show.printable(f"- {what}: {failure.error[:_LONGEST_SHOWN_ERROR]}{hint}")
    if len(failures) > _FAILURES_SHOWN:
        more = len(failures) - _FAILURES_SHOWN
        yield f"  ... and {more:,} more, all listed in {archive}/runs/{summary.run}/failures.jsonl"
    conversations = show.counted(summary.conversations, "conversation")
    changes = f"{summary.new:,} new, {summary.changed:,} changed, {summary.gone:,} deleted"
    yield f"{conversations}, {summary.messages:,} messages ({changes}), {summary.users:,} people."
    files = f"{show.counted(summary.media, 'file')} ({filesize.decimal(summary.media_bytes)})"
    yield f"Fetched {files} in this run. It took {progress.calls:,} calls and {summary.seconds:.1f} s."
    yield f"Content digest {summary.content_digest}"
    if len(hints) == 1:
        yield show.printable(f"Hint: {hints.pop()}.")
    if any(failure.what not in _NOT_RETRIED for failure in failures):
        yield "To fetch what is missing, run:"
        yield f"  {_command_line()}{'' if '--retry-failed' in sys.argv else ' --retry-failed'}"
    yield "To check the archive, run:"
    yield f"  stride verify {shlex.quote(str(archive))}"


def _verdict(missing: int, *, fetched: bool) -> str:
    if not missing:
        return "Complete: everything that was selected is in the archive."
    items = f"{show.counted(missing, 'item')} {'is' if missing == 1 else 'are'} missing"
    return f"Partial: {items}, everything else is in the archive." if fetched else f"Nothing was fetched: {items}."
