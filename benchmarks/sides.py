"""Sides of a comparison, each run in fresh processes, taking turns."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs

REPETITIONS = 7
"""How often each side runs; the medians are compared."""
_LONGEST_RUN = 120.0

K = TypeVar("K")


@attrs.frozen(kw_only=True)
class Finding:
    """One line of the table: a figure, its peer's, and whether their ratio meets the goal."""

    name: str
    question: str
    unit: str
    ours: float
    peer: float
    peer_name: str
    goal: float | None
    """None: told for information."""
    at_least: bool = False
    """The ratio shall be the goal or more, rather than less."""
    samples: Mapping[str, list[float]]

    @property
    def ratio(self) -> float:
        return self.ours / self.peer

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        return self.ratio >= self.goal if self.at_least else self.ratio <= self.goal


def taking_turns(sides: Mapping[K, Callable[[], float]], repetitions: int = REPETITIONS) -> dict[K, list[float]]:
    """The figures of each side, one repetition of every side after the other; the first round is thrown away."""
    rounds = [{name: measure() for name, measure in sides.items()} for _ in range(repetitions + 1)]
    return {name: [figures[name] for figures in rounds[1:]] for name in sides}


def compared(samples: Mapping[str, list[float]], ours: str, peer: str, **words: Any) -> Finding:
    """What the medians of two sides say."""
    return Finding(
        ours=statistics.median(samples[ours]),
        peer=statistics.median(samples[peer]),
        peer_name=peer,
        samples={ours: samples[ours], peer: samples[peer]},
        **words,
    )


def in_fresh_process(module: str, words: object, longest: float = _LONGEST_RUN) -> Any:
    """The JSON that `python -m module` prints within `longest` seconds, given `words` as JSON on its standard input."""
    command = [sys.executable, "-m", module]
    done = subprocess.run(
        command, input=json.dumps(words), stdout=subprocess.PIPE, text=True, check=True, timeout=longest
    )
    return json.loads(done.stdout)
