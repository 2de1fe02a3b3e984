"""`stride verify`: what an archive proves."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path

import click

from stride_async import StrideClient
from stride_async._cli import show
from stride_async._cli.archives import archive_argument, archive_failures, in_json
from stride_async._cli.connect import with_client
from stride_async._cli.exits import Ended, Exit
from stride_async._cli.options import json_option, verbose_option
from stride_async.export import Report, Verdict, verify

_REMEDIES = {
    "run again": "Unfinished: `stride export -o {archive}` brings it to its end.",
    "rescan": "Damaged months, rosters, profiles and files, and what differs from the service: "
    "`stride export --rescan all -o {archive}` fetches them again.",
    "move away": "Damaged commits, and pages of a walk: move the folder of the conversation away and export again.",
    "set aside": "Damaged records of a run, which hold nothing of the site: move its folder away from runs/.",
    "put right": "archive.json: write format 1 into it, and as id and cloud_id what settings.json of a run says.",
}
"""What can be done, in the order in which it should be."""


@click.command(name="verify")
@archive_argument
@click.option("--against", is_flag=True, help="Ask the service for a sample of the messages again, and compare.")
@click.option("--sample", type=click.IntRange(1), default=20, show_default=True, help="Windows of that sample.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed, another sample.")
@json_option
@verbose_option
def command(*, archive: Path, against: bool, sample: int, seed: int, as_json: bool) -> None:
    """Read all of ARCHIVE and tell what it proves of each conversation.

    complete (an empty page proved the beginning), complete up to a moment, gap between two moments, or unknown. Every
    commit, segment, roster and file is held against its digest; what is damaged, missing or unfinished is named, and
    the exit code is 6. The service is asked nothing, except with --against.

    JSON lines have conversationId, name, kind, text, messages, media and failed; or, for what was found, path, what and
    remedy.

    \b
    Examples:
        stride verify site
        stride verify site --against --sample 100
        stride verify site --json | jq -r 'select(.path).path'
    """
    counted = show.Gauge("conversations")

    def told(verdict: Verdict) -> None:
        counted.done += 1
        meter.moved()
        if not show.for_people(as_json=as_json):
            show.json_lines([in_json(verdict)])

    async def work(client: StrideClient | None = None) -> Report:
        return await verify(archive, against=client, sample=sample, seed=seed, told=told)

    with archive_failures(), show.Meter(counted) as meter:
        try:
            report = with_client(work) if against else asyncio.run(work())
        except ValueError as error:
            raise Ended(Exit.USAGE, str(error)) from error
    _show(report, archive, as_json=as_json)


def _show(report: Report, archive: Path, *, as_json: bool) -> None:
    if show.for_people(as_json=as_json):
        rows = ((one.name, one.text, f"{one.messages:,}", f"{one.media:,}") for one in report.verdicts)
        show.table(("CONVERSATION", "VERDICT", "MESSAGES", "FILES"), rows)
        if report.findings:
            show.table(("FILE", "WHAT IS WRONG"), ((one.path, one.what) for one in report.findings))
    else:
        show.json_lines(map(in_json, report.findings))
    missing = sum(len(one.failed) for one in report.verdicts)
    if missing:
        show.words(f"Listed as not to be had: {missing:,}; `stride status` tells what the last run missed.")
    if report.windows:
        show.words(f"{report.windows:,} windows were compared with the service.")
    show.words(show.printable("Not known: " + "; ".join(report.not_known) + "."))
    remedies = {finding.remedy for finding in report.findings}
    for remedy, told in _REMEDIES.items():
        if remedy in remedies:
            show.words(told.format(archive=shlex.quote(str(archive))))
    if not report.ok:
        first = report.findings[0]
        more = f", and {len(report.findings) - 1:,} more" if len(report.findings) > 1 else ""
        raise Ended(Exit.VERIFICATION_FAILED, f"{first.path} {first.what}{more}")
