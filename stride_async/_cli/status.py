"""`stride status`: what an archive holds."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
from rich import filesize

from stride_async._cli import show
from stride_async._cli.archives import archive_argument, archive_failures, in_json
from stride_async._cli.options import json_option, verbose_option
from stride_async.export import Status, status

_FAILURES_SHOWN = 10


@click.command(name="status")
@archive_argument
@json_option
@verbose_option
def command(*, archive: Path, as_json: bool) -> None:
    """Tell what ARCHIVE holds: how complete, how old and how large it is, and what the last run could not get.

    It reads the commits and checks no content; `stride verify` does.

    \b
    Examples:
        stride status site
        stride status site --json | jq .messages
    """
    with archive_failures():
        found = status(archive)
    if show.for_people(as_json=as_json):
        show.record(_told(found), as_json=False)
        for failure in found.failures[:_FAILURES_SHOWN]:
            what = f"{failure.what} {failure.id}".rstrip()
            show.words(show.printable(f"Missing: {what} of {failure.conversation_id}: {failure.error}"))
        if len(found.failures) > _FAILURES_SHOWN:
            rest = len(found.failures) - _FAILURES_SHOWN
            show.words(f"and {rest:,} more, all in {archive}/runs/{found.run}/failures.jsonl")
    else:
        show.json_lines([in_json(found)])


def _told(found: Status) -> dict[str, object]:
    if found.run is None:
        last = "none yet"
    else:
        end = "finished" if found.finished else "not finished: run the export again to go on"
        last = f"{found.run}, {end}; {len(found.failures):,} failures"
    return {
        "site": found.cloud_id,
        "conversations": f"{found.conversations:,}: "
        + ", ".join(f"{count:,} {kind}" for kind, count in sorted(found.verdicts.items())),
        "messages": f"{found.messages:,}",
        "files": f"{found.media:,} ({filesize.decimal(found.media_bytes)})",
        "people": f"{found.users:,}",
        "on disk": filesize.decimal(found.size_bytes),
        "last worked on": f"{_when(found.newest_update)}; the oldest conversation {_when(found.oldest_update)}",
        "last run": last,
    }


def _when(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
