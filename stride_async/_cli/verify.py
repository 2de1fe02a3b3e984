"""`stride verify`: check an archive."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import click

from stride_async import StrideClient
from stride_async._cli import loop, show
from stride_async._cli.archives import archive_argument, archive_errors, json_fields
from stride_async._cli.connect import with_client
from stride_async._cli.escape import printable
from stride_async._cli.exits import CommandError, Exit
from stride_async._cli.options import WholeNumber, json_option, verbose_option
from stride_async._cli.progress import Gauge
from stride_async.export import Finding, Report, Verdict, verify

# How findings about what is unfinished end. The command says it once, with the folder.
_ADVICE = ": run the export again"
# What to do about each kind of finding, in the order in which to do it.
_REMEDIES = {
    "run again": "To complete what is unfinished, run:\n  stride export -o {archive}",
    "rescan": "To fetch again what is damaged or differs from the service, run:\n"
    "  stride export --rescan all -o {archive}",
    "move away": "If commits or raw pages are damaged: move the folder of their conversation out of the archive, and "
    "export again.",
    "set aside": "If the records of a run are damaged: move the folder of the run out of runs/. It holds none of the "
    "site's data.",
    "put right": "If archive.json is damaged: in it, set `format` to 1, and `id` and `cloud_id` to the `archive` and "
    "`cloud_id` in the settings.json of any run.",
}


@click.command(name="verify")
@archive_argument
@click.option("--against", is_flag=True, help="Also fetch a sample of the messages from the service, and compare.")
@click.option("--sample", type=WholeNumber(1), default=20, show_default=True, help="Pages in that sample.")
@click.option(
    "--seed", type=WholeNumber(0), default=0, show_default=True, help="A different seed gives a different sample."
)
@json_option
@verbose_option
def command(*, archive: Path | str, against: bool, sample: int, seed: int, as_json: bool) -> None:
    """Check an archive for damage and gaps.

    Reads all of ARCHIVE and gives each conversation a verdict: complete (an empty page proved where the history
    begins), complete up to a time, a gap between two times, or unknown. Compares every commit, sealed month, roster and
    file with its digest. If something is damaged, missing or unfinished, it is listed and the exit code is 6. Only
    --against needs the service.

    JSON lines have conversationId, name, kind, text, messages, media and failed; those for a finding have path, what
    and remedy.

    \b
    Examples:
        stride verify site
        stride verify site --against --sample 100
        stride verify site --json | jq -r 'select(.path).path'
    """
    checked = Gauge("conversations")

    def report_verdict(verdict: Verdict) -> None:
        checked.done += 1
        if not show.for_people(as_json=as_json):
            with show.closed_stdout_ignored():
                show.json_lines([json_fields(verdict)])

    async def work(client: StrideClient | None = None) -> Report:
        async with checked.shown(transient=True):
            return await verify(archive, against=client, sample=sample, seed=seed, on_verdict=report_verdict)

    with archive_errors(archive):
        try:
            report = with_client(work) if against else loop.run(work())
        except ValueError as error:
            raise CommandError(Exit.USAGE, str(error)) from error
    _show(report, archive, as_json=as_json)


def _show(report: Report, archive: Path | str, *, as_json: bool) -> None:
    if show.for_people(as_json=as_json):
        rows = ((one.name, one.text, f"{one.messages:,}", f"{one.media:,}") for one in report.verdicts)
        show.table(("CONVERSATION", "VERDICT", "MESSAGES", "FILES"), rows)
        _show_findings("FILE", "PROBLEM", (one for one in report.findings if not _is_unfinished(one)))
        _show_findings("UNFINISHED", "WHY", filter(_is_unfinished, report.findings))
    else:
        with show.closed_stdout_ignored():
            show.json_lines(map(json_fields, report.findings))
    unavailable = sum(len(one.failed) for one in report.verdicts)
    if unavailable:
        items = show.counted(unavailable, "item")
        show.message(f"{items} could not be fetched. `stride status` lists what is missing.")
    if report.windows:
        show.message(f"Compared {show.counted(report.windows, 'page')} of messages with the service.")
    show.message("Not covered by this check:")
    for unknown in report.not_known:
        show.message(printable(f"- {unknown}"))
    if not report.ok:
        raise CommandError(Exit.VERIFICATION_FAILED, _failed(report.findings, shlex.quote(str(archive))))
    counts = (
        show.counted(len(report.verdicts), "conversation"),
        show.counted(sum(one.messages for one in report.verdicts), "message"),
        show.counted(sum(one.media for one in report.verdicts), "file"),
    )
    show.message("Everything in the archive is intact: {}, {} and {}.".format(*counts))


def _show_findings(path: str, what: str, findings: Iterable[Finding]) -> None:
    rows = [(finding.path, finding.what.removesuffix(_ADVICE)) for finding in findings]
    if rows:
        show.table((path, what), rows)


def _is_unfinished(finding: Finding) -> bool:
    """Return whether a finding is not damage: it names the folder of a run, or of what is not complete, and no file."""
    is_folder = finding.path.startswith("runs/") or not PurePosixPath(finding.path).suffix
    return finding.remedy == "run again" and is_folder


def _failed(findings: Sequence[Finding], archive: str) -> str:
    """Show what to do about damage, and return the error message."""
    damaged = [finding for finding in findings if not _is_unfinished(finding)]
    if not damaged:
        return f"The archive is unfinished. To complete it, run:\n  stride export -o {archive}"
    remedies = {finding.remedy for finding in findings}
    for remedy, advice in _REMEDIES.items():
        if remedy in remedies:
            show.message(advice.format(archive=archive))
    more = f" (and {len(findings) - 1:,} more)" if len(findings) > 1 else ""
    return f"{damaged[0].path} {damaged[0].what}{more}"
