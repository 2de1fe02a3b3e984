"""Export a site, and write its tables as Parquet files. Run it every night: it fetches and writes only what is new.

    stride server --env-file .env --generate conversations=8,messages=200,seed=7
    (set -a; . ./.env; python examples/export_to_parquet.py site tables)        # in another terminal

The archive in `site` has every byte that the service sent. DuckDB, Polars and pandas read the files in `tables`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

import pyarrow.dataset

from stride_async import StrideClient, StrideError
from stride_async.export import ArchiveError, ConversationDone, Failure, NothingSelected, Summary, export
from stride_async.export.formats import OutInTheWay, Report, convert

PARTIAL = 5  # as the exit code of `stride export` if something could not be fetched


async def fetch(archive: str) -> int:
    """Bring the archive up to date, and return how many things could not be fetched."""
    failures = 0
    async with StrideClient.from_env() as client:
        async for event in export(client, archive):
            match event:
                case ConversationDone():
                    print(f"{event.name}: {event.messages} messages", flush=True)
                case Failure():
                    print(f"Not fetched: {event.what} {event.id or event.conversation_id}: {event.error}", flush=True)
                case Summary():
                    failures = event.failures
    return failures


def report_problems(report: Report) -> None:
    """Print what the archive does not prove, and what the tables do not hold."""
    for conversation_id, verdict in report.verdicts.items():
        if verdict != "complete":
            print(f"{conversation_id}: {verdict}")
    for loss in report.lost:
        print(f"{loss.kind}: {loss.count}, for example {', '.join(loss.examples)}")


def messages_by_month(tables: str) -> list[tuple[str, int]]:
    """Return each month with the number of its messages. Only the column that this needs is read."""
    messages = pyarrow.dataset.dataset(f"{tables}/messages", partitioning="hive").to_table(columns=["month"])
    counted = messages.group_by("month").aggregate([([], "count_all")]).sort_by("month")
    return [(str(row["month"]), row["count_all"]) for row in counted.to_pylist()]


def main(archive: str, tables: str) -> int:
    failures = asyncio.run(fetch(archive))
    report_problems(convert(archive, "parquet", tables))  # it blocks, so it does not run in the event loop
    for month, count in messages_by_month(tables):
        print(f"{month} {count:6}")
    return PARTIAL if failures else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Export a site, and write its tables as Parquet files.")
    parser.add_argument("archive", help="the folder to export to")
    parser.add_argument("tables", help="the folder for the Parquet files")
    try:
        sys.exit(main(**vars(parser.parse_args())))
    except (StrideError, ArchiveError, NothingSelected, OutInTheWay, OSError) as error:
        sys.exit(str(error))
