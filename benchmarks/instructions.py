"""Count the processor instructions for each message of a history, which do not depend on how busy the machine is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import attrs

from benchmarks.sides import Finding, compared
from benchmarks.site import Site, served

MESSAGES = 1_500
SHORT, LONG = 1, 3
"""How often the conversation is read. The difference of both counts is free of the start of the interpreter."""

_LONGEST_RUN = 900.0  # seconds; valgrind is some 50 times slower than the processor
_CALLGRIND = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")
_COLLECTED = re.compile(r"Collected : (\d+)")
_OURS, _PEER = "stride_async", "aiohttp + orjson"


def findings() -> list[Finding]:
    """Compare with the bare loop, for the fields alone and for every node. Empty without valgrind."""
    if shutil.which("valgrind") is None:
        return []
    with served(conversations=1, messages=MESSAGES) as site:
        fields = {_OURS: [_a_message(site, "stride")], _PEER: [_a_message(site, "bare_orjson")]}
        bodies = {
            _OURS: [_a_message(site, "stride", bodies=True)],
            _PEER: [_a_message(site, "bare_orjson", bodies=True)],
        }
    labels = {"ours": _OURS, "peer": _PEER, "unit": "instructions a message"}
    return [
        compared(fields, name="P1 instr", question="history, fields", goal=0.6, **labels),
        compared(bodies, name="P4 instr", question="history, every node", goal=None, **labels),
    ]


def _a_message(site: Site, loop: str, *, bodies: bool = False) -> float:
    short, long = (_instructions(site, loop, times, bodies=bodies) for times in (SHORT, LONG))
    return (long - short) / ((LONG - SHORT) * MESSAGES)


def _instructions(site: Site, loop: str, times: int, *, bodies: bool) -> int:
    """Return the instructions of a process that reads the conversation this often."""
    request = {
        "loop": loop,
        "site": attrs.asdict(attrs.evolve(site, rooms=site.rooms * times)),
        "bodies": bodies,
        "uvloop": False,
        "heap": 0,
    }
    command = [
        "valgrind",
        "--tool=callgrind",
        "--callgrind-out-file=/dev/null",
        sys.executable,
        "-m",
        "benchmarks.walk",
    ]
    done = subprocess.run(
        command,
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=True,
        timeout=_LONGEST_RUN,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    collected = _COLLECTED.search(done.stderr)
    assert collected is not None
    seen = json.loads(done.stdout)["seen"]["messages"]
    if seen != times * MESSAGES:
        raise AssertionError(f"{loop} saw {seen} messages, not {times * MESSAGES}")
    return int(collected[1])


def main() -> None:
    """Print the instructions for each message of both loops, and their ratio."""
    if shutil.which("valgrind") is None:
        sys.exit("benchmarks.instructions needs valgrind, which is not installed.")
    for found in findings():
        sign = "" if found.goal is None else f" (goal ≤ {found.goal:g})"
        print(f"{found.question}: {found.ours:,.0f} and {found.peer:,.0f} {found.unit}, ratio {found.ratio:.3f}{sign}")


if __name__ == "__main__":
    main()
