"""No secret leaves the environment of the processes that use it, whatever the service and the store answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import attrs
import psutil
import pytest
from aiohttp import web
from distributed import Client

from stride_async.server import LocalServer
from tests.conftest import variables_of
from tests.export.clusters import Command, running_cluster
from tests.export.conftest import SECRET_KEY, use_endpoint
from tests.export.exporting import show_file
from tests.export.stores import Proxy, objects_of

pytestmark = pytest.mark.slow

IN_URL = "password-in-the-endpoint"


@attrs.define
class Watched:
    """Exports into a store, and everything that others could see of them."""

    server: LocalServer
    proxy: Proxy
    folder: Path
    token: str | None
    seen: dict[str, bytes] = attrs.field(factory=dict)

    @property
    def secrets(self) -> set[str]:
        """The secrets of the environment, and every token that the service has received."""
        headers = [call.headers.get("Authorization", "") for call in self.server.calls]
        tokens = {header.removeprefix("Bearer ") for header in headers if header.startswith("Bearer ")}
        return {self.server.client_secret, SECRET_KEY, IN_URL, *tokens}

    async def exported(self, archive: str, engine: str) -> int | None:
        """Run the command. Return its exit code."""
        program = ("-m", "stride_async", "export", "--json", "--verbose", "-o", archive, "--engine", engine)
        async with Command.started(*program) as command:
            out, err = await command.process.communicate()
        self.seen[f"output {len(self.seen)}"] = out + err
        return command.process.returncode

    def look_at_processes(self) -> None:
        """Keep the command lines of all processes that were started here."""
        for process in psutil.Process().children(recursive=True):
            self.seen[f"process {process.pid}"] = " ".join(process.cmdline()).encode()

    async def look_at_logs(self, address: str) -> None:
        """Keep what an administrator can ask the scheduler for."""
        async with Client(address, asynchronous=True) as client:
            for name in ("get_scheduler_logs", "get_worker_logs", "get_events", "scheduler_info"):
                shown = getattr(client, name)()
                self.seen[name] = repr(await shown if isinstance(shown, Awaitable) else shown).encode()

    def everything(self, bucket: str) -> dict[str, bytes]:
        """Return all that was seen, with each object of the bucket, and each file that was written."""
        files = {str(path): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}
        return self.seen | files | objects_of(self.proxy.target, bucket)


@pytest.fixture
async def watched(request, server, bucket, s3, tmp_path, monkeypatch) -> AsyncIterator[Watched]:
    """Yield a site, a store, and processes that keep all they send and receive."""
    for number in range(3):
        room = server.add_conversation(f"room {number}")
        server.fill(room, 90)
        show_file(server, room, "file.bin", b"body")
    for name, value in variables_of(server).items():
        monkeypatch.setenv(name, value)
    token = await _token_of(server) if request.param == "token" else None
    if token is not None:
        monkeypatch.setenv("STRIDE_TOKEN", token)
    for name in ("tap", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("TESTS_TAP", str(tmp_path / "tap"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setenv("DASK_TEMPORARY_DIRECTORY", str(tmp_path / "temporary"))
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__PRELOAD", "tests.export.tapped")
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__PRELOAD", "tests.export.tapped")
    proxy = Proxy(s3)
    with proxy.running() as address:
        use_endpoint(monkeypatch, address.replace("//", f"//someone:{IN_URL}@"))
        yield Watched(server, proxy, tmp_path, token)


async def _token_of(server: LocalServer) -> str:
    form = {"grant_type": "client_credentials", "client_id": server.client_id, "client_secret": server.client_secret}
    async with aiohttp.ClientSession() as session, session.post(f"{server.url}/oauth/token", json=form) as answer:
        return str((await answer.json())["access_token"])


@pytest.mark.parametrize(("watched", "kind"), [("client secret", "dask"), ("token", "processes")], indirect=["watched"])
async def test_no_secret_is_seen_by_others(watched, bucket, kind):
    """Not in what Dask sends, in a log, in the output, in a command line, in a file or in an object.

    The service and the store refuse some requests, and repeat the secrets where they can.
    """
    archive, server = f"s3://{bucket}/site", watched.server
    async with AsyncExitStack() as stack:
        engine = "processes=2"
        if kind == "dask":
            cluster = await stack.enter_async_context(running_cluster(2, watched.folder / "printed"))
            engine = f"dask={cluster.address}"
        watched.proxy.answer = refusing(watched, "/data/")
        assert 2 == await watched.exported(archive, engine)
        watched.proxy.answer = watched.proxy.passed_on
        fault = server.faults.add("GET", "*/message", status=401, body=echo(watched))
        assert 4 == await watched.exported(archive, engine)
        fault.remove()
        room = next(iter(server.truth().conversations))
        server.faults.add("GET", f"*/{room}/message", status=403, body=echo(watched))
        server.faults.add("GET", "*/roster", times=1, do=lambda _: watched.look_at_processes())
        assert 5 == await watched.exported(archive, engine)
        if kind == "dask":
            await watched.look_at_logs(cluster.address)

    everything = watched.everything(bucket)
    assert len(watched.secrets) >= 4
    assert [] == [
        (place, secret)
        for place, data in everything.items()
        for secret in (*watched.secrets, "Bearer ey")
        if secret.encode() in data
    ]
    tapped = [data for place, data in everything.items() if "/tap/" in place]
    assert len(tapped) >= 3
    assert all(archive.encode() in data for data in tapped)
    assert any(b"run_shard" in data for data in tapped)
    commands = [data for place, data in everything.items() if place.startswith("process ")]
    assert len(commands) >= 3
    assert any(b"stride_async export" in data for data in commands)


def echo(watched: Watched) -> str:
    """Return the body of an error that repeats the secret that the service received."""
    return json.dumps({"message": watched.token or watched.server.client_secret})


def refusing(watched: Watched, part: str) -> Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]:
    """Refuse to create an object whose name has this part, in words that repeat what was sent."""

    async def answer(request: web.Request, body: bytes) -> web.StreamResponse:
        if request.method != "PUT" or part not in request.path:
            return await watched.proxy.passed_on(request, body)
        said = f"{SECRET_KEY} {IN_URL} {dict(request.headers)}"
        return web.Response(status=403, text=f"<Error><Code>AccessDenied</Code><Message>{said}</Message></Error>")

    return answer
