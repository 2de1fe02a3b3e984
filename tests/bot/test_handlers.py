"""Handlers are called for the right events, with the right arguments."""

from __future__ import annotations

import pytest

from stride_async import Markdown
from stride_async.bot import Bot, DirectMessage, MatchedMessage, Mention
from tests.bot.delivering import served


@pytest.fixture
def bot() -> Bot:
    return Bot("deployer")


async def test_a_mention_gets_a_reply(bot, scene):
    """A handler of mentions gets the text without the mention, and replies in the conversation."""
    events = []

    @bot.mention()
    async def hello(event: Mention) -> None:
        events.append(event)
        await event.reply(f"Hello, you said {event.text}")

    async with served(bot, scene) as bot_app:
        message_id = await bot_app.mention("good morning")
        await bot_app.running.idle()

        assert ["Hello, you said good morning"] == await bot_app.texts()
    (event,) = events
    assert isinstance(event, Mention)
    assert (scene.server.cloud_id, scene.room, scene.ann) == (event.cloud_id, event.conversation_id, event.user_id)
    assert (message_id, "general", scene.ann) == (event.message.id, event.conversation.name, event.sender.id)
    assert ("mention", "bot", 1) == (event.delivery.kind, event.delivery.module, event.delivery.attempt)


async def test_the_first_handler_that_fits_gets_the_event(bot, scene):
    """Handlers are tried in the order of registration."""
    called = []

    @bot.mention(r"deploy (?P<what>\w+)")
    async def deploy(event: Mention, what: str) -> None:
        called.append(("deploy", what))

    @bot.mention()
    async def otherwise(event: Mention) -> None:
        called.append(("otherwise", event.text))

    async with served(bot, scene) as bot_app:
        await bot_app.mention("please deploy api now")
        await bot_app.mention("what?")
        await bot_app.running.idle()

    assert [("deploy", "api"), ("otherwise", "what?")] == called


async def test_a_command_is_called_in_both_conversations(bot, scene):
    """A mention starts with the bot's name, a direct message with the command."""
    called = []

    @bot.command("deploy")
    async def deploy(event: Mention | DirectMessage, what: str, times: int = 1) -> None:
        called.append((type(event).__name__, what, times))

    async with served(bot, scene) as bot_app:
        await bot_app.mention("deploy api 3")
        await bot_app.direct("DEPLOY 'my api'")
        await bot_app.running.idle()

    assert [("DirectMessage", "my api", 1), ("Mention", "api", 3)] == sorted(called)


async def test_a_command_that_does_not_fit_gives_its_usage(bot, scene):
    """The person gets one line, and the handler is not called."""

    @bot.command("deploy")
    async def deploy(event: Mention, what: str, times: int = 1) -> None:
        raise AssertionError("not to be called")

    async with served(bot, scene) as bot_app:
        await bot_app.mention("deploy api thrice")
        await bot_app.running.idle()

        assert ["Usage: deploy <what: str> [times: int]"] == await bot_app.texts()


async def test_a_message_that_matches_is_handled_once_a_module(bot, scene):
    """Two patterns that match are two modules, so each handler is called."""
    called = []

    @bot.message(r"weather in (?P<city>\w+)")
    async def weather(event: MatchedMessage, city: str) -> None:
        called.append((event.delivery.module, city))

    @bot.message(r"weather", key="any-weather")
    async def any_weather(event: MatchedMessage) -> None:
        called.append((event.delivery.module, event.text))

    async with served(bot, scene) as bot_app:
        message_id = scene.say("the weather in Bern?")
        assert 204 == (await bot_app.deliver("/message/weather", message_id)).status
        assert 204 == (await bot_app.deliver("/message/any-weather", message_id)).status
        await bot_app.running.idle()

    assert [("weather", "Bern"), ("any-weather", "the weather in Bern?")] == called


