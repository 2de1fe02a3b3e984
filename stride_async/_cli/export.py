"""`stride export`: export a site to a folder, or bring the folder up to date."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import attrs
import click

from stride_async import StrideClient, StrideError
from stride_async._cli import show
from stride_async._cli.archives import ArchiveParam, archive_errors, json_fields
from stride_async._cli.connect import with_client
from stride_async._cli.engine import engine_errors, engine_option
from stride_async._cli.exits import CommandError, Exit, os_exit_code, os_message
from stride_async._cli.export_input import (
    parse_media,
    parse_rescan,
    parse_shard,
    parse_time,
    parse_zone,
    read_selectors,
)
from stride_async._cli.export_progress import ExportProgress
from stride_async._cli.export_summary import RunReport, stopped_message
from stride_async._cli.options import WholeNumber, json_option, kinds_option, verbose_option
from stride_async._settings import MOST_ITEMS_A_PAGE
from stride_async.export import (
    ArchiveError,
    Engine,
    EngineError,
    Estimate,
    ExportEvent,
    ExportOptions,
    Selection,
    Shard,
    estimate,
    export,
    room_in_address,
)


@click.command(name="export")
@click.argument("selectors", nargs=-1)
@click.option(
    "-o",
    "--output",
    type=ArchiveParam(refusal="Cannot write the archive: "),
    required=True,
    help="Folder of the archive, or its URL in an object store.",
)
@kinds_option
@click.option("--since", metavar="TIME", help="Only messages sent at or after this time.")
@click.option("--until", metavar="TIME", help="Only messages sent before this time.")
@click.option("--tz", "zone", metavar="ZONE", callback=parse_zone, help="Time zone of a TIME that has none.")
@click.option("--shard", metavar="I/N", callback=parse_shard, help="Only part I of N, counted from 0, such as 0/4.")
@click.option("--media", default="all", show_default=True, callback=parse_media, help="Files: all, none, or '<SIZE'.")
@click.option("--concurrency", type=WholeNumber(1), default=32, show_default=True, help="Conversations at once.")
@click.option(
    "--rescan", metavar="SPAN|all", callback=parse_rescan, help="Fetch messages again: all, or those of the last 30d."
)
@engine_option
@click.option("--dry-run", is_flag=True, help="Only show what would be done, and how long it takes.")
@click.option(
    "--retry-failed",
    is_flag=True,
    help="Also retry what was refused for good in earlier runs.",
)
@click.option("--fail-fast", is_flag=True, help="Stop at the first failure.")
@json_option
@verbose_option
def command(
    *,
    selectors: Sequence[str],
    output: Path | str,
    kinds: Sequence[str],
    since: str | None,
    until: str | None,
    zone: ZoneInfo | None,
    shard: Shard | None,
    media: Literal["all", "none"] | int,
    concurrency: int,
    rescan: timedelta | Literal["all"] | None,
    engine: Engine | None,
    dry_run: bool,
    retry_failed: bool,
    fail_fast: bool,
    as_json: bool,
) -> None:
    """Export a site to a folder, or update the folder.

    However an export ends, the same command resumes it. Run later, the command fetches what is new or has changed.

    A SELECTOR is a conversation's id, its URL, or its name, where * matches any text and ? any character. With ^ in
    front, it excludes what it matches. @FILE stands for the selectors in FILE, one per line, and ^@FILE excludes what
    they match. If a name begins with ^ or @, write ? instead. Without selectors, all conversations are exported.

    With --shard, N exports share the work, each with another I: at the same time or not, on one machine or several that
    reach the same folder. Each conversation is in one shard.

    With --engine, this command makes the shards and hands them out: to processes that it starts, or to the workers of a
    Dask cluster. They read STRIDE_* from their own environment. Requires the extra distributed.

    The archive can be in an object store: s3://BUCKET/PREFIX, with credentials and endpoint from the variables AWS_*.

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
        seq 0 3 | xargs -P 4 -I{} stride export -o site --shard {}/4
        stride export -o site --retry-failed
        stride export -o site --engine processes=4
        stride export -o s3://bucket/site
    """
    try:
        options = ExportOptions(
            selection=Selection(tuple(read_selectors(selectors)), frozenset(kinds)),
            shard=shard,
            since=parse_time("--since", since, zone),
            until=parse_time("--until", until, zone),
            media=media,
            rescan=rescan,
            concurrency=concurrency,
            retry_failed=retry_failed,
            fail_fast=fail_fast,
        )
    except ValueError as error:
        raise CommandError(Exit.USAGE, str(error)) from error

    if engine is not None and shard is not None:
        raise CommandError(Exit.USAGE, "--engine makes the shards itself: leave out --shard.")

    async def work(client: StrideClient) -> int:
        _check_site(client, options.selection)
        if dry_run:
            await _estimate(client, output, options, as_json=as_json)
            return Exit.DONE
        return await _export(client, output, options, engine, as_json=as_json)

    with archive_errors(output), engine_errors(engine):
        code = with_client(work)
    if code != Exit.DONE:
        raise click.exceptions.Exit(code)


def _check_site(client: StrideClient, selection: Selection) -> None:
    for selector in selection.selectors:
        address = room_in_address(selector.removeprefix("^"))
        if address is not None and address[0] != client.cloud_id:
            message = f"{selector} belongs to site {address[0]}, but STRIDE_CLOUD_ID is {client.cloud_id}."
            raise CommandError(Exit.USAGE, message)


async def _estimate(client: StrideClient, archive: Path | str, options: ExportOptions, *, as_json: bool) -> None:
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


async def _export(
    client: StrideClient, archive: Path | str, options: ExportOptions, engine: Engine | None, *, as_json: bool
) -> int:
    progress, report = ExportProgress(client.settings.calls_per_minute, options.concurrency), RunReport(options.shard)
    watched = client.with_settings(attrs.evolve(client.settings, on_event=progress.on_client_event))
    try:
        with _cancelling_on_signals() as stopped:
            async with progress.shown(), aclosing(export(watched, archive, options, engine=engine)) as events:
                async for event in events:
                    progress.on_export_event(event)
                    report.take(event)
                    if not show.for_people(as_json=as_json):
                        _print(event)
    except asyncio.CancelledError:
        if not stopped.is_set():
            raise
        if (task := asyncio.current_task()) is not None:
            task.uncancel()
        show.message(stopped_message("Interrupted", progress))
        return Exit.INTERRUPTED
    except (StrideError, EngineError, ArchiveError):
        if report.started:
            show.message(stopped_message("Stopped", progress))
        raise
    except BrokenPipeError:
        raise
    except OSError as error:
        resume = ". What was written is kept: run the same command again to resume." if report.started else ""
        message = f"Cannot write the archive: {os_message(error)}{resume}"
        raise CommandError(os_exit_code(error), message) from error
    show.message("\n".join(report.summary_lines(progress, archive)))
    return Exit.PARTIAL if report.failures else Exit.DONE


def _print(event: ExportEvent) -> None:
    try:
        with show.closed_stdout_ignored():
            show.json_lines([{"event": type(event).__name__, **json_fields(event)}])
    except OSError as error:
        raise CommandError(os_exit_code(error), os_message(error)) from error


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
            show.end_process(number)
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
