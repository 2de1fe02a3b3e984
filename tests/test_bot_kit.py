"""The fixtures for bots, tested in projects of their own."""

from __future__ import annotations

import pytest

from tests.test_testing import project

pytest_plugins = ["pytester"]

BOT = """
import asyncio

import pytest
from stride_async.bot import ActionAnswer, Bot, TryAgain


@pytest.fixture
def stride_bot():
    bot = Bot("deployer")

    @bot.command("deploy")
    async def deploy(event, what: str, times: int = 1):
        for _ in range(times):
            await event.reply(f"{what} is on its way")

    @bot.action("confirm")
    async def confirm(event):
        await event.reply(f"confirmed by {event.user_id}")
        return ActionAnswer("done", next_action={"openDialog": {"key": "log"}})

    @bot.action("quiet")
    async def quiet(event):
        return None

    @bot.command("fail")
    async def fail(event):
        raise ZeroDivisionError("on purpose")

    @bot.command("later")
    async def later(event):
        if event.delivery.attempt < 3:
            raise TryAgain(after=3600)
        await event.reply(f"attempt {event.delivery.attempt}")

    @bot.direct_message()
    async def direct(event):
        await event.reply(f"hello {(await event.sender.profile()).display_name}")

    return bot


"""
KIT_TESTS = """
from stride_async.document import doc, paragraph, strong


async def test_the_example_of_the_guide(stride_bot_kit):
    kit = stride_bot_kit
    [answer] = await kit.mention("deploy api 1")
    assert "api is on its way" == answer.text
    assert "done" == (await kit.press("confirm", answer.id)).message


async def test_a_wrong_argument_is_named(stride_bot_kit):
    kit = stride_bot_kit
    for name, call in {
        "text": lambda: kit.mention(5),
        "by": lambda: kit.direct("hi", by=5),
        "room": lambda: kit.mention("hi", room=5),
        "key": lambda: kit.press(5, "m"),
        "parameters": lambda: kit.press("confirm", "m", parameters=5),
        "kill": lambda: kit.restart(kill=5),
    }.items():
        with pytest.raises(TypeError, match=rf"\\b{name} must be .*, not int: 5"):
            await call()


async def test_replies_are_those_of_this_message(stride_bot_kit):
    await stride_bot_kit.mention("deploy api")

    replies = await stride_bot_kit.mention("deploy web 2")

    assert ["web is on its way"] * 2 == [reply.text for reply in replies]


async def test_a_document_can_be_sent(stride_bot_kit):
    [answer] = await stride_bot_kit.mention(doc(paragraph("deploy ", strong("api"))))

    assert "api is on its way" == answer.text


async def test_direct_messages_are_those_of_a_person(stride_bot_kit):
    ben = stride_bot_kit.server.add_user("Ben Berg")

    [first] = await stride_bot_kit.direct("hi")
    [second] = await stride_bot_kit.direct("hi", by=ben)
    [third] = await stride_bot_kit.direct("hi again")

    assert ["hello Ann Adler", "hello Ben Berg", "hello Ann Adler"] == [each.text for each in (first, second, third)]


async def test_a_direct_conversation_that_the_bot_began_is_used(stride_bot_kit, stride_client):
    await stride_client.user(stride_bot_kit.person).send("are you there?")

    await stride_bot_kit.direct("yes")

    conversation = await stride_client.user(stride_bot_kit.person).conversation()
    texts = [message["text"] for message in stride_bot_kit.server.messages(conversation.id)]
    assert ["are you there?", "yes", "hello Ann Adler"] == texts


async def test_another_person_in_another_room(stride_bot_kit):
    kit = stride_bot_kit
    ben = kit.server.add_user("Ben Berg")
    room = kit.server.add_conversation("operations", roster=[ben])
    await kit.server.install(room, by=ben)

    [answer] = await kit.mention("deploy api", by=ben, room=room)
    pressed = await kit.press("confirm", answer.id, by=ben, room=room)

    assert ActionAnswer("done", None, {"openDialog": {"key": "log"}}) == pressed
    assert f"confirmed by {ben}" == kit.server.messages(room)[-1]["text"]


async def test_an_answer_without_content_is_empty(stride_bot_kit):
    [answer] = await stride_bot_kit.mention("deploy api")

    assert ActionAnswer() == await stride_bot_kit.press("quiet", answer.id)


async def test_errors_that_are_looked_at_do_not_fail_the_test(stride_bot_kit):
    assert [] == await stride_bot_kit.mention("fail")

    [error] = stride_bot_kit.errors
    assert isinstance(error, ZeroDivisionError)
    [failure] = await stride_bot_kit.running.failed()
    assert "on purpose" == failure.message


async def test_pauses_are_skipped(stride_bot_kit):
    [answer] = await stride_bot_kit.mention("later")

    assert "attempt 3" == answer.text


async def test_a_failed_delivery_comes_again_at_once(stride_bot_kit):
    stride_bot_kit.server.faults.add("DELIVER", "mention", times=2, status=503)

    [answer] = await stride_bot_kit.mention("deploy api")

    assert "api is on its way" == answer.text
    assert [503, 503, 204] == [each.status for each in stride_bot_kit.server.deliveries[-1].tries]


async def test_events_are_handled_once_across_restarts(stride_bot_kit):
    await stride_bot_kit.mention("deploy api")

    await stride_bot_kit.restart()
    await stride_bot_kit.restart(kill=True)
    await stride_bot_kit.idle()

    assert ["api is on its way"] == [each.text for each in await stride_bot_kit.mention("deploy api")]
    assert 3 == len(stride_bot_kit.server.messages(stride_bot_kit.room)) - 1


class TestAHandlerThatIsUnderWay:
    @pytest.fixture
    def begun(self):
        return []

    @pytest.fixture
    def stride_bot(self, begun):
        bot = Bot("stuck")

        @bot.mention()
        async def handle(event):
            begun.append(event.delivery.attempt)
            self.has_begun.set()
            if len(begun) == 1:
                try:
                    await asyncio.Event().wait()
                finally:
                    await event.reply("a killed process would not have sent this")
            await event.reply("done")

        self.has_begun = asyncio.Event()
        return bot

    async def test_it_is_begun_again_after_a_kill(self, stride_bot_kit, begun):
        kit = stride_bot_kit
        kit.server.add_message(kit.room, "work", sender_id=kit.person, mention_app=True)
        await self.has_begun.wait()

        await kit.restart(kill=True)
        await kit.idle()

        assert [1, 2] == begun
        assert ["done"] == [message["text"] for message in kit.server.messages(kit.room)[1:]]

    async def test_who_waits_for_its_reply_waits_for_the_second_attempt(self, stride_bot_kit):
        kit = stride_bot_kit
        mentioning = asyncio.create_task(kit.mention("work"))
        await self.has_begun.wait()

        await kit.restart(kill=True)

        assert ["done"] == [reply.text for reply in await mentioning]

    async def test_the_end_of_the_test_does_not_wait_for_it(self, stride_bot_kit):
        kit = stride_bot_kit
        kit.server.add_message(kit.room, "work", sender_id=kit.person, mention_app=True)
        await self.has_begun.wait()


class TestSettings:
    @pytest.fixture
    def stride_bot_settings(self):
        return {"attempts": 1}

    async def test_they_are_those_of_the_fixture(self, stride_bot_kit):
        assert [] == await stride_bot_kit.mention("later")
        assert [TryAgain] == [type(error) for error in stride_bot_kit.errors]
"""


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_the_kit_works_in_both_modes_of_pytest_asyncio(pytester: pytest.Pytester, mode: str):
    """A bot is tested over HTTP, without waiting for anything but the bot."""
    head = "import pytest\npytestmark = pytest.mark.asyncio\n" if mode == "strict" else ""
    project(pytester, head + BOT + KIT_TESTS, asyncio_mode=mode)

    pytester.runpytest().assert_outcomes(passed=16)


