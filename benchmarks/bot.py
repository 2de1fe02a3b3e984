"""P20: measure acknowledging deliveries next to a bare aiohttp handler, and the memory of waiting events."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from benchmarks.sides import Benchmark, Finding, compared, in_fresh_process, taking_turns

CLIENT_ID, SECRET = "client", "a-secret-of-more-than-32-characters-for-hs256"
ALONE, TOGETHER = 500, 2_000  # deliveries of one measurement, one at a time and 50 at once
WAITING, MOST_MEBIBYTES = 100_000, 32.0
AT_ONCE = 50


def acknowledged() -> Iterator[Finding]:
    """P20: compare the CPU of acknowledging deliveries, one at a time and many at once, and the rate."""
    sides = ("stride", "bare")
    rates: dict[str, list[float]] = {side: [] for side in sides}
    alone = taking_turns({side: _cpu(side, ALONE, 1) for side in sides})
    cpu = {"ours": "stride", "peer": "bare", "name": "P20", "unit": "µs CPU"}
    yield compared(alone, question="acknowledge deliveries one at a time", goal=1.5, **cpu)
    together = taking_turns({side: _cpu(side, TOGETHER, AT_ONCE, rates[side]) for side in sides})
    rates = {side: figures[1:] for side, figures in rates.items()}
    yield compared(together, question=f"acknowledge deliveries, {AT_ONCE} at once", goal=0.8, **cpu)
    yield compared(
        rates,
        ours="stride",
        peer="bare",
        name="P20",
        question=f"deliveries a second, {AT_ONCE} at once",
        unit="a second",
        goal=2.0,
        at_least=True,
    )


def _cpu(side: str, count: int, together: int, rates: list[float] | None = None) -> Callable[[], float]:
    """Return a function that measures CPU microseconds for one delivery; it appends the rate to `rates`."""

    def measure() -> float:
        with receiving(side) as receiver:
            receiver.deliver(200, together)  # what is done once, such as importing codecs
            before = receiver.used()
            seconds = receiver.deliver(count, together)
            if rates is not None:
                rates.append(count / seconds)
            return (receiver.used().cpu - before.cpu) / count * 1e6

    return measure


def waiting_memory() -> Iterator[Finding]:
    """P20: measure the memory of waiting events, once."""
    with receiving("stride") as receiver:
        receiver.deliver(200, AT_ONCE)
        before = receiver.used().mebibytes
        if not before:
            return  # The system does not report the memory of a process in the way of Linux.
        receiver.deliver(WAITING, AT_ONCE)
        held = receiver.used().mebibytes - before
    yield compared(
        {"stride": [held], "at most": [MOST_MEBIBYTES]},
        ours="stride",
        peer="at most",
        name="P20",
        question=f"memory of {WAITING} waiting events",
        unit="MiB",
        goal=1.0,
    )


@attrs.frozen
class Used:
    """What a process has used of CPU so far, in seconds, and of memory now."""

    cpu: float
    mebibytes: float


@attrs.frozen
class Receiver:
    """A process that acknowledges deliveries."""

    process: subprocess.Popen[str]
    port: int

    def deliver(self, count: int, together: int) -> float:
        """Make new deliveries from a process of its own, and return the seconds they took."""
        request = {"port": self.port, "client_id": CLIENT_ID, "secret": SECRET, "count": count, "together": together}
        return float(in_fresh_process("benchmarks.deliver", request, longest=900))

    def used(self) -> Used:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return Used(**json.loads(self.process.stdout.readline()))


@contextmanager
def receiving(side: str) -> Iterator[Receiver]:
    """Start a process that acknowledges deliveries, with a new store."""
    command = [sys.executable, "-m", "benchmarks.receive"]
    with (
        tempfile.TemporaryDirectory(prefix="stride-bench-") as folder,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            store = str(Path(folder) / "bot.sqlite")
            request = {"side": side, "store": store, "client_id": CLIENT_ID, "secret": SECRET}
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            yield Receiver(process, int(process.stdout.readline()))
        finally:
            process.stdin.close()


BENCHMARKS = (
    Benchmark(("P20",), acknowledged),
    Benchmark(("P20",), waiting_memory, long=True),
)
