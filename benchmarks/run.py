"""Run the short benchmarks, or the long ones with `--long`; print a table and write the results as JSON."""

from __future__ import annotations

import argparse
import time

from rich.console import Console

from benchmarks import bot, calls, decode, documents, export, formats, history, imports, media, report, server
from benchmarks.sides import Finding

SHORT_RUN = (history, calls, decode, documents, imports, server, media, export, bot, formats)
LONG_RUN = (export, bot, formats)


def main(*, long: bool, record: bool) -> None:
    """Measure, and print the table and the verdict. A goal that is missed does not fail the run."""
    console = Console(width=max(80, Console().width))
    found: list[Finding] = []
    began = time.perf_counter()
    for module in LONG_RUN if long else SHORT_RUN:
        console.print(f"[dim]{(module.__doc__ or '').splitlines()[0]}[/dim]")
        found += module.long_findings() if long else module.findings()
    profile = "" if long else history.profile()
    seconds = time.perf_counter() - began
    console.print("", f"Medians on {report.machine()}, in {seconds / 60:.1f} minutes", "", sep="\n", highlight=False)
    console.print(report.table(found))
    console.print("", report.verdict(found), sep="\n", markup=False, highlight=False)
    if profile:
        console.print("", "P1 by function, own time:", profile, sep="\n", markup=False, highlight=False)
    report.save(report.LONG if long else report.SHORT, found, seconds, profile)
    if record:
        report.write_readme()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--long", action="store_true", help="run only the benchmarks that take long")
    parser.add_argument("--record", action="store_true", help="also write the results into README.md")
    options = parser.parse_args()
    main(long=options.long, record=options.record)
