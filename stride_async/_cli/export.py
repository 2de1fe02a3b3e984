"""`stride export`: a site into a folder, or the folder up to date."""

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
from stride_async._cli.archives import archive_failures, in_json
from stride_async._cli.connect import with_client
from stride_async._cli.exits import Ended, Exit, code_of_os
from stride_async._cli.export_progress import ExportProgress
from stride_async._cli.options import json_option, verbose_option
from stride_async._settings import MOST_ITEMS_A_PAGE
from stride_async.export import (
    ConversationStarted,
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

_FAILURES_SHOWN = 6
"""Of what is missing, so that the summary fits fifteen lines; the rest is in the run's failures.jsonl."""
_WORTH_TRYING = "run again"
"""How the hint of a failure begins that another run may mend."""
_SIZE = re.compile(r"(\d{1,15}(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_SPAN = re.compile(r"(\d{1,9})([dhm])")
_SPAN_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}


def _media(_: click.Context, __: click.Parameter, value: str) -> Literal["all", "none"] | int:
    if value == "all":
        return "all"
    if value == "none":
        return "none"
    match = _SIZE.fullmatch(value.removeprefix("<"))
    if not value.startswith("<") or match is None:
        raise click.BadParameter(f"{value!r} is not all, none or a size such as '<10MB'")
    number, unit, binary = match.groups()
    power = " kmgt".index(unit.lower() or " ")
    return max(0, int(float(number) * (1024 if binary else 1000) ** power) - 1)


def _rescan(_: click.Context, __: click.Parameter, value: str | None) -> timedelta | Literal["all"] | None:
    if value is None:
        return None
    if value == "all":
        return "all"
    match = _SPAN.fullmatch(value)
    if match is None:
        raise click.BadParameter(f"{value!r} is not all or a span such as 30d, 12h or 90m")
    return int(match[1]) * _SPAN_UNITS[match[2]]


def _zone(_: click.Context, __: click.Parameter, value: str | None) -> ZoneInfo | None:
    try:
        return None if value is None else ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:
        raise click.BadParameter(f"there is no time zone {value!r}: write it like Europe/Berlin") from error


@click.command(name="export")
@click.argument("selectors", nargs=-1)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The archive: a folder.")
@click.option(
    "--type",
    "kinds",
    type=click.Choice(["public", "private", "direct", "group"]),
    multiple=True,
    help="Only conversations of this type; may be repeated.",
)
@click.option("--since", metavar="TIME", help="Only messages sent at or after this moment.")
@click.option("--until", metavar="TIME", help="Only messages sent before this moment.")
@click.option("--tz", "zone", metavar="ZONE", callback=_zone, help="Time zone of a TIME that names none.")
@click.option("--media", default="all", show_default=True, callback=_media, help="Files: all, none, or '<SIZE'.")
@click.option("--concurrency", type=click.IntRange(1), default=32, show_default=True, help="Conversations at once.")
@click.option("--rescan", metavar="SPAN|all", callback=_rescan, help="Read again what is held: 30d, 12h, or all of it.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done, and what it takes.")
@click.option("--retry-failed", is_flag=True, help="Only what earlier runs could not get, or did not reach.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first thing that cannot be had.")
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
    """Bring a whole site into a folder, or the folder up to date.

    Whatever stops it, the same command goes on where it was. Run later, it fetches what is new or changed.

    A SELECTOR is a conversation's id, its address in a browser, or a name, in which * stands for anything and ? for
    any one character; ^ before it leaves out what it means. @FILE stands for the selectors in the lines of FILE, and
    ^@FILE leaves out what they mean. A name that begins with ^ or @ is written with ? instead. Without any selector,
    everything is meant. TIME is ISO 8601 with its zone, such as 2018-06-01T08:00:00Z; --tz names the zone of one
    without, such as 2018-06-01.

    On a terminal it ends with a summary on stderr. JSON lines tell each event as it happens. What could not be had is
    listed, in the archive too, and the exit code is 5.

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
            since=_moment("--since", since, zone),
            until=_moment("--until", until, zone),
            media=media,
            rescan=rescan,
            concurrency=concurrency,
            retry_failed=retry_failed,
            fail_fast=fail_fast,
        )
    except ValueError as error:
        raise Ended(Exit.USAGE, str(error)) from error

    async def work(client: StrideClient) -> int:
        _must_be_of(client, options.selection)
        if dry_run:
            await _estimate(client, output, options, as_json=as_json)
            return Exit.DONE
        return await _export(client, output, options, as_json=as_json)

    with archive_failures():
        code = with_client(work)
    if code != Exit.DONE:
        raise click.exceptions.Exit(code)


def _read_selectors(words: Sequence[str]) -> Iterator[str]:
    """The selectors, those of files among them.

    Raises:
        Ended: a file cannot be used, or there is nothing in those that were to say what is meant.
    """
    left = {word: [word] if not word.removeprefix("^").startswith("@") else _in_file(word) for word in words}
    meant = [word for word in left if not word.startswith("^")]
    if meant and not any(left[word] for word in meant):
        raise Ended(Exit.NOTHING_SELECTED, f"no selector is in {', '.join(word[1:] for word in meant)}")
    for word in words:
        yield from left[word]


def _in_file(word: str) -> list[str]:
    """The selectors that `@FILE` or `^@FILE` stands for, the latter each with its `^`."""
    sign, _, file = word.partition("@")
    try:
        lines = Path(file).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise Ended(Exit.USAGE, f"{file} is no text in UTF-8: {error}") from error
    selectors = list(filter(None, map(str.strip, lines)))
    if sign and (leaving_out := next((each for each in selectors if each.startswith("^")), None)):
        raise Ended(Exit.USAGE, f"{word} leaves out all that is in {file}; {leaving_out} there must not begin with ^")
    return [sign + selector for selector in selectors]


def _moment(option: str, value: str | None, zone: ZoneInfo | None) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise Ended(Exit.USAGE, f"{option}: {value!r} is no moment such as 2018-06-01T08:00:00Z") from None
    if moment.tzinfo is not None:
        return moment
    if zone is None:
        whole = moment.isoformat()
        raise Ended(Exit.USAGE, f"{option}: {value!r} names no time zone: write {whole}Z, or add --tz")
    return moment.replace(tzinfo=zone)


def _must_be_of(client: StrideClient, selection: Selection) -> None:
    for selector in selection.selectors:
        address = room_in_address(selector.removeprefix("^"))
        if address is not None and address[0] != client.cloud_id:
            raise Ended(Exit.USAGE, f"{selector} is of site {address[0]}, STRIDE_CLOUD_ID is {client.cloud_id}")


async def _estimate(client: StrideClient, archive: Path, options: ExportOptions, *, as_json: bool) -> None:
    """What would be done. Nobody knows how long a history is before it is read; that is said, too."""
    found = await estimate(client, archive, options)
    if show.for_people(as_json=as_json):
        rows = ((one.name, f"{one.held:,}", f"{one.calls:,}", one.conversation_id) for one in found)
        show.table(("CONVERSATION", "HELD", "CALLS AT LEAST", "ID"), rows)
    else:
        show.json_lines(map(in_json, found))
    calls = sum(one.calls for one in found)
    limit = client.settings.calls_per_minute
    told = [f"{len(found):,} conversations, {sum(one.held for one in found):,} messages held, at least {calls:,} calls"]
    if any(one.open_ended for one in found):
        told.append(
            f"How long a history is shows only when it is read: a call brings {MOST_ITEMS_A_PAGE} messages "
            "at most, and each file is a call more"
        )
    if limit is not None:
        at_once = min(options.concurrency, len(found))
        # A minute's calls may come at once: only more than these have to wait.
        waits = [max(0, one.calls - 1) // limit * 60 for one in found]
        seconds = max(*waits, sum(waits) / at_once)
        waiting = f"at least {seconds:,.0f} s of waiting" if seconds else "no waiting as far as known"
        told.append(
            f"At {limit:,} calls a minute in a conversation, {at_once:,} of them at once: {waiting}, and up to"
            f" {limit * MOST_ITEMS_A_PAGE * at_once:,} messages a minute"
        )
    show.words(".\n".join(told) + ".")


@attrs.define
class _Heard:
    """What a run told, for the words at its end."""

    begun: bool = False
    names: dict[str, str] = attrs.field(factory=dict)
    """Of conversations, by id."""
    failures: list[Failure] = attrs.field(factory=list)
    summary: Summary | None = None

    def take(self, event: ExportEvent) -> None:
        match event:
            case RunStarted():
                self.begun = True
                if event.continued:
                    show.words(f"Going on with the run of {_begun_at(event.run)}, which was interrupted.")
            case ConversationStarted():
                self.names[event.conversation_id] = event.name
            case Failure():
                self.failures.append(event)
            case Summary():
                self.summary = event


async def _export(client: StrideClient, archive: Path, options: ExportOptions, *, as_json: bool) -> int:
    progress, heard = ExportProgress(client.settings.calls_per_minute, options.concurrency), _Heard()
    watched = client.with_settings(attrs.evolve(client.settings, on_event=progress.heard))
    try:
        with _stopping() as stopped:
            async with progress.shown(), aclosing(export(watched, archive, options)) as events:
                async for event in events:
                    progress.take(event)
                    heard.take(event)
                    if not show.for_people(as_json=as_json):
                        _print(event)
    except asyncio.CancelledError:
        if not stopped.is_set():
            raise
        if (task := asyncio.current_task()) is not None:
            task.uncancel()
        show.words(_stopped("Interrupted", progress))
        return Exit.INTERRUPTED
    except StrideError:
        if heard.begun:
            show.words(_stopped("Stopped", progress))
        raise
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        go_on = "; what was written is kept, run it again to go on" if heard.begun else ""
        told = f"the archive cannot be written: {where}{error.strerror or error}{go_on}"
        raise Ended(code_of_os(error), told) from error
    assert heard.summary is not None
    show.words("\n".join(_told(heard.summary, heard, progress, archive)))
    return Exit.PARTIAL if heard.failures else Exit.DONE


def _print(event: ExportEvent) -> None:
    try:
        show.json_lines([{"event": type(event).__name__, **in_json(event)}])
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Ended(code_of_os(error), f"stdout cannot be written: {error.strerror or error}") from error


def _begun_at(run: str) -> str:
    """When a run began, by its name."""
    began = datetime.strptime(run.partition(".")[0], "%Y%m%dT%H%M%S")
    return f"{began:%Y-%m-%d %H:%M} UTC"


def _stopped(how: str, progress: ExportProgress) -> str:
    if progress.total is None:
        return f"{how} before the first conversation. Run it again:\n  {_again()}"
    done = f"{progress.conversations:,} of {progress.total:,} conversations done"
    return f"{how}; all that came is kept ({done}). Run it again to go on:\n  {_again()}"


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """The first Ctrl-C or SIGTERM cancels what goes on here, the second ends the process at once.

    An archive is whole at every instant, so that even this is safe.
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
        show.words("\nStopping: what came is being kept. Once more stops at once.")
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        yield stopped
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _again() -> str:
    return shlex.join(["stride", *sys.argv[1:]])


def _told(summary: Summary, heard: _Heard, progress: ExportProgress, archive: Path) -> Iterator[str]:
    """The summary, the verdict first."""
    failures = heard.failures
    hints = {failure.hint for failure in failures}
    yield _verdict(len(failures), came=bool(summary.messages or progress.messages or summary.media or summary.users))
    for failure in failures[:_FAILURES_SHOWN]:
        room = heard.names.get(failure.conversation_id, failure.conversation_id)
        what = " ".join(filter(None, (failure.what, failure.id, room and f"of {room}")))
        hint = f" ({failure.hint})" if len(hints) > 1 else ""
        yield show.printable(f"  {what}: {failure.error[:160]}{hint}")
    if len(failures) > _FAILURES_SHOWN:
        yield f"  and {len(failures) - _FAILURES_SHOWN:,} more, all in {archive}/runs/{summary.run}/failures.jsonl"
    yield (
        f"Conversations {summary.conversations:,}; messages {summary.messages:,}: "
        f"{summary.new:,} new, {summary.changed:,} changed, {summary.gone:,} gone."
    )
    yield f"Files that came {summary.media:,} ({filesize.decimal(summary.media_bytes)}); people met {summary.users:,}."
    yield f"Calls {progress.calls:,} in {summary.seconds:.1f} s. Content digest {summary.content_digest}"
    if len(hints) == 1:
        yield show.printable(f"Hint: {hints.pop()}.")
    if any(failure.hint.startswith(_WORTH_TRYING) for failure in failures):
        yield f"Try again for what is missing: {_again()}{'' if '--retry-failed' in sys.argv else ' --retry-failed'}"
    yield f"Check it: stride verify {shlex.quote(str(archive))}"


def _verdict(missing: int, *, came: bool) -> str:
    if not missing:
        return "Complete: everything that was asked for is here."
    things = f"{missing:,} {'thing is' if missing == 1 else 'things are'} missing"
    return f"Partial: {things}, all else is here." if came else f"Nothing came: {things}."
