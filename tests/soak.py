"""A long test with random faults: a client of a server in another process that fails in every scripted way.

`python -m tests.soak --calls 100000` prints how the calls ended and how much memory the client uses. The exit code is 1
if memory grows, if a message is lost or duplicated, or if a call raises anything but a `StrideError`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs

from stride_async import ClientCredentials, ConversationClient, Settings, StrideClient, StrideError
from stride_async.server import Choices, LocalServer

ROOMS = 20
WORKERS = 64
REPORTS = 20
# The part of the calls after which memory must not grow any more.
WARM_UP = 0.25
GROWTH_BYTES = 16 * 1024 * 1024
UNSENT, SURE, OPEN, FAILED = range(4)

FAULTS: list[dict[str, object]] = [
    {"status": 500, "probability": 0.01},
    {"status": 502, "probability": 0.01, "body": "<html>bad gateway</html>", "headers": {"Content-Type": "text/html"}},
    {"status": 503, "probability": 0.03, "headers": {"Retry-After": "0"}},
    {"status": 504, "probability": 0.01, "body": ""},
    {"status": 429, "probability": 0.03, "headers": {"Retry-After": "0.01"}},
    {"status": 401, "probability": 0.005},
    {"status": 404, "probability": 0.005},
    {"status": 403, "probability": 0.005, "body": "x" * 100_000},
    {"drop": "before", "probability": 0.02},
    {"drop": "after", "probability": 0.02},
    {"cut_after": 5, "probability": 0.01},
    {"content_length": 100_000, "probability": 0.005},
    # Complete responses with another body. In media they could not be noticed, so they affect messages.
    {"path_glob": "*/message*", "content_length": 1, "probability": 0.01},
    {"path_glob": "*/message*", "body": '{"id":', "probability": 0.01},
    {"path_glob": "*/message*", "body": "[" * 100_000, "probability": 0.005},
    {"delay": 0.05, "probability": 0.02},
    {"stall": "headers", "probability": 0.0005},
    {"stall": "body", "probability": 0.0005},
]


async def serve(seed: int) -> None:
    """Run the other process: a server that reads one command per line from its standard input."""
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    choices = Choices(token_seconds=20, token_limit=None)
    async with LocalServer(rate_limit=None, choices=choices, calls_kept=1000) as server:
        rooms = [server.add_conversation(f"room {number}") for number in range(ROOMS)]
        for number, fault in enumerate(FAULTS):
            server.faults.add("*", **{"path_glob": "*", "seed": seed + number, **fault})  # type: ignore[arg-type]  # arguments of `Faults.add`
        where = {name: getattr(server, name) for name in ("url", "cloud_id", "client_id", "client_secret")}
        print(json.dumps(where | {"rooms": rooms}), flush=True)
        while command := (await commands.readline()).strip():
            if command == b"expire":
                await server.expire_tokens()
            elif command == b"calm":
                server.faults.clear()
                print("calm", flush=True)


@asynccontextmanager
async def other_process(seed: int) -> AsyncIterator[asyncio.subprocess.Process]:
    command = [sys.executable, "-m", "tests.soak", "--serve", "--seed", str(seed)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=Path(__file__).parents[1])
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


@attrs.define
class Soak:
    """The calls, and how each of them ended."""

    client: StrideClient
    rooms: list[ConversationClient]
    calls: int
    rng: random.Random
    messages: bytearray
    outcomes: Counter[str] = attrs.field(factory=Counter)
    media: dict[str, int] = attrs.field(factory=dict)
    wrong: list[str] = attrs.field(factory=list)

    async def work(self, numbers: Iterator[int], report: Callable[[int], Awaitable[None]]) -> None:
        """Make calls until none remain."""
        for number in numbers:
            await report(number)
            room = self.rooms[number % len(self.rooms)]
            try:
                await self.one(number, room)
                self.outcomes["done"] += 1
            except StrideError as error:
                self.outcomes[type(error).__name__] += 1
                if self.messages[number] == OPEN and not error.maybe_processed:
                    self.messages[number] = FAILED

    async def one(self, number: int, room: ConversationClient) -> None:
        """Make one call of a random kind."""
        kind = self.rng.random()
        if kind < 0.5:
            self.messages[number] = OPEN
            await room.send(f"message {number}")
            self.messages[number] = SURE
        elif kind < 0.7:
            await room.get()
        elif kind < 0.9:
            await room.recent(10)
        elif kind < 0.95 or not self.media:
            media = await room.upload(number.to_bytes(8, "big") * 1000, name="soak.bin")
            if len(self.media) < 1000:
                self.media[media.id] = number
        else:
            media_id, number = self.rng.choice(list(self.media.items()))
            async with self.rooms[number % len(self.rooms)].open_media(media_id) as body:
                if b"".join([chunk async for chunk in body.chunks()]) != number.to_bytes(8, "big") * 1000:
                    self.wrong.append(f"media {media_id} is not what was uploaded")

    async def compare(self) -> None:
        """Compare what the service has with what the callers got."""
        found: Counter[int] = Counter()
        for room in self.rooms:
            async for message in room.history():
                found[int(message.text.split()[1])] += 1
        allowed = {UNSENT: {0}, SURE: {1}, OPEN: {0, 1}, FAILED: {0}}
        result = {SURE: "was sent", FAILED: "was not sent", OPEN: "may have been sent", UNSENT: "was never tried"}
        for number in range(self.calls):
            state = self.messages[number]
            if found[number] not in allowed[state]:
                self.wrong.append(
                    f"message {number} exists {found[number]} times, but for its caller it {result[state]}"
                )


def held_bytes() -> int:
    """Return the memory of this process; if the system does not report it, the most it ever had."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


