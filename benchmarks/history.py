"""P1 to P4, P12: measure reading the messages of a conversation, and fetching ahead for a slow consumer."""

from __future__ import annotations

import asyncio
import cProfile
import functools
import pstats
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import attrs

from benchmarks.loops import stride
from benchmarks.sides import REPETITIONS, Benchmark, Finding, compared, in_fresh_process, taking_turns
from benchmarks.site import Site, served
from stride_async import ClientCredentials, Message, Pager, Settings, StrideClient

ROOMS, MESSAGES = 6, 4_000
LATENCY = 0.05
SLOW_MESSAGES = 3_000
PAGE = 75
HEAP = 1_000_000  # objects of an application that reads a history
PROFILED = 10  # functions of the profile that are printed

_NAMES = {
    "stride": "stride_async",
    "bare_orjson": "aiohttp + orjson",
    "bare_json": "aiohttp + json",
    "httpx_pydantic": "httpx + pydantic",
    "bytes_only": "aiohttp, bytes only",
}


_per_message = functools.partial(compared, ours="stride_async", unit="µs CPU a message")


def fields() -> Iterator[Finding]:
    """P1 to P3: compare the CPU of reading the fields of each message with that of other loops."""
    with served(conversations=ROOMS, messages=MESSAGES) as site:
        samples = taking_turns({_NAMES[loop]: _cpu(site, loop) for loop in _NAMES})
    of_fields = functools.partial(_per_message, samples, question="history, fields")
    yield of_fields(peer="aiohttp + orjson", name="P1", goal=0.7)
    yield of_fields(peer="aiohttp + json", name="P2", goal=0.5)
    yield of_fields(peer="httpx + pydantic", name="P3", goal=0.2)
    yield compared(
        samples,
        ours="aiohttp, bytes only",
        peer="aiohttp + orjson",
        name="P1 floor",
        question="reading the bytes alone",
        unit="µs CPU a message",
        goal=None,
    )


def next_to_a_heap() -> Iterator[Finding]:
    """P1 in a process that holds many other objects."""
    yield from _against_orjson("P1 heap", "as P1, next to 1 000 000 objects", 0.5, heap=HEAP)


def on_uvloop() -> Iterator[Finding]:
    """P1 on uvloop."""
    yield from _against_orjson("P1 uvloop", "as P1, on uvloop, once", None, repetitions=1, uvloop=True)


def bodies() -> Iterator[Finding]:
    """P4: compare the CPU of reading the fields and every node of each message."""
    yield from _against_orjson("P4", "history, every node", 1.2, bodies=True)


def _against_orjson(
    name: str, question: str, goal: float | None, *, repetitions: int = REPETITIONS, **options: Any
) -> Iterator[Finding]:
    with served(conversations=ROOMS, messages=MESSAGES) as site:
        loops = ("stride", "bare_orjson")
        samples = taking_turns({_NAMES[loop]: _cpu(site, loop, **options) for loop in loops}, repetitions)
    yield _per_message(samples, peer="aiohttp + orjson", name=name, question=question, goal=goal)


def _cpu(site: Site, loop: str, *, bodies: bool = False, uvloop: bool = False, heap: int = 0) -> Callable[[], float]:
    """Return a function that runs a loop in a fresh process and returns its CPU per message in microseconds."""
    request = {"loop": loop, "site": attrs.asdict(site), "bodies": bodies, "uvloop": uvloop, "heap": heap}

    def measure() -> float:
        result = in_fresh_process("benchmarks.walk", request)
        if loop != "bytes_only":
            _check_seen(loop, bodies, result["seen"])
        return float(result["cpu"]) / (ROOMS * MESSAGES) * 1e6

    return measure


_seen: dict[bool, dict[str, int]] = {}


def _check_seen(loop: str, bodies: bool, seen: dict[str, int]) -> None:
    """Check that all loops read the same, because otherwise their costs cannot be compared."""
    first = _seen.setdefault(bodies, seen)
    if seen != first or seen["messages"] != ROOMS * MESSAGES:
        raise AssertionError(f"{loop} saw {seen}, another loop {first}")


def slow_consumer() -> Iterator[Finding]:
    """P12: compare the wall time with `prefetch=1` with the longer of fetching alone and consuming alone."""
    with served(conversations=1, messages=SLOW_MESSAGES, latency=LATENCY) as site:
        samples = asyncio.run(_overlapped(site))
    samples["max(fetch, consume)"] = [max(pair) for pair in zip(samples["fetch"], samples["consume"], strict=True)]
    yield compared(
        samples,
        ours="prefetch=1",
        peer="max(fetch, consume)",
        name="P12",
        question=f"slow consumer, {LATENCY * 1000:.0f} ms a page",
        unit="s",
        goal=1.1,
    )


async def _overlapped(site: Site) -> dict[str, list[float]]:
    samples: dict[str, list[float]] = {"fetch": [], "consume": [], "prefetch=1": []}
    async with _client(site) as client:
        history = client.conversation(site.rooms[0]).history()
        pages = -(-SLOW_MESSAGES // PAGE)
        await _fetched(history)
        for _ in range(3):
            samples["fetch"].append(await _fetched(history))
            pause = samples["fetch"][-1] / pages
            samples["consume"].append(await _consumed(pages, pause))
            samples["prefetch=1"].append(await _both(history, pause))
    return samples


@asynccontextmanager
async def _client(site: Site) -> AsyncIterator[StrideClient]:
    credentials = ClientCredentials(site.client_id, site.client_secret)
    settings = Settings(base_url=site.url, calls_per_minute=None)
    async with StrideClient(credentials, cloud_id=site.cloud_id, settings=settings) as client:
        yield client


async def _fetched(history: Pager[Message]) -> float:
    began = time.perf_counter()
    async for _ in history:
        pass
    return time.perf_counter() - began


async def _consumed(pages: int, pause: float) -> float:
    began = time.perf_counter()
    for _ in range(pages):
        await asyncio.sleep(pause)
    return time.perf_counter() - began


async def _both(history: Pager[Message], pause: float) -> float:
    began, given = time.perf_counter(), 0
    async with history.stream(prefetch=1) as messages:
        async for _ in messages:
            given += 1
            if given % PAGE == 0:
                await asyncio.sleep(pause)
    return time.perf_counter() - began


def profile() -> str:
    """Return the functions in which P1 spends most of its time, by their own time."""
    with served(conversations=ROOMS, messages=MESSAGES) as site:
        profiler = cProfile.Profile(time.process_time)
        profiler.enable()
        asyncio.run(stride.read(site, bodies=False))
        profiler.disable()
    stats = pstats.Stats(profiler).strip_dirs()
    spent = sum(row[2] for row in stats.stats.values())  # type: ignore[attr-defined]  # typeshed leaves it out
    rows = sorted(stats.stats.items(), key=lambda item: -item[1][2])[:PROFILED]  # type: ignore[attr-defined]  # as above
    lines = [f"{row[2] / spent:6.1%}  {row[1]:>8}  {name} ({file}:{line})" for (file, line, name), row in rows]
    return "\n".join([" share     calls  function", *lines])


BENCHMARKS = (
    Benchmark(("P1", "P2", "P3", "P1 floor"), fields),
    Benchmark(("P1 heap",), next_to_a_heap),
    Benchmark(("P1 uvloop",), on_uvloop),
    Benchmark(("P4",), bodies),
    Benchmark(("P12",), slow_consumer),
)

if __name__ == "__main__":
    print(profile())
