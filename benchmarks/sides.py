"""Compare two sides that take turns, each in fresh processes."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import attrs

REPETITIONS = int(os.environ.get("STRIDE_BENCH_REPETITIONS", "7"))  # of each side; the medians are compared
_LONGEST_RUN = 120.0  # seconds

K = TypeVar("K")
F = TypeVar("F")


@attrs.frozen(kw_only=True)
class Finding:
    """One line of the table: our figure, the peer's, and whether their ratio meets the goal."""

    name: str
    question: str
    unit: str
    ours: float
    peer: float
    peer_name: str
    goal: float | None
    """None if the ratio is only reported."""
    at_least: bool = False
    """Whether the goal is a minimum instead of a maximum."""
    samples: Mapping[str, list[float]]

    @property
    def ratio(self) -> float:
        return self.ours / self.peer

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        return self.ratio >= self.goal if self.at_least else self.ratio <= self.goal


@attrs.frozen
class Benchmark:
    """Rows of the table that are measured together."""

    names: tuple[str, ...]
    """The names of the rows, by which they can be chosen."""
    measure: Callable[[], Iterable[Finding]]
    long: bool = False
    """Whether it is left to `--long`."""


def taking_turns(sides: Mapping[K, Callable[[], F]], repetitions: int = REPETITIONS) -> dict[K, list[F]]:
    """Return the figures of each side. Every round measures each side once, and the first round is discarded."""
    rounds = [{name: measure() for name, measure in sides.items()} for _ in range(repetitions + 1)]
    return {name: [figures[name] for figures in rounds[1:]] for name in sides}


def compared(samples: Mapping[str, list[float]], ours: str, peer: str, **labels: Any) -> Finding:
    """Compare the medians of two sides."""
    return Finding(
        ours=statistics.median(samples[ours]),
        peer=statistics.median(samples[peer]),
        peer_name=peer,
        samples={ours: samples[ours], peer: samples[peer]},
        **labels,
    )


def in_fresh_process(module: str, request: object, longest: float = _LONGEST_RUN) -> Any:
    """Run `python -m module` with `request` as JSON on stdin and return the JSON that it prints."""
    command = [sys.executable, "-m", module]
    done = subprocess.run(
        command,
        input=json.dumps(request),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=longest,
        start_new_session=True,  # Ctrl-C interrupts the run, which ends this process.
    )
    return json.loads(done.stdout)
