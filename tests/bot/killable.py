"""A bot in its own process, which can kill itself at the n-th statement of its store.

`python -m tests.bot.killable '{"store": …, "journal": …, "kill_at": 17}'`; the environment is that of `Bot.run`. It
prints its URL and writes what it begins, ends and notes into the journal.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

import attrs

from stride_async import ClientCredentials, Settings
from stride_async.bot import Bot, BotSettings, Ended, Event, Mention, Report, _parts
from stride_async.bot._store import Store

REPLIES = 2


class Journal:
    """A file of lines. A line that was written before a kill is there after it."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, *words: object) -> None:
        os.write(self._file, f"{' '.join(map(str, words))}\n".encode())


def bot_of(journal: Journal) -> tuple[Bot, list[str]]:
    """Return a bot that replies twice to each mention, and the message ids of its deliveries."""
    bot = Bot("killable")
    names: dict[str, str] = {}

    @bot.mention()
    async def mention(event: Mention) -> None:
        names[event.delivery.id] = event.message.id
        journal.write("begin", event.message.id, event.delivery.attempt)
        for number in range(REPLIES):
            await event.reply(f"{event.message.id} {number}")
        journal.write("end", event.message.id)

    @bot.error()
    async def error(event: Event, error: Exception) -> None:
        journal.write("error", names.get(event.delivery.id), type(error).__name__)

    return bot, names


def kill_at(count: int) -> None:
    """Kill this process at the n-th statement that its store runs."""
    opened = Store.open
    seen = 0

    def watch(_: str) -> None:
        nonlocal seen
        seen += 1
        if seen == count:
            os.kill(os.getpid(), signal.SIGKILL)

    async def watched(path: str, wait: float) -> Store:
        store = await opened(path, wait)
        await store.run(lambda connection: connection.set_trace_callback(watch))
        return store

    _parts.Store.open = watched  # type: ignore[method-assign, assignment]  # what the test is about


async def main() -> None:
    words = json.loads(sys.argv[1])
    journal = Journal(words["journal"])
    bot, names = bot_of(journal)
    if words["kill_at"]:
        kill_at(words["kill_at"])

    def note(report: Report) -> None:
        if isinstance(report, Ended):
            journal.write("noted", names.get(report.delivery.id), report.outcome)

    settings = BotSettings(
        credentials=ClientCredentials(os.environ["STRIDE_CLIENT_ID"], os.environ["STRIDE_CLIENT_SECRET"]),
        client=Settings(base_url=os.environ["STRIDE_BASE_URL"], backoff=0.0, calls_per_minute=None, retry_ratio=1.0),
        store=words["store"],
        catch_up=0.0,
        attempts=1000,
        on_event=note,
    )
    await bot.serve(attrs.evolve(settings, shutdown_timeout=0.0), port=0)


if __name__ == "__main__":
    asyncio.run(main())
