"""Run one conversion in this process and print its messages and its cost as JSON."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.exporting import peak_kib
from benchmarks.searching import most_loaded
from stride_async.export.formats import convert
from stride_async.export.formats._convert import writer_of


def main(request: dict[str, Any]) -> dict[str, Any]:
    archive, format, out = Path(request["archive"]), request["format"], Path(request["out"])
    writer_of(format)  # The import does not count.
    began, cpu_began = time.perf_counter(), time.process_time()  # user and system time, of all threads
    report = convert(archive, format, out)
    cpu, wall = time.process_time() - cpu_began, time.perf_counter() - began
    sizes = {path.relative_to(out).as_posix(): path.stat().st_size for path in out.rglob("*") if path.is_file()}
    return {
        "cpu": cpu,
        "wall": wall,
        "messages": report.messages,
        "peak": peak_kib(),
        "largest": max((size for name, size in sizes.items() if name.endswith((".html", ".js", ".css"))), default=0),
        "index": sum(size for name, size in sizes.items() if name.startswith("search/w/")),
        "texts": sum(size for name, size in sizes.items() if name.startswith("search/t/")),
        "searched": most_loaded(out) if request["search"] else None,
    }


if __name__ == "__main__":
    print(json.dumps(main(json.load(sys.stdin))))
