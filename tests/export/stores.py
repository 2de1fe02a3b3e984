"""Look at what is in a bucket, copy it, and put a proxy that fails in front of it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import obstore
from aiohttp import web
from obstore.store import S3Store
from yarl import URL

Answer = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]


def objects_of(address: str, bucket: str, prefix: str = "") -> dict[str, bytes]:
    """Return all objects with their contents."""
    store = S3Store(bucket, endpoint=address, prefix=prefix or None)
    paths = [each["path"] for chunk in obstore.list(store) for each in chunk]
    return {path: bytes(obstore.get(store, path).bytes()) for path in paths}


def upload(folder: Path, bucket: str, prefix: str) -> None:
    """Copy the files of a folder into a bucket, as any tool does."""
    store = S3Store(bucket, prefix=prefix)
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            obstore.put(store, path.relative_to(folder).as_posix(), path.read_bytes())


def download(bucket: str, prefix: str, folder: Path) -> None:
    """Copy the objects of a bucket into a folder, as any tool does."""
    for path, data in objects_of(os.environ["AWS_ENDPOINT_URL"], bucket, prefix).items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


async def put_foreign(address: str, bucket: str, name: str) -> None:
    """Create an object with a name that is already quoted, and that an archive may not be able to have."""
    key = "AWS4-HMAC-SHA256 Credential=KEY/20180301/us-east-1/s3/aws4_request"
    url = URL(f"{address}/{bucket}/{name}", encoded=True)
    async with aiohttp.ClientSession(headers={"Authorization": key}) as session, session.put(url, data=b"") as answer:
        answer.raise_for_status()


class Proxy:
    """Passes requests on to an S3 server, as far as `answer` lets it. Runs in a thread of its own."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.answer: Answer = self.passed_on
        self.requests: list[tuple[str, str]] = []
        """Method and path of every request."""

    @contextmanager
    def running(self) -> Iterator[str]:
        """Run, and yield the address."""
        started, self._loop = threading.Event(), asyncio.new_event_loop()
        thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        thread.start()
        started.wait()
        try:
            yield self.address
        finally:
            self._loop.call_soon_threadsafe(self._stop.set)
            thread.join()

    async def passed_on(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Return what the server answers."""
        headers = {name: value for name, value in request.headers.items() if name not in {"Transfer-Encoding"}}
        url = f"{self.target}{request.raw_path}"
        async with self._session.request(request.method, url, data=body, headers=headers) as answer:
            kept = {name: value for name, value in answer.headers.items() if name not in _HOP_BY_HOP}
            data = await answer.read()
            if request.method == "HEAD" and "Content-Length" in answer.headers:
                kept["Content-Length"] = answer.headers["Content-Length"]
            return web.Response(status=answer.status, headers=kept, body=data or None)

    def _run(self, started: threading.Event) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(started))

    async def _serve(self, started: threading.Event) -> None:
        self._stop = asyncio.Event()
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        async with aiohttp.ClientSession(auto_decompress=False) as self._session:
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            self.address = f"http://127.0.0.1:{port}"
            started.set()
            await self._stop.wait()
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path))
        return await self.answer(request, await request.read())


_HOP_BY_HOP = {"Transfer-Encoding", "Connection", "Content-Length", "Date", "Server"}


def reset(request: web.Request) -> web.StreamResponse:
    """Cut the connection without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()
