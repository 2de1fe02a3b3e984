"""An export in the workers of an engine: shards that are handed out, and one archive in the end."""

from __future__ import annotations

import asyncio
import pickle
import re
import socket
import subprocess
import sys
import traceback
from collections import Counter
from contextlib import aclosing, suppress
from importlib import import_module
from urllib.parse import urlsplit

import aiohttp
import attrs
import psutil
import pytest
from distributed import LocalCluster

from stride_async import AccessToken, AttemptStarted, StrideClient
from stride_async.export import (
    ArchiveBusy,
    ConversationDone,
    ConversationsFound,
    ConversationStarted,
    Dask,
    EngineError,
    EngineUnavailable,
    ExportEvent,
    ExportOptions,
    Failure,
    NothingSelected,
    Processes,
    RunStarted,
    Selection,
    Shard,
    Summary,
    _cluster,
    _shards,
    _worker,
    export,
    status,
    verify,
)
from stride_async.export._archive.archive import Archive
from stride_async.export._archive.chain import Chain
from stride_async.export._archive.layout import PEOPLE
from stride_async.export.formats import convert
from stride_async.server import LocalServer
from tests.conftest import client_of
from tests.export.exporting import (
    NO_PAGES,
    events_of,
    exported,
    failures,
    fresh_digest,
    history_calls,
    media_of,
    show_file,
)


@pytest.fixture
def rooms(server: LocalServer) -> list[str]:
    """Return nine conversations with messages, members that they share, and a file in some."""
    people = [server.add_user(f"Person {number}") for number in range(5)]
    rooms = [server.add_conversation(f"room {number}", roster=people) for number in range(9)]
    for number, room in enumerate(rooms):
        server.fill(room, 20 * number)
        if number % 2:
            show_file(server, room, "file.bin", bytes([number % 4]) * 1000)
    return rooms


def listening() -> set[int]:
    """Return the ports on which this process and its children listen; only this machine can reach them."""
    this = psutil.Process()
    sockets = [each for one in (this, *this.children(recursive=True)) for each in one.net_connections("tcp")]
    addresses = [each.laddr for each in sockets if each.status == psutil.CONN_LISTEN]
    assert {"127.0.0.1"} == {address.ip for address in addresses}
    return {address.port for address in addresses}


