"""Run one loop in this process and print what it read and its cost as JSON."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from typing import Any

import attrs

from benchmarks.site import Site


def main(request: dict[str, Any]) -> dict[str, Any]:
    loop = importlib.import_module(f"benchmarks.loops.{request['loop']}")
    others = [{"number": number} for number in range(request["heap"])]  # as an application holds them
    new_loop = importlib.import_module("uvloop").new_event_loop if request["uvloop"] else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=new_loop) as runner:
        began, cpu_began = time.perf_counter(), time.process_time()  # user and system time
        seen = runner.run(loop.read(Site(**request["site"]), bodies=request["bodies"]))
        cpu, wall = time.process_time() - cpu_began, time.perf_counter() - began
    del others
    return {"cpu": cpu, "wall": wall, "seen": attrs.asdict(seen)}


if __name__ == "__main__":
    print(json.dumps(main(json.load(sys.stdin))))
