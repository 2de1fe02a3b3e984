"""Events are handled once, in order, across restarts, and their failures are data."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import Any

import pytest

from stride_async import ClientClosed
from stride_async.bot import Begun, Bot, Ended, Event, HandlerTimeout, Mention, TryAgain, _handling, _rows
from tests.bot.delivering import Scene, Served, served, until


@pytest.fixture
def bot() -> Bot:
    return Bot("deployer")


# Once


async def test_an_event_that_comes_again_is_handled_once(bot, scene):
    """This holds within one process and across a restart."""
    handled = []

    @bot.mention()
    async def handler(event: Mention) -> None:
        handled.append(event.message.id)

    async with served(bot, scene) as bot_app:
        message_id = await bot_app.mention("hi")
        assert 204 == (await bot_app.deliver("/mention", message_id)).status
        await bot_app.running.idle()
        assert 204 == (await bot_app.deliver("/mention", message_id)).status
        await bot_app.running.idle()
    async with served(bot, scene) as bot_app:
        assert 204 == (await bot_app.deliver("/mention", message_id)).status
        await bot_app.running.idle()

    assert [message_id] == handled


async def test_twins_that_arrive_together_are_one_event(bot, scene):
    """Only one of them is new, although they share a commit."""
    handled = []

    @bot.mention()
    async def handler(event: Mention) -> None:
        handled.append(event.message.id)

    message_id = scene.say_to_bot("hi")
    async with served(bot, scene) as bot_app:
        answers = await asyncio.gather(*(bot_app.deliver("/mention", message_id) for _ in range(20)))
        await bot_app.running.idle()

    assert {204} == {answer.status for answer in answers}
    assert [message_id] == handled


async def test_bodies_without_an_id_are_compared_with_the_last_of_their_subject(bot, scene):
    """Add, its redelivery, remove and add are three events. The same body for another person is another event."""
    handled = []

    @bot.roster()
    async def roster(event) -> None:
        handled.append((event.user_id, event.action))

    def body(action: str, user: str) -> dict:
        return {
            "cloudId": scene.server.cloud_id,
            "conversation": conversation,
            "user": {"id": user},
            "action": action,
            "type": "chat_roster_updates",
        }

    conversation = await scene.conversation_json(scene.room)
    async with served(bot, scene) as bot_app:
        for action, user in [("add", "ann"), ("add", "ann"), ("add", "bob"), ("remove", "ann"), ("add", "ann")]:
            assert 204 == (await bot_app.call("/roster", body(action, user))).status
        reordered = dict(reversed(body("add", "ann").items()))
        assert 204 == (await bot_app.call("/roster", reordered)).status
        await bot_app.running.idle()

    assert [("ann", "add"), ("bob", "add"), ("ann", "remove"), ("ann", "add")] == handled


async def test_a_mention_in_both_shapes_is_handled_once(bot, scene):
    """Mentions and direct messages belong to one module, so a direct message that mentions the bot is one event."""
    handled = []

    @bot.command("deploy")
    async def deploy(event) -> None:
        handled.append(type(event).__name__)

    message_id = scene.say_to_bot("deploy", room=scene.direct)
    async with served(bot, scene) as bot_app:
        await bot_app.deliver("/direct", message_id, room=scene.direct)
        await bot_app.deliver("/mention", message_id, room=scene.direct)
        await bot_app.running.idle()

    assert ["DirectMessage"] == handled


async def test_what_was_acknowledged_is_handled_by_the_next_start(bot, scene):
    """Waiting events stay on disk, and an interrupted one is begun again."""
    handled = []
    release = asyncio.Event()

    @bot.mention()
    async def handler(event: Mention) -> None:
        await release.wait()
        handled.append((event.text, event.delivery.attempt))

    async with served(bot, scene) as bot_app:
        await bot_app.mention("one")
        await bot_app.mention("two")
        await until(lambda: bot_app.under_way)
    release.set()
    async with served(bot, scene) as bot_app:
        await bot_app.running.idle()

    assert [("one", 2), ("two", 1)] == handled


async def test_an_event_that_is_never_ended_is_given_up(bot, scene):
    """After `attempts` attempts it fails with `GaveUp`, and its error handler is called once."""
    begun, errors = [], []

    @bot.mention()
    async def handler(event: Mention) -> None:
        begun.append(event.delivery.attempt)
        await asyncio.Event().wait()

    @bot.error()
    async def error(event: Event, error: Exception) -> None:
        errors.append(type(error).__name__)

    async with served(bot, scene, attempts=2) as bot_app:
        await bot_app.mention("poison")
        await until(lambda: len(begun) == 1)
    async with served(bot, scene, attempts=2):
        await until(lambda: len(begun) == 2)
    async with served(bot, scene, attempts=2) as bot_app:
        await bot_app.running.idle()
        failures = await bot_app.running.failed()

    assert ([1, 2], ["GaveUp"]) == (begun, errors)
    assert [("GaveUp", 2)] == [(failure.error, failure.delivery.attempt) for failure in failures]
    assert "begun 2 times, and the process was killed during the last attempt" == failures[0].message


@pytest.mark.parametrize(("days", "kept"), [(6.9, ["ValueError"]), (7.1, [])])
async def test_failures_are_kept_for_seven_days(bot, scene, monkeypatch, days, kept):
    """A start forgets older ones."""

    @bot.mention()
    async def handler(event: Mention) -> None:
        raise ValueError("x")

    async with served(bot, scene) as bot_app:
        await bot_app.mention("poison")
        await bot_app.running.idle()
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + days * 86_400)
    async with served(bot, scene) as bot_app:
        failures = await bot_app.running.failed()

    assert kept == [failure.error for failure in failures]


async def test_a_mistake_of_the_package_holds_up_no_conversation(bot, scene, caplog, monkeypatch):
    """It is logged, and the next start begins the event again."""
    handled = []

    @bot.mention()
    async def handler(event: Mention) -> None:
        handled.append((event.text, event.delivery.attempt))

    def broken(stored: object) -> None:
        monkeypatch.undo()
        raise AssertionError

    monkeypatch.setattr("stride_async.bot._dispatch.delivery_of", broken)
    async with served(bot, scene) as bot_app:
        for text in ("one", "two"):
            await bot_app.mention(text)
        await bot_app.running.idle()
    async with served(bot, scene) as bot_app:
        await bot_app.running.idle()

    assert [("two", 1), ("one", 2)] == handled
    assert ["event 1 ended unexpectedly; the next start begins it again"] == [r.getMessage() for r in caplog.records]


@pytest.mark.parametrize("attempts", [0, 3])
@pytest.mark.parametrize("body", [b"", b"{}", b'{"message":{}}'])
async def test_an_event_that_cannot_be_read_any_more_holds_up_no_other(bot, scene, caplog, attempts, body):
    """It fails, whether it is begun or given up, and the conversation goes on."""
    handled = []
    release = asyncio.Event()

    @bot.mention()
    async def handler(event: Mention) -> None:
        await release.wait()
        handled.append(event.text)

    async with served(bot, scene, shutdown_timeout=5.0) as bot_app:
        for text in ("one", "two", "three"):
            await bot_app.mention(text)
        await until(lambda: bot_app.under_way)
        spoil = "UPDATE event SET body = ?, attempts = ? WHERE number = 2"
        await bot_app.running._parts.store.run(lambda db: db.execute(spoil, (body, attempts)).rowcount)
        release.set()
        await bot_app.running.idle()
        failures = await bot_app.running.failed()

    assert ["one", "three"] == handled
    assert ["2"] == [failure.delivery.id for failure in failures]
    assert (failures[0].error == "GaveUp") == (attempts == 3)
    assert ["event 2 cannot be read any more"] == [record.getMessage().partition(":")[0] for record in caplog.records]


async def test_a_poisonous_event_takes_no_other_with_it(bot, scene):
    """Events that were under way with it are begun again one at a time and are not given up."""
    handled, killed = [], []

    @bot.mention()
    async def handler(event: Mention) -> None:
        if event.text == "poison":
            killed.append(event.delivery.attempt)
            await asyncio.Event().wait()
        if event.delivery.attempt == 1:
            await asyncio.Event().wait()
        handled.append(event.text)

    rooms = [scene.server.add_conversation(f"room {n}", roster=[scene.ann]) for n in range(3)]
    async with served(bot, scene) as bot_app:
        await bot_app.mention("poison", room=rooms[0])
        await bot_app.mention("harmless", room=rooms[1])
        await bot_app.mention("harmless, too", room=rooms[2])
        await until(lambda: bot_app.under_way == 3 and killed)
    async with served(bot, scene) as bot_app:
        await until(lambda: len(killed) == 2)
        assert 1 == bot_app.under_way
    async with served(bot, scene) as bot_app:
        await until(lambda: len(killed) == 3)
    async with served(bot, scene) as bot_app:
        await bot_app.running.idle()
        failures = await bot_app.running.failed()

    assert ["harmless", "harmless, too"] == handled
    assert ["poison"] == [failure.raw.decode().count("poison") and "poison" for failure in failures]


# Order


async def test_events_of_a_conversation_are_handled_by_their_age(bot, scene):
    """The waiting event with the oldest message is next, regardless of the order of arrival."""
    handled = []
    release = asyncio.Event()

    @bot.mention()
    async def handler(event: Mention) -> None:
        await release.wait()
        handled.append(event.text)

    ids = [scene.say_to_bot(text) for text in ("one", "two", "three", "four")]
    async with served(bot, scene, shutdown_timeout=5.0) as bot_app:
        await bot_app.deliver("/mention", ids[3])
        await until(lambda: bot_app.under_way)
        for number in (1, 2, 0):
            await bot_app.deliver("/mention", ids[number])
        release.set()
        await bot_app.running.idle()

    assert ["four", "one", "two", "three"] == handled


async def test_conversations_run_at_once_up_to_the_bound(bot, scene):
    """At most one event of each conversation runs, and at most `concurrency` in total."""
    most, running = 0, 0
    release = asyncio.Event()

    @bot.mention()
    async def handler(event: Mention) -> None:
        nonlocal most, running
        running += 1
        most = max(most, running)
        await release.wait()
        running -= 1

    rooms = [scene.server.add_conversation(f"room {n}", roster=[scene.ann]) for n in range(4)]
    async with served(bot, scene, concurrency=3, shutdown_timeout=5.0) as bot_app:
        for room in rooms * 2:
            await bot_app.mention("hi", room=room)
        await until(lambda: running == 3)
        release.set()
        await bot_app.running.idle()

    assert 3 == most


# What handlers raise


async def test_a_handler_that_raises_has_failed(bot, scene, caplog):
    """It is not repeated. The failure is listed, and one log record has the traceback."""
    calls = []

    @bot.mention()
    async def handler(event: Mention) -> None:
        calls.append(event.text)
        raise ZeroDivisionError("so it goes")

    async with served(bot, scene) as bot_app:
        message_id = await bot_app.mention("divide")
        await bot_app.running.idle()
        (failure,) = await bot_app.running.failed()

    (record,) = [record for record in caplog.records if record.name == "stride_async.bot"]
    assert (logging.ERROR, ZeroDivisionError) == (record.levelno, record.exc_info[0])
    assert ["divide"] == calls
    assert ("ZeroDivisionError", "so it goes", scene.ann, scene.room) == (
        failure.error,
        failure.message,
        failure.user_id,
        failure.conversation_id,
    )
    assert message_id in failure.raw.decode()


async def test_an_error_handler_replaces_the_log(bot, scene, caplog):
    """The first one whose kind fits is called. What it raises is logged."""
    errors = []

    @bot.error(LookupError)
    async def lookup(event: Event, error: Exception) -> None:
        errors.append("lookup")
        await event.reply("I do not know that")

    @bot.error()
    async def any_error(event: Event, error: Exception) -> None:
        errors.append("any")
        raise RuntimeError("the error handler is broken")

    @bot.mention("key")
    async def key(event: Mention) -> None:
        raise KeyError("key")

    @bot.mention()
    async def other(event: Mention) -> None:
        raise ValueError("other")

    async with served(bot, scene) as bot_app:
        await bot_app.mention("key")
        await bot_app.running.idle()
        assert not caplog.records
        await bot_app.mention("other")
        await bot_app.running.idle()
        assert ["I do not know that"] == await bot_app.texts()
        assert ["KeyError", "ValueError"] == [failure.error for failure in await bot_app.running.failed()]

    assert ["lookup", "any"] == errors
    assert ["the error handler is broken"] == [str(record.exc_info[1]) for record in caplog.records]


async def test_a_handler_that_takes_too_long_is_cancelled(bot, scene):
    """The error is `HandlerTimeout`, and the next event is handled."""
    errors, handled = [], []

    @bot.error(HandlerTimeout)
    async def error(event: Event, error: Exception) -> None:
        errors.append(str(error))

    @bot.mention("slow")
    async def slow(event: Mention) -> None:
        await asyncio.Event().wait()

    @bot.mention()
    async def quick(event: Mention) -> None:
        handled.append(event.text)

    async with served(bot, scene, handler_timeout=0.05) as bot_app:
        await bot_app.mention("slow")
        await bot_app.mention("quick")
        await bot_app.running.idle()

    assert (1, ["quick"]) == (len(errors), handled)
    assert "slow took longer than 0.05 s" in errors[0]


async def test_a_middleware_counts_for_the_time_out(bot, scene):
    """The limit is for the handler with everything around it."""
    errors = []

    @bot.middleware
    async def slow(event: Event, call) -> None:
        await call(event)
        await asyncio.Event().wait()

    @bot.mention()
    async def handler(event: Mention) -> None:
        await event.reply("done")

    @bot.error(HandlerTimeout)
    async def error(event: Event, error: Exception) -> None:
        errors.append(str(error))

    async with served(bot, scene, handler_timeout=0.3) as bot_app:
        await bot_app.mention("hi")
        await bot_app.running.idle()
        assert ["done"] == await bot_app.texts()

    [message] = errors
    assert "handler took longer than 0.3 s" in message


async def test_a_time_out_of_the_handlers_own_is_its_own_error(bot, scene):
    """A `TimeoutError` of the handler is not confused with its time limit."""
    errors = []

    @bot.error()
    async def error(event: Event, error: Exception) -> None:
        errors.append(type(error))

    @bot.mention()
    async def handler(event: Mention) -> None:
        raise TimeoutError

    async with served(bot, scene) as bot_app:
        await bot_app.mention("hi")
        await bot_app.running.idle()

    assert [TimeoutError] == errors


@pytest.mark.parametrize("stubborn", ["returns", "raises"])
async def test_a_late_handler_has_failed_whatever_it_does(bot, scene, stubborn):
    """`HandlerTimeout` takes the place of the result, even if the handler catches its cancellation."""

    @bot.error()
    async def error(event: Event, error: Exception) -> None: ...

    @bot.mention()
    async def handler(event: Mention) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if stubborn == "raises":
                raise TryAgain(after=0) from None

    async with served(bot, scene, handler_timeout=0.05) as bot_app:
        await bot_app.mention("hi")
        await bot_app.running.idle()

        assert ["HandlerTimeout"] == [failure.error for failure in await bot_app.running.failed()]


async def test_a_handler_that_goes_on_after_its_time_holds_up_nothing(bot, scene, caplog, monkeypatch):
    """Its conversation goes on, a browser gets its response, and the bot ends. An error in the log names it."""
    monkeypatch.setattr(_handling, "CLEAN_UP_SECONDS", 0.02)
    begun, handled = [], []
    over = asyncio.Event()

    @bot.error()
    async def error(event: Event, error: Exception) -> None: ...

    @bot.mention("go on")
    @bot.action("vote")
    async def stubborn(event: Event) -> None:
        begun.append(event.delivery.kind)
        while not over.is_set():
            with suppress(asyncio.CancelledError):
                await over.wait()

    @bot.mention()
    async def other(event: Mention) -> None:
        handled.append(event.text)

    async with served(bot, scene, handler_timeout=0.02, answer_timeout=0.02) as bot_app:
        await bot_app.mention("go on")
        await bot_app.mention("next")
        await bot_app.running.idle()
        press = await bot_app.call("/action/vote", {}, token=scene.token(sub=scene.ann))
        assert ["HandlerTimeout"] == [failure.error for failure in await bot_app.running.failed()]
    async with served(bot, scene) as bot_app:
        await bot_app.mention("go on")
        await until(lambda: len(begun) == 3)
    over.set()

    assert ["next"] == handled
    assert (200, {"error": "this did not work"}) == (press.status, press.json)
    assert 3 == len([record for record in caplog.records if "stubborn goes on" in record.getMessage()])


class NotAnException(BaseException):
    """What test frameworks and frameworks for coroutines raise."""


@pytest.mark.parametrize("raised", [asyncio.CancelledError, NotAnException])
async def test_whatever_a_handler_raises_is_a_failure(bot, scene, raised):
    """Also a cancelled task that it awaits. The conversation goes on, and a browser gets its response."""

    @bot.error()
    async def error(event: Event, error: Exception) -> None:
        raise raised

    @bot.mention()
    @bot.action("vote")
    async def handler(event: Event) -> None:
        raise raised

    async with served(bot, scene) as bot_app:
        await bot_app.mention("hi")
        await bot_app.mention("hi again")
        await bot_app.running.idle()
        press = await bot_app.call("/action/vote", {}, token=scene.token(sub=scene.ann))

        assert ["RuntimeError"] * 2 == [failure.error for failure in await bot_app.running.failed()]
    assert (200, {"error": "this did not work"}) == (press.status, press.json)


def cancel_at_once(task: asyncio.Task[Any]) -> None:
    """Cancel a task at its next step."""
    task.cancel()


def cancel_soon(task: asyncio.Task[Any]) -> None:
    """Cancel a task at whatever it waits for next."""
    asyncio.get_running_loop().call_soon(task.cancel)


@pytest.mark.parametrize(("cancel", "waits"), [(cancel_at_once, False), (cancel_at_once, True), (cancel_soon, True)])
async def test_a_handler_that_cancels_its_own_task_has_failed(bot, scene, cancel, waits):
    """This costs one event, even if the handler returns at once. The next event and a browser are served."""

    @bot.error()
    async def error(event: Event, error: Exception) -> None:
        await event.reply(type(error).__name__)
        cancel(current_task())

    @bot.mention()
    @bot.action("vote")
    async def handler(event: Event) -> None:
        cancel(current_task())
        if waits:
            await asyncio.Event().wait()

    async with served(bot, scene) as bot_app:
        await bot_app.mention("hi")
        await bot_app.mention("hi again")
        await bot_app.running.idle()
        press = await bot_app.call("/action/vote", {}, token=scene.token(sub=scene.ann))

        assert ["RuntimeError"] * 3 == await bot_app.texts()
        assert {("RuntimeError", f"{handler.__qualname__} was cancelled by its own code")} == {
            (failure.error, failure.message) for failure in await bot_app.running.failed()
        }
    assert (200, {"error": "this did not work"}) == (press.status, press.json)


def current_task() -> asyncio.Task[Any]:
    """Return the task of the caller."""
    task = asyncio.current_task()
    assert task is not None
    return task


class WithoutText(Exception):
    def __str__(self) -> str:
        raise KeyError


@pytest.mark.parametrize(
    ("error", "message"),
    [(ValueError("no file \udcff"), "no file \\udcff"), (WithoutText(), "its text is unavailable: KeyError")],
)
async def test_a_failure_is_kept_whatever_its_text_is(bot, scene, error, message):
    """The text of an error may be no text that can be stored, or may itself fail."""

    @bot.mention()
    async def handler(event: Mention) -> None:
        raise error

    async with served(bot, scene) as bot_app:
        await bot_app.mention("hi")
        await bot_app.running.idle()

        assert [message] == [failure.message for failure in await bot_app.running.failed()]


async def test_a_handler_may_ask_to_be_called_again(bot, scene):
    """The event is begun again, and its conversation waits for it."""
    steps = []

    @bot.mention()
    async def handler(event: Mention) -> None:
        steps.append((event.text, event.delivery.attempt))
        if event.text == "one" and event.delivery.attempt < 3:
            raise TryAgain(after=0.01)

    async with served(bot, scene) as bot_app:
        await bot_app.mention("one")
        await bot_app.mention("two")
        await bot_app.running.idle()

        assert [] == await bot_app.running.failed()
    assert [("one", 1), ("one", 2), ("one", 3), ("two", 1)] == steps


async def test_only_the_conversation_of_a_postponed_event_waits(bot, scene):
    """Later events of it do not overtake, and other conversations go ahead. A middleware may postpone, too."""
    handled = []

    @bot.middleware
    async def postpone(event: Mention, call) -> None:
        if event.text == "later" and event.delivery.attempt == 1:
            raise TryAgain(after=3600.0)
        await call(event)

    @bot.mention()
    async def handler(event: Mention) -> None:
        handled.append(event.text)

    other = scene.server.add_conversation("other", roster=[scene.ann])
    async with served(bot, scene) as bot_app:
        await bot_app.mention("later")
        await bot_app.mention("behind it")
        await bot_app.mention("elsewhere", room=other)
        await until(lambda: handled and not bot_app.under_way)

        assert (["elsewhere"], 2) == (handled, bot_app.waiting)


async def test_the_last_try_again_is_the_failure(bot, scene):
    """The event fails when it has no attempts left."""
    attempts, errors = [], []

    @bot.error()
    async def error(event: Event, error: Exception) -> None:
        errors.append(str(error))

    @bot.mention()
    async def handler(event: Mention) -> None:
        attempts.append(event.delivery.attempt)
        raise TryAgain(after=0)

    async with served(bot, scene, attempts=2) as bot_app:
        await bot_app.mention("hi")
        await bot_app.running.idle()

        assert ["TryAgain"] == [failure.error for failure in await bot_app.running.failed()]
    assert ([1, 2], ["try again after 0 s"]) == (attempts, errors)


@pytest.mark.parametrize("after", [-1, float("nan"), float("inf")])
def test_a_wait_must_be_one(after):
    """`TryAgain` takes a finite number of seconds, not negative."""
    with pytest.raises(ValueError, match="after"):
        TryAgain(after=after)


async def test_a_postponed_event_waits_across_a_restart(bot, scene):
    """Its time is on disk."""
    attempts = []

    @bot.mention()
    async def handler(event: Mention) -> None:
        attempts.append(event.delivery.attempt)
        if event.delivery.attempt == 1:
            raise TryAgain(after=3600.0)

    async with served(bot, scene) as bot_app:
        await bot_app.mention("hi")
        await until(lambda: attempts and not bot_app.under_way)
    async with served(bot, scene) as bot_app:
        assert (1, 0) == (bot_app.waiting, bot_app.under_way)
        await move_clock(bot_app, 3600.0)
    async with served(bot, scene) as bot_app:
        await bot_app.running.idle()

    assert [1, 2] == attempts


async def test_a_postponed_event_stays_the_next_of_its_conversation(bot, scene):
    """An older message that arrives meanwhile waits for it, also across a restart."""
    handled = []

    @bot.mention()
    async def handler(event: Mention) -> None:
        handled.append((event.text, event.delivery.attempt))
        if event.text == "new" and event.delivery.attempt < 3:
            raise TryAgain(after=3600.0)

    old = scene.say_to_bot("old")
    async with served(bot, scene) as bot_app:
        await bot_app.mention("new")
        await until(lambda: handled and not bot_app.under_way)
        await bot_app.deliver("/mention", old)
        await move_clock(bot_app, 3600.0)
    async with served(bot, scene) as bot_app:
        await until(lambda: len(handled) == 2 and not bot_app.under_way)
        await move_clock(bot_app, 3600.0)
    async with served(bot, scene) as bot_app:
        await bot_app.running.idle()

    assert [("new", 1), ("new", 2), ("new", 3), ("old", 1)] == handled


async def test_a_postponed_event_does_not_wait_for_a_clock_that_was_set_back(bot, scene):
    """It waits no longer than `TryAgain` said."""

    @bot.mention()
    async def handler(event: Mention) -> None:
        raise TryAgain(after=3600.0)

    async with served(bot, scene) as bot_app:
        await bot_app.mention("hi")
        await until(lambda: bot_app.running._parts.dispatcher._inbox.wakes_at)
        await move_clock(bot_app, -86_400.0)
        [event] = await bot_app.running._parts.store.run(_rows.pending(time.time()))

    assert 3600.0 == pytest.approx(event.pause)


async def move_clock(bot_app: Served, seconds: float) -> None:
    """Let the times that are stored lie further back by a number of seconds, as if the clock had been set."""
    move = "UPDATE event SET not_before = not_before - :by, ended_at = ended_at - :by"
    await bot_app.running._parts.store.run(lambda db: db.execute(move, {"by": seconds}).rowcount)


async def test_a_failed_event_can_be_begun_anew(bot, scene):
    """Its attempts and the numbers of its replies start over."""
    attempts = []

    @bot.error()
    async def error(event: Event, error: Exception) -> None:
        await event.reply("sorry")

    @bot.mention()
    async def handler(event: Mention) -> None:
        attempts.append(event.delivery.attempt)
        if len(attempts) == 1:
            raise ValueError
        await event.reply("done")

    async with served(bot, scene) as bot_app:
        await bot_app.mention("hi")
        await bot_app.running.idle()
        (failure,) = await bot_app.running.failed()
        await bot_app.running.retry(failure.delivery.id)
        await bot_app.running.idle()

        assert [] == await bot_app.running.failed()
        assert ["sorry", "done"] == await bot_app.texts()
        for unknown in (failure.delivery.id, "7", "x", "", "9" * 30):
            with pytest.raises(LookupError, match="no failed event"):
                await bot_app.running.retry(unknown)
    assert [1, 1] == attempts


async def test_an_event_that_is_begun_anew_is_handled_though_no_one_waits_for_it(bot, scene):
    """A caller who is cancelled while the store notes the retry changes nothing."""
    attempts = []

    @bot.error()
    async def error(event: Event, error: Exception) -> None: ...

    @bot.mention()
    async def handler(event: Mention) -> None:
        attempts.append(event.delivery.attempt)
        raise ValueError

    async with served(bot, scene) as bot_app:
        await bot_app.mention("hi")
        await bot_app.running.idle()
        [failure] = await bot_app.running.failed()
        task = asyncio.create_task(bot_app.running.retry(failure.delivery.id))
        await asyncio.sleep(0)
        task.cancel()
        await until(lambda: len(attempts) == 2)
        await bot_app.running.idle()

    assert [1, 1] == attempts


async def test_the_outcome_of_each_attempt_is_reported(bot, scene):
    """`Begun` and `Ended` come in pairs."""
    reports = []

    @bot.error()
    async def error(event: Event, error: Exception) -> None: ...

    @bot.mention()
    async def handler(event: Mention) -> None:
        if event.delivery.attempt == 1:
            raise TryAgain(after=0)
        if event.text == "bad":
            raise ValueError

    async with served(bot, scene, on_event=reports.append) as bot_app:
        await bot_app.mention("good")
        await bot_app.mention("bad")
        await bot_app.running.idle()

    steps = [report for report in reports if isinstance(report, (Begun, Ended))]
    assert [("again", 1), ("done", 2), ("again", 1), ("failed", 2)] == [
        (step.outcome, step.delivery.attempt) for step in steps if isinstance(step, Ended)
    ]
    assert [Begun, Ended] * 4 == [type(step) for step in steps]


# Browser calls


@pytest.mark.parametrize("failing", ["raises", "is late", "returns a number", "returns what is not text"])
async def test_a_query_that_fails_says_so(bot, scene, failing):
    """An action responds 200 with an error, the others 500. The error handlers are called."""
    errors = []

    async def answer(event):
        if failing == "raises":
            raise ValueError
        if failing == "is late":
            await asyncio.Event().wait()
        return 7 if failing == "returns a number" else "\udcff"

    bot.action("vote")(answer)
    bot.glance("votes", name="Votes", icon="https://example.com/v.png")(answer)
    bot.configuration("settings", page="dialog")(answer)

    @bot.error()
    async def error(event: Event, error: Exception) -> None:
        errors.append(event.delivery.kind)

    async with served(bot, scene, answer_timeout=0.05) as bot_app:
        press = await bot_app.call("/action/vote", {}, token=scene.token(sub=scene.ann))
        glance = await bot_app.call("/glance/votes", method="GET")
        configuration = await bot_app.call("/configuration/settings", method="GET")

    assert (200, {"error": "this did not work"}) == (press.status, press.json)
    assert (500, 500) == (glance.status, configuration.status)
    assert "*" == glance.headers["Access-Control-Allow-Origin"]
    assert ["action", "glance", "configuration"] == errors


# The end


async def test_a_handler_under_way_may_end_in_time(bot, scene):
    """Shutdown waits for it, and begins no further event."""
    handled = []
    release = asyncio.Event()

    @bot.mention()
    async def handler(event: Mention) -> None:
        await release.wait()
        handled.append(event.text)

    async with served(bot, scene, shutdown_timeout=5.0) as bot_app:
        await bot_app.mention("one")
        await bot_app.mention("two")
        await until(lambda: bot_app.under_way)
        asyncio.get_running_loop().call_soon(release.set)

    assert ["one"] == handled


async def test_a_handler_that_ends_because_it_is_cancelled_is_begun_again(bot, scene):
    """It counts as killed, although it returns."""
    attempts = []

    @bot.mention()
    async def handler(event: Mention) -> None:
        attempts.append(event.delivery.attempt)
        if len(attempts) == 1:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    async with served(bot, scene) as bot_app:
        await bot_app.mention("one")
        await until(lambda: attempts)
    async with served(bot, scene) as bot_app:
        await bot_app.running.idle()

    assert [1, 2] == attempts


async def test_the_end_waits_for_a_browser_call_no_longer_than_for_other_handlers(bot, scene):
    """After the shutdown timeout it is refused with 503, and its handler is cancelled."""
    ended = []
    started = asyncio.Event()

    @bot.action("vote")
    async def vote(event: Event) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(event.delivery.kind)

    async with served(bot, scene, shutdown_timeout=0.02) as bot_app:
        press = asyncio.create_task(bot_app.call("/action/vote", {}, token=scene.token(sub=scene.ann)))
        await started.wait()
    answer = await press

    assert (503, {"error": "the bot is shutting down"}) == (answer.status, answer.json)
    assert "*" == answer.headers["Access-Control-Allow-Origin"]
    assert ["action"] == ended


async def test_waiting_for_the_end_of_all_events_ends_with_the_bot(bot, scene):
    """`idle` raises `ClientClosed` if there are events that only the next start will handle."""

    @bot.mention()
    async def handler(event: Mention) -> None:
        await asyncio.Event().wait()

    async with served(bot, scene) as bot_app:
        await bot_app.mention("hi")
        waiting = asyncio.create_task(bot_app.running.idle())
        await until(lambda: bot_app.under_way)

    with pytest.raises(ClientClosed):
        await asyncio.wait_for(waiting, 10)


async def test_a_cancelled_handler_is_no_error(bot, scene, caplog):
    """Nothing is logged; the event is begun again at the next start."""
    started = asyncio.Event()

    @bot.mention()
    async def handler(event: Mention) -> None:
        started.set()
        await asyncio.Event().wait()

    async with served(bot, scene) as bot_app:
        await bot_app.mention("one")
        await started.wait()

    assert not caplog.records


async def test_nothing_follows_the_end_of_an_event_before_it_is_noted(bot, scene, monkeypatch):
    """While the store cannot be written, the attempt is not reported as ended, and the conversation waits."""
    tries: list[int] = []
    monkeypatch.setattr("stride_async.bot._dispatch.wait_before", lambda number: tries.append(number) or 0.0)
    handled: list[str] = []
    reports: list[object] = []
    release = asyncio.Event()

    @bot.mention()
    async def handler(event: Mention) -> None:
        await release.wait()
        handled.append(event.text)
        if event.text == "one":
            await execute(
                "CREATE TRIGGER fails BEFORE UPDATE OF state ON event BEGIN SELECT RAISE(ABORT, 'disk full'); END"
            )

    async def execute(statement: str) -> None:
        await bot_app.running._parts.store.run(lambda db: db.execute(statement).rowcount)

    async with served(bot, scene, on_event=reports.append) as bot_app:
        await bot_app.mention("one")
        await bot_app.mention("two")
        release.set()
        await until(lambda: len(tries) > 2)
        assert (["one"], []) == (handled, [report for report in reports if isinstance(report, Ended)])
        await execute("DROP TRIGGER fails")
        await bot_app.running.idle()

    assert ["one", "two"] == handled
    assert ["done"] * 2 == [report.outcome for report in reports if isinstance(report, Ended)]


async def test_an_event_waits_longer_each_time_its_beginning_cannot_be_noted(bot, scene, monkeypatch):
    """Such a try does not count as an attempt, and the next event waits behind it."""
    tries: list[int] = []
    monkeypatch.setattr("stride_async.bot._dispatch.wait_before", lambda number: tries.append(number) or 0.0)
    handled: list[tuple[str, int]] = []

    @bot.mention()
    async def handler(event: Mention) -> None:
        handled.append((event.text, event.delivery.attempt))

    async def execute(statement: str) -> None:
        await bot_app.running._parts.store.run(lambda db: db.execute(statement).rowcount)

    async with served(bot, scene) as bot_app:
        await bot_app.mention("zero")
        await bot_app.running.idle()
        await execute("CREATE TRIGGER fails BEFORE UPDATE OF attempts ON event BEGIN SELECT RAISE(ABORT, 'full'); END")
        await bot_app.mention("one")
        await bot_app.mention("two")
        await until(lambda: len(tries) > 3)
        assert [("zero", 1)] == handled
        await execute("DROP TRIGGER fails")
        await bot_app.running.idle()

    assert [1, 2, 3, 4] == tries[:4]
    assert [("zero", 1), ("one", 1), ("two", 1)] == handled


async def test_a_handler_that_fails_because_it_is_cancelled_is_begun_again(bot, scene):
    """It counts as killed, like every handler that the end cancels."""
    attempts = []

    @bot.mention()
    async def handler(event: Mention) -> None:
        attempts.append(event.delivery.attempt)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ConnectionError("the connection was closed") from None

    for number in (1, 2):
        async with served(bot, scene) as bot_app:
            if number == 1:
                await bot_app.mention("one")
            await until(lambda number=number: len(attempts) == number)

            assert [] == await bot_app.running.failed()
    assert [1, 2] == attempts


async def test_nothing_is_left_behind(bot, scene):
    """No task and no thread remain."""

    @bot.mention()
    async def handler(event: Mention) -> None:
        await event.reply("hi")

    async with served(bot, scene, catch_up=60.0) as bot_app:
        await bot_app.mention("one")
        await bot_app.running.idle()
        store = bot_app.running._parts.store

    assert [] == [task for task in asyncio.all_tasks() if task.get_name().startswith("stride_async")]
    assert not store._thread.is_alive()


async def test_while_the_service_is_away_events_wait(bot, scene: Scene, monkeypatch):
    """The account id is fetched with retries, which are not attempts, and only once per store."""
    monkeypatch.setattr("stride_async.bot._dispatch.wait_before", lambda tries: 0.0)
    scene.server.faults.add("GET", "/me", status=503, times=8)
    attempts = []

    @bot.mention()
    async def handler(event: Mention) -> None:
        attempts.append(event.delivery.attempt)

    async with served(bot, scene) as bot_app:
        await bot_app.mention("hi")
        await bot_app.running.idle()
        asked = len(scene.server.calls.matching("GET", "/me"))
    async with served(bot, scene) as bot_app:
        await bot_app.mention("hi again")
        await bot_app.running.idle()

    assert [1, 1] == attempts
    assert 9 == asked == len(scene.server.calls.matching("GET", "/me"))