async def said_to_others(port: int) -> bytes:
    """Return what a port answers to a plain request for what Dask would show of its workers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /info/main/workers.html HTTP/1.0\r\n\r\n")
        with suppress(ConnectionError):
            return await reader.read()
        return b""
    finally:
        writer.close()


async def test_workers_make_the_archive_of_a_single_process(server, client, cluster, rooms, tmp_path):
    """Nothing is fetched twice, and what happens is reported as if it happened here."""
    calls: list[str] = []
    settings = attrs.evolve(
        client.settings, on_event=lambda event: calls.append(event.path) if isinstance(event, AttemptStarted) else None
    )

    events = await events_of(client.with_settings(settings), tmp_path / "a", cluster)

    kinds = Counter(map(type, events))
    summary = events[-1]
    assert isinstance(summary, Summary)
    assert [RunStarted(summary.run, continued=False), ConversationsFound(9)] == events[:2]
    assert (9, 1, 1) == (kinds[ConversationDone], kinds[RunStarted], kinds[Summary])
    assert (9, 724, 724, 4, 0) == (
        summary.conversations,
        summary.messages,
        summary.new,
        summary.media,
        summary.failures,
    )
    fetched = history_calls(server)
    assert len(fetched) == len(set(fetched)) == len([path for path in calls if path.endswith("/message")])
    whole = await exported(client, tmp_path / "b")
    assert (whole.content_digest, whole.users) == (summary.content_digest, summary.users)
    assert media_of(tmp_path / "b") == media_of(tmp_path / "a")
    assert (True, summary.run) == (status(tmp_path / "a").finished, status(tmp_path / "a").run)
    assert (await verify(tmp_path / "a")).ok
    people = [id for group in Chain(Archive.open(tmp_path / "a"), PEOPLE).state.profiles for id in group.ids]
    assert len(people) == len(set(people))


@pytest.mark.parametrize("place", ["folder", pytest.param("store", marks=pytest.mark.slow)])
async def test_a_run_without_changes_costs_one_call_a_conversation_and_the_lists(
    server, client, cluster, rooms, place, request, tmp_path
):
    """With and without shards or an engine, wherever the archive is. The lists are those of rooms and of members."""
    archive = tmp_path / "a" if place == "folder" else f"s3://{request.getfixturevalue('bucket')}/site"
    await exported(client, archive)

    for runs in ([{}], [{"shard": Shard(0, 2)}, {"shard": Shard(1, 2)}], [{"engine": cluster}]):
        before = len(server.calls)
        summaries = [(await events_of(client, archive, **run))[-1] for run in runs]
        calls = [call.path.split("/")[3:] for call in server.calls[before:] if call.path != "/oauth/token"]

        assert [0] * len(runs) == [summary.new for summary in summaries]
        assert {"conversation"} == {parts[0] for parts in calls}
        for kind in ("message", "roster"):
            assert sorted(rooms) == sorted(parts[1] for parts in calls if parts[2:] == [kind])
        assert len(calls) - 2 * len(rooms) == len([parts for parts in calls if parts == ["conversation"]])


@pytest.mark.slow
async def test_processes_are_started_for_an_export(server, client, environment, rooms, tmp_path):
    """They end with it, and say nothing to other processes of the machine."""
    said: list[bytes] = []
    events: list[ExportEvent] = []
    async with aclosing(export(client, tmp_path / "a", engine=Processes(2))) as running:
        async for event in running:
            events.append(event)
            if isinstance(event, ConversationsFound):
                said = [await said_to_others(port) for port in listening() - {urlsplit(server.url).port}]
    await asyncio.to_thread(psutil.wait_procs, psutil.Process().children(recursive=True), 10)

    assert isinstance(events[-1], Summary)
    assert len(said) >= 4
    assert not [answer for answer in said if b" 200 " in answer]
    assert not [each for each in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(each.cmdline())]
    assert await fresh_digest(server, tmp_path / "b") == events[-1].content_digest
    assert (await verify(tmp_path / "a")).ok


async def test_what_cannot_be_fetched_is_reported_once(server, client, cluster, rooms, tmp_path):
    """It is listed in the run of all shards."""
    server.faults.add("GET", f"*/conversation/{rooms[3]}/message", status=403)

    events = await events_of(client, tmp_path / "a", cluster, selection=Selection(("room *", "no such room")))

    assert isinstance(events[-1], Summary)
    assert {(rooms[3], "history", ""), ("", "selector", "no such room")} == failures(events)
    assert 2 == events[-1].failures == len([event for event in events if isinstance(event, Failure)])
    assert {"history", "selector"} == {failure.what for failure in status(tmp_path / "a").failures}


async def test_an_error_that_ends_an_export_ends_it_in_all_workers(server, client, cluster, rooms, tmp_path):
    """The error is the same as without an engine, and the next export resumes."""
    fault = server.faults.add("GET", "*/conversation/*/message", status=401)

    with pytest.raises(Exception, match="401"):
        await events_of(client, tmp_path / "a", cluster)
    fault.remove()
    events = await events_of(client, tmp_path / "a", cluster)

    assert isinstance(events[-1], Summary)
    assert await fresh_digest(server, tmp_path / "b") == events[-1].content_digest


async def test_an_export_that_is_left_stops_its_workers(server, client, cluster, rooms, tmp_path):
    """They commit what they have, and release the archive."""
    fault = server.faults.add("GET", f"*/conversation/{rooms[8]}/message", stall="headers", times=1, after=1)
    async with aclosing(export(client, tmp_path / "a", engine=cluster)) as events:
        async for event in events:
            if isinstance(event, ConversationDone) and event.new:
                break
    fault.remove()

    summary = await exported(client, tmp_path / "a")

    assert 0 < summary.new < 724
    assert await fresh_digest(server, tmp_path / "b") == summary.content_digest


async def test_an_export_that_is_resumed_with_more_or_fewer_shards_is_complete(
    server, client, cluster, rooms, tmp_path, monkeypatch
):
    """The shards that an interruption left are done when the whole is, whatever their numbers are."""
    fault = server.faults.add("GET", "*/message", stall="headers")
    async with aclosing(export(client, tmp_path / "a", engine=cluster)) as events:
        first = await anext(events)
        async for event in events:
            if isinstance(event, ConversationStarted):
                break
    fault.remove()
    monkeypatch.setattr(_shards, "SHARDS_A_WORKER", 1)

    again = await events_of(client, tmp_path / "a", cluster)

    assert isinstance(first, RunStarted)
    assert RunStarted(first.run, continued=True) == again[0]
    assert status(tmp_path / "a").finished
    assert () == (await verify(tmp_path / "a")).findings


async def test_no_secret_is_in_a_task(server, client, cluster, rooms, tmp_path, monkeypatch):
    """Nor the address of the service: a worker's secret would be sent there."""
    tasks: list[bytes] = []
    run = _cluster.Cluster.run

    async def keep(self: _cluster.Cluster, work: object, argument: object, key: str) -> object:
        tasks.append(pickle.dumps((work, argument, key)))
        return await run(self, work, argument, key)

    monkeypatch.setattr(_cluster.Cluster, "run", keep)

    await events_of(client, tmp_path / "a", cluster)

    assert tasks
    for secret in (server.client_id, server.client_secret, server.url.removeprefix("http://"), "Bearer"):
        assert not [task for task in tasks if secret.encode() in task]


