"""P18, P19: measure what an engine costs, and what it gains where the work is limited by the CPU.

Work that the rate limit bounds is not measured: the limit belongs to the conversation, so any number of processes take
the time that one takes (P7).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from benchmarks.formats import archived
from benchmarks.sides import Benchmark, Finding, compared, in_fresh_process, taking_turns
from benchmarks.site import Site, served

ROOMS, MESSAGES = 12, 10_000
MANY_ROOMS, MANY_MESSAGES = 100, 10_000
EXPORTS, CONVERSIONS = 3, 2  # Repetitions of each side.
PROCESS = "benchmarks.sharing"
LONGEST = 3600.0  # seconds that one side may take


def overhead() -> Iterator[Finding]:
    """P18: compare the CPU per message of an export in the one process of an engine with that of a plain export."""
    with served(conversations=ROOMS, messages=MESSAGES) as site:
        samples = taking_turns(_sides("engine with 1 process", 1, partial(_cpu_a_message, site)), EXPORTS)
    yield compared(
        samples,
        ours="engine with 1 process",
        peer="no engine",
        name="P18",
        question="export with an engine, start left out",
        unit="µs CPU a message",
        goal=1.15,
    )


def speedup() -> Iterator[Finding]:
    """P19: compare the rate of two processes that convert an archive to Parquet with that of one."""
    with archived(MANY_ROOMS, MANY_MESSAGES) as archive:
        samples = taking_turns(_sides("engine with 2 processes", 2, partial(_rate, archive)), CONVERSIONS)
    yield compared(
        samples,
        ours="engine with 2 processes",
        peer="no engine",
        name="P19",
        question=f"{MANY_ROOMS * MANY_MESSAGES:,} messages to Parquet, with the start",
        unit="messages a second",
        goal=1.6,
        at_least=True,
    )


def _sides(engine: str, processes: int, measure: Callable[[int | None], float]) -> dict[str, Callable[[], float]]:
    """Return what is measured with an engine of this many processes, by its name, and without one."""
    return {engine: partial(measure, processes), "no engine": partial(measure, None)}


def _cpu_a_message(site: Site, processes: int | None) -> float:
    with tempfile.TemporaryDirectory() as folder:
        request = {"site": attrs.asdict(site), "archive": f"{folder}/archive", "processes": processes}
        result: dict[str, Any] = in_fresh_process(PROCESS, request, LONGEST)
    return float(result["cpu"]) / float(result["messages"]) * 1e6


def _rate(archive: Path, processes: int | None) -> float:
    with tempfile.TemporaryDirectory() as folder:
        request = {"archive": str(archive), "out": f"{folder}/tables", "processes": processes}
        result: dict[str, Any] = in_fresh_process(PROCESS, request, LONGEST)
    return float(result["messages"]) / float(result["wall"])


BENCHMARKS = (
    Benchmark(("P18",), overhead, long=True),
    Benchmark(("P19",), speedup, long=True),
)
