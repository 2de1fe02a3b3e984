"""A bot that reminds people, and that the service need not reach: it looks for messages every few seconds.

    stride server --env-file .env --generate conversations=8,messages=200,seed=7
    (set -a; . ./.env; python examples/bot_behind_firewall.py --every 5)        # in another terminal
    (set -a; . ./.env; stride send general "remind 1 Stretch" --as "Ann Adler" --mention)

Its reminders are in `reminders.sqlite`, so none is lost when it is stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
import time
from contextlib import closing, suppress
from datetime import UTC, datetime

from stride_async import ConversationClient, StrideError
from stride_async.bot import Bot, BotSettings, Mention, MessageEvent, RunningBot

SCHEMA = "CREATE TABLE IF NOT EXISTS reminder (event TEXT PRIMARY KEY, room TEXT, due REAL, text TEXT)"
LOOKS_SECONDS = 0.5

bot = Bot("reminders")


def open_reminders() -> sqlite3.Connection:
    """Open the reminders. Each statement is a transaction of its own."""
    reminders = sqlite3.connect("reminders.sqlite", isolation_level=None)
    reminders.execute(SCHEMA)
    return reminders


@bot.command("remind")
async def remind(event: MessageEvent, minutes: float, *, text: str) -> None:
    """Keep a reminder. If the event is begun again after a kill, it is the same reminder."""
    due = event.message.sent_at.timestamp() + minutes * 60
    with closing(open_reminders()) as reminders:
        values = (event.message.id, event.conversation_id, due, text)
        reminders.execute("INSERT OR IGNORE INTO reminder VALUES (?, ?, ?, ?)", values)
    await event.reply(f"I will remind you in {minutes:g} minutes.")


@bot.mention()
async def anything_else(event: Mention) -> None:
    await event.reply("I know: remind MINUTES TEXT")


async def send_due(running: RunningBot, cloud_id: str) -> None:
    """Send each reminder when it is due, for as long as the program runs."""
    account_id = await running.account_id(cloud_id)
    with closing(open_reminders()) as reminders:
        while True:
            due = reminders.execute("SELECT event, room, due, text FROM reminder WHERE due <= ?", (time.time(),))
            for event, room_id, moment, text in due.fetchall():
                room = running.room(cloud_id, room_id)
                if await is_sent(room, f"Reminder: {text}", moment, account_id):
                    reminders.execute("DELETE FROM reminder WHERE event = ?", (event,))
            await asyncio.sleep(LOOKS_SECONDS)


async def is_sent(room: ConversationClient, text: str, since: float, account_id: str) -> bool:
    """Send a text unless it was sent since a moment, and return whether it is there now.

    A process that was killed before it deleted a reminder may have sent it, so look before sending.
    """
    try:
        async for message in room.history(after=datetime.fromtimestamp(since, UTC)):
            if (message.sender_id, message.text) == (account_id, text):
                return True
        await room.send(text)
    except StrideError as error:
        print(error, flush=True)
        return not (error.retryable or error.maybe_processed)  # what cannot succeed later is given up
    return True


async def main(every: float) -> None:
    cloud_id = os.environ["STRIDE_CLOUD_ID"]
    async with bot.running(BotSettings.from_env()) as running, asyncio.TaskGroup() as tasks:
        tasks.create_task(running.catch_up(cloud_id, every=every))
        tasks.create_task(send_due(running, cloud_id))
        print("looking for messages", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Remind people.")
    parser.add_argument("--every", type=float, default=30.0, metavar="SECONDS", help="time between two looks")
    with suppress(KeyboardInterrupt):
        asyncio.run(main(parser.parse_args().every))
