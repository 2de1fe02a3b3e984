"""The clients of all sites, and the app's own account."""

from __future__ import annotations

import asyncio

import attrs

from stride_async._client import StrideClient
from stride_async.bot import _rows
from stride_async.bot._settings import BotSettings
from stride_async.bot._store import Store


class Sites:
    """One client per site. All share the connections, the token and the limiter."""

    def __init__(self, settings: BotSettings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._first: StrideClient | None = None
        self._clients: dict[str, StrideClient] = {}
        self._account_id: str | None = None
        self._asking = asyncio.Lock()

    def client(self, cloud_id: str) -> StrideClient:
        """Return the client of a site.

        Raises:
            ValueError: The cloud id is empty.
        """
        client = self._clients.get(cloud_id)
        if client is None:
            if self._first is None:
                settings = attrs.evolve(self._settings.client, priority="normal")
                client = self._first = StrideClient(self._settings.credentials, cloud_id=cloud_id, settings=settings)
            else:
                client = self._first.for_site(cloud_id)
            self._clients[cloud_id] = client
        return client

    def background_client(self, cloud_id: str) -> StrideClient:
        """Return a client of a site that leaves a part of each conversation's limit to the others."""
        client = self.client(cloud_id)
        return client.with_settings(attrs.evolve(client.settings, priority="background"))

    async def account_id(self, cloud_id: str) -> str:
        """Return the app's own account, which is fetched once in the life of a store.

        Raises:
            StrideError: The service cannot be asked.
            StoreFailed: The store cannot be read or written.
        """
        async with self._asking:
            if self._account_id is None:
                self._account_id = await self._store.run(_rows.account_id)
            if self._account_id is None:
                account = await self.client(cloud_id).me()
                await self._store.run(_rows.set_account_id(account.account_id))
                self._account_id = account.account_id
            return self._account_id

    async def close(self) -> None:
        """Close what the clients share."""
        if self._first is not None:
            await self._first.close()
