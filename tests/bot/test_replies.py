"""Replies are sent once, even when the event is begun again."""

from __future__ import annotations

import asyncio

import pytest

from stride_async import Ambiguous, Markdown, ServerError
from stride_async.bot import Bot, Event, Mention, TryAgain
from stride_async.bot._replies import same_text
from stride_async.document import doc, paragraph
from tests.bot.delivering import Scene, Served, served, until


@pytest.fixture
def bot() -> Bot:
    return Bot("deployer")


def lose_notes(bot_app: Served) -> None:
    """Simulate a kill between the sending of a reply and its note, from now on."""
    store = bot_app.running._parts.store
    run = store.run

    async def interrupted(job):
        if "note_reply" in job.__qualname__:
            await asyncio.Event().wait()
        return await run(job)

    store.run = interrupted


async def test_a_noted_reply_is_not_sent_again(bot, scene):
    """Its message id is returned, and later replies are sent."""
    ids = []

    @bot.mention()
    async def handler(event: Mention) -> None:
        ids.append(await event.reply(f"working on {event.text}"))
        if event.delivery.attempt < 3:
            raise TryAgain(after=0)
        ids.append(await event.reply("done"))

    async with served(bot, scene) as bot_app:
        await bot_app.mention("it")
        await bot_app.running.idle()

        assert ["working on it", "done"] == await bot_app.texts()
    assert 2 == len(set(ids))
    assert [ids[0]] * 3 == ids[:3]


@pytest.mark.parametrize("end", ["fails", "is given up"])
async def test_the_reply_of_an_error_handler_is_none_of_the_handlers(bot, scene, end):
    """It is sent although the handler has replied in an earlier attempt, and not in this one."""
    begun = asyncio.Event()

    @bot.mention()
    async def handler(event: Mention) -> None:
        if event.delivery.attempt == 2:
            raise ValueError
        await event.reply("working on it")
        begun.set()
        if end == "fails":
            raise TryAgain(after=0)
        await asyncio.Event().wait()

    @bot.error()
    async def apologize(event: Event, error: Exception) -> None:
        await event.reply(f"sorry: {type(error).__name__}")

    attempts = 2 if end == "fails" else 1
    async with served(bot, scene, attempts=attempts) as bot_app:
        await bot_app.mention("it")
        await begun.wait()
        if end == "fails":
            await bot_app.running.idle()
    async with served(bot, scene, attempts=attempts) as bot_app:
        await bot_app.running.idle()

        expected = "sorry: ValueError" if end == "fails" else "sorry: GaveUp"
        assert ["working on it", expected] == await bot_app.texts()


@pytest.mark.parametrize(
    "content",
    ["plain  text\nin lines", Markdown("*strong* text"), doc(paragraph("a document")), "x" * 5000],
    ids=["text", "markdown", "document", "long"],
)
async def test_a_reply_without_a_note_is_searched_for(bot, scene, content):
    """If it was sent before the process was killed, it is found after the event and not repeated."""
    replies = []

    @bot.mention()
    async def handler(event: Mention) -> None:
        replies.append(await event.reply(content))

    async with served(bot, scene) as bot_app:
        lose_notes(bot_app)
        await bot_app.mention("hi")
        await until(lambda: [call for call in scene.server.calls.matching("POST", "*/message") if call.status == 201])
        scene.say("another person in between")
    async with served(bot, scene) as bot_app:
        await bot_app.running.idle()

        assert 1 == len(await bot_app.texts())
    assert 1 == len(replies) == len(scene.server.calls.matching("POST", "*/message"))


async def test_an_event_that_was_begun_is_finished_before_an_older_one(bot, scene):
    """The reply to the other one would hide its own reply, which is looked for behind the last noted one."""

    @bot.mention()
    async def handler(event: Mention) -> None:
        await event.reply(f"re: {event.text}")

    old = scene.say_to_bot("old")
    async with served(bot, scene) as bot_app:
        lose_notes(bot_app)
        await bot_app.mention("new")
        await until(lambda: [call for call in scene.server.calls.matching("POST", "*/message") if call.status == 201])
        assert 204 == (await bot_app.deliver("/mention", old)).status
    async with served(bot, scene) as bot_app:
        await bot_app.running.idle()

        assert ["re: new", "re: old"] == await bot_app.texts()


async def test_a_reply_that_was_not_sent_is_sent_later(bot, scene):
    """An equal message of another person is not mistaken for it."""

    @bot.mention()
    async def handler(event: Mention) -> None:
        if event.delivery.attempt == 1:
            await asyncio.Event().wait()
        await event.reply("late")

    async with served(bot, scene) as bot_app:
        await bot_app.mention("hi")
        await until(lambda: bot_app.under_way)
    scene.say("late", by=scene.bob)
    async with served(bot, scene) as bot_app:
        await bot_app.running.idle()

        assert ["late"] == await bot_app.texts()


