"""A handwritten exporter: concurrent rooms, lines of JSON, no safety."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.site import Site


async def export_site(site: Site, folder: Path, *, concurrency: int = 32) -> int:
    async with aiohttp.ClientSession() as session:
        grant = {"grant_type": "client_credentials", "client_id": site.client_id, "client_secret": site.client_secret}
        async with session.post(f"{site.url}/oauth/token", json=grant) as response:
            token = json.loads(await response.read())["access_token"]
        session.headers["Authorization"] = f"Bearer {token}"
        return await _Rooms(session, site, folder).export(concurrency)


class _Rooms:
    def __init__(self, session: aiohttp.ClientSession, site: Site, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._session = session
        self._site = site
        self._folder = folder
        self._messages = 0
        self._people: set[str] = set()

    async def export(self, concurrency: int) -> int:
        path: str | None = f"/site/{self._site.cloud_id}/conversation?include-archived=true&limit=75"
        rooms: list[dict[str, Any]] = []
        while path:
            page = await self._get(path)
            rooms += page["values"]
            cursor = page.get("cursor")
            path = f"/site/{self._site.cloud_id}/conversation?include-archived=true&limit=75&cursor={cursor}"
            if not cursor:
                break
        waiting = iter(rooms)
        await asyncio.gather(*(self._worker(waiting) for _ in range(concurrency)))
        with (self._folder / "users.jsonl").open("w") as file:
            for person in sorted(self._people):
                file.write(json.dumps(await self._get(f"/scim/site/{self._site.cloud_id}/Users/{person}")) + "\n")
        return self._messages

    async def _worker(self, rooms: Any) -> None:
        for room in rooms:
            await self._room(room)

    async def _room(self, room: dict[str, Any]) -> None:
        at = f"/site/{self._site.cloud_id}/conversation/{room['id']}"
        start = 0
        roster: list[str] = []
        while page := (await self._get(f"{at}/roster?start={start}&limit=75"))["values"]:
            roster += page
            start += len(page)
            if len(page) < 75:
                break
        with (self._folder / f"{room['id']}.jsonl").open("w") as file:
            file.write(json.dumps({**room, "roster": roster}) + "\n")
            self._people.update(roster)
            before = ""
            while page := (await self._get(f"{at}/message?limit=75{before}"))["messages"]:
                for message in reversed(page):
                    file.write(json.dumps(message) + "\n")
                    self._people.add(message["sender"]["id"])
                self._messages += len(page)
                before = f"&beforeMessage={page[0]['id']}"

    async def _get(self, path: str) -> Any:
        async with self._session.get(f"{self._site.url}{path}") as response:
            return json.loads(await response.read())
