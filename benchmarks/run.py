"""Run the benchmarks, or the rows that are named. A goal that is missed does not fail the run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import chain

from rich.console import Console

from benchmarks import (
    bot,
    calls,
    decode,
    distributed,
    documents,
    export,
    formats,
    history,
    imports,
    media,
    report,
    server,
)
from benchmarks.sides import Benchmark

BENCHMARKS = tuple(
    chain.from_iterable(
        module.BENCHMARKS
        for module in (history, calls, decode, documents, imports, server, media, export, bot, formats, distributed)
    )
)


def chosen(names: Sequence[str], *, long: bool) -> list[Benchmark]:
    """Return the benchmarks of the short or of the long run, or those that measure one of the named rows.

    "P1" names the row P1 as well as P1 heap and P1 uvloop.

    Raises:
        ValueError: No row has one of the names.
    """
    if not names:
        return [each for each in BENCHMARKS if each.long == long]
    rows = dict.fromkeys(chain.from_iterable(each.names for each in BENCHMARKS))
    unknown = [name for name in names if not any(_matches(name, row) for row in rows)]
    if unknown:
        raise ValueError(f"no row is called {' or '.join(unknown)}; the rows are {', '.join(rows)}")
    return [each for each in BENCHMARKS if any(_matches(name, row) for name in names for row in each.names)]


def _matches(name: str, row: str) -> bool:
    return name.casefold() in {row.casefold(), row.casefold().split()[0]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="measure only these rows, for example P1 P16")
    parser.add_argument("--long", action="store_true", help="run the benchmarks that take long")
    parser.add_argument("--record", action="store_true", help="also write the results into README.md")
    options = parser.parse_args()
    try:
        benchmarks = chosen(options.rows, long=options.long)
    except ValueError as error:
        parser.error(str(error))
    complete = report.measured(benchmarks, Console(width=80))
    if options.record:
        report.record()
    sys.exit(0 if complete else 130)
