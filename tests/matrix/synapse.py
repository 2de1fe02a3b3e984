"""Synapse, a real homeserver, in a process of its own on loopback with a SQLite database."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp

SERVER = "synapse.invalid"
_SECONDS = 120.0  # until it answers; it has to make its tables


class Synapse:
    """A homeserver that has read a registration. `restart` stops and starts it, as an administrator would."""

    def __init__(self, python: str, folder: Path, registration: Path, token: str) -> None:
        self._python = python
        self._folder = folder
        self._stored: int | None = None
        self._headers = {"Authorization": f"Bearer {token}"}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        folder.mkdir()
        config = {
            "server_name": SERVER,
            "pid_file": str(folder / "pid"),
            "listeners": [
                {"port": port, "type": "http", "bind_addresses": ["127.0.0.1"], "resources": [{"names": ["client"]}]}
            ],
            "database": {"name": "sqlite3", "args": {"database": str(folder / "homeserver.db")}},
            "media_store_path": str(folder / "media"),
            "signing_key_path": str(folder / "signing.key"),
            "report_stats": False,
            "trusted_key_servers": [],
            "macaroon_secret_key": "m",
            "form_secret": "f",
            "app_service_config_files": [str(registration)],
            "log_config": str(folder / "log.yaml"),
        }
        (folder / "homeserver.yaml").write_text(json.dumps(config))
        handler = {"class": "logging.FileHandler", "filename": str(folder / "log"), "level": "WARNING"}
        log = {"version": 1, "handlers": {"file": handler}, "root": {"level": "WARNING", "handlers": ["file"]}}
        (folder / "log.yaml").write_text(json.dumps(log))

    async def __aenter__(self) -> Self:
        await self._run("--generate-keys")
        await self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop(signal.SIGKILL)

    async def restart(self, number: signal.Signals) -> None:
        """End the homeserver with a signal, and start it again."""
        await self._stop(number)
        await self._start()

    async def tear_a_room(self, stored: int) -> None:
        """Restart so that it ends while it creates a room, with this number of events of it stored."""
        await self._stop(signal.SIGTERM)
        self._stored = stored
        await self._start()
        self._stored = None

    async def ended(self) -> None:
        """Return when the homeserver has ended by itself."""
        await self._process.wait()

    def cpu_seconds(self) -> float:
        """Return the CPU time of the process that runs now."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    async def get(self, path: str, **query: str) -> Any:
        """Return the answer to a call."""
        return json.loads(await self.body(path, **query))

    async def body(self, path: str, **query: str) -> bytes:
        """Return the body of the answer to a call."""
        async with (
            aiohttp.ClientSession(headers=self._headers, raise_for_status=True) as http,
            http.get(f"{self.url}/_matrix/{path}", params=query) as response,
        ):
            return await response.read()

    async def room_of(self, alias: str) -> str:
        """Return the id of a room by its alias."""
        return str((await self.get(f"client/v3/directory/room/{quote(alias, safe='')}"))["room_id"])

    async def events(self, room_id: str) -> list[dict[str, Any]]:
        """Return everything that happened in a room, oldest first."""
        events: list[dict[str, Any]] = []
        query = {"dir": "f", "limit": "100"}
        while True:
            page = await self.get(f"client/v3/rooms/{quote(room_id, safe='')}/messages", **query)
            events += page["chunk"]
            if not page["chunk"] or "end" not in page:
                return events
            query["from"] = page["end"]

    async def _run(self, *arguments: str) -> None:
        process = await asyncio.create_subprocess_exec(*self._command, *arguments)
        assert await process.wait() == 0

    async def _start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(*self._command)
        async with asyncio.timeout(_SECONDS):
            while not await self._answers():  # noqa: ASYNC110 -- another process, which does not report that it is ready
                await asyncio.sleep(0.2)

    async def _answers(self) -> bool:
        assert self._process.returncode is None, (self._folder / "log").read_text()
        try:
            await self.get("client/versions")
        except aiohttp.ClientError:
            return False
        return True

    async def _stop(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            self._process.send_signal(number)
            await self._process.wait()

    @property
    def _command(self) -> list[str]:
        config = ["--config-path", str(self._folder / "homeserver.yaml")]
        if self._stored is not None:
            return [self._python, "-P", str(Path(__file__).with_name("torn_synapse.py")), str(self._stored), *config]
        return [self._python, "-m", "synapse.app.homeserver", *config]
