"""Run the short benchmarks, or the long ones with `--long`; print a table and write the results next to this file."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import bot, calls, decode, documents, export, formats, history, imports, media, server
from benchmarks.sides import Finding

HERE = Path(__file__).parent


def main(*, long: bool) -> None:
    console = Console()
    found: list[Finding] = []
    short = (history, calls, decode, documents, imports, server, media, export, bot, formats)
    for module in (export, bot, formats) if long else short:
        console.print(f"[dim]{(module.__doc__ or '').splitlines()[0]}[/dim]")
        found += module.long_findings() if long else module.findings()
    console.print(_table(found))
    profile = "" if long else history.profile()
    if profile:
        console.print("P1 by function, own time:", profile, sep="\n", markup=False, highlight=False)
    results = HERE / ("results-long.json" if long else "results.json")
    results.write_text(json.dumps(_results(found, profile), indent=1, ensure_ascii=False) + "\n")


def _table(found: list[Finding]) -> Table:
    table = Table(title=f"Medians on {machine()}")
    for heading in ("", "question", "unit"):
        table.add_column(heading)
    table.add_column("ours", justify="right")
    table.add_column("peer", justify="right")
    table.add_column("peer name")
    for heading in ("ratio", "goal"):
        table.add_column(heading, justify="right")
    table.add_column("met?")
    for each in found:
        sign = "≥" if each.at_least else "≤"
        table.add_row(
            each.name,
            each.question,
            each.unit,
            f"{each.ours:.4g}",
            f"{each.peer:.4g}",
            each.peer_name,
            f"{each.ratio:.2f}",
            "" if each.goal is None else f"{sign} {each.goal:g}",
            {None: "", True: "[green]yes[/green]", False: "[red]no[/red]"}[each.met],
        )
    return table


def _results(found: list[Finding], profile: str) -> dict[str, object]:
    rows = [
        {
            "name": each.name,
            "question": each.question,
            "unit": each.unit,
            "ours": each.ours,
            "peer": each.peer,
            "peer_name": each.peer_name,
            "ratio": each.ratio,
            "goal": each.goal,
            "met": each.met,
            "samples": each.samples,
            "spread": {side: statistics.pstdev(figures) for side, figures in each.samples.items()},
        }
        for each in found
    ]
    return {
        "machine": machine(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "rows": rows,
        "profile": profile,
    }


def machine() -> str:
    """Describe cores, processor and Python version."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.processor() or platform.machine()
    return f"{os.cpu_count()} cores of {model}, Python {sys.version.split()[0]}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--long", action="store_true", help="run only the benchmarks that take long")
    main(long=parser.parse_args().long)
