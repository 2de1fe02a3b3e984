"""A conversation by whatever people have at hand: its id, its name, its address in a browser."""

from __future__ import annotations

import re

from stride_async import Conversation, ConversationClient, StrideClient
from stride_async._cli.exits import Ended, Exit
from stride_async._wire.addresses import room_in_address
from stride_async._wire.nearest import nearest

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_LEAST_LIKENESS = 0.5


async def find_conversation(client: StrideClient, words: str) -> ConversationClient:
    """The conversation that an id, an exact name or an address names. An id or address is taken at its word.

    Raises:
        Ended: there is none (says which names are near), there are several, or the address is of another site.
    """
    if "://" in words:
        return client.conversation(_id_in(client, words))
    if _UUID.fullmatch(words):
        return client.conversation(words)
    listed = await client.conversations(include_archived=True).collect(limit=None)
    found = [one for one in listed if words in (one.id, one.name)]
    if len(found) > 1:
        ids = ", ".join(one.id for one in found)
        raise Ended(Exit.USAGE, f"{len(found)} conversations are called {words!r}; give the id of one: {ids}")
    if not found:
        raise Ended(Exit.NOTHING_SELECTED, f"no conversation is called {words!r}{_near(words, listed)}")
    return client.conversation(found[0].id)


def _id_in(client: StrideClient, address: str) -> str:
    named = room_in_address(address)
    if named is None:
        raise Ended(
            Exit.USAGE,
            f"{address!r} is no address of a conversation: expected https://app.stride.com/SITE/chat/CONVERSATION",
        )
    cloud_id, conversation_id = named
    if cloud_id != client.cloud_id:
        raise Ended(Exit.USAGE, f"the address is of site {cloud_id}, STRIDE_CLOUD_ID is {client.cloud_id}")
    return conversation_id


def _near(words: str, listed: list[Conversation]) -> str:
    near = nearest([words], (one.name for one in listed), least_likeness=_LEAST_LIKENESS)
    names = ", ".join(map(repr, near))
    return f"; near to it: {names}" if names else "; `stride list conversations --archived` lists them all"
