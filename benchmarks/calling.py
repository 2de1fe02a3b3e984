"""Make small calls in this process, one after another or many at once, and print their cost as JSON."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from itertools import cycle, islice
from typing import Any

from benchmarks.site import Site

SLOTS = 64  # calls that are out at the same time; the default of `Settings.concurrency`
WARM_UP = 2 * SLOTS

_NameOf = Callable[[str], Awaitable[str]]


async def main(request: dict[str, Any]) -> dict[str, float]:
    site, calls = Site(**request["site"]), int(request["calls"])
    caller = importlib.import_module(f"benchmarks.callers.{request['caller']}")
    rooms = list(islice(cycle(site.rooms), calls))
    async with caller.connected(site, SLOTS) as name_of:
        await _at_once(name_of, rooms[:WARM_UP])
        if request["how"] == "waiting":
            return {"bytes": await _memory_of_waiting(name_of, rooms)}
        make = _at_once if request["how"] == "at once" else _in_turn
        began, cpu_began = time.perf_counter(), time.process_time()  # user and system time
        characters = await make(name_of, rooms)
        cpu, wall = time.process_time() - cpu_began, time.perf_counter() - began
    return {"cpu": cpu, "wall": wall, "calls": calls, "characters": characters}


async def _in_turn(name_of: _NameOf, rooms: list[str]) -> int:
    return sum([len(await name_of(room)) for room in rooms])


async def _at_once(name_of: _NameOf, rooms: list[str]) -> int:
    return sum(map(len, await asyncio.gather(*map(name_of, rooms))))


async def _memory_of_waiting(name_of: _NameOf, rooms: list[str]) -> float:
    """Return the bytes that Python holds for each call that waits for its turn, its task included."""
    names = asyncio.gather(*map(name_of, rooms[:SLOTS]))
    await asyncio.sleep(0)  # All slots are taken now.
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    waiting = asyncio.gather(*map(name_of, rooms))
    await asyncio.sleep(0)
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    await asyncio.gather(names, waiting)
    return held / len(rooms)


def run(request: dict[str, Any]) -> dict[str, float]:
    new_loop = importlib.import_module("uvloop").new_event_loop if request["uvloop"] else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main(request))


if __name__ == "__main__":
    print(json.dumps(run(json.load(sys.stdin))))