async def test_a_message_that_mentions_the_bot_is_not_a_matched_one(bot, scene):
    """The same message is delivered as a mention, too, and should get one reply."""
    called = []

    @bot.message(r"weather")
    async def weather(event: MatchedMessage) -> None:
        called.append("matched")

    @bot.mention()
    async def mentioned(event: Mention) -> None:
        called.append("mentioned")

    async with served(bot, scene) as bot_app:
        message_id = scene.say_to_bot("weather?")
        await bot_app.deliver("/message/weather", message_id)
        await bot_app.deliver("/mention", message_id)
        await bot_app.running.idle()

    assert ["mentioned"] == called


async def test_the_bot_does_not_reply_to_itself(bot, scene):
    """A message of the app's own account is acknowledged and not handled."""
    called = []

    @bot.message(".")
    async def echo(event: MatchedMessage) -> None:
        called.append(event.text)

    async with served(bot, scene) as bot_app:
        own = scene.say("I am here", by=scene.server.app_account_id)
        assert 204 == (await bot_app.deliver("/message/echo", own)).status
        await bot_app.running.idle()

    assert [] == called


async def test_webhooks_give_what_changed(bot, scene):
    """The user of a roster update is the person; of a conversation update it is the initiator."""
    called = []

    @bot.roster()
    async def roster(event) -> None:
        called.append((event.action, event.user_id, event.conversation.name))

    @bot.conversation()
    async def conversation(event) -> None:
        called.append((event.action, event.user_id, event.conversation.name))

    conversation_json = await scene.conversation_json(scene.room)
    common = {"cloudId": scene.server.cloud_id, "conversation": conversation_json}
    async with served(bot, scene) as bot_app:
        await bot_app.call("/roster", common | {"user": {"id": scene.bob}, "action": "remove", "type": "?"})
        await bot_app.call("/conversation", common | {"initiator": {"id": scene.ann}, "action": "archive"})
        await bot_app.running.idle()

    assert [("remove", scene.bob, "general"), ("archive", scene.ann, "general")] == called


async def test_installations_are_known_until_they_end(bot, scene):
    """`installations` returns an installation until the uninstalled call."""
    called = []

    @bot.installed()
    async def installed(event) -> None:
        called.append(event.installation)

    @bot.uninstalled()
    async def uninstalled(event) -> None:
        called.append("uninstalled")

    async with served(bot, scene) as bot_app:
        await bot_app.call("/installed", scene.lifecycle(relayState="from the shop"))
        await bot_app.running.idle()
        known = await bot_app.running.installations(scene.server.cloud_id)
        await bot_app.call("/uninstalled", scene.lifecycle("uninstalled"))
        await bot_app.running.idle()

        assert [] == await bot_app.running.installations()
    (installation,) = known
    assert called == [installation, "uninstalled"]
    assert (scene.room, scene.ann, "1", "from the shop") == (
        installation.conversation_id,
        installation.user_id,
        installation.version,
        installation.relay_state,
    )


async def test_middlewares_stand_around_the_handler(bot, scene):
    """The first is the outermost. One that does not call on ends the event. `state` passes values to the handler."""
    steps = []

    @bot.middleware
    async def outer(event, call):
        steps.append("open")
        event.state["resource"] = "a database"
        await call(event)
        steps.append("close")

    @bot.middleware
    async def only_ann(event, call):
        if event.user_id == scene.ann:
            await call(event)

    @bot.mention()
    async def handler(event) -> None:
        steps.append(event.state["resource"])

    async with served(bot, scene) as bot_app:
        await bot_app.mention("hello")
        await bot_app.running.idle()
        await bot_app.mention("hello", by=scene.bob)
        await bot_app.running.idle()

    assert ["open", "a database", "close", "open", "close"] == steps


async def test_replies_take_every_kind_of_content(bot, scene):
    """Plain text and Markdown are sent, and the id of the message is returned."""
    ids = []

    @bot.mention()
    async def handler(event: Mention) -> None:
        ids.append(await event.reply("plain"))
        ids.append(await event.reply(Markdown("**strong**")))

    async with served(bot, scene) as bot_app:
        await bot_app.mention("go")
        await bot_app.running.idle()

        assert ["plain", "strong"] == await bot_app.texts()
        assert ids == [m.id for m in (await scene.client.conversation(scene.room).recent())[1:]]
