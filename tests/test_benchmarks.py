"""The benchmarks keep and record each row that was measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import attrs
import pytest
from rich.console import Console

from benchmarks import report
from benchmarks.sides import Benchmark, Finding, compared

ROW = compared(
    {"ours": [7.0, 5.0, 6.0], "peer": [10.0]},
    ours="ours",
    peer="peer",
    name="P1 heap",
    question="as P1, next to 1 000 000 objects",
    unit="µs CPU a message",
    goal=0.5,
)


@pytest.fixture(autouse=True)
def _own_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(report, "README", tmp_path / "README.md")
    report.README.write_text("before\n<!-- results -->\n<!-- end of results -->\nafter\n", encoding="utf-8")


def run(*findings: Finding | KeyboardInterrupt) -> tuple[bool, str]:
    def measure() -> Iterator[Finding]:
        for each in findings:
            if isinstance(each, KeyboardInterrupt):
                raise each
            yield each

    screen = StringIO()
    complete = report.measured([Benchmark(("P1 heap",), measure)], Console(file=screen, width=80))
    return complete, screen.getvalue()


def test_row_fits_into_80_columns_with_every_figure():
    """No figure is cut, and the verdict stands in the row."""
    _, screen = run(ROW)

    rows = [line for line in screen.splitlines() if line.startswith("P1 heap")]
    assert 1 == len(rows)
    assert ["6", "10", "0.60", "≤", "0.5", "NO"] == rows[0].split()[-6:]
    assert all(len(line) <= 80 for line in screen.splitlines())


def test_interrupted_run_keeps_what_was_measured():
    """Ctrl-C ends the run with a sentence that says where the rows are."""
    complete, screen = run(ROW, KeyboardInterrupt())

    assert not complete
    assert "Interrupted; the rows above are kept in results.json." in screen
    assert [6.0 / 10.0] == [row["ratio"] for row in json.loads(report.RESULTS.read_text())]


def test_later_run_replaces_only_its_own_rows():
    """A row that is measured again is kept once; the rows of other runs stay, in the file and in README.md."""
    run(ROW, attrs.evolve(ROW, name="P10"))
    report.record()
    report.RESULTS.unlink()

    run(attrs.evolve(ROW, ours=4.0), attrs.evolve(ROW, name="P2"))
    report.record()

    text = report.README.read_text(encoding="utf-8")
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| P")]
    assert [("P1 heap", "4", "met"), ("P2", "6", "**not met**"), ("P10", "6", "**not met**")] == [
        (row[0], row[2], row[6]) for row in table
    ]
    assert all(report.machine() in row[7] for row in table)
    assert text.startswith("before\n")
    assert text.endswith("after\n")
