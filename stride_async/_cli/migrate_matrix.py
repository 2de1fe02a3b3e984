"""`stride migrate matrix`: move an archive to a Matrix homeserver."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import NoReturn

import attrs
import click

from stride_async._cli import loop, progress, show
from stride_async._cli.archives import ArchiveParam, archive_errors, json_fields
from stride_async._cli.convert import counted_parts, show_losses
from stride_async._cli.escape import printable
from stride_async._cli.exits import CommandError, Exit, os_exit_code, os_message
from stride_async._cli.export_input import read_selectors
from stride_async._cli.options import PathParam, json_option, kinds_option, verbose_option
from stride_async.export import Selection
from stride_async.export.formats import Report
from stride_async.export.matrix import (
    BadRegistration,
    HomeserverRefusal,
    HomeserverUnavailable,
    MatrixError,
    MessagesMoved,
    MigrationEvent,
    MigrationStarted,
    Registration,
    RoomFailed,
    Summary,
    Waiting,
    migrate,
    new_registration,
    preview,
    read_registration,
)

# Messages per second that homeservers were seen to accept, for an estimate before anything is sent.
_SLOW, _FAST = 20, 40
_UNITS = (("second", 1), ("minute", 60), ("hour", 3600))
_MOST_OF_A_UNIT = 120  # Longer times are in the next larger unit.
_SECONDS_WORTH_SAYING = 1.0
_EXITS: dict[type[MatrixError], Exit] = {
    BadRegistration: Exit.USAGE,
    HomeserverRefusal: Exit.AUTHENTICATION,
    HomeserverUnavailable: Exit.UNAVAILABLE,
}


@click.command(name="matrix")
@click.argument("archive", type=ArchiveParam(only_folders=True), required=False)
@click.argument("selectors", nargs=-1)
@click.option("--homeserver", metavar="URL", help="URL of the homeserver.")
@click.option(
    "--registration",
    type=PathParam(path_type=Path),
    metavar="FILE",
    help="Registration that the homeserver has loaded.",
)
@kinds_option
@click.option(
    "--invite", metavar="@USER:SERVER", multiple=True, help="Invite this user into every room; can be repeated."
)
@click.option("--dry-run", is_flag=True, help="Only show what would be moved and lost, and how long it would take.")
@click.option(
    "--new-registration",
    "new_file",
    type=PathParam(path_type=Path, refusal="Cannot write the registration: "),
    metavar="FILE",
    help="Only write a new registration, for the administrator of the homeserver.",
)
@click.option("--server-name", metavar="NAME", help="Name of the homeserver that the new registration is for.")
@json_option
@verbose_option
def command(
    *,
    archive: Path | None,
    selectors: Sequence[str],
    homeserver: str | None,
    registration: Path | None,
    kinds: Sequence[str],
    invite: Sequence[str],
    dry_run: bool,
    new_file: Path | None,
    server_name: str | None,
    as_json: bool,
) -> None:
    """Move an archive to a Matrix homeserver.

    First write a registration with --new-registration, and have the administrator of the homeserver add it to the
    configuration. It allows the migration to create users and rooms whose names begin with stride_, and nothing else.

    Then everyone in ARCHIVE becomes a user, and every conversation a room. Messages keep their senders and times, and
    files are uploaded. SELECTORS choose conversations, as for `stride export`.

    However a migration ends, the same command resumes it: it reads back what the rooms hold, and sends the rest. After
    an update of the archive, it appends what is new. What cannot be carried over is counted.

    JSON lines report the progress; the last one, with the event Summary, is the report.

    \b
    Examples:
        stride migrate matrix --new-registration stride.yaml \\
            --server-name example.org
        stride migrate matrix site --dry-run
        stride migrate matrix site --homeserver https://example.org \\
            --registration stride.yaml --invite @ann:example.org
    """
    if new_file is not None:
        _write_registration(new_file, server_name, is_alone=archive is None)
        return
    if archive is None:
        raise click.UsageError("Missing argument 'ARCHIVE'.")
    if server_name is not None:
        raise click.UsageError("--server-name is for --new-registration: the homeserver knows its name.")
    selection = Selection(tuple(read_selectors(selectors)), frozenset(kinds))
    writes_json = not show.for_people(as_json=as_json)
    if dry_run:
        with archive_errors(archive):
            _show_preview(preview(archive, selection=selection), writes_json=writes_json)
        return
    if homeserver is None or registration is None:
        missing = "--homeserver" if homeserver is None else "--registration"
        raise click.UsageError(f"Missing option '{missing}'.")
    move = _Move(archive, homeserver, _read(registration), selection, tuple(invite), writes_json=writes_json)
    with archive_errors(archive):
        summary = _run(move)
    _show_summary(summary, archive, homeserver, writes_json=writes_json)
    if summary.failed:
        raise click.exceptions.Exit(Exit.PARTIAL)


def _write_registration(file: Path, server_name: str | None, *, is_alone: bool) -> None:
    if not is_alone:
        raise click.UsageError("--new-registration does not take an archive: run the migration afterwards.")
    if server_name is None:
        raise click.UsageError("Missing option '--server-name'.")
    try:
        written = new_registration(file, server_name)
    except BadRegistration as error:
        raise CommandError(Exit.USAGE, f"{error}.") from error
    except FileExistsError as error:
        raise CommandError(Exit.USAGE, f"{file} exists: choose another name.") from error
    except OSError as error:
        raise CommandError(os_exit_code(error), f"Cannot write the registration: {os_message(error)}") from error
    show.message(
        printable(
            f"Wrote {file}. Add it to the configuration of {written.server_name} (Synapse: app_service_config_files), "
            "and restart the homeserver. It contains a token: keep it secret, and delete it after the migration."
        )
    )


def _read(file: Path) -> Registration:
    try:
        registration = read_registration(file)
    except BadRegistration as error:
        raise CommandError(Exit.USAGE, f"{error}.") from error
    if registration.is_readable_by_others:
        show.message(printable(f"Warning: Other users of this machine can read {file}. Run: chmod 600 {file}"))
    return registration


@attrs.define
class _Move:
    """A migration, with the progress that it shows."""

    archive: Path
    homeserver: str
    registration: Registration
    selection: Selection
    invite: tuple[str, ...]
    writes_json: bool = attrs.field(kw_only=True)
    _gauge: progress.Gauge = attrs.field(factory=lambda: progress.Gauge("messages"), init=False)

    async def run(self) -> Summary:
        moving = migrate(self.archive, self.homeserver, self.registration, selection=self.selection, invite=self.invite)
        async with self._gauge.shown(transient=True), aclosing(moving) as events:
            async for event in events:
                if isinstance(event, Summary):
                    return event
                self._take(event)
        raise AssertionError("a migration ends with a summary or an exception")

    def _take(self, event: MigrationEvent) -> None:
        match event:
            case MigrationStarted():
                self._gauge.total = event.messages
            case MessagesMoved():
                self._gauge.done += event.held + event.sent
                self._gauge.before += event.held
            case Waiting() if event.seconds >= _SECONDS_WORTH_SAYING:
                show.message(printable(f"Waiting {event.seconds:.0f} s: {event.reason}."))
            case RoomFailed():
                show.message(printable(f"Not moved: {event.conversation_id}: {event.reason}."))
        if self.writes_json:
            with show.closed_stdout_ignored():
                show.json_lines([{"event": type(event).__name__, **json_fields(event)}])


def _run(move: _Move) -> Summary:
    """Run a migration, and turn its errors into messages with an exit code."""
    try:
        return loop.run(move.run())
    except MatrixError as error:
        _fail(_EXITS[type(error)], error)
    except ValueError as error:
        _fail(Exit.USAGE, error)


def _fail(code: Exit, error: Exception) -> NoReturn:
    raise CommandError(code, printable(f"{error}.")) from error


def _show_preview(report: Report, *, writes_json: bool) -> None:
    if writes_json:
        show.json_lines([{"event": "Summary", **_fields(report)}])
    elif report.lost:
        show_losses(report)
    show.message(
        f"To move: {counted_parts(report)}. At {_SLOW} to {_FAST} messages/s, as most homeservers accept, that "
        f"takes {_time_of(report.messages)}."
    )


def _time_of(messages: int) -> str:
    """Return how long the messages take at the usual rates, such as `6 to 12 minutes`."""
    longest = messages / _SLOW
    unit, seconds = next((each for each in _UNITS if longest <= _MOST_OF_A_UNIT * each[1]), _UNITS[-1])
    fast, slow = (math.ceil(messages / rate / seconds) for rate in (_FAST, _SLOW))
    return show.counted(slow, unit) if fast == slow else f"{fast:,} to {show.counted(slow, unit)}"


def _show_summary(summary: Summary, archive: Path, homeserver: str, *, writes_json: bool) -> None:
    report = summary.report
    if writes_json:
        with show.closed_stdout_ignored():
            fields = _fields(report) | {"sent": summary.sent, "failed": summary.failed}
            show.json_lines([{"event": "Summary", **fields}])
    elif report.lost:
        show_losses(report, f"{archive}/derived/matrix.report.json")
    failed = f" {show.counted(summary.failed, 'conversation')} could not be moved." if summary.failed else ""
    show.message(printable(f"{homeserver} has {counted_parts(report)}; {summary.sent:,} events were sent now.{failed}"))


def _fields(report: Report) -> dict[str, object]:
    return json_fields(report) | {"lost": [json_fields(loss) for loss in report.lost]}
