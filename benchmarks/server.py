"""How many history pages the local server gives in a second of one core: it must not be what others wait for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import attrs

from benchmarks.sides import Finding, compared, in_fresh_process, taking_turns
from benchmarks.site import Site, served

ROOMS, MESSAGES = 6, 3_000
ENOUGH = 800.0
"""Pages a second."""


def findings() -> list[Finding]:
    if not Path("/proc/self/stat").exists():
        return []  # Only Linux tells another process's CPU time here.
    with served(conversations=ROOMS, messages=MESSAGES) as site:
        samples = taking_turns({"pages": _pages_a_second(site)}, 5)
    return [
        compared(
            {**samples, "wanted": [ENOUGH]},
            ours="pages",
            peer="wanted",
            name="server",
            question="history pages of the local server",
            unit="pages a second of its CPU",
            goal=1.0,
            at_least=True,
        )
    ]


def _pages_a_second(site: Site) -> Callable[[], float]:
    """The lightest loop reads all; the pages it got by the CPU time the server took for them."""
    words = {"loop": "bytes_only", "site": attrs.asdict(site), "bodies": False, "uvloop": False}
    pages = ROOMS * (MESSAGES // 75 + 1)

    def measure() -> float:
        before = _cpu_seconds(site.pid)
        in_fresh_process("benchmarks.walk", words)
        return pages / (_cpu_seconds(site.pid) - before)

    return measure


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
