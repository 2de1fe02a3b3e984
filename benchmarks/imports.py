"""P14: what `import stride_async` costs, each import in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable

from benchmarks.sides import Finding, compared, taking_turns

REPETITIONS = 15
_TIMED = "import time; began = time.process_time(); import {module}; print(time.process_time() - began)"


def findings() -> list[Finding]:
    """With compiled modules on both sides, as an installed package has them: the first round writes them."""
    with tempfile.TemporaryDirectory() as compiled:
        sides = {f"import {module}": _cpu(module, compiled) for module in ("stride_async", "aiohttp")}
        samples = taking_turns(sides, REPETITIONS)
    return [
        compared(
            samples,
            ours="import stride_async",
            peer="import aiohttp",
            name="P14",
            question="import",
            unit="ms CPU",
            goal=1.3,
        )
    ]


def _cpu(module: str, compiled: str) -> Callable[[], float]:
    command = [sys.executable, "-c", _TIMED.format(module=module)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = compiled

    def measure() -> float:
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=60)
        return float(done.stdout) * 1e3

    return measure