async def test_the_total_of_the_workers_is_what_was_asked_for(client, cluster, rooms, tmp_path, monkeypatch):
    """Also if it is less than the number of workers."""
    given: list[ExportOptions] = []
    at_once: list[int] = []
    running: set[str] = set()
    run = _cluster.Cluster.run

    async def keep(self: _cluster.Cluster, work, argument: _worker.ShardTask, key: str) -> object:
        given.append(argument.options)
        running.add(key)
        at_once.append(len(running))
        try:
            return await run(self, work, argument, key)
        finally:
            running.discard(key)

    monkeypatch.setattr(_cluster.Cluster, "run", keep)

    await events_of(client, tmp_path / "a", cluster, concurrency=7)
    seven = ({options.concurrency for options in given}, max(at_once))
    given.clear(), at_once.clear()
    await events_of(client, tmp_path / "a", cluster, concurrency=1)

    assert ({3}, 2) == seven
    assert ({1}, 1) == ({options.concurrency for options in given}, max(at_once))


@pytest.mark.parametrize("name", ["STRIDE_BASE_URL", "STRIDE_CLOUD_ID", "STRIDE_CLIENT_SECRET"])
async def test_a_worker_without_a_variable_is_named(client, cluster, rooms, tmp_path, monkeypatch, name):
    """So is the variable. Nothing is fetched, and no archive is made."""
    monkeypatch.delenv(name)

    with pytest.raises(EngineError, match=rf"worker tcp://127.0.0.1:\d+ has no {name} in its environment"):
        await events_of(client, tmp_path / "a", cluster)

    assert not (tmp_path / "a").exists()


async def test_a_worker_of_another_site_is_refused(client, cluster, rooms, tmp_path, monkeypatch):
    """It would export that site into this archive."""
    monkeypatch.setenv("STRIDE_CLOUD_ID", "elsewhere")

    with pytest.raises(EngineError, match="is for site elsewhere, not"):
        await events_of(client, tmp_path / "a", cluster)


async def test_a_worker_of_another_version_is_refused(client, cluster, rooms, tmp_path, monkeypatch):
    """The message names both versions."""
    monkeypatch.setattr(_worker, "__version__", "0.0.1")

    with pytest.raises(EngineError, match=r"has stride_async 0\.0\.1, not \d"):
        await events_of(client, tmp_path / "a", cluster)

    assert not (tmp_path / "a").exists()


class OfMissingPackage:
    """A function that a worker cannot import."""

    def __reduce__(self) -> tuple[object, ...]:
        return import_module, ("not_installed",)

    def __call__(self, _: object) -> None:
        return None


async def test_a_worker_without_the_package_is_named(cluster):
    """So is what it cannot import."""
    async with _cluster.connected(cluster) as workers:
        with pytest.raises(EngineError) as error:
            await workers.require_fit(OfMissingPackage(), None)

    what = "cannot be used before stride-async and its extras are installed there: No module named 'not_installed'"
    assert re.fullmatch(rf"worker tcp://127\.0\.0\.1:\d+ {what}", str(error.value))


