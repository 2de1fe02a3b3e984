"""Find a conversation by its id, its name or its URL."""

from __future__ import annotations

import re

from stride_async import Conversation, ConversationClient, StrideClient
from stride_async._cli import show
from stride_async._cli.exits import CommandError, Exit
from stride_async._wire.addresses import room_in_address
from stride_async._wire.nearest import nearest

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)


async def find_conversation(client: StrideClient, given: str) -> ConversationClient:
    """Return the conversation with this id, exact name or URL. Whether an id or URL exists is not checked.

    Raises:
        CommandError: No conversation has this name, several have it, or the URL belongs to another site.
    """
    if "://" in given:
        return client.conversation(_id_in(client, given))
    if _UUID.fullmatch(given):
        return client.conversation(given)
    listed = await client.conversations(include_archived=True).collect(limit=None)
    found = [one for one in listed if given in (one.id, one.name)]
    if len(found) > 1:
        ids = ", ".join(one.id for one in found)
        message = f"{len(found)} conversations are named {given!r}. Use the id of one of them: {ids}"
        raise CommandError(Exit.USAGE, message)
    if not found:
        message = f"No conversation is named {given!r} ({len(listed):,} available).{_suggestion(given, listed)}"
        raise CommandError(Exit.NOTHING_SELECTED, message)
    return client.conversation(found[0].id)


def _id_in(client: StrideClient, url: str) -> str:
    named = room_in_address(url)
    if named is None:
        expected = "https://app.stride.com/SITE/chat/CONVERSATION"
        raise CommandError(Exit.USAGE, f"{url!r} is not the URL of a conversation. Expected {expected}")
    cloud_id, conversation_id = named
    if cloud_id != client.cloud_id:
        message = f"The URL belongs to site {cloud_id}, but STRIDE_CLOUD_ID is {client.cloud_id}."
        raise CommandError(Exit.USAGE, message)
    return conversation_id


def _suggestion(given: str, listed: list[Conversation]) -> str:
    near = nearest([given], (one.name for one in listed))
    return show.did_you_mean(near) or " Run `stride list conversations --archived` to see them."