async def test_the_reply_to_another_event_is_not_mistaken_for_it(bot, scene):
    """A noted message belongs to the event whose reply it is, though the text is the same."""
    begun = []

    @bot.mention()
    async def handler(event: Mention) -> None:
        begun.append(event.text)
        if event.text == "two" and event.delivery.attempt == 1:
            await asyncio.Event().wait()
        await event.reply("same")

    first, second = scene.say_to_bot("one"), scene.say_to_bot("two")
    async with served(bot, scene) as bot_app:
        await bot_app.deliver("/mention", first)
        await bot_app.deliver("/mention", second)
        await until(lambda: "two" in begun)
    async with served(bot, scene) as bot_app:
        await bot_app.running.idle()

        assert ["same", "same"] == await bot_app.texts()


async def test_equal_replies_of_one_event_are_all_sent(bot, scene):
    """They differ by their number, even if they are sent concurrently."""

    @bot.mention()
    async def handler(event: Mention) -> None:
        if event.delivery.attempt == 1:
            raise TryAgain(after=0)
        await asyncio.gather(*(event.reply("same") for _ in range(3)))

    async with served(bot, scene) as bot_app:
        await bot_app.mention("hi")
        await bot_app.running.idle()

        assert ["same"] * 3 == await bot_app.texts()


async def test_the_message_of_the_event_may_be_gone(bot, scene):
    """The replies after it are then found by its time."""

    @bot.mention()
    async def handler(event: Mention) -> None:
        if event.delivery.attempt == 1:
            scene.say("found", by=scene.server.app_account_id)
            scene.server.delete_message(scene.room, event.message.id)
            raise TryAgain(after=0)
        await event.reply("found")

    async with served(bot, scene) as bot_app:
        await bot_app.mention("hi")
        await bot_app.running.idle()

        assert ["found"] == await bot_app.texts()


async def test_a_reply_to_an_event_without_a_message_is_found_by_time(bot, scene):
    """For example, a welcome message after an installation."""

    @bot.installed()
    async def installed(event) -> None:
        if event.delivery.attempt == 1:
            scene.say("welcome", by=scene.server.app_account_id)
            raise TryAgain(after=0)
        await event.reply("welcome")

    async with served(bot, scene) as bot_app:
        await bot_app.call("/installed", scene.lifecycle())
        await bot_app.running.idle()

        assert ["welcome"] == await bot_app.texts()


@pytest.mark.parametrize("lost", ["before", "after"])
async def test_a_reply_without_a_response_is_searched_for(bot, scene: Scene, lost):
    """There is one message, whether or not the service acted the first time."""
    scene.server.faults.add("POST", f"*/conversation/{scene.room}/message", drop=lost, times=1)

    @bot.mention()
    async def handler(event: Mention) -> None:
        await event.reply("once")

    async with served(bot, scene) as bot_app:
        await bot_app.mention("hi")
        await bot_app.running.idle()

        assert [] == await bot_app.running.failed()
        assert ["once"] == await bot_app.texts()


@pytest.mark.parametrize(
    ("fault", "error", "sendings"), [({"drop": "before"}, Ambiguous, 3), ({"status": 503}, ServerError, 3)]
)
async def test_a_reply_that_never_comes_through_is_an_error(bot, scene: Scene, fault, error, sendings):
    """After three sendings the error is raised in the handler."""
    scene.server.faults.add("POST", f"*/conversation/{scene.room}/message", **fault)
    errors = []

    @bot.error(error)
    async def handle_error(event, error) -> None:
        errors.append(error)

    @bot.mention()
    async def handler(event: Mention) -> None:
        await event.reply("never")

    async with served(bot, scene) as bot_app:
        await bot_app.mention("hi")
        await bot_app.running.idle()

    assert 1 == len(errors)
    assert sendings == len(scene.server.calls.matching("POST", "*/message"))


async def test_a_reply_that_is_refused_is_an_error(bot, scene: Scene):
    """A reply that the service certainly did not send is not retried."""
    scene.server.faults.add("POST", f"*/conversation/{scene.room}/message", status=400)
    errors = []

    @bot.error()
    async def error(event, error) -> None:
        errors.append(error.maybe_processed)

    @bot.mention()
    async def handler(event: Mention) -> None:
        await event.reply("never")

    async with served(bot, scene) as bot_app:
        await bot_app.mention("hi")
        await bot_app.running.idle()

    assert [False] == errors
    assert 1 == len(scene.server.calls.matching("POST", "*/message"))


def test_a_reply_is_recognized_by_its_words():
    """White space is ignored, and messages that are noted are skipped."""

    class Sent:
        def __init__(self, id: str, text: str) -> None:
            self.id, self.text = id, text

    messages = [Sent("1", "other"), Sent("2", "a  b"), Sent("3", "a\nb"), Sent("4", "a b")]

    assert "3" == same_text(messages, " a b", {"2"})
    assert same_text(messages, "a b c", ()) is None
    assert same_text([], "a", ()) is None
