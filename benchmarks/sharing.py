"""Run one export or conversion, with or without an engine, and print its messages and its cost as JSON.

The CPU of an export is that of this process and of its workers, from the first event to the last one: the start of the
workers is left out. The time of a conversion to Parquet is that of the call, start included.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

import psutil

from benchmarks.site import Site
from stride_async import Settings, StrideClient
from stride_async.export import Processes, RunStarted, Summary, export
from stride_async.export.formats import convert
from stride_async.export.formats._convert import writer_of


async def exported(site: Site, archive: Path, engine: Processes | None) -> dict[str, Any]:
    """Export a site, and return the messages and the CPU time in seconds."""
    os.environ |= {
        "STRIDE_BASE_URL": site.url,
        "STRIDE_CLOUD_ID": site.cloud_id,
        "STRIDE_CLIENT_ID": site.client_id,
        "STRIDE_CLIENT_SECRET": site.client_secret,
    }
    began = messages = ended = 0.0
    client = StrideClient.from_env(settings=Settings.from_env(calls_per_minute=None))
    async with client, aclosing(export(client, archive, engine=engine)) as events:
        async for event in events:
            if isinstance(event, RunStarted):
                began = cpu_seconds()
            if isinstance(event, Summary):
                ended, messages = cpu_seconds(), event.messages
    return {"cpu": ended - began, "messages": messages}


def cpu_seconds() -> float:
    """Return the user and system time of this process and of those that it has started."""
    this = psutil.Process()
    return sum(sum(process.cpu_times()[:2]) for process in (this, *this.children(recursive=True)))


def converted(archive: Path, out: Path, engine: Processes | None) -> dict[str, Any]:
    """Convert an archive to Parquet, and return the messages and the time in seconds."""
    writer_of("parquet")  # The import does not count.
    began = time.perf_counter()
    report = convert(archive, "parquet", out, engine=engine)
    return {"wall": time.perf_counter() - began, "messages": report.messages}


def main(request: dict[str, Any]) -> dict[str, Any]:
    engine = Processes(request["processes"]) if request["processes"] else None
    archive = Path(request["archive"])
    if "site" in request:
        return asyncio.run(exported(Site(**request["site"]), archive, engine))
    return converted(archive, Path(request["out"]), engine)


if __name__ == "__main__":
    print(json.dumps(main(json.load(sys.stdin))))