async def soak(calls: int, seed: int) -> int:
    """Run the test and return the exit code."""
    async with other_process(seed) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        server = json.loads(await process.stdout.readline())
        settings = Settings(
            base_url=server["url"], backoff=0.01, attempt_timeout=2.0, idle_timeout=2.0, calls_per_minute=None
        )
        credentials = ClientCredentials(server["client_id"], server["client_secret"])
        began, held, step = time.monotonic(), [], max(1, calls // REPORTS)

        async def report(number: int) -> None:
            if number % step or not number:
                return
            assert process.stdin is not None
            process.stdin.write(b"expire\n")
            await process.stdin.drain()
            gc.collect()
            held.append(held_bytes())
            rate = number / (time.monotonic() - began)
            print(f"{number:>9} calls  {rate:6.0f} a second  {held[-1] / 2**20:6.1f} MiB in use", flush=True)

        async with StrideClient(credentials, cloud_id=server["cloud_id"], settings=settings) as client:
            rooms = [client.conversation(room_id) for room_id in server["rooms"]]
            run = Soak(client, rooms, calls, random.Random(seed), bytearray(calls))
            numbers = iter(range(calls))
            async with asyncio.TaskGroup() as group:
                for _ in range(WORKERS):
                    group.create_task(run.work(numbers, report))
            process.stdin.write(b"calm\n")
            await process.stdout.readline()
            await run.compare()
    return _verdict(run, held)


def _verdict(run: Soak, held: list[int]) -> int:
    warm = held[int(len(held) * WARM_UP)]
    if max(held) - warm > GROWTH_BYTES:
        run.wrong.append(f"memory grew from {warm / 2**20:.1f} to {max(held) / 2**20:.1f} MiB")
    states = Counter(run.messages)
    print(", ".join(f"{count} {name}" for name, count in run.outcomes.most_common()))
    print(f"messages: {states[SURE]} sent, {states[OPEN]} open, {states[FAILED]} not sent")
    print(f"memory: {warm / 2**20:.1f} MiB when warm, {max(held) / 2**20:.1f} MiB at most")
    for line in run.wrong[:20]:
        print(line)
    print(f"{len(run.wrong)} failures" if run.wrong else "nothing lost, nothing duplicated, memory stable")
    return 1 if run.wrong else 0


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000, help="number of calls (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed of all random choices (default: %(default)s)")
    parser.add_argument("--serve", action="store_true", help="run the server process")
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.seed))
    else:
        sys.exit(asyncio.run(soak(options.calls, options.seed)))


if __name__ == "__main__":
    main()
