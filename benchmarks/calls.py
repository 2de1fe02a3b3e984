"""P16, P17: measure a small call, alone and among 2 000 at once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping

import attrs

from benchmarks.calling import SLOTS
from benchmarks.sides import REPETITIONS, Benchmark, Finding, compared, in_fresh_process, taking_turns
from benchmarks.site import Site, served

ROOMS = 20
IN_TURN, AT_ONCE = 1_000, 2_000
_OURS, _PEER = "stride_async", "aiohttp + orjson"
_CALLERS = {_OURS: "stride", _PEER: "bare"}

Figures = Mapping[str, float]

_against_bare = functools.partial(compared, ours=_OURS, peer=_PEER)


def in_turn() -> Iterator[Finding]:
    """P16: fetch the same rooms with both sides, from the same server."""
    cpu = functools.partial(_against_bare, unit="µs CPU a call")
    with served(conversations=ROOMS, messages=1) as site:
        alone = _all_sides(site, "in turn", IN_TURN)
        yield cpu(_per_call(alone, "cpu"), name="P16", question="a small call", goal=1.15)
        on_uvloop = _all_sides(site, "in turn", IN_TURN, repetitions=2, uvloop=True)
        yield cpu(_per_call(on_uvloop, "cpu"), name="P16 uvloop", question="as P16, on uvloop", goal=None)


def at_once() -> Iterator[Finding]:
    """P17: fetch many rooms at once with both sides."""
    crowd = f"{AT_ONCE} calls, {SLOTS} at a time"
    with served(conversations=ROOMS, messages=1) as site:
        samples = _all_sides(site, "at once", AT_ONCE)
        for name, what, unit in (("P17", "cpu", "µs CPU a call"), ("P17 wall", "wall", "µs a call")):
            yield _against_bare(_per_call(samples, what), name=name, question=crowd, unit=unit, goal=1.2)
        waiting = _all_sides(site, "waiting", AT_ONCE, repetitions=1)
    held = {side: [each["bytes"] for each in figures] for side, figures in waiting.items()}
    yield _against_bare(held, name="P17 memory", question="a call that waits", unit="bytes a call", goal=None)


def _all_sides(
    site: Site, how: str, calls: int, *, repetitions: int = REPETITIONS, uvloop: bool = False
) -> dict[str, list[Figures]]:
    sides = {side: _measured(site, caller, how, calls, uvloop) for side, caller in _CALLERS.items()}
    return taking_turns(sides, repetitions)


def _measured(site: Site, caller: str, how: str, calls: int, uvloop: bool) -> Callable[[], Figures]:
    request = {"caller": caller, "site": attrs.asdict(site), "how": how, "calls": calls, "uvloop": uvloop}
    return functools.partial(in_fresh_process, "benchmarks.calling", request)


def _per_call(samples: Mapping[str, list[Figures]], what: str) -> dict[str, list[float]]:
    read = {figures["characters"] for each in samples.values() for figures in each}
    if len(read) != 1:
        raise AssertionError(f"the callers read different names: {read} characters")
    return {side: [figures[what] / figures["calls"] * 1e6 for figures in each] for side, each in samples.items()}


BENCHMARKS = (
    Benchmark(("P16", "P16 uvloop"), in_turn),
    Benchmark(("P17", "P17 wall", "P17 memory"), at_once),
)
