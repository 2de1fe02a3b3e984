"""P21, P22: measure how many messages a second of one core converts, and what a large archive and its search cost."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from benchmarks.sides import Benchmark, Finding, compared, in_fresh_process, taking_turns
from benchmarks.site import served

# For each format, the messages that one second of one core should convert.
GOALS = {"sqlite": 8_000, "parquet": 8_000, "seed": 8_000, "slack": 4_000, "mattermost": 4_000, "html": 2_500}
ROOMS, MESSAGES = 20, 1_500
REPETITIONS = 5
MANY_ROOMS, MANY_MESSAGES = 100, 10_000
LARGEST_PEAK_MB = 400
LARGEST_PAGE_KB = 300
INDEX_BYTES, TEXT_BYTES = 120, 300  # a message
LARGEST_SEARCH_MB = 3
PROCESS = "benchmarks.converting"
LONGEST = 3600.0  # seconds that one conversion may take


def rates() -> Iterator[Finding]:
    """P21: convert the same archive to each format."""
    with archived(ROOMS, MESSAGES) as archive:
        samples = taking_turns({format: partial(_rate, archive, format) for format in GOALS}, REPETITIONS)
    for format, figures in samples.items():
        yield _against_goal(format, f"conversion to {format}", figures)


def large() -> Iterator[Finding]:
    """P21 and P22 with 1 000 000 messages: the peak memory of each format, the sizes of the pages, and a search."""
    with archived(MANY_ROOMS, MANY_MESSAGES) as archive:
        for format in GOALS:
            result = _converted(archive, format, search=format == "html")
            question = f"conversion to {format}, {MANY_ROOMS * MANY_MESSAGES:,} messages"
            yield _against_goal(format, question, [result["messages"] / result["cpu"]])
            yield _bounded(format, "peak memory", "MB", result["peak"] * 1024 / 1e6, LARGEST_PEAK_MB)
            if format == "html":
                count = result["messages"]
                yield _bounded(format, "largest file", "kB", result["largest"] / 1e3, LARGEST_PAGE_KB)
                yield _bounded(format, "index", "bytes a message", result["index"] / count, INDEX_BYTES)
                yield _bounded(format, "texts", "bytes a message", result["texts"] / count, TEXT_BYTES)
            if result["searched"] is not None:
                loaded = result["searched"] / 1e6
                yield _bounded(format, "two words in the search", "MB", loaded, LARGEST_SEARCH_MB, "P22")


@contextmanager
def archived(rooms: int, messages: int) -> Iterator[Path]:
    """Export a generated site with this many conversations and messages in each, and yield the archive."""
    with tempfile.TemporaryDirectory() as folder:
        with served(conversations=rooms, messages=messages, db=Path(folder) / "site.db") as site:
            request = {"side": "stride", "site": attrs.asdict(site), "folder": f"{folder}/archive", "options": {}}
            in_fresh_process("benchmarks.exporting", request, LONGEST)
        yield Path(folder) / "archive"


def _rate(archive: Path, format: str) -> float:
    result = _converted(archive, format)
    return float(result["messages"] / result["cpu"])


def _converted(archive: Path, format: str, *, search: bool = False) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        request = {"archive": str(archive), "format": format, "out": f"{folder}/out", "search": search}
        result: dict[str, Any] = in_fresh_process(PROCESS, request, LONGEST)
    return result


def _against_goal(format: str, question: str, samples: list[float]) -> Finding:
    return compared(
        {format: samples, "the goal": [float(GOALS[format])]},
        ours=format,
        peer="the goal",
        name="P21",
        question=question,
        unit="messages a second of CPU",
        goal=1.0,
        at_least=True,
    )


def _bounded(format: str, what: str, unit: str, value: float, bound: float, name: str = "P21") -> Finding:
    return compared(
        {format: [value], "the bound": [float(bound)]},
        ours=format,
        peer="the bound",
        name=name,
        question=f"{what} of {format}, {MANY_ROOMS * MANY_MESSAGES:,} messages",
        unit=unit,
        goal=1.0,
    )


BENCHMARKS = (
    Benchmark(("P21",), rates, long=True),
    Benchmark(("P21", "P22"), large, long=True),
)