def test_a_worker_that_sees_another_archive_is_refused(environment, tmp_path, server, monkeypatch):
    """It would make one that has only its own shards. One that sees no store lacks a variable, which is named."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    archive = Archive.open_or_create(tmp_path / "a", server.cloud_id)
    fits = _worker.Expected(
        version=_worker.__version__, cloud_id=server.cloud_id, archive=str(tmp_path / "a"), archive_id=archive.id
    )

    assert None is _worker.misfit(fits)
    assert "has another archive at" in str(_worker.misfit(attrs.evolve(fits, archive_id="other")))
    assert "cannot see the archive" in str(_worker.misfit(attrs.evolve(fits, archive=str(tmp_path / "b"))))
    in_store = _worker.misfit(attrs.evolve(fits, archive="s3://bucket/site", archive_id=None))
    assert "cannot see the archive: s3://bucket/site needs credentials: set AWS_ACCESS_KEY_ID and" in str(in_store)


async def test_what_workers_cannot_have_is_refused(server, client, environment, tmp_path):
    """A client that they cannot make, and a shard."""

    class Provider:
        async def token(self) -> AccessToken:
            return AccessToken("secret")

    settings = client.settings
    async with aiohttp.ClientSession() as session:
        refused = [
            (
                "a token provider of its own",
                StrideClient(Provider(), cloud_id=server.cloud_id, settings=settings),
                None,
            ),
            ("a session of its own", StrideClient.from_env(settings=settings, session=session), None),
            ("token_url", client_of(server, token_url=server.url), None),
            ("allowed_origins", client_of(server, allowed_origins=(server.url,)), None),
            ("shard 0/2", client, Shard(0, 2)),
        ]
        for what, given, shard in refused:
            with pytest.raises(ValueError, match=what):
                await events_of(given, tmp_path / "a", Processes(1), shard=shard)
            await given.close()

    assert not (tmp_path / "a").exists()


async def test_a_selection_without_a_match_and_an_archive_in_use_are_refused(client, cluster, rooms, tmp_path):
    """As without an engine."""
    with pytest.raises(NothingSelected):
        await events_of(client, tmp_path / "a", cluster, selection=Selection(("nothing",)))
    async with aclosing(export(client, tmp_path / "a")) as running:
        await anext(running)
        with pytest.raises(ArchiveBusy):
            await events_of(client, tmp_path / "a", cluster)


async def test_a_scheduler_that_is_not_there_is_named(client, environment, rooms, tmp_path, monkeypatch):
    """So is one without workers."""
    monkeypatch.setattr(_cluster, "_CONNECTING", 0.5)
    monkeypatch.setattr(_cluster, "_JOINING", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    with pytest.raises(EngineUnavailable, match=f"no Dask scheduler at tcp://127.0.0.1:{port}"):
        await events_of(client, tmp_path / "a", Dask(f"tcp://127.0.0.1:{port}"))
    async with LocalCluster(n_workers=0, processes=False, protocol="tcp://", **NO_PAGES, asynchronous=True) as empty:
        with pytest.raises(EngineUnavailable, match="has no workers"):
            await events_of(client, tmp_path / "a", Dask(empty.scheduler_address))

    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    "address", ["", "10.0.0.5", "10.0.0.5:8786", "http://10.0.0.5:8786", "tcp://10.0.0.5", "tcp://a b:1"]
)
def test_text_that_is_not_the_address_of_a_scheduler_is_refused(address):
    """In a sentence."""
    with pytest.raises(ValueError, match="address"):
        Dask(address)


async def test_a_conversion_does_not_block_an_event_loop(client, environment, rooms, tmp_path):
    """A sentence says what to do instead, and nothing is written."""
    await exported(client, tmp_path / "a")

    with pytest.raises(EngineError, match=r"use asyncio\.to_thread"):
        convert(tmp_path / "a", "parquet", tmp_path / "out", engine=Processes(1))

    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_processes_need_a_program_that_can_be_imported(environment, tmp_path):
    """A program on stdin cannot be imported, and one that begins its work when it is imported would start more."""
    program = """
import asyncio, sys
from stride_async import StrideClient
from stride_async.export import Processes, export
async def main():
    async with StrideClient.from_env() as client:
        async for event in export(client, sys.argv[1], engine=Processes(1)):
            print(event)
asyncio.run(main())
"""
    (tmp_path / "program.py").write_text(program)
    for arguments in (["-"], [str(tmp_path / "program.py")]):
        command = [sys.executable, *arguments, str(tmp_path / "a")]
        done = subprocess.run(command, input=program, capture_output=True, text=True, timeout=120, check=False)

        assert 1 == done.returncode
        assert (
            "EngineError: the processes of an engine could not be started: a program must"
            in done.stderr.splitlines()[-1]
        )
        assert "" == done.stdout
    assert not (tmp_path / "a").exists()


async def test_an_encrypted_scheduler_needs_certificates(client, environment, rooms, tmp_path):
    """The message names the variables."""
    with pytest.raises(EngineError, match="DASK_DISTRIBUTED__COMM__TLS__CA_FILE"):
        await events_of(client, tmp_path / "a", Dask("tls://127.0.0.1:8786"))


async def test_an_error_of_a_shard_has_no_causes(client, cluster, rooms, tmp_path, monkeypatch):
    """Dask would send them through the scheduler, and those of aiohttp have the headers of the request."""

    async def fail(task: object, worker: object) -> None:
        try:
            {}["Authorization: Bearer of-the-worker"]
        except KeyError as cause:
            raise OSError("the call failed") from cause

    monkeypatch.setattr(_worker, "_export", fail)

    with pytest.raises(OSError, match="the call failed") as caught:
        await events_of(client, tmp_path / "a", cluster)

    assert "of-the-worker" not in "".join(traceback.format_exception(caught.value))
