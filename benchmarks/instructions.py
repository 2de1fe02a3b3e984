"""Count the processor instructions of a message of a history and of a small call; a busy machine does not change them.

`python -m benchmarks.instructions` prints P1, P4 and P16; with names of rows it prints only these.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs

from benchmarks.sides import Finding, compared
from benchmarks.site import Site, served

# Each count is the difference of two runs, so that it is free of the start of the interpreter.
MESSAGES, ONCE, OFTEN = 1_500, 1, 3  # how often the conversation is read
FEW_CALLS, MANY_CALLS = 200, 600  # more than `calling.WARM_UP`

_LONGEST_RUN = 900.0  # seconds; valgrind is some 50 times slower than the processor
_CALLGRIND = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")
_COLLECTED = re.compile(r"Collected : (\d+)")
_OURS, _PEER = "stride_async", "aiohttp + orjson"


def messages(*, bodies: bool) -> Finding:
    """P1 and P4: compare with the bare loop, for the fields alone or for every node."""
    with served(conversations=1, messages=MESSAGES) as site:
        loops = {_OURS: "stride", _PEER: "bare_orjson"}
        samples = {side: [_a_message(site, loop, bodies=bodies)] for side, loop in loops.items()}
    name, question = ("P4", "history, every node") if bodies else ("P1", "history, fields")
    goal = None if bodies else 0.6
    return compared(
        samples, ours=_OURS, peer=_PEER, name=name, question=question, unit="instructions a message", goal=goal
    )


def calls() -> Finding:
    """P16: compare with a bare call."""
    with served(conversations=1, messages=1) as site:
        samples = {side: [_a_call(site, caller)] for side, caller in ((_OURS, "stride"), (_PEER, "bare"))}
    return compared(
        samples, ours=_OURS, peer=_PEER, name="P16", question="a small call", unit="instructions a call", goal=1.15
    )


COUNTED: dict[str, Callable[[], Finding]] = {
    "P1": partial(messages, bodies=False),
    "P4": partial(messages, bodies=True),
    "P16": calls,
}


def _a_message(site: Site, loop: str, *, bodies: bool) -> float:
    def counted(times: int) -> int:
        longer = attrs.asdict(attrs.evolve(site, rooms=site.rooms * times))
        request = {"loop": loop, "site": longer, "bodies": bodies, "uvloop": False, "heap": 0}
        instructions, printed = _instructions("benchmarks.walk", request)
        if printed["seen"]["messages"] != times * MESSAGES:
            raise AssertionError(f"{loop} saw {printed['seen']}")
        return instructions

    return (counted(OFTEN) - counted(ONCE)) / ((OFTEN - ONCE) * MESSAGES)


def _a_call(site: Site, caller: str) -> float:
    def counted(calls: int) -> int:
        request = {"caller": caller, "site": attrs.asdict(site), "how": "in turn", "calls": calls, "uvloop": False}
        return _instructions("benchmarks.calling", request)[0]

    return (counted(MANY_CALLS) - counted(FEW_CALLS)) / (MANY_CALLS - FEW_CALLS)


def _instructions(module: str, request: object) -> tuple[int, Any]:
    """Return the instructions of `python -m module` with `request` as JSON on stdin, and what it printed."""
    done = subprocess.run(
        [*_CALLGRIND, sys.executable, "-m", module],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=True,
        timeout=_LONGEST_RUN,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    collected = _COLLECTED.search(done.stderr)
    assert collected is not None
    return int(collected[1]), json.loads(done.stdout)


def main(names: list[str]) -> None:
    """Print the instructions of both sides and their ratio, for each row."""
    if shutil.which("valgrind") is None:
        sys.exit("benchmarks.instructions needs valgrind, which is not installed.")
    if unknown := set(names) - set(COUNTED):
        sys.exit(f"no instructions are counted for {' '.join(sorted(unknown))}; expected {', '.join(COUNTED)}")
    for name in names or COUNTED:
        found = COUNTED[name]()
        goal = "" if found.goal is None else f" (goal ≤ {found.goal:g})"
        figures = f"{found.ours:,.0f} and {found.peer:,.0f} {found.unit}, ratio {found.ratio:.3f}{goal}"
        print(f"{found.name}, {found.question}: {figures}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
