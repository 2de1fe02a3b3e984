"""An S3 server in a process of its own, and a Dask cluster in this one."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import aiohttp
import pytest
from distributed import LocalCluster

from stride_async.export import Dask
from stride_async.server import LocalServer
from tests.conftest import variables_of
from tests.export.exporting import NO_PAGES, show_file

ACCESS_KEY, SECRET_KEY = "AKIDSTRIDE", "very-secret-key"


@pytest.fixture
def environment(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the variables that workers read."""
    for name, value in variables_of(server).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
async def cluster(environment: None) -> AsyncIterator[Dask]:
    """Yield the address of a scheduler with two workers, all of them in this process."""
    async with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp://", **NO_PAGES, asynchronous=True
    ) as cluster:
        yield Dask(cluster.scheduler_address)


@pytest.fixture
def room(server: LocalServer) -> str:
    """Return a room with messages and a file."""
    room = server.add_conversation("room")
    server.fill(room, 300)
    show_file(server, room, "file.bin", b"body" * 1000)
    return room


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """Yield the address of an S3 server."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        address = next(line.split()[-1] for line in server.stderr if "Running on" in line)
        drain = threading.Thread(target=server.stderr.read, daemon=True)
        drain.start()
        yield address
        server.terminate()
        server.wait()
        drain.join()


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a new bucket; the environment has credentials for it."""
    name = f"bucket-{uuid4().hex}"
    use_endpoint(monkeypatch, s3)
    make_bucket(s3, name)
    return name


def use_endpoint(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Set the environment for a store at an address."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in store_environment(address).items():
        monkeypatch.setenv(name, value)


def store_environment(address: str) -> dict[str, str]:
    """Return the variables for a store at an address."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    }


def make_bucket(address: str, name: str) -> None:
    """Create a bucket."""
    url = f"{address}/{name}"

    async def put() -> None:
        key = f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20180301/us-east-1/s3/aws4_request"
        async with aiohttp.ClientSession(headers={"Authorization": key}) as session, session.put(url) as answer:
            answer.raise_for_status()

    thread = threading.Thread(target=lambda: asyncio.run(put()))  # A loop may be running in this one.
    thread.start()
    thread.join()
