"""What a type checker knows about a listing. Nothing in this file is executed."""

from typing import assert_type

from stride_async import (
    Bookmark,
    Bound,
    Conversation,
    DecodeError,
    Message,
    Module,
    Page,
    Pager,
    Stats,
    Stream,
    StrideClient,
)


async def items_have_the_type_of_the_listing(client: StrideClient) -> None:
    """This holds for every way to read them."""
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


async def a_stream_has_items_bookmark_and_stats(client: StrideClient) -> None:
    """This holds with and without prefetch."""
    errors: list[DecodeError] = []
    stream = client.conversations().stream(prefetch=1, on_undecodable=errors.append)
    assert_type(stream, Stream[Conversation])
    async with stream as conversations:
        assert_type(conversations, Stream[Conversation])
        assert_type(await anext(conversations), Conversation)
        assert_type(conversations.bookmark.dumps(), str)
        assert_type(conversations.stats, Stats)
        assert_type((conversations.stats.seconds_waited, conversations.stats.undecodable), tuple[float, int])


def a_bound_has_one_of_several_types(client: StrideClient, message: Message, bookmark: Bookmark) -> None:
    """It is an id, a message, a key, a bookmark, or an aware datetime."""
    bounds: list[Bound] = [message.id, message, message.key, bookmark, message.sent_at]
    for bound in bounds:
        assert_type(client.conversation("c").history(after=bound, before=bound), Pager[Message])


async def wrong_types_are_errors(client: StrideClient) -> None:
    """Each of these lines is an error; otherwise the checker reports the comment as unused."""
    room = client.conversation("c")
    room.history(after=5)  # type: ignore[arg-type]  # not a bound
    await room.history().collect()  # type: ignore[call-arg]  # the limit is required
    room.modules("chat:button")  # type: ignore[arg-type]  # not a module type
    room.history().resume("{}")  # type: ignore[arg-type]  # a text must be loaded first
    room.history().stream(1)  # type: ignore[call-arg]  # the argument is keyword-only
