"""A generated site on loopback, answering until its standard input ends."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from stride_async.server import LocalServer


async def serve(generate: str, latency: float) -> None:
    async with LocalServer(generate=generate, rate_limit=None, latency=latency, calls_kept=0) as server:
        names = ("url", "cloud_id", "client_id", "client_secret")
        print(json.dumps({name: getattr(server, name) for name in names}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--generate", required=True)
    options.add_argument("--latency", type=float, default=0.0)
    given = options.parse_args()
    asyncio.run(serve(given.generate, given.latency))
