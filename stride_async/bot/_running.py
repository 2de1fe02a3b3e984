"""A running bot, as the program around it sees it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import NoneType

from aiohttp import web

from stride_async._arguments import of_type, optional_text, text
from stride_async._client import StrideClient
from stride_async._conversation import ConversationClient
from stride_async.bot import _rows
from stride_async.bot._events import Failure, Installation
from stride_async.bot._failures import failures_in, retry_in
from stride_async.bot._http import caller_of, refused
from stride_async.bot._make import installation_of
from stride_async.bot._parts import Parts, opened
from stride_async.bot._refusal import Refusal
from stride_async.bot._router import Routes
from stride_async.bot._settings import BotSettings
from stride_async.bot._verify import Caller


class RunningBot:
    """A running bot: its clients, installations and failures.

    `Bot.running()` gives one, and `app[RUNNING]` is the one of an application.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def client(self, cloud_id: str) -> StrideClient:
        """Return the client of a site; all sites share the connections, the token and the limiter.

        Args:
            cloud_id: The id of the site.
        """
        return self._parts.sites.client(text(cloud_id, "cloud id"))

    def room(self, cloud_id: str, conversation_id: str) -> ConversationClient:
        """Return a handle to a conversation.

        Args:
            cloud_id: The id of the site.
            conversation_id: The id of the conversation.
        """
        return self.client(cloud_id).conversation(conversation_id)

    async def account_id(self, cloud_id: str) -> str:
        """Return the id of the app's own account.

        Args:
            cloud_id: The id of the site.

        Raises:
            StrideError: The service cannot be asked.
        """
        return await self._parts.sites.account_id(text(cloud_id, "cloud id"))

    async def installations(self, cloud_id: str | None = None) -> list[Installation]:
        """Return the installations the bot was called about, of one site or of all.

        Args:
            cloud_id: The id of the site; None means all.
        """
        optional_text(cloud_id, "cloud id")
        return [installation_of(each) for each in await self._parts.store.run(_rows.installations(cloud_id))]

    async def failed(self) -> list[Failure]:
        """Return the events whose handling failed in the last 7 days, the oldest first."""
        return await failures_in(self._parts.store)

    async def retry(self, delivery_id: str) -> None:
        """Handle a failed event again, as if it had never been begun.

        Args:
            delivery_id: The id of the event, as in `Failure.delivery`.

        Raises:
            LookupError: There is no failed event of this id.
        """
        await retry_in(self._parts.store, text(delivery_id, "delivery id"), then=self._parts.dispatcher.add)

    async def catch_up(self, cloud_id: str, *, every: float | None = None) -> int:
        """Queue the new messages of every conversation of a site and return how many events they make.

        With `every`, repeat this forever, with that many seconds in between: for a bot that the service cannot reach.
        While the service is unavailable, it waits. Edits, rosters and installations are not seen this way.

        Args:
            cloud_id: The id of the site.
            every: How many seconds to wait before doing it again; None means that it is done once.

        Raises:
            StrideError: The service cannot be asked (only without `every`), or the bot was closed.
            BotError: The store cannot be read or written (only without `every`).
            ValueError: The bot does not serve the site, or `every` is not a number of seconds above 0.
        """
        text(cloud_id, "cloud id")
        of_type(every, "every", int, float, NoneType)
        sites = self._parts.settings.sites
        if sites is not None and cloud_id not in sites:
            raise ValueError(f"catch_up() of site {cloud_id!r}: BotSettings.sites does not name this site")
        if every is not None and not 0 < every <= sys.float_info.max:
            raise ValueError(f"catch_up(every={every!r}): this must be a number of seconds above 0")
        if every is not None:
            await self._parts.catching_up.look_for_ever(cloud_id, every)
        return await self._parts.catching_up.look(cloud_id)

    async def verify(self, request: web.Request) -> Caller:
        """Return who sent a request, as its token states, to protect the pages of iframes.

        Args:
            request: A request to a page of your own.

        Raises:
            aiohttp.web.HTTPException: 401, the token is absent or not good; 403, the site is not served.
        """
        of_type(request, "request", web.BaseRequest)
        try:
            return caller_of(request, self._parts.settings)
        except Refusal as refusal:
            response = refused(refusal)
            kind = web.HTTPUnauthorized if refusal.status == 401 else web.HTTPForbidden
            headers = {name: value for name, value in response.headers.items() if name != "Content-Type"}
            raise kind(text=response.text, content_type="application/json", headers=headers) from None

    async def idle(self) -> None:
        """Wait until no event is queued or under way and the catching up at the start is over.

        Raises:
            ClientClosed: The bot was closed before.
        """
        await self._parts.until_idle()


@asynccontextmanager
async def running(key: str, routes: Routes, settings: BotSettings) -> AsyncIterator[RunningBot]:
    """Run a bot without a web server."""
    async with opened(key, routes, settings) as parts:
        yield RunningBot(parts)
