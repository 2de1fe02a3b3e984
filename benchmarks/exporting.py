"""Run one export in this process and print its messages and its cost as JSON."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.site import Site


def main(request: dict[str, Any]) -> dict[str, Any]:
    side = importlib.import_module(f"benchmarks.exporters.{request['side']}")
    site = Site(**request["site"])
    began, cpu_began = time.perf_counter(), time.process_time()  # user and system time, of all threads
    messages = asyncio.run(side.export_site(site, Path(request["folder"]), **request["options"]))
    cpu, wall = time.process_time() - cpu_began, time.perf_counter() - began
    return {"cpu": cpu, "wall": wall, "messages": messages, "peak": peak_kib()}


def peak_kib() -> int | None:
    """Return the peak memory, or None where only getrusage reports it, because that includes the parent process."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)


if __name__ == "__main__":
    print(json.dumps(main(json.load(sys.stdin))))
