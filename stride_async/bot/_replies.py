"""Send each reply to an event once, even if the event is begun again.

Replies are numbered in the order in which the handler asks for them, and noted in the store after they were sent. A
reply whose number is noted is not sent a second time. A process may be killed between the sending and the note, and a
call may end without a response; such a reply is looked for among the app's own messages before it is sent.

Events of a conversation are handled one at a time, so that reply comes after the event and after every reply that was
noted in the conversation. One page after the later of the two is looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from stride_async._client import StrideClient
from stride_async._errors import NotFound, StrideError
from stride_async._models import Content, Key, Markdown, Message
from stride_async._moments import NANOSECONDS
from stride_async._settings import MOST_ITEMS_A_PAGE
from stride_async.bot import _rows
from stride_async.bot._rows import Stored
from stride_async.bot._store import Store

# How many times a reply is sent at most if no sending gets a response and the reply is not found.
MOST_SENDINGS = 3
_CLOCKS_DIFFER = 60.0


class Replies:
    """The replies to one event in one attempt."""

    def __init__(
        self, store: Store, client: StrideClient, account_id: str, event: Stored, message: Message | None
    ) -> None:
        self._store = store
        self._client = client
        self._room = client.conversation(event.conversation_id)
        self._account_id = account_id
        self._event = event
        self._message = message
        self._asked = 0
        self._step = 1
        self._one_at_a_time = asyncio.Lock()

    async def send(self, content: Content) -> str:
        """Send the next reply, unless it was sent in an earlier attempt; return its message id.

        Raises:
            StrideError: The service refused it, or gave no response and it is not there.
            StoreFailed: The store cannot be read or written.
        """
        self._asked += self._step
        position = self._asked
        async with self._one_at_a_time:
            if position in self._event.replies:
                return self._event.replies[position]
            message_id = await self._found(content) if self._event.attempts > 1 else None
            if message_id is None:
                message_id = await self._sent(content)
            await self._store.run(_rows.note_reply(self._event.number, position, message_id))
            return message_id

    def begin_apology(self) -> None:
        """Number the replies of the error handler apart, downwards from -1.

        Attempts may fail after different numbers of replies, so a number would not stand for one reply otherwise.
        """
        self._asked, self._step = 0, -1

    async def _sent(self, content: Content) -> str:
        for sending in range(1, MOST_SENDINGS + 1):
            try:
                return await self._room.send(content)
            except StrideError as error:
                if not error.maybe_processed:
                    raise
                found = await self._found(content)
                if found is not None:
                    return found
                if sending == MOST_SENDINGS:
                    raise
        raise AssertionError("the last sending returns or raises")

    async def _found(self, content: Content) -> str | None:
        later = [message for message in await self._later() if message.sender_id == self._account_id]
        if not later:
            return None
        noted = await self._store.run(_rows.noted([message.id for message in later]))
        return same_text(later, await self._text_of(content), noted)

    async def _later(self) -> Sequence[Message]:
        """Return a page of messages after the event, or after the last noted reply if that is later."""
        since = self._event_key
        last = await self._store.run(_rows.last_reply(self._event.cloud_id, self._event.conversation_id))
        for anchor in (last, None if self._message is None else self._message.id):
            if anchor is not None:
                nearby = await self._around(anchor)
                if any(each.id == anchor and each.key >= since for each in nearby):
                    return [each for each in nearby if each.id != anchor and each.key > since]
        # Both messages are gone. The time of the event is still known, and bounds the latest page.
        return (await self._room.history(after=since).collect(limit=MOST_ITEMS_A_PAGE))[::-1]

    async def _around(self, message_id: str) -> Sequence[Message]:
        try:
            return await self._room.context(message_id, after=MOST_ITEMS_A_PAGE - 1)
        except NotFound:
            return ()

    @property
    def _event_key(self) -> Key:
        if self._message is not None:
            return self._message.key
        return int((self._event.received_at - _CLOCKS_DIFFER) * NANOSECONDS), ""

    async def _text_of(self, content: Content) -> str:
        if isinstance(content, str):
            return content
        document = await self._client.markdown_to_document(content.text) if isinstance(content, Markdown) else content
        return document.to_text()


def same_text(messages: Sequence[Message], text: str, noted: Collection[str]) -> str | None:
    """Return the id of the first message with a text, ignoring white space, that is not noted; or None."""
    words = text.split()
    return next((each.id for each in messages if each.id not in noted and each.text.split() == words), None)
