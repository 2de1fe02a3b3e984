"""A conversation by whatever people have at hand: its id, its name, its address in a browser."""

from __future__ import annotations

import re
from difflib import get_close_matches

from stride_async import Conversation, ConversationClient, StrideClient
from stride_async._cli.exits import Ended, Exit

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_ADDRESS = re.compile(
    r"https://(?:app\.stride\.com|applink\.atlassian\.com/stride)/(?P<cloud>[^/?#]+)/chat/(?P<id>[^/?#]+)/?(?:[?#].*)?"
)
_NAMES_OFFERED = 3


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
    parts = _ADDRESS.fullmatch(address)
    if parts is None:
        raise Ended(
            Exit.USAGE,
            f"{address!r} is no address of a conversation: expected https://app.stride.com/SITE/chat/CONVERSATION",
        )
    if parts["cloud"] != client.cloud_id:
        raise Ended(Exit.USAGE, f"the address is of site {parts['cloud']}, STRIDE_CLOUD_ID is {client.cloud_id}")
    return parts["id"]


def _near(words: str, listed: list[Conversation]) -> str:
    by_folded = {one.name.casefold(): one.name for one in listed if one.name}
    sought = words.casefold()
    near = get_close_matches(sought, by_folded, n=_NAMES_OFFERED, cutoff=0.5)
    near += [folded for folded in by_folded if sought in folded and folded not in near]
    names = ", ".join(repr(by_folded[folded]) for folded in near[:_NAMES_OFFERED])
    return f"; near to it: {names}" if names else "; `stride list conversations --archived` lists them all"
