"""P5, P6, P7, P11, P15: measure the cost of an export, its use of the rate limit, and the loss caused by a kill."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from benchmarks.sides import Benchmark, Finding, compared, in_fresh_process, taking_turns
from benchmarks.site import Site, served
from stride_async.server import LocalServer

ROOMS, MESSAGES = 6, 3_000
WIDE_ROOMS, WIDE_PAGES, WIDE_LATENCY = 64, 4, 0.25
LIMITED_ROOMS, LIMITED_PAGES, LIMIT, WINDOW = 5, 150, 60, 60.0
MANY_MESSAGES, FEW_MESSAGES, STEADY_ROOMS = 1_000_000, 10_000, 50
MANY_ROOMS, FEW_ROOMS, ROOM_MESSAGES = 1_000, 10, 750
PAGE = 75
PROCESS = "benchmarks.exporting"
LONGEST = 1800.0  # seconds that one export may take
_OURS, _BY_HAND = "stride_async.export", "aiohttp + json, no safety"


def complete() -> Iterator[Finding]:
    """P5: measure the CPU per message of a complete export."""
    with served(conversations=ROOMS, messages=MESSAGES) as site:
        sides = {_OURS: _cpu_a_message(site, "stride"), _BY_HAND: _cpu_a_message(site, "by_hand")}
        samples = taking_turns(sides, 5)
    yield compared(
        samples, ours=_OURS, peer=_BY_HAND, name="P5", question="complete export", unit="µs CPU a message", goal=0.7
    )


def _once(site: Site, side: str, **options: object) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        result: dict[str, Any] = in_fresh_process(PROCESS, _request(site, side, folder, options), LONGEST)
    return result


def _request(site: Site, side: str, folder: str, options: Mapping[str, object]) -> dict[str, Any]:
    return {"side": side, "site": attrs.asdict(site), "folder": f"{folder}/archive", "options": options}


def _cpu_a_message(site: Site, side: str) -> Callable[[], float]:
    def measure() -> float:
        result = _once(site, side)
        return float(result["cpu"]) / float(result["messages"]) * 1e6

    return measure


def wide() -> Iterator[Finding]:
    """P6: compare many rooms exported concurrently with one call at a time, at high latency."""
    with served(conversations=WIDE_ROOMS, messages=WIDE_PAGES * PAGE, latency=WIDE_LATENCY) as site:
        ours = [_once(site, "stride", concurrency=WIDE_ROOMS)["wall"] for _ in range(3)]
        peer = [_once(site, "by_hand", concurrency=1)["wall"]]
    yield compared(
        {_OURS: [1 / wall for wall in ours], "one call at a time": [1 / wall for wall in peer]},
        ours=_OURS,
        peer="one call at a time",
        name="P6",
        question=f"{WIDE_ROOMS} rooms of {WIDE_PAGES} pages, {WIDE_LATENCY * 1000:.0f} ms",
        unit="exports a second",
        goal=30,
        at_least=True,
    )


def limited() -> Iterator[Finding]:
    """P7: divide the time that the rate limit requires by the time taken. A single 429 fails the benchmark."""
    needed = (LIMITED_PAGES + 2 - 1) // LIMIT * WINDOW  # The pages, the empty page, and the roster.
    taken, refused = asyncio.run(_limited())
    yield compared(
        {"the limit alone": [needed], _OURS: [float("inf") if refused else taken]},
        ours="the limit alone",
        peer=_OURS,
        name="P7",
        question=f"{LIMITED_ROOMS} rooms of {LIMITED_PAGES} pages, {LIMIT} a minute",
        unit="s",
        goal=0.97,
        at_least=True,
    )


async def _limited() -> tuple[float, int]:
    plan = f"conversations={LIMITED_ROOMS},messages={LIMITED_PAGES * PAGE},even=true,media=0,seed=7"
    async with LocalServer(generate=plan, rate_limit=LIMIT, window=WINDOW) as server:
        site = Site(server.url, server.cloud_id, server.client_id, server.client_secret, pid=0)
        result = await asyncio.to_thread(_once, site, "stride", calls_per_minute=LIMIT)
        return result["wall"], sum(call.status == 429 for call in server.calls)


def steady_memory() -> Iterator[Finding]:
    """P11: compare the peak memory for many and for few messages, in the same number of rooms."""
    peaks: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for messages in (MANY_MESSAGES, FEW_MESSAGES):
            database = Path(folder) / f"{messages}.db"
            with served(conversations=STEADY_ROOMS, messages=messages // STEADY_ROOMS, db=database) as site:
                peaks[f"{messages} messages"] = [_once(site, "stride")["peak"] / 1024]
    yield compared(
        peaks,
        ours=f"{MANY_MESSAGES} messages",
        peer=f"{FEW_MESSAGES} messages",
        name="P11",
        question="memory of an export",
        unit="MiB at the peak",
        goal=1.25,
    )


def many_rooms() -> Iterator[Finding]:
    """P15: compare the CPU per message for many and for few rooms."""
    samples: dict[str, list[float]] = {}
    for rooms in (MANY_ROOMS, FEW_ROOMS):
        with served(conversations=rooms, messages=ROOM_MESSAGES) as site:
            times = 2 if rooms == MANY_ROOMS else 7
            samples[f"{rooms} rooms"] = [_cpu_a_message(site, "stride")() for _ in range(times)]
    yield compared(
        samples,
        ours=f"{MANY_ROOMS} rooms",
        peer=f"{FEW_ROOMS} rooms",
        name="P15",
        question=f"complete export, {ROOM_MESSAGES} messages a room",
        unit="µs CPU a message",
        goal=1.0,
    )


def lost_by_a_kill() -> Iterator[Finding]:
    """Count the pages that are fetched again after a kill, per conversation in progress."""
    lost = [asyncio.run(_lost(pages)) for pages in (3, 9, 15, 21, 27)]
    yield compared(
        {"pages fetched again": lost, "one": [1.0]},
        ours="pages fetched again",
        peer="one",
        name="kill",
        question=f"{WIDE_LATENCY * 1000:.0f} ms a page, per conversation in progress",
        unit="pages",
        goal=1.0,
    )


async def _lost(pages: int) -> float:
    rooms = 4
    plan = f"conversations={rooms},messages={PAGE * 10},even=true,media=0,seed=7"
    async with LocalServer(generate=plan, rate_limit=None, latency=WIDE_LATENCY) as server:
        site = Site(server.url, server.cloud_id, server.client_id, server.client_secret, pid=0)
        with tempfile.TemporaryDirectory() as folder:
            request = _request(site, "stride", folder, {})
            process = await asyncio.create_subprocess_exec(sys.executable, "-m", PROCESS, stdin=asyncio.subprocess.PIPE)
            server.faults.add("GET", "*/message", after=pages, times=1, do=lambda _: process.kill())
            await process.communicate(json.dumps(request).encode())
            await asyncio.to_thread(in_fresh_process, PROCESS, request)
        calls = Counter((call.path, tuple(call.query)) for call in server.calls.matching("GET", "*/message"))
    return (calls.total() - len(calls)) / rooms


BENCHMARKS = (
    Benchmark(("P5",), complete),
    Benchmark(("P6",), wide, long=True),
    Benchmark(("P7",), limited, long=True),
    Benchmark(("P11",), steady_memory, long=True),
    Benchmark(("P15",), many_rooms, long=True),
    Benchmark(("kill",), lost_by_a_kill, long=True),
)
