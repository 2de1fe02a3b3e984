"""Measure rows of the table, and report them: in 80 columns on the screen, as JSON, and as Markdown in README.md.

`python -m benchmarks.report` writes the rows of `results.json` into README.md.
"""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.sides import Benchmark, Finding

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
README = HERE / "README.md"
_BEGIN, _END = "<!-- results -->\n", "<!-- end of results -->\n"
_COLUMNS = {"": 10, "question, unit": 27, "ours": 9, "peer": 9, "ratio": 6, "goal": 6, "met?": 4}

Row = Mapping[str, Any]
"""A finding as it is stored, with its machine and date."""


def measured(benchmarks: Sequence[Benchmark], console: Console) -> bool:
    """Print and keep each row as soon as it is measured. Return False if the run was interrupted."""
    found: list[Finding] = []
    began = time.perf_counter()
    console.print(f"Medians on {machine()}", "", heading(), sep="\n", highlight=False)
    try:
        for benchmark in benchmarks:
            with console.status(f"{', '.join(benchmark.names)} …"):
                for finding in benchmark.measure():
                    console.print(line(finding))
                    keep(finding)
                    found.append(finding)
    except KeyboardInterrupt:
        console.print("", f"Interrupted; the rows above are kept in {RESULTS.name}.", sep="\n")
        return False
    console.print("", verdict(found), sep="\n", markup=False, highlight=False)
    console.print(f"Measured in {(time.perf_counter() - began) / 60:.1f} minutes.", highlight=False)
    return True


def heading() -> Table:
    """Return the heading of the table."""
    return _line(*_COLUMNS)


def line(found: Finding) -> Table:
    """Return one row of a table of 80 columns: its question is wrapped, and no figure is cut."""
    verdict = {None: "", True: "[green]yes[/green]", False: "[red]NO[/red]"}[found.met]
    figures = (f"{found.ours:.4g}", f"{found.peer:.4g}", f"{found.ratio:.2f}", _goal(found))
    return _line(found.name, f"{found.question}, {found.unit}", *figures, verdict)


def _line(*cells: str) -> Table:
    made = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
    for number, width in enumerate(_COLUMNS.values()):
        made.add_column(width=width, justify="right" if 2 <= number <= 5 else "left")
    made.add_row(*cells)
    return made


def verdict(found: Iterable[Finding]) -> str:
    """Return how many goals are met, and which ones are not."""
    with_goal = [each for each in found if each.goal is not None]
    missed = [each for each in with_goal if not each.met]
    lines = [f"  {each.name} ({each.question}): {each.ratio:.2f}, goal {_goal(each)}" for each in missed]
    return "\n".join([f"{len(with_goal) - len(missed)} of {len(with_goal)} goals are met.", *lines])


def _goal(each: Finding) -> str:
    return "" if each.goal is None else f"{'≥' if each.at_least else '≤'} {each.goal:g}"


@cache
def machine() -> str:
    """Describe cores, processor and Python version."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.processor() or platform.machine()
    return f"{os.cpu_count()} cores of {model}, Python {sys.version.split()[0]}"


def keep(found: Finding) -> None:
    """Write a row with every sample to `results.json`, in place of an earlier one for the same question."""
    row = {
        "name": found.name,
        "question": found.question,
        "unit": found.unit,
        "ours": found.ours,
        "peer": found.peer,
        "peer_name": found.peer_name,
        "ratio": found.ratio,
        "goal": _goal(found),
        "met": found.met,
        "machine": machine(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "samples": found.samples,
        "spread": {side: statistics.pstdev(figures) for side, figures in found.samples.items()},
    }
    others = [each for each in _kept() if (each["name"], each["question"]) != (row["name"], row["question"])]
    complete = RESULTS.with_suffix(".new")
    complete.write_text(json.dumps([*others, row], indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    complete.replace(RESULTS)


def _kept() -> list[Row]:
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []


def record() -> None:
    """Write the rows of `results.json` into the table of README.md. Its other rows stay."""
    before, _, rest = README.read_text(encoding="utf-8").partition(_BEGIN)
    recorded, _, after = rest.partition(_END)
    lines = [each for each in recorded.splitlines() if each.startswith("| ")][2:]
    lines += map(_markdown, _kept())
    latest = {tuple(each.split(" | ")[:2]): each for each in lines}  # by name and question
    head = ["| | question | ours | peer | ratio | goal | result | measured |", f"|{' --- |' * 8}"]
    table = "\n".join([*head, *sorted(latest.values(), key=_place)])
    README.write_text(f"{before}{_BEGIN}\n{table}\n\n{_END}{after}", encoding="utf-8")


def _place(line: str) -> tuple[float, str]:
    """Sort by the number in the name, and rows without one last."""
    name = line.split("|")[1].strip()
    number = re.match(r"P(\d+)", name)
    return float(number[1]) if number else float("inf"), name


def _markdown(row: Row) -> str:
    met = {None: "", True: "met", False: "**not met**"}[row["met"]]
    day = datetime.fromisoformat(row["at"])
    figures = f"{row['ours']:.4g} | {row['peer']:.4g} ({row['peer_name']}) | {row['ratio']:.2f}"
    repetitions = min(map(len, row["samples"].values()))
    times = "once" if repetitions == 1 else f"median of {repetitions}"
    measured = f"{day.day} {day:%B %Y}, {times}, {row['machine']}"
    return f"| {row['name']} | {row['question']}, {row['unit']} | {figures} | {row['goal']} | {met} | {measured} |"


if __name__ == "__main__":
    record()
