"""Copy the conversations of one site to another one, with their messages and files.

    stride server --env-file from.env --port 0 --generate conversations=4,messages=40,media=4,seed=7
    stride server --env-file to.env --port 0        # in another terminal
    python examples/copy_site.py from.env to.env        # in a third one

Stop it at any time and start it again: it resumes after the last message that it copied, and copies none twice. Started
later, it copies what is new. An app sends messages as itself, so each copy begins with the sender and the time.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stride_async import (
    Body,
    Bookmark,
    ClientCredentials,
    Content,
    Conversation,
    ConversationClient,
    Message,
    Privacy,
    Settings,
    StrideClient,
    StrideError,
)
from stride_async.document import Document, em, paragraph

SCHEMA = "CREATE TABLE IF NOT EXISTS room (id TEXT PRIMARY KEY, copy TEXT, bookmark TEXT, last TEXT)"


def site(env_file: str) -> StrideClient:
    """Return a client of the site that an env file of `stride server` describes."""
    env = dict(line.split("=", 1) for line in shlex.split(Path(env_file).read_text()))
    app = ClientCredentials(env["STRIDE_CLIENT_ID"], env["STRIDE_CLIENT_SECRET"])
    return StrideClient(app, cloud_id=env["STRIDE_CLOUD_ID"], settings=Settings(base_url=env["STRIDE_BASE_URL"]))


@dataclass
class SiteCopy:
    """The copy of a site, with notes on what is copied."""

    source: StrideClient
    target: StrideClient
    notes: sqlite3.Connection
    names: dict[str, str] = field(default_factory=dict)

    async def add(self, conversation: Conversation) -> None:
        """Copy the messages of a conversation that are not copied yet, oldest first."""
        noted = self.notes.execute("SELECT copy, bookmark, last FROM room WHERE id = ?", (conversation.id,)).fetchone()
        if noted is None:
            privacy: Privacy = "public" if conversation.privacy == "public" else "private"
            noted = (await self.target.create_conversation(conversation.name, privacy=privacy)).id, None, None
            self.notes.execute("INSERT INTO room VALUES (?, ?, ?, ?)", (conversation.id, *noted))
        id, bookmark, last = noted
        original, copy = self.source.conversation(conversation.id), self.target.conversation(id)
        newest = next(iter(await copy.recent(1)), None)
        # What an earlier run sent but did not note, because it was killed, is the first message of this one.
        unnoted = newest.id if newest is not None and newest.id != last else None
        history = original.history(oldest_first=True)
        if bookmark is not None:
            history = history.resume(Bookmark.loads(bookmark))
        async for page in history.pages():
            for number, message in enumerate(page.items, 1):
                last, unnoted = unnoted or await copy.send(await self._content(message, original, copy)), None
                values = (page.bookmark_after(number).dumps(), last, conversation.id)
                self.notes.execute("UPDATE room SET bookmark = ?, last = ? WHERE id = ?", values)
            print(f"{conversation.name}: {len(page.items)} messages", flush=True)
        if conversation.is_archived:
            await copy.archive()

    async def _content(self, message: Message, original: ConversationClient, copy: ConversationClient) -> Content:
        """Return what to send for a message: who sent it and when, and its content with copies of its files."""
        if message.sender_id not in self.names:
            self.names[message.sender_id] = (await self.source.user(message.sender_id).profile()).display_name
        heading = f"{self.names[message.sender_id]}, {message.sent_at:%Y-%m-%d %H:%M} UTC"
        files = {}
        for media_id in message.body.media():
            async with original.open_media(media_id) as body:
                files[media_id] = (await copy.upload(Body.once(body.chunks()), name=body.name or "file")).id
        json: Any = prepared(message.body.to_json(), files, copy.id)
        document = Document.from_json({**json, "content": [paragraph(em(heading)).to_json(), *json["content"]]})
        return f"{heading}\n{message.text}" if document.validate() else document


def prepared(json: Any, files: dict[str, str], collection: str) -> Any:
    """Return JSON that shows the copies of files, without the empty fields that the service adds."""
    if not isinstance(json, dict):
        return [prepared(each, files, collection) for each in json] if isinstance(json, list) else json
    if json.get("type") == "media" and (id := json["attrs"].get("id")) in files:
        return {"type": "media", "attrs": {**json["attrs"], "id": files[id], "collection": collection}}
    return {key: prepared(value, files, collection) for key, value in json.items() if value not in ({}, None)}


async def main(source: str, target: str) -> None:
    with closing(sqlite3.connect("copy.sqlite", isolation_level=None)) as notes:  # each statement is a transaction
        notes.execute(SCHEMA)
        async with site(source) as here, site(target) as there, asyncio.TaskGroup() as tasks:
            copy = SiteCopy(here, there, notes)
            async for conversation in here.conversations(include_archived=True):
                tasks.create_task(copy.add(conversation))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Copy a site to another one.")
    parser.add_argument("source", metavar="FROM.ENV", help="the env file of the server to copy from")
    parser.add_argument("target", metavar="TO.ENV", help="the env file of the server to copy to")
    try:
        asyncio.run(main(**vars(parser.parse_args())))
    except* StrideError as errors:
        sys.exit(f"{errors.exceptions[0]}\nStart the program again to resume.")
