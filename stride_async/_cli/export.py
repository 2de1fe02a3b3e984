"""`stride export`: a site into a folder, or the folder up to date."""

from __future__ import annotations

import asyncio
import re
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import attrs
import click
from rich import filesize

from stride_async import StrideClient
from stride_async._cli import show
from stride_async._cli.archives import archive_failures, in_json
from stride_async._cli.connect import with_client
from stride_async._cli.exits import Ended, Exit, code_of_os
from stride_async._cli.export_progress import ExportProgress
from stride_async._cli.options import json_option, verbose_option
from stride_async.export import (
    ConversationStarted,
    ExportOptions,
    Failure,
    Selection,
    Summary,
    estimate,
    export,
    room_in_address,
)

_FAILURES_SHOWN = 6
"""Of what is missing, so that the summary fits fifteen lines; the rest is in the run's failures.jsonl."""
_PAGE_MESSAGES = 75
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_SPAN = re.compile(r"(\d+)([dhm])")
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
@click.option("--since", metavar="TIME", help="Only messages sent after this moment.")
@click.option("--until", metavar="TIME", help="Only messages sent before this moment.")
@click.option("--tz", "zone", metavar="ZONE", callback=_zone, help="Time zone of a TIME that names none.")
@click.option("--media", default="all", show_default=True, callback=_media, help="Files: all, none, or '<SIZE'.")
@click.option("--concurrency", type=click.IntRange(1), default=32, show_default=True, help="Conversations at once.")
@click.option("--rescan", metavar="SPAN|all", callback=_rescan, help="Read again what is held: 30d, 12h, or all of it.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done, and what it takes.")
@click.option("--retry-failed", is_flag=True, help="Only what the last run could not get.")
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

    A SELECTOR is a conversation's id, its address in a browser, or a name, in which * and ? stand for anything; ^
    before it leaves out what it means, and @FILE stands for the selectors in the lines of FILE. Without any,
    everything is meant. TIME is ISO 8601, such as 2018-06-01 or 2018-06-01T08:00:00Z.

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
    """The selectors, those of files among them."""
    for word in words:
        if not word.startswith("@"):
            yield word
            continue
        try:
            lines = Path(word[1:]).read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise Ended(Exit.USAGE, f"{word[1:]} is no text in UTF-8: {error}") from error
        yield from filter(None, map(str.strip, lines))


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
            f"How long a history is shows only when it is read: a call brings {_PAGE_MESSAGES} messages "
            "at most, and each file is a call more"
        )
    if limit is not None:
        at_once = min(options.concurrency, len(found))
        seconds = max(*(one.calls for one in found), calls / at_once) / limit * 60
        told.append(
            f"At {limit:,} calls a minute in a conversation, {at_once:,} of them at once: at least {seconds:,.0f} s,"
            f" and up to {limit * _PAGE_MESSAGES * at_once:,} messages a minute"
        )
    show.words(".\n".join(told) + ".")


async def _export(client: StrideClient, archive: Path, options: ExportOptions, *, as_json: bool) -> int:
    progress = ExportProgress(client.settings.calls_per_minute, options.concurrency)
    watched = client.with_settings(attrs.evolve(client.settings, on_event=progress.heard))
    names: dict[str, str] = {}
    failures: list[Failure] = []
    summary: Summary | None = None
    try:
        with _stopping() as stopped:
            async with progress.shown():
                async for event in export(watched, archive, options):
                    progress.take(event)
                    if not show.for_people(as_json=as_json):
                        show.json_lines([{"event": type(event).__name__, **in_json(event)}])
                    match event:
                        case ConversationStarted():
                            names[event.conversation_id] = event.name
                        case Failure():
                            failures.append(event)
                        case Summary():
                            summary = event
    except asyncio.CancelledError:
        if not stopped.is_set():
            raise
        if (task := asyncio.current_task()) is not None:
            task.uncancel()
        show.words(
            f"Interrupted; all that came is kept ({progress.conversations:,} of {progress.total or 0:,} conversations "
            f"done). Run it again to go on:\n  {_again()}"
        )
        return Exit.INTERRUPTED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        told = f"{where}{error.strerror or error}"
        raise Ended(code_of_os(error), f"the archive cannot be written: {told}; run it again to go on") from error
    assert summary is not None
    show.words("\n".join(_told(summary, failures, names, archive, progress.calls)))
    return Exit.PARTIAL if failures else Exit.DONE


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


def _told(
    summary: Summary, failures: Sequence[Failure], names: dict[str, str], archive: Path, calls: int
) -> Iterator[str]:
    """The summary, the verdict first."""
    if failures:
        things = "thing is" if len(failures) == 1 else "things are"
        yield f"Partial: {len(failures):,} {things} missing, all else is here."
    else:
        yield "Complete: everything that was asked for is here."
    for failure in failures[:_FAILURES_SHOWN]:
        room = names.get(failure.conversation_id, failure.conversation_id)
        what = " ".join(filter(None, (failure.what, failure.id, room and f"of {room}")))
        yield show.printable(f"  {what}: {failure.error[:160]}")
    if len(failures) > _FAILURES_SHOWN:
        yield f"  and {len(failures) - _FAILURES_SHOWN:,} more, all in {archive}/runs/{summary.run}/failures.jsonl"
    yield (
        f"{summary.conversations:,} conversations, {summary.messages:,} messages: "
        f"{summary.new:,} new, {summary.changed:,} changed, {summary.gone:,} gone."
    )
    yield f"{summary.media:,} files came ({filesize.decimal(summary.media_bytes)}); {summary.users:,} people were met."
    yield f"{calls:,} calls in {summary.seconds:.1f} s. Content digest {summary.content_digest}"
    if failures:
        yield f"Try again for what is missing: {_again()}{'' if '--retry-failed' in sys.argv else ' --retry-failed'}"
    yield f"Check it: stride verify {shlex.quote(str(archive))}"
