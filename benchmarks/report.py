"""The results of a run: as a table of 80 columns, as JSON, and as the tables in README.md.

`python -m benchmarks.report` writes the last `results.json` and `results-long.json` into README.md.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.sides import Finding

HERE = Path(__file__).parent
SHORT, LONG = HERE / "results.json", HERE / "results-long.json"
README = HERE / "README.md"
_MARKS = {
    SHORT: ("<!-- results -->\n", "<!-- end of results -->\n"),
    LONG: ("<!-- long results -->\n", "<!-- end of long results -->\n"),
}


def table(found: Iterable[Finding]) -> Table:
    """Return a table that fits into 80 columns: its questions are wrapped, and no figure is cut."""
    made = Table(box=None, padding=(0, 1, 0, 0), width=80)
    made.add_column("", min_width=10)
    made.add_column("question, unit", min_width=26, ratio=1)
    for heading in ("ours", "peer", "ratio", "goal"):
        made.add_column(heading, justify="right", no_wrap=True)
    made.add_column("met?", no_wrap=True)
    for each in found:
        verdict = {None: "", True: "[green]yes[/green]", False: "[red]NO[/red]"}[each.met]
        figures = (f"{each.ours:.4g}", f"{each.peer:.4g}", f"{each.ratio:.2f}", _goal(each))
        made.add_row(each.name, f"{each.question}, {each.unit}", *figures, verdict)
    return made


def verdict(found: Iterable[Finding]) -> str:
    """Return how many goals are met, and which ones are not."""
    with_goal = [each for each in found if each.goal is not None]
    missed = [each for each in with_goal if not each.met]
    lines = [f"  {each.name} ({each.question}): {each.ratio:.2f}, goal {_goal(each)}" for each in missed]
    return "\n".join([f"{len(with_goal) - len(missed)} of {len(with_goal)} goals are met.", *lines])


def _goal(each: Finding) -> str:
    return "" if each.goal is None else f"{'≥' if each.at_least else '≤'} {each.goal:g}"


def save(path: Path, found: Iterable[Finding], seconds: float, profile: str) -> None:
    """Write the results of a run, with every sample, as JSON."""
    rows = [
        {
            "name": each.name,
            "question": each.question,
            "unit": each.unit,
            "ours": each.ours,
            "peer": each.peer,
            "peer_name": each.peer_name,
            "ratio": each.ratio,
            "goal": _goal(each),
            "met": each.met,
            "samples": each.samples,
            "spread": {side: statistics.pstdev(figures) for side, figures in each.samples.items()},
        }
        for each in found
    ]
    at = datetime.now(UTC).isoformat(timespec="seconds")
    results = {"machine": machine(), "at": at, "seconds": round(seconds), "rows": rows, "profile": profile}
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def machine() -> str:
    """Describe cores, processor and Python version."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.processor() or platform.machine()
    return f"{os.cpu_count()} cores of {model}, Python {sys.version.split()[0]}"


def write_readme() -> None:
    """Write the last results, those that there are, into README.md, each between its marks."""
    text = README.read_text(encoding="utf-8")
    for path, (begin, end) in _MARKS.items():
        if path.exists():
            before, _, rest = text.partition(begin)
            after = rest.partition(end)[2]
            lines = _markdown(json.loads(path.read_text(encoding="utf-8")))
            text = before + begin + "\n".join(["", *lines, ""]) + "\n" + end + after
    README.write_text(text, encoding="utf-8")


def _markdown(results: Mapping[str, Any]) -> Iterator[str]:
    day = datetime.fromisoformat(results["at"])
    yield f"Measured on {day.day} {day:%B %Y} in {results['seconds'] / 60:.1f} minutes, on {results['machine']}."
    yield ""
    yield "| | question | ours | peer | ratio | goal | result |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for row in results["rows"]:
        met = {None: "", True: "met", False: "**not met**"}[row["met"]]
        figures = f"{row['ours']:.4g} | {row['peer']:.4g} ({row['peer_name']}) | {row['ratio']:.2f}"
        yield f"| {row['name']} | {row['question']}, {row['unit']} | {figures} | {row['goal']} | {met} |"


if __name__ == "__main__":
    write_readme()
