"""One export, once, in this process: what it brought and what it cost, as JSON."""

from __future__ import annotations

import asyncio
import importlib
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.site import Site


def main(words: dict[str, Any]) -> dict[str, Any]:
    side = importlib.import_module(f"benchmarks.exporters.{words['side']}")
    site = Site(**words["site"])
    began, cpu_began = time.perf_counter(), time.process_time()  # user and system time, of all threads
    messages = asyncio.run(side.export_site(site, Path(words["folder"]), **words["options"]))
    cpu, wall = time.process_time() - cpu_began, time.perf_counter() - began
    # ru_maxrss is in KiB on Linux.
    return {"cpu": cpu, "wall": wall, "messages": messages, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}


if __name__ == "__main__":
    print(json.dumps(main(json.load(sys.stdin))))
