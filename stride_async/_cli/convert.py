"""`stride convert`: convert an archive to the format of another program."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import attrs
import click
from click.core import ParameterSource

from stride_async._cli import loop, progress, show
from stride_async._cli.archives import archive_argument, archive_errors, json_fields
from stride_async._cli.engine import engine_errors, engine_option
from stride_async._cli.escape import printable
from stride_async._cli.exits import CommandError, Exit, os_exit_code, os_message
from stride_async._cli.export_input import read_selectors
from stride_async._cli.options import PathParam, json_option, kinds_option, verbose_option
from stride_async._files import completed
from stride_async.export import Engine, Selection
from stride_async.export._archive.layout import DERIVED
from stride_async.export.formats import ConvertOptions, ConvertProgress, OutInTheWay, Report, convert
from stride_async.export.formats._convert import FORMATS

_LOSSES_SHOWN = 11
_LINES_OF_PROGRESS = 100  # about as many, however many messages there are
# The format of each option that only one has.
_ONLY_FOR = {"files": "slack", "files_base_url": "slack", "team": "mattermost", "engine": "parquet"}


@click.command(name="convert")
@click.argument("format", metavar="FORMAT", type=click.Choice(list(FORMATS)))
@archive_argument
@click.argument("selectors", nargs=-1)
@click.option(
    "-o",
    "--output",
    type=PathParam(path_type=Path, refusal="Cannot write the output: "),
    required=True,
    help="File or folder to write.",
)
@kinds_option
@click.option(
    "--files",
    type=click.Choice(["uploads", "beside"]),
    default="uploads",
    show_default=True,
    help="slack: where the files are: in __uploads, or next to the messages in a folder attachments.",
)
@click.option(
    "--files-base-url",
    metavar="URL",
    default=ConvertOptions().files_base_url,
    show_default=True,
    help="slack: what the URLs of files begin with.",
)
@click.option("--team", metavar="NAME", help="mattermost: the name of the team.  [default: made from the site]")
@engine_option
@click.option("--force", is_flag=True, help="Replace what is there, even if no conversion to this format wrote it.")
@json_option
@verbose_option
@click.pass_context
def command(
    context: click.Context,
    *,
    format: str,
    archive: Path | str,
    selectors: Sequence[str],
    output: Path,
    kinds: Sequence[str],
    files: Literal["uploads", "beside"],
    files_base_url: str,
    team: str | None,
    engine: Engine | None,
    force: bool,
    as_json: bool,
) -> None:
    """Convert an archive to the format of another program.

    \b
    FORMAT is one of:
        mattermost  a zip file for the bulk import of Mattermost
        slack       a zip file like an export of Slack, which many programs import
        html        a folder of pages for a browser, with a search
        sqlite      a database with full-text search
        parquet     a folder of tables for DuckDB, Polars, pandas and others
        seed        a folder for `stride server --seed`, to run the site again

    SELECTORS choose conversations of the archive, as for `stride export`. One that matches nothing is an error. Without
    them, everything is converted.

    The output is complete or absent at every moment, and the same archive gives the same bytes. What could not be
    carried over is listed, and is in the report next to the output. A folder that an earlier conversion wrote is
    brought up to date. Needs no service.

    With --engine, processes that it starts or the workers of a Dask cluster share the work on parquet. They must find
    the archive and the output at the same paths. Requires the extra distributed.

    JSON lines report the progress; the last one, with the event Summary, is the report.

    \b
    Examples:
        stride convert seed site -o seed
        stride convert slack site -o slack.zip --type public
        stride convert seed site 'team-*' ^team-test -o teams
    """
    _check_options(context, format)
    try:
        options = ConvertOptions(
            selection=Selection(tuple(read_selectors(selectors)), frozenset(kinds)),
            force=force,
            files=files,
            files_base_url=files_base_url,
            team=team,
        )
    except ValueError as error:
        raise CommandError(Exit.USAGE, f"{error}.") from error
    writes_json = not show.for_people(as_json=as_json)
    with archive_errors(archive), engine_errors(engine):
        report = converted(archive, format, output, options, engine, writes_json=writes_json)
    show_report(report, output, writes_json=writes_json)


def _check_options(context: click.Context, format: str) -> None:
    for name, its_format in _ONLY_FOR.items():
        if format != its_format and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.replace('_', '-')} is an option of the format {its_format}.")


def converted(
    archive: Path | str,
    format: str,
    output: Path,
    options: ConvertOptions,
    engine: Engine | None = None,
    *,
    writes_json: bool,
) -> Report:
    """Convert an archive and show the progress, with `writes_json` as JSON lines.

    Raises:
        CommandError: The output is in the way or cannot be written, or a package is missing.
    """
    conversion = _Conversion(archive, format, output, options, engine, writes_json=writes_json)
    try:
        return loop.run(conversion.run())
    except OutInTheWay as error:
        hint = " To replace it, use --force." if error.can_be_replaced else ""
        raise CommandError(Exit.USAGE, f"{error}.{hint}") from error
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("stride_async"):
            raise
        raise CommandError(Exit.USAGE, f"{error}") from error
    except OSError as error:
        what = "read the archive" if _is_archived(error.filename, archive) else "write the output"
        raise CommandError(os_exit_code(error), f"Cannot {what}: {os_message(error)}") from error


def _is_archived(file: object, archive: Path | str) -> bool:
    """Return whether a file is one of the archive that a conversion only reads."""
    if not (isinstance(file, str) and isinstance(archive, Path)):
        return False
    path = Path(file)
    return path.is_relative_to(archive) and not path.is_relative_to(archive / DERIVED)


class _StoppedError(Exception):
    """The command was interrupted."""


@attrs.define
class _Conversion:
    """A conversion in a thread, which ends at its next report of progress when the command is interrupted."""

    archive: Path | str
    format: str
    output: Path
    options: ConvertOptions
    engine: Engine | None
    writes_json: bool = attrs.field(kw_only=True)
    _gauge: progress.Gauge = attrs.field(factory=lambda: progress.Gauge("messages"), init=False)
    _written: ConvertProgress | None = attrs.field(default=None, init=False)
    _stopped: threading.Event = attrs.field(factory=threading.Event, init=False)

    async def run(self) -> Report:
        running = asyncio.get_running_loop().run_in_executor(None, self._convert)
        async with self._gauge.shown(transient=True):
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                self._stopped.set()
                with suppress(_StoppedError):
                    await completed(running)
                raise

    def _convert(self) -> Report:
        return convert(
            self.archive,
            self.format,
            self.output,
            options=self.options,
            progress=self._on_progress,
            engine=self.engine,
        )

    def _on_progress(self, now: ConvertProgress) -> None:
        if self._stopped.is_set():
            raise _StoppedError
        self._gauge.done, self._gauge.total = now.messages, now.total_messages
        if self.writes_json and now.total_conversations and self._is_news(now):
            self._written = now
            with show.closed_stdout_ignored():
                show.json_lines([{"event": "ConvertProgress", **json_fields(now)}])

    def _is_news(self, now: ConvertProgress) -> bool:
        """Return whether a conversation was completed since the last line, or a good part of the messages converted."""
        if self._written is None or now.conversations != self._written.conversations:
            return True
        return now.messages - self._written.messages >= max(1, now.total_messages / _LINES_OF_PROGRESS)


def show_report(report: Report, output: Path, *, writes_json: bool) -> None:
    """Show what was written and what is lost: a table of at most 15 lines, or the line `Summary`."""
    if writes_json:
        with show.closed_stdout_ignored():
            fields = json_fields(report) | {"lost": [json_fields(loss) for loss in report.lost]}
            show.json_lines([{"event": "Summary", **fields}])
    elif report.lost:
        show_losses(report, f"{output}.report.json")
    show.message(printable(f"Wrote {output}: {counted_parts(report)}."))


def show_losses(report: Report, report_file: str = "") -> None:
    """Show what is lost as a table, and where the examples are, if they are in a file."""
    shown = report.lost[:_LOSSES_SHOWN]
    show.table(("NOT CARRIED OVER", "COUNT"), [(loss.kind, f"{loss.count:,}") for loss in shown])
    hidden = len(report.lost) - len(shown)
    more = f"{show.counted(hidden, 'more kind')}, and examples," if hidden else "Examples"
    if report_file:
        show.message(printable(f"{more} are in {report_file}."))


def counted_parts(report: Report) -> str:
    """Return what a report counts, such as `1 conversation, 3 messages, 0 files, 1 person`."""
    counts = (
        show.counted(report.conversations, "conversation"),
        show.counted(report.messages, "message"),
        show.counted(report.files, "file"),
        "1 person" if report.people == 1 else f"{report.people:,} people",
    )
    return ", ".join(counts)
