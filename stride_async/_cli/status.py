"""`stride status`: show what an archive holds."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path

import click
from rich import filesize

from stride_async._cli import show
from stride_async._cli.archives import archive_argument, archive_errors, json_fields
from stride_async._cli.escape import printable
from stride_async._cli.options import json_option, verbose_option
from stride_async.export import Status, status

_FAILURES_SHOWN = 10


@click.command(name="status")
@archive_argument
@json_option
@verbose_option
def command(*, archive: Path | str, as_json: bool) -> None:
    """Show what an archive holds and how complete it is.

    Also shows what could not be fetched and is still missing. Reads only the commits of ARCHIVE;
    `stride verify` checks the content.

    \b
    Examples:
        stride status site
        stride status site --json | jq .messages
    """
    with archive_errors(archive):
        found = status(archive)
    if not show.for_people(as_json=as_json):
        with show.closed_stdout_ignored():
            show.json_lines([json_fields(found)])
        return
    show.record(_facts(found), as_json=False)
    if found.failures:
        show.message("Missing:")
    for failure in found.failures[:_FAILURES_SHOWN]:
        where = failure.conversation_id and f"of {failure.conversation_id}"
        what = " ".join(filter(None, (failure.what, failure.id, where)))
        show.message(printable(f"- {what}: {failure.error}"))
    if len(found.failures) > _FAILURES_SHOWN:
        rest = len(found.failures) - _FAILURES_SHOWN
        show.message(f"  ... and {rest:,} more, all listed by stride status {shlex.quote(str(archive))} --json")


def _facts(found: Status) -> dict[str, object]:
    if found.run is None:
        last_run = "none"
    else:
        end = "finished" if found.finished else "unfinished: run the same export again to resume it"
        last_run = f"{found.run}, {end}"
    verdicts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(found.verdicts.items()))
    return {
        "site": found.cloud_id,
        "conversations": f"{found.conversations:,}" + (f" ({verdicts})" if verdicts else ""),
        "messages": f"{found.messages:,}",
        "files": f"{found.media:,} ({filesize.decimal(found.media_bytes)})",
        "people": f"{found.users:,}",
        "size on disk": filesize.decimal(found.size_bytes),
        "content digest": found.content_digest,
        "newest update": _when(found.newest_update),
        "oldest update": _when(found.oldest_update),
        "last run": last_run,
        "could not be fetched": "nothing" if not found.failures else f"{len(found.failures):,}, listed below",
    }


def _when(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
