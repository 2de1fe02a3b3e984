"""Serve a generated site on loopback until standard input is closed."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from stride_async.server import Choices, LocalServer


async def serve(options: argparse.Namespace) -> None:
    async with LocalServer(
        generate=options.generate,
        db=options.db,
        rate_limit=None,
        latency=options.latency,
        calls_kept=0,
        choices=Choices(upload_bytes=options.upload_bytes),
    ) as server:
        names = ("url", "cloud_id", "client_id", "client_secret")
        print(json.dumps({name: getattr(server, name) for name in names}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--generate", required=True)
    parser.add_argument("--db")
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--upload-bytes", type=int, default=Choices().upload_bytes)
    asyncio.run(serve(parser.parse_args()))
