"""Measure the history pages per second of the local server's CPU time: the server must not be the bottleneck."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import attrs

from benchmarks.sides import Benchmark, Finding, compared, in_fresh_process, taking_turns
from benchmarks.site import Site, served

ROOMS, MESSAGES = 6, 3_000
ENOUGH = 800.0  # pages per second


def findings() -> list[Finding]:
    """Divide the pages that the server sends by its CPU time, and compare with what is required."""
    if not Path("/proc/self/stat").exists():
        return []  # Only Linux reports the CPU time of another process this way.
    with served(conversations=ROOMS, messages=MESSAGES) as site:
        samples = taking_turns({"pages": _pages_a_second(site)}, 5)
    return [
        compared(
            {**samples, "required": [ENOUGH]},
            ours="pages",
            peer="required",
            name="server",
            question="history pages of the local server",
            unit="pages a second of its CPU",
            goal=1.0,
            at_least=True,
        )
    ]


def _pages_a_second(site: Site) -> Callable[[], float]:
    """Return a function that reads all pages with the cheapest loop and divides them by the CPU time of the server."""
    request = {"loop": "bytes_only", "site": attrs.asdict(site), "bodies": False, "uvloop": False, "heap": 0}
    pages = ROOMS * (MESSAGES // 75 + 1)

    def measure() -> float:
        before = _cpu_seconds(site.pid)
        in_fresh_process("benchmarks.walk", request)
        return pages / (_cpu_seconds(site.pid) - before)

    return measure


def _cpu_seconds(pid: int) -> float:
    """Return the user and system time of a process (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


BENCHMARKS = (Benchmark(("server",), findings),)
