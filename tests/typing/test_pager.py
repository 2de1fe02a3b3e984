"""What a type checker knows of a listing; nothing here runs."""

from typing import assert_type

from stride_async import Bookmark, Conversation, DecodeError, Message, Module, Page, Pager, Stats, Stream, StrideClient


async def items_are_of_the_listing(client: StrideClient) -> None:
    """Whatever way they are asked for."""
    room = client.conversation("c")
    assert_type(client.conversations(), Pager[Conversation])
    assert_type(room.roster(), Pager[str])
    assert_type(room.modules("chat:bot"), Pager[Module])
    pager = room.history(oldest_first=True)
    assert_type(pager, Pager[Message])
    assert_type(await pager.first(), Message | None)
    assert_type(await pager.collect(limit=None), list[Message])
    assert_type([message async for message in pager], list[Message])
    assert_type(pager.resume(Bookmark.loads("")), Pager[Message])
    async for page in pager.pages():
        assert_type(page, Page[Message])
        assert_type(page.items[0], Message)
        assert_type(page.bookmark, Bookmark)
        assert_type(page.raw, bytes)


async def a_stream_gives_items_and_tells_where_it_is(client: StrideClient) -> None:
    """Also when it fetches ahead and counts what it cannot decode."""
    errors: list[DecodeError] = []
    stream = client.conversations().stream(prefetch=1, on_undecodable=errors.append)
    assert_type(stream, Stream[Conversation])
    async with stream as conversations:
        assert_type(conversations, Stream[Conversation])
        assert_type(await anext(conversations), Conversation)
        assert_type(conversations.bookmark.dumps(), str)
        assert_type(conversations.stats, Stats)
        assert_type((conversations.stats.seconds_waited, conversations.stats.undecodable), tuple[float, int])


async def bounds_and_limits_must_be_what_they_are(client: StrideClient) -> None:
    """Each of these lines is an error, else the checker complains of the comment."""
    room = client.conversation("c")
    room.history(after=5)  # type: ignore[arg-type]  # no id, message or moment
    await room.history().collect()  # type: ignore[call-arg]  # the limit must be written out
    room.modules("chat:button")  # type: ignore[arg-type]  # no type the service lists
    room.history().resume("{}")  # type: ignore[arg-type]  # text is to be loaded first
    room.history().stream(1)  # type: ignore[call-arg]  # what the number means must be written
