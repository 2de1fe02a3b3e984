"""A bot and a local server in one process: what a kill loses, and what a restart leaves behind."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from stride_async import ClientClosed
from stride_async._rehearsal import Rehearsal, settings_for
from stride_async.bot import Bot, BotError, HandlerTimeout, MatchedMessage, Mention, TryAgain
from stride_async.server import Choices, LocalServer

MESSAGES = [f"message {number}" for number in range(30)]


async def steps(count: int) -> None:
    """Let the event loop take some steps."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("seed", [1, 2])
async def test_kills_at_any_step_lose_nothing_and_double_nothing(tmp_path: Path, seed: int):
    """Each message has one reply, in order, and no task, connection or thread is left."""
    rng = random.Random(seed)
    bot = Bot("killed")
    errors: list[Exception] = []

    @bot.mention()
    async def reply(event: Mention) -> None:
        await event.reply(event.text)

    async with LocalServer(rate_limit=None, choices=Choices(redelivery_spans=(0.0, 0.0, 0.0))) as server:
        ann = server.add_user("Ann Adler")
        room = server.add_conversation("general", roster=[ann])

        async def send_all() -> None:
            for text in MESSAGES:
                server.add_message(room, text, sender_id=ann, mention_app=True)
                await steps(rng.randint(0, 60))

        settings = settings_for(server, store=tmp_path / "bot.sqlite", attempts=1000)
        async with Rehearsal(bot, server, settings, errors.append) as rehearsal:
            sending = asyncio.create_task(send_all())
            while not sending.done():
                await steps(rng.randint(0, 300))
                await rehearsal.restart(kill=rng.random() < 0.7)
            await sending
            await rehearsal.idle()
            texts = [message.text for message in rehearsal.messages(room)]

    assert MESSAGES == texts
    assert [] == errors
    assert {asyncio.current_task()} == asyncio.all_tasks()


async def test_each_message_is_handled_once_however_it_arrives(tmp_path: Path):
    """It is delivered once or more, or found by a look only, while the bot is killed and started again."""
    rng = random.Random(1)
    bot = Bot("killed")
    errors: list[Exception] = []
    looking: set[asyncio.Task[int]] = set()

    @bot.mention()
    async def mention(event: Mention) -> None:
        await event.reply(f"mention {event.text}")

    @bot.message("even|all")
    async def even(event: MatchedMessage) -> None:
        await event.reply(f"even {event.text}")

    @bot.message("odd|all")
    async def odd(event: MatchedMessage) -> None:
        await event.reply(f"odd {event.text}")

    choices = Choices(redelivery_spans=(0.0,))
    async with LocalServer(rate_limit=None, choices=choices) as server:
        ann = server.add_user("Ann Adler")
        rooms = [server.add_conversation(name, roster=[ann]) for name in ("general", "operations")]
        server.faults.add("DELIVER", "mention", status=410)
        server.faults.add("DELIVER", "*", probability=0.5, seed=1, status=503)
        server.faults.add("DELIVER", "*", probability=0.3, seed=2, lose_answer=True)
        server.faults.add("DELIVER", "*", probability=0.3, seed=3, duplicate=3)
        settings = settings_for(server, store=tmp_path / "bot.sqlite", attempts=1000, sites={server.cloud_id})
        expected: dict[str, list[str]] = {room: [] for room in rooms}
        async with Rehearsal(bot, server, settings, errors.append) as rehearsal:
            for number in range(20):
                room, word = rng.choice(rooms), rng.choice(("even", "odd", "all", "mention"))
                text = f"{word} {number}"
                server.add_message(room, text, sender_id=ann, mention_app=word == "mention")
                expected[room] += [f"{each} {text}" for each in (("even", "odd") if word == "all" else (word,))]
                await steps(rng.randint(0, 100))
                looking.add(asyncio.create_task(rehearsal.running.catch_up(server.cloud_id)))
                await steps(rng.randint(0, 100))
                if number % 3 == 0:
                    await rehearsal.restart(kill=rng.random() < 0.7)
            await asyncio.wait(looking)
            await rehearsal.running.catch_up(server.cloud_id)
            await rehearsal.idle()
            found = {room: [message.text for message in rehearsal.messages(room)] for room in rooms}

    assert {room: sorted(texts) for room, texts in expected.items()} == {r: sorted(t) for r, t in found.items()}
    assert [] == errors
    assert {ClientClosed, type(None)} >= {type(task.exception()) for task in looking}


async def test_waiting_ends_if_the_bot_does_not_start_again(tmp_path: Path, server: LocalServer):
    """Until a later start succeeds, and after the end, `idle` raises `ClientClosed`."""
    path = tmp_path / "bot.sqlite"
    settings = settings_for(server, store=path, store_wait=0.0)
    async with Rehearsal(Bot("restarted"), server, settings, pytest.fail) as rehearsal:
        store = path.rename(tmp_path / "kept.sqlite")
        path.mkdir()
        with pytest.raises(BotError):
            await rehearsal.restart(kill=False)
        with pytest.raises(ClientClosed):
            await asyncio.wait_for(rehearsal.idle(), 10)
        path.rmdir()
        store.rename(path)
        await rehearsal.restart(kill=False)
        await asyncio.wait_for(rehearsal.idle(), 10)

    with pytest.raises(ClientClosed):
        await asyncio.wait_for(rehearsal.idle(), 10)


async def test_every_kind_of_error_is_passed_on(tmp_path: Path, server: LocalServer):
    """Those of handlers, middlewares and error handlers, a time-out and a last `TryAgain`; also of browser calls."""
    bot = Bot("failing")
    errors: list[Exception] = []

    @bot.middleware
    async def check(event, call) -> None:
        if event.user_id and getattr(event, "text", "") == "middleware":
            raise PermissionError("middleware")
        await call(event)

    @bot.command("handler")
    async def handler(event) -> None:
        raise ZeroDivisionError

    @bot.command("again")
    async def again(event) -> None:
        raise TryAgain(after=3600)

    @bot.command("slow")
    async def slow(event) -> None:
        await asyncio.Event().wait()

    @bot.mention()
    async def other(event) -> None:
        await event.reply("press")

    @bot.action("press")
    async def press(event) -> int:
        return 7

    @bot.error(ZeroDivisionError)
    async def error(event, error) -> None:
        raise LookupError("in the error handler")

    ann = server.add_user("Ann Adler")
    room = server.add_conversation("general", roster=[ann])
    settings = settings_for(server, store=tmp_path / "bot.sqlite", handler_timeout=0.3)
    async with Rehearsal(bot, server, settings, errors.append) as rehearsal:
        for text in ("middleware", "handler", "again", "slow"):
            assert [] == await rehearsal.say(room, text, by=ann, mention=True)
        [message] = await rehearsal.say(room, "hello", by=ann, mention=True)
        answer = await rehearsal.press("press", room, message.id, by=ann)

    kinds = [PermissionError, ZeroDivisionError, LookupError, TryAgain, HandlerTimeout, TypeError]
    assert kinds == [type(each) for each in errors]
    assert "this did not work" == answer.error
