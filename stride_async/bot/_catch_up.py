"""Read the messages that were not delivered and queue them as if they had been.

Each conversation has a mark in the store: the message up to which it was read. A look reads what comes after the mark,
oldest first, and moves the mark in the commit that keeps the messages. A message has the same identity as its delivery,
so it is not handled twice.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict

import msgspec

from stride_async._client import StrideClient
from stride_async._errors import ClientClosed, DecodeError, Forbidden, NotFound, StrideError
from stride_async._models import Conversation, Message
from stride_async._moments import NANOSECONDS
from stride_async.bot import _rows
from stride_async.bot._dispatch import Dispatcher, bot_closed, wait_before
from stride_async.bot._read import Incoming, read_delivery, storable_ts
from stride_async.bot._reports import LOG
from stride_async.bot._router import BOT_MODULE, Kind, Routes
from stride_async.bot._rows import Mark
from stride_async.bot._settings import REMEMBERED_SECONDS, BotSettings
from stride_async.bot._sites import Sites
from stride_async.bot._store import Store, StoreFailed
from stride_async.bot._text import text_for_bot

# How far before the last accepted message a start reads again: deliveries arrive out of order and some are lost.
OVERLAP_SECONDS = 600


class CatchUp:
    """Looks for messages that were not delivered."""

    def __init__(
        self, routes: Routes, settings: BotSettings, store: Store, sites: Sites, dispatcher: Dispatcher
    ) -> None:
        self._routes = routes
        self._settings = settings
        self._store = store
        self._sites = sites
        self._dispatcher = dispatcher
        self._one_at_a_time: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        # The time from which each conversation is read: `catch_up` before it was first listed, or listed again after it
        # was missing. It does not move while the service is unavailable, so an outage loses nothing.
        self._oldest: dict[tuple[str, str], int] = {}

    async def look_until_it_succeeds(self, cloud_id: str) -> None:
        """Look at a site once. While the service is unavailable, retry with increasing waits."""
        tries = 0
        while True:
            try:
                await self.look(cloud_id)
            except ClientClosed:
                raise
            except (StrideError, StoreFailed) as error:
                tries += 1
                if tries == 1:
                    LOG.warning("catching up with site %s waits: %s", cloud_id, error)
                await asyncio.sleep(wait_before(tries))
            else:
                return

    async def look_for_ever(self, cloud_id: str, every: float) -> None:
        """Look at a site forever, `every` seconds after the end of the last look.

        Raises:
            ClientClosed: The bot was closed.
        """
        while True:
            await self.look_until_it_succeeds(cloud_id)
            await asyncio.sleep(every)

    async def look(self, cloud_id: str) -> int:
        """Queue the new messages of every conversation of a site and return how many events they make.

        Raises:
            StrideError: The service cannot be asked, or the bot ends.
            StoreFailed: The store cannot be read or written.
        """
        if self._dispatcher.closing:
            raise bot_closed()
        try:
            async with self._one_at_a_time[cloud_id]:
                return await self._look(cloud_id)
        except StoreFailed:
            if self._dispatcher.closing:
                raise bot_closed() from None
            raise

    async def _look(self, cloud_id: str) -> int:
        account_id = await self._sites.account_id(cloud_id)
        client = self._sites.background_client(cloud_id)
        marks = await self._store.run(_rows.marks(cloud_id))
        new = 0
        listed: set[tuple[str, str]] = set()
        async for conversation in client.conversations():
            listed.add((cloud_id, conversation.id))
            try:
                new += await self._read(client, conversation, marks.get(conversation.id), account_id)
            except (Forbidden, NotFound) as error:
                LOG.info("conversation %s is no longer readable: %s", conversation.id, error)
        for place in [each for each in self._oldest if each[0] == cloud_id and each not in listed]:
            del self._oldest[place]
        return new

    async def _read(self, client: StrideClient, conversation: Conversation, mark: Mark | None, account_id: str) -> int:
        place = (client.cloud_id, conversation.id)
        start = self._start(place, mark)
        if mark is None:
            # Otherwise, if this look is interrupted, the next start would read from the latest delivery on.
            await self._store.run(_rows.set_mark(place, start))
        new, moved = 0, False
        room = client.conversation(conversation.id)
        pager = room.history(after=(start.ts, start.message_id), oldest_first=True)
        async for page in pager.pages(on_undecodable=_log_undecodable):
            await self._dispatcher.until_room()
            last = page.items[-1]
            start = Mark(storable_ts(last.ts), last.id, complete=False)
            incoming = [
                each for message in page.items for each in self._incoming(place, conversation, message, account_id)
            ]
            keep = _rows.keep_page(incoming, time.time(), place=place, mark=start)
            kept = await self._store.submit(keep, then=self._dispatcher.add_all)
            new, moved = new + len(kept), True
        if mark is None or not mark.complete or moved:
            await self._store.run(_rows.set_mark(place, Mark(start.ts, start.message_id, complete=True)))
        return new

    def _start(self, place: tuple[str, str], mark: Mark | None) -> Mark:
        now = time.time()
        oldest = self._oldest.setdefault(place, int((now - self._settings.catch_up) * NANOSECONDS))
        # Before that, what was delivered is forgotten, and would be handled again.
        earliest = max(oldest, int((now - REMEMBERED_SECONDS) * NANOSECONDS))
        return Mark(earliest, "", complete=False) if mark is None or mark.ts < earliest else mark

    def _incoming(
        self, place: tuple[str, str], conversation: Conversation, message: Message, account_id: str
    ) -> list[Incoming]:
        kinds = kinds_of(message, account_id, self._routes, direct=conversation.type == "direct")
        if not kinds:
            return []
        body = delivered_body(place[0], conversation, message)
        return [read_delivery(kind, module, body) for kind, module in kinds]


def kinds_of(message: Message, account_id: str, routes: Routes, *, direct: bool) -> list[tuple[Kind, str]]:
    """Return for which kinds and modules the service would deliver a message, of those that have a handler."""
    if message.sender_id == account_id:
        return []
    text = text_for_bot(message, account_id)
    if direct or text.mentions_bot:
        kind: Kind = "direct_message" if direct else "mention"
        return [(kind, BOT_MODULE)] if (kind, BOT_MODULE) in routes.handlers else []
    return [("message", key) for key, regex in routes.patterns.items() if regex.search(text.text)]


def delivered_body(cloud_id: str, conversation: Conversation, message: Message) -> bytes:
    """Return the body of a delivery of a message (protocol 6.3)."""
    fields = {
        "id": conversation.id,
        "name": conversation.name,
        "topic": conversation.topic,
        "type": conversation.type,
        "privacy": conversation.privacy,
        "isArchived": conversation.is_archived,
        "avatarUrl": conversation.avatar_url,
        "created": conversation.created,
        "modified": conversation.modified,
    }
    body = {
        "cloudId": cloud_id,
        "message": msgspec.Raw(message.raw),
        "recipients": None,
        "sender": {"id": message.sender_id},
        "conversation": {name: value for name, value in fields.items() if value is not None},
        "type": "chat_message_sent",
    }
    return msgspec.json.encode(body)


def _log_undecodable(error: DecodeError) -> None:
    LOG.warning("a message cannot be decoded and is skipped: %s", error)