def test_a_test_fails_with_the_first_error_that_it_ignores(pytester: pytest.Pytester):
    """The failure shows the handler's own traceback, and the next test has a new bot."""
    tests = """
async def test_ignores(stride_bot_kit):
    await stride_bot_kit.mention("fail")

async def test_looks_too_early(stride_bot_kit):
    assert [] == stride_bot_kit.errors
    await stride_bot_kit.mention("fail")

async def test_fails_itself(stride_bot_kit):
    await stride_bot_kit.mention("fail")
    assert "its own failure" == "is shown"

async def test_right(stride_bot_kit):
    await stride_bot_kit.mention("deploy api")
"""
    project(pytester, BOT + tests, asyncio_mode="auto")

    result = pytester.runpytest()

    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines(
        ["*in fail*", "*ZeroDivisionError: on purpose*", "*in fail*", "*assert 'its own failure' == 'is shown'*"]
    )


def test_an_error_after_the_test_is_not_lost(pytester: pytest.Pytester):
    """A handler that fails when the test function has returned makes the test an error."""
    tests = """
@pytest.fixture
async def deployer(stride_bot_kit):
    yield stride_bot_kit
    await stride_bot_kit.mention("fail")

async def test_passes(deployer):
    await deployer.mention("deploy api")
"""
    project(pytester, BOT + tests, asyncio_mode="auto")

    result = pytester.runpytest()

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*in fail*", "*ZeroDivisionError: on purpose*"])


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        ("async def test_bot(stride_bot_kit): ...", "*needs a fixture stride_bot that returns your Bot*"),
        (
            "import pytest\n@pytest.fixture\ndef stride_bot(): return 7\nasync def test_bot(stride_bot_kit): ...",
            "*stride_bot returned 7; expected a Bot*",
        ),
        (BOT + "def test_bot(stride_bot_kit): ...", "*use `async def`*"),
    ],
    ids=["no bot", "not a bot", "not async"],
)
def test_what_is_wrong_is_explained_in_one_line(pytester: pytest.Pytester, tests: str, message: str):
    """There is no traceback of the plugin."""
    project(pytester, tests, asyncio_mode="auto")

    result = pytester.runpytest()

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([message])
    result.stdout.no_fnmatch_line("*testing.py*")
