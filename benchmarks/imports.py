"""P14: measure importing the client, in a fresh process each time. `import stride_async` alone loads nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable

from benchmarks.sides import Benchmark, Finding, compared, taking_turns

REPETITIONS = 15
_TIMED = "import time; began = time.process_time(); {statement}; print(time.process_time() - began)"
_OURS, _PEER = "from stride_async import StrideClient", "import aiohttp"


def findings() -> list[Finding]:
    """Measure with compiled modules on both sides, as after an installation; the discarded first round writes them."""
    with tempfile.TemporaryDirectory() as compiled:
        sides = {statement: _cpu(statement, compiled) for statement in (_OURS, _PEER)}
        samples = taking_turns(sides, REPETITIONS)
    return [
        compared(
            samples,
            ours=_OURS,
            peer=_PEER,
            name="P14",
            question="import",
            unit="ms CPU",
            goal=1.3,
        )
    ]


def _cpu(statement: str, compiled: str) -> Callable[[], float]:
    command = [sys.executable, "-c", _TIMED.format(statement=statement)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = compiled

    def measure() -> float:
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=60)
        return float(done.stdout) * 1e3

    return measure


BENCHMARKS = (Benchmark(("P14",), findings),)
