"""A conversion in the workers of an engine writes the same bytes as one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest
from distributed import LocalCluster

from stride_async.export import Dask, Processes
from stride_async.export._archive.archive import Archive
from stride_async.export.formats import ConvertProgress, convert
from stride_async.export.formats.parquet import Expected, misfit
from stride_async.server import LocalServer
from tests.conftest import client_of
from tests.export.exporting import NO_PAGES, exported, files_of, show_file


@pytest.fixture
async def cluster() -> AsyncIterator[Dask]:
    """Yield the address of a scheduler with two workers, all of them in this process."""
    async with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp://", **NO_PAGES, asynchronous=True
    ) as cluster:
        yield Dask(cluster.scheduler_address)


@pytest.fixture
async def archive(tmp_path: Path) -> Path:
    """Return an archive with several conversations and months."""
    async with LocalServer(rate_limit=None) as server, client_of(server) as client:
        people = [server.add_user(f"Person {number}") for number in range(3)]
        for number in range(4):
            room = server.add_conversation(f"room {number}", roster=people[:number])
            for month in range(1, 5):
                server.fill(room, 30, ts=f"2018-0{month}-27T23:59:50Z", sender_id=people[number % 3])
            show_file(server, room, "file.bin", b"data")
        await exported(client, tmp_path / "archive")
    return tmp_path / "archive"


async def test_tables_are_the_same_as_from_one_process(archive, cluster, tmp_path):
    """So is the report, and what was counted on the way."""
    steps: list[ConvertProgress] = []
    alone = await asyncio.to_thread(convert, archive, "parquet", tmp_path / "a")

    shared = await asyncio.to_thread(convert, archive, "parquet", tmp_path / "b", progress=steps.append, engine=cluster)

    assert alone == shared
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert (4, 484) == (steps[-1].conversations, steps[-1].messages)


async def test_an_update_writes_only_what_is_missing(archive, cluster, tmp_path):
    """Whether an engine wrote the tables or not."""
    await asyncio.to_thread(convert, archive, "parquet", tmp_path / "a", engine=cluster)
    before = {path: path.stat().st_ino for path in (tmp_path / "a").rglob("month=*/*")}
    lost = next(path for path in before if "messages/month=2018-02" in path.as_posix())
    expected = lost.read_bytes()
    lost.unlink()

    await asyncio.to_thread(convert, archive, "parquet", tmp_path / "a", engine=cluster)

    assert expected == lost.read_bytes()
    others = {path: inode for path, inode in before.items() if "2018-02" not in path.as_posix()}
    assert others == {path: path.stat().st_ino for path in others}


async def test_an_error_of_a_worker_ends_the_conversion(archive, cluster, tmp_path, monkeypatch):
    """There is no output. The next conversion removes what a worker may have written meanwhile."""
    with monkeypatch.context() as patched:
        patched.setattr("stride_async.export.formats.parquet.message_rows", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(convert, archive, "parquet", tmp_path / "a", engine=cluster)
    assert not (tmp_path / "a").exists()

    await asyncio.to_thread(convert, archive, "parquet", tmp_path / "a", engine=cluster)

    assert {"a", "a.report.json", "archive"} == {path.name for path in tmp_path.iterdir()}


async def test_a_conversion_can_be_stopped(archive, cluster, tmp_path):
    """There is no output, and its workers can be used again."""

    def stop(_: ConvertProgress) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        await asyncio.to_thread(convert, archive, "parquet", tmp_path / "a", progress=stop, engine=cluster)
    assert not (tmp_path / "a").exists()

    await asyncio.to_thread(convert, archive, "parquet", tmp_path / "a", engine=cluster)

    assert {"a", "a.report.json", "archive"} == {path.name for path in tmp_path.iterdir()}


async def test_processes_convert(archive, tmp_path):
    """They are started for one conversion."""
    alone = await asyncio.to_thread(convert, archive, "parquet", tmp_path / "a")

    assert alone == await asyncio.to_thread(convert, archive, "parquet", tmp_path / "b", engine=Processes(2))


def test_a_format_without_parts_refuses_an_engine(archive, tmp_path):
    """The message names those that have parts."""
    with pytest.raises(ValueError, match="slack is converted by one process: an engine is for parquet"):
        convert(archive, "slack", tmp_path / "a.zip", engine=Processes(2))


def test_a_worker_must_see_the_archive_and_the_output(archive, tmp_path):
    """Otherwise it would convert something else, or to somewhere else."""
    (tmp_path / "out").mkdir()
    fits = Expected(archive=str(archive), archive_id=Archive.open(archive).id, out=str(tmp_path / "out"))

    assert None is misfit(fits)
    assert "has another archive at" in str(misfit(attrs.evolve(fits, archive_id="other")))
    assert "cannot see the archive" in str(misfit(attrs.evolve(fits, archive=str(tmp_path))))
    assert "the output must be the same for all workers" in str(
        misfit(attrs.evolve(fits, out=str(tmp_path / "elsewhere")))
    )
