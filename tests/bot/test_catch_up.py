"""Messages that were not delivered are read in order and handled once, like deliveries."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from stride_async import ClientClosed, StrideClient, StrideError
from stride_async.bot import Bot, DirectMessage, MatchedMessage, Mention, _rows
from stride_async.bot._settings import REMEMBERED_SECONDS
from tests.bot.delivering import Scene, served, until


@pytest.fixture
def handled() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def bot(handled) -> Bot:
    """Return a bot that records what it is called for."""
    bot = Bot("deployer")

    @bot.mention()
    async def mention(event: Mention) -> None:
        handled.append(("mention", event.text))

    @bot.direct_message()
    async def direct(event: DirectMessage) -> None:
        handled.append(("direct", event.text))

    @bot.message(r"(?i)weather")
    async def weather(event: MatchedMessage) -> None:
        handled.append(("weather", event.text))

    return bot


def ago(seconds: float) -> int:
    return time.time_ns() - int(seconds * 1e9)


async def test_a_bot_without_a_web_server_gets_messages(bot, scene, handled):
    """It gets mentions, direct messages and matches, oldest first, but not its own messages."""
    scene.say_to_bot("one", ts=ago(50))
    scene.say("nothing for a bot", ts=ago(40))
    scene.say("the weather?", ts=ago(30))
    scene.say_to_bot("the weather?", ts=ago(20))
    scene.say("weather report", by=scene.server.app_account_id, ts=ago(10))
    scene.say("hello", room=scene.direct, ts=ago(10))

    async with bot.running(scene.settings(catch_up=60.0)) as running:
        new = await running.catch_up(scene.server.cloud_id)
        await running.idle()
        again = await running.catch_up(scene.server.cloud_id)

    assert (4, 0) == (new, again)
    assert [("mention", "one"), ("weather", "the weather?"), ("mention", "the weather?")] == [
        each for each in handled if each[0] != "direct"
    ]
    assert [("direct", "hello")] == [each for each in handled if each[0] == "direct"]


async def test_what_was_delivered_is_not_handled_again(bot, scene, handled):
    """A message that is read has the same identity as its delivery, whichever comes first."""
    delivered_first = scene.say_to_bot("delivered first", ts=ago(30))
    read_first = scene.say_to_bot("read first", ts=ago(20))
    async with served(bot, scene, catch_up=60.0) as bot_app:
        await bot_app.deliver("/mention", delivered_first)
        assert 1 == await bot_app.running.catch_up(scene.server.cloud_id)
        assert 204 == (await bot_app.deliver("/mention", read_first)).status
        await bot_app.running.idle()

    assert ["delivered first", "read first"] == [text for _, text in handled]


async def test_a_start_reads_what_was_missed(bot, scene, handled):
    """It reads the sites it knows, in the background."""
    async with served(bot, scene, catch_up=60.0) as bot_app:
        await bot_app.mention("delivered")
        await bot_app.running.idle()
    scene.say_to_bot("missed")
    scene.say("weather, missed")
    scene.say("missed", room=scene.direct)
    async with served(bot, scene, catch_up=60.0) as bot_app:
        await bot_app.running.idle()

    assert ("mention", "delivered") == handled[0]
    assert [("direct", "missed"), ("mention", "missed"), ("weather", "weather, missed")] == sorted(handled[1:])


async def test_a_start_reads_what_came_shortly_before_the_last_event(bot, scene, handled):
    """Deliveries arrive out of order, so an earlier one may have been lost."""
    async with served(bot, scene) as bot_app:
        scene.say_to_bot("lost")
        await bot_app.mention("delivered")
        await bot_app.running.idle()
    async with served(bot, scene, catch_up=3600.0) as bot_app:
        await bot_app.running.idle()

    assert [("mention", "delivered"), ("mention", "lost")] == handled


async def test_a_start_reads_nothing_from_before_an_installation(bot, scene, handled):
    """Only what came shortly before it, which may be the reason for it."""
    scene.say("weather, long before", ts=ago(1800))
    async with served(bot, scene) as bot_app:
        assert 204 == (await bot_app.call("/installed", scene.lifecycle())).status
        await bot_app.running.idle()
    scene.say("weather, missed")
    async with served(bot, scene, catch_up=3600.0) as bot_app:
        await bot_app.running.idle()

    assert [("weather", "weather, missed")] == handled


async def test_a_start_reads_no_further_back_than_it_may(bot, scene, handled):
    """It reads `catch_up` seconds back, and nothing if that is 0."""
    async with served(bot, scene, catch_up=60.0, sites={scene.server.cloud_id}) as bot_app:
        await bot_app.running.idle()
    scene.say_to_bot("too old", ts=ago(1000))
    scene.say_to_bot("recent", ts=ago(5))
    calls = len(scene.server.calls)
    async with served(bot, scene, catch_up=0.0, sites={scene.server.cloud_id}) as bot_app:
        await bot_app.running.idle()
        assert calls == len(scene.server.calls)
    async with served(bot, scene, catch_up=60.0, sites={scene.server.cloud_id}) as bot_app:
        await bot_app.running.idle()

    assert ["recent"] == [text for _, text in handled]


async def test_a_look_without_news_is_one_call_a_conversation(bot, scene):
    """The list of conversations is one more call. Empty conversations cost no more."""
    scene.server.fill(scene.room, 80, ts=ago(200), sender_id=scene.ann)
    async with bot.running(scene.settings(catch_up=3600.0)) as running:
        await running.catch_up(scene.server.cloud_id)
        for _ in range(2):
            scene.server.calls.clear()
            await running.catch_up(scene.server.cloud_id)

            assert 2 == len(scene.server.calls.matching("GET", "*/message"))
            assert 3 == len(scene.server.calls)


async def test_many_messages_are_read_in_order(bot, scene, handled):
    """Several pages are handled, oldest first, even if they exceed the backlog."""
    for number in range(200):
        scene.say(f"weather {number}", ts=ago(300 - number))
    async with bot.running(scene.settings(catch_up=3600.0, backlog=80)) as running:
        assert 200 == await running.catch_up(scene.server.cloud_id)
        await running.idle()

    assert [f"weather {number}" for number in range(200)] == [text for _, text in handled]


async def test_a_look_waits_for_room_in_the_backlog(scene):
    """Otherwise a long history would be in memory at once. It goes on when an event has ended."""
    bot, begin = Bot("deployer"), asyncio.Event()

    @bot.message("weather")
    async def weather(event: MatchedMessage) -> None:
        await begin.wait()

    for number in range(200):
        scene.say(f"weather {number}", ts=ago(300 - number))
    async with bot.running(scene.settings(catch_up=3600.0, backlog=10)) as running:
        looking = asyncio.create_task(running.catch_up(scene.server.cloud_id))
        has_room = running._parts.dispatcher._has_room
        await until(lambda: looking.done() or has_room._waiters)
        waited = not looking.done()
        begin.set()

        assert waited
        assert 200 == await looking
        await running.idle()


async def test_a_look_that_waits_for_room_ends_with_the_bot(scene):
    """It raises `ClientClosed`, because there will be no room any more."""
    bot = Bot("deployer")

    @bot.message("weather")
    async def weather(event: MatchedMessage) -> None:
        await asyncio.Event().wait()

    for number in range(200):
        scene.say(f"weather {number}", ts=ago(300 - number))
    async with bot.running(scene.settings(catch_up=3600.0, backlog=10)) as running:
        looking = asyncio.create_task(running.catch_up(scene.server.cloud_id, every=30.0))
        await until(lambda: running._parts.dispatcher._has_room._waiters)

    with pytest.raises(ClientClosed):
        await asyncio.wait_for(looking, 10)


async def test_a_look_takes_calls_that_nothing_else_wants(bot, scene, monkeypatch):
    """A reply is sent before the rest of a long history is read."""
    priorities, list_conversations = [], StrideClient.conversations
    monkeypatch.setattr(
        StrideClient,
        "conversations",
        lambda client: priorities.append(client.settings.priority) or list_conversations(client),
    )
    async with bot.running(scene.settings(catch_up=60.0)) as running:
        await running.catch_up(scene.server.cloud_id)

    assert ["background"] == priorities


async def test_an_interrupted_look_loses_nothing(bot, scene: Scene, handled):
    """The next start reads from its beginning, although a later delivery was accepted."""
    settings = {"catch_up": 3600.0, "sites": {scene.server.cloud_id}}
    scene.say_to_bot("missed", ts=ago(1800))
    fault = scene.server.faults.add("GET", f"*/conversation/{scene.room}/message", stall="headers")
    async with served(bot, scene, **settings) as bot_app:
        await until(lambda: fault.hits)
        await bot_app.mention("delivered")
        await until(lambda: handled)
    fault.remove()
    async with served(bot, scene, **settings) as bot_app:
        await bot_app.running.idle()

    assert ["delivered", "missed"] == [text for _, text in handled]


async def test_a_first_look_that_fails_for_long_loses_nothing(bot, scene: Scene, handled, monkeypatch):
    """`catch_up` is counted from its first try, not from the one that succeeds."""
    scene.say_to_bot("missed", ts=ago(50))
    fault = scene.server.faults.add("GET", f"*/conversation/{scene.room}/message", status=503)
    async with bot.running(scene.settings(catch_up=60.0)) as running:
        with pytest.raises(StrideError):
            await running.catch_up(scene.server.cloud_id)
        fault.remove()
        later(monkeypatch, seconds=600)
        await running.catch_up(scene.server.cloud_id)
        await running.idle()

    assert [("mention", "missed")] == handled


async def test_a_conversation_that_was_left_is_read_like_a_new_one(bot, scene: Scene, handled, monkeypatch):
    """What was said there in the meantime was not for the bot, except for the last `catch_up` seconds."""
    async with bot.running(scene.settings(catch_up=60.0)) as running:
        await running.catch_up(scene.server.cloud_id)
        await scene.server.uninstall(scene.room, by=scene.ann)
        await running.catch_up(scene.server.cloud_id)
        scene.say("weather, without the bot")
        later(monkeypatch, seconds=600)
        await scene.server.install(scene.room, by=scene.ann)
        scene.say("weather, with the bot", ts=ago(-600))
        await running.catch_up(scene.server.cloud_id)
        await running.idle()

    assert [("weather", "weather, with the bot")] == handled


async def test_a_look_reads_nothing_that_is_no_longer_remembered(bot, scene: Scene, handled, monkeypatch):
    """A bot that is called for more than seven days has forgotten what it handled first."""
    async with served(bot, scene, catch_up=60.0) as bot_app:
        running = bot_app.running
        await running.catch_up(scene.server.cloud_id)
        await bot_app.mention("long ago")
        await running.idle()
        later(monkeypatch, seconds=8 * 86_400)
        await running._parts.store.run(_rows.forget(time.time() - REMEMBERED_SECONDS))

        assert 0 == await running.catch_up(scene.server.cloud_id)
        await running.idle()

    assert [("mention", "long ago")] == handled


def later(monkeypatch, *, seconds: float) -> None:
    """Move the clock of this process."""
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + seconds)


async def test_a_message_from_a_distant_future_is_handled_once(bot, scene, handled):
    """Its time is more than a store can hold. What comes after it is read, too."""
    message = (await scene.body(scene.say_to_bot("one")))["message"] | {"ts": "9999-12-31T23:59:59.999999999Z"}
    page = json.dumps({"messages": [message]})
    for after in (0, 2):  # Each look has asked for a page before the first message when it is over.
        scene.server.faults.add("GET", f"*/{scene.room}/message", body=page, status=200, after=after, times=1)
    async with bot.running(scene.settings(catch_up=60.0)) as running:
        assert 1 == await running.catch_up(scene.server.cloud_id)
        assert 0 == await running.catch_up(scene.server.cloud_id)
        await running.idle()

    assert [("mention", "one")] == handled


async def test_what_a_cancelled_look_has_stored_is_handled(bot, scene: Scene, handled):
    """A caller who is cancelled while the store keeps a page loses nothing until the next start."""
    scene.say_to_bot("one")
    async with bot.running(scene.settings(catch_up=60.0)) as running:
        store = running._parts.store
        submit = store.submit

        def submit_and_cancel(job, then=None):
            if then is not None:
                task.cancel()
            return submit(job, then)

        store.submit = submit_and_cancel
        task = asyncio.create_task(running.catch_up(scene.server.cloud_id))
        await asyncio.wait([task])
        await until(lambda: handled)

        assert task.cancelled()
        assert [("mention", "one")] == handled


async def test_the_message_of_a_mark_may_be_deleted(bot, scene, handled):
    """The next look reads from the time of that message."""
    last = scene.say_to_bot("one", ts=ago(20))
    async with bot.running(scene.settings(catch_up=60.0)) as running:
        await running.catch_up(scene.server.cloud_id)
        scene.server.delete_message(scene.room, last)
        scene.say_to_bot("two")
        await running.catch_up(scene.server.cloud_id)
        await running.idle()

    assert ["one", "two"] == [text for _, text in handled]


async def test_looking_for_ever_ends_with_the_bot(bot, scene: Scene, handled, monkeypatch):
    """It survives an outage of the service, and raises `ClientClosed` when the bot is closed."""
    monkeypatch.setattr("stride_async.bot._catch_up.wait_before", lambda tries: 0.0)
    async with bot.running(scene.settings(catch_up=60.0)) as running:
        task = asyncio.create_task(running.catch_up(scene.server.cloud_id, every=0.001))
        scene.say_to_bot("one")
        await until(lambda: handled)
        fault = scene.server.faults.add("GET", "*/conversation", status=503, times=6)
        scene.say_to_bot("two")
        await until(lambda: len(handled) == 2)
    with pytest.raises(ClientClosed):
        await asyncio.wait_for(task, 10)

    assert (["one", "two"], 6) == ([text for _, text in handled], fault.hits)


async def test_a_look_at_a_site_that_is_not_served_is_refused(bot, scene):
    async with bot.running(scene.settings(catch_up=0.0, sites=[scene.server.cloud_id])) as running:
        assert 0 == await running.catch_up(scene.server.cloud_id)
        with pytest.raises(ValueError, match=r"'another': BotSettings\.sites does not name this site"):
            await running.catch_up("another")


@pytest.mark.parametrize("every", [0, -1.0, float("nan"), float("inf")])
async def test_an_interval_that_is_not_above_zero_is_refused(bot, scene, every):
    async with bot.running(scene.settings(catch_up=0.0)) as running:
        with pytest.raises(ValueError, match=r"every=.*above 0"):
            await running.catch_up(scene.server.cloud_id, every=every)


async def test_a_look_raises_errors(bot, scene):
    """A single look raises the error of the service."""
    async with bot.running(scene.settings(catch_up=60.0)) as running:
        scene.server.faults.add("GET", "*/conversation", drop="before")
        with pytest.raises(StrideError):
            await running.catch_up(scene.server.cloud_id)


async def test_a_conversation_that_cannot_be_read_is_skipped(bot, scene, handled):
    """The bot may be removed from a conversation while the list is read."""
    scene.server.faults.add("GET", f"*/conversation/{scene.direct}/message", status=403)
    scene.say_to_bot("hi", ts=ago(5))
    async with bot.running(scene.settings(catch_up=60.0)) as running:
        assert 1 == await running.catch_up(scene.server.cloud_id)
        await running.idle()

    assert [("mention", "hi")] == handled


async def test_looks_at_one_site_wait_for_each_other(bot, scene, handled):
    """Several concurrent looks read each message once."""
    scene.say_to_bot("hi", ts=ago(5))
    async with bot.running(scene.settings(catch_up=60.0)) as running:
        new = await asyncio.gather(*(running.catch_up(scene.server.cloud_id) for _ in range(3)))
        await running.idle()

    assert [0, 0, 1] == sorted(new)
    assert 1 == len(handled)


async def test_events_of_a_look_carry_what_a_delivery_carries(scene):
    """They have the message, its sender, its body and the conversation."""
    events = []
    bot = Bot("deployer")

    @bot.mention()
    async def mention(event: Mention) -> None:
        events.append(event)

    message_id = scene.say_to_bot("hi", ts=ago(5))
    async with bot.running(scene.settings(catch_up=60.0)) as running:
        await running.catch_up(scene.server.cloud_id)
        await running.idle()
        conversation = await running.room(scene.server.cloud_id, scene.room).get()

    (event,) = events
    assert (message_id, scene.ann, "hi") == (event.message.id, event.user_id, event.text)
    assert (conversation.name, conversation.created, conversation.avatar_url) == (
        event.conversation.name,
        event.conversation.created,
        event.conversation.avatar_url,
    )
    assert (scene.server.app_account_id,) == event.message.body.mentions()
