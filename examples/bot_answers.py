"""A bot that keeps the tasks of a team: a card for each, with a button; a list, and a file.

    stride server --env-file .env --app http://127.0.0.1:8080/descriptor.json --install all
    (set -a; . ./.env; python examples/bot_answers.py)        # in another terminal, within ten seconds
    (set -a; . ./.env; stride send general "todo Water the plants" --as "Ann Adler" --mention)

Its tasks are in `tasks.sqlite`. What it received and handled is in the bot's own store, `bot.sqlite`.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing

from stride_async.bot import ActionCall, Bot, Event, Installed, MessageEvent
from stride_async.document import application_card, bullet_list, doc, media_group, paragraph, strike

SCHEMA = """
CREATE TABLE IF NOT EXISTS task (
    event TEXT PRIMARY KEY,
    room TEXT NOT NULL,
    text TEXT NOT NULL,
    done INTEGER NOT NULL DEFAULT 0
)
"""

log = logging.getLogger("tasks")
bot = Bot("tasks")


@bot.middleware
async def open_tasks(event: Event, call: Callable[[Event], Awaitable[object]]) -> None:
    """Open the tasks for the handler. Each statement is a transaction of its own, so no handler waits for another."""
    with closing(sqlite3.connect("tasks.sqlite", isolation_level=None)) as tasks:
        tasks.execute(SCHEMA)
        event.state["tasks"] = tasks
        await call(event)


@bot.error()
async def apologize(event: Event, error: Exception) -> None:
    """Say that something went wrong. The event is kept and can be retried."""
    log.error("handling %s failed", event.delivery.id, exc_info=error)
    await event.reply("Sorry, that did not work.")


@bot.installed()
async def hello(event: Installed) -> None:
    await event.reply("Hello! I know: todo TEXT, list, file")


@bot.command("todo")
async def todo(event: MessageEvent, *, text: str) -> None:
    """Keep a task. If the event is begun again after a kill, it is the same task."""
    values = (event.message.id, event.conversation_id, text)
    event.state["tasks"].execute("INSERT OR IGNORE INTO task (event, room, text) VALUES (?, ?, ?)", values)
    button = {"title": "Done", "target": {"key": "done"}, "parameters": {"task": event.message.id}}
    await event.reply(doc(application_card(text, actions=[button])))


@bot.action("done")
async def done(event: ActionCall) -> str:
    """Mark a task as done, in the room of the person who pressed the button only."""
    values = (event.parameters["task"], event.conversation_id)
    changed = event.state["tasks"].execute("UPDATE task SET done = 1 WHERE event = ? AND room = ?", values)
    return "Well done!" if changed.rowcount else "This task does not exist."


@bot.command("list")
async def show(event: MessageEvent) -> None:
    """List the tasks of the room."""
    tasks = tasks_of(event)
    if not tasks:
        await event.reply("Nothing to do.")
        return
    await event.reply(doc(bullet_list(*[strike(text) if done else text for text, done in tasks])))


@bot.command("file")
async def file(event: MessageEvent) -> None:
    """Send the tasks of the room as a file."""
    lines = [f"{'done' if done else 'open'}\t{text}\n" for text, done in tasks_of(event)]
    uploaded = await event.room.upload("".join(lines).encode(), name="tasks.tsv")
    await event.reply(doc(paragraph(f"{len(lines)} tasks:"), media_group(uploaded)))


def tasks_of(event: Event) -> list[tuple[str, int]]:
    """Return the text of each task of a room and whether it is done, the oldest first."""
    rows = event.state["tasks"].execute(
        "SELECT text, done FROM task WHERE room = ? ORDER BY rowid", (event.conversation_id,)
    )
    return list(rows)


@bot.mention()
async def anything_else(event: MessageEvent) -> None:
    await event.reply("I know: todo TEXT, list, file")


if __name__ == "__main__":
    logging.basicConfig()
    bot.run(port=int(os.environ.get("PORT", "8080")))
