"""Convert an archive to the zip file of a bulk import for Mattermost.

The server reads lines in the order of their types, and what is named must stand above what names it. So the lines of
each type are written to a temporary file of their own, and put together at the end. Who is in which channel is found
channel by channel and written person by person: a temporary database sorts it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from tempfile import TemporaryFile
from typing import IO, Any, TypeVar

import attrs

from stride_async._models import Message
from stride_async.document._nodes import JsonObject, attr
from stride_async.export._archive.reader import ArchivedMedia
from stride_async.export.formats._accounts import Account, Accounts
from stride_async.export.formats._database import database_errors, temporary_database
from stride_async.export.formats._mattermost_text import MattermostText, split
from stride_async.export.formats._names import Slugs, digest_of, safe_name, slug
from stride_async.export.formats._options import ConvertOptions
from stride_async.export.formats._output import Output, OutputFile
from stride_async.export.formats._report import Tally
from stride_async.export.formats._source import Room, Source, document_of
from stride_async.export.formats._times import MILLISECOND, RisingTimes
from stride_async.export.formats._tree import EMPTY_MESSAGE, file_not_held
from stride_async.export.formats._zip import ZipWriter, json_bytes

# The types of lines, in the order of the file.
_TYPES = ("version", "team", "channel", "user", "bot", "post", "direct_channel", "direct_post")
_LONGEST_CHANNEL, _LONGEST_USER = 60, 22
_LONGEST_DISPLAY_NAME, _LONGEST_HEADER, _LONGEST_PURPOSE = 64, 1024, 250
_LONGEST_NAME, _LONGEST_TITLE = 64, 128
_LONGEST_POST, _LONGEST_DIRECT_POST = 16_383, 4_000
_MOST_MEMBERS = 8  # of a direct channel
_MOST_FILES = 5  # of a post
_MOST_REPLIES = 100  # so that a line stays below 16 MiB
_NOT_USERS = frozenset({"all", "channel", "here", "matterbot", "system"})
_NOT_CHANNELS = frozenset({"town-square", "off-topic"})  # every team has these
_GROUP_NAME = re.compile(r"[0-9a-f]{40}")  # the server would take it for a group of people
_LONGEST_TEAM = 64
_LAST_TIME = 253_402_214_400_000  # the beginning of 9999-12-31, so that there is room to move times after it
_BODIES = "bulk-export-attachments"

Item = dict[str, Any]
"""An object as Mattermost reads it."""

T = TypeVar("T")


def write(source: Source, output: Output, options: ConvertOptions, tally: Tally) -> None:
    """Write the selected conversations with their people and files."""
    assert isinstance(output, OutputFile)
    folder = output.path.parent
    with database_errors(), ExitStack() as stack:
        lines: dict[str, IO[bytes]] = {type: stack.enter_context(TemporaryFile(dir=folder)) for type in _TYPES}
        scratch = stack.enter_context(closing(_Scratch()))
        export = _Export(source, output, lines, scratch, options, tally)
        export.write()
        size = sum(file.tell() for file in lines.values())
        for each in lines.values():
            each.seek(0)
        with ZipWriter(output.path, tally.step) as zip_file:
            zip_file.files("import.jsonl", list(lines.values()), size, is_stored=False)
            for path, medium in scratch.bodies(source):
                zip_file.body(f"data/{path}", medium)
        output.digest = zip_file.digest


class _Scratch:
    """What has to be sorted across conversations, in a database that is deleted when it is closed."""

    def __init__(self) -> None:
        self._db = temporary_database(
            "CREATE TABLE member (user TEXT, channel INTEGER, PRIMARY KEY (user, channel)) WITHOUT ROWID",
            "CREATE TABLE body (path TEXT PRIMARY KEY, room, id, sha256, size) WITHOUT ROWID",
        )

    def add_members(self, channel: int, user_names: Sequence[str]) -> None:
        self._db.executemany("INSERT INTO member VALUES (?, ?)", [(name, channel) for name in user_names])

    def channels_of(self, user_name: str) -> Iterator[int]:
        rows = self._db.execute("SELECT channel FROM member WHERE user = ? ORDER BY channel", (user_name,))
        return (channel for (channel,) in rows)

    def add_body(self, path: str, medium: ArchivedMedia) -> bool:
        """Note a body to write. Return whether it is new."""
        row = (path, medium.conversation_id, medium.id, medium.sha256, medium.size)
        return self._db.execute("INSERT OR IGNORE INTO body VALUES (?, ?, ?, ?, ?)", row).rowcount > 0

    def bodies(self, source: Source) -> Iterator[tuple[str, ArchivedMedia]]:
        for path, *row in self._db.execute("SELECT path, room, id, sha256, size FROM body ORDER BY path"):
            yield path, source.body(*row)

    def close(self) -> None:
        self._db.close()


@attrs.define
class _Read:
    """What everyone in a channel has read: all of it."""

    last: int = 0
    """The time of the last post, in milliseconds."""
    posts: int = 0
    roots: int = 0
    """The posts that are not replies."""

    def item(self) -> Item:
        return {"last_viewed_at": self.last, "msg_count": self.posts, "msg_count_root": self.roots}


class _Export:
    """One export: the lines that are written so far, and what is written at the end."""

    def __init__(
        self,
        source: Source,
        output: OutputFile,
        lines: dict[str, IO[bytes]],
        scratch: _Scratch,
        options: ConvertOptions,
        tally: Tally,
    ) -> None:
        self.source = source
        self.ids = output.ids
        self.scratch = scratch
        self.tally = tally
        self.team = options.team or team_of(source.cloud_id)
        self.accounts = Accounts(source.people, Slugs(_LONGEST_USER, _NOT_USERS), tally)
        self._lines = lines
        self._names = Slugs(_LONGEST_CHANNEL, _NOT_CHANNELS)
        self._channels: list[tuple[str, _Read]] = []
        self._direct: set[tuple[str, ...]] = set()
        self._last = 1

    def write(self) -> None:
        self._lines["version"].write(json_bytes({"type": "version", "version": 1}) + b"\n")
        self.line("team", {"name": self.team, "display_name": self.team, "type": "I"})
        for room in self.source.rooms():
            self._conversation(room)
            self.tally.conversation()
        people = list(self.accounts)
        apps = [account for account in people if account.is_app]
        users = [account for account in people if not account.is_app]
        if not users:  # A bot needs an owner, so apps that are alone are users.
            users, apps = apps, []
        for account in users:
            self.line("user", self._user(account))
        for account in apps:
            self.line("bot", self._bot(account, owner=users[0]))

    def line(self, type: str, item: Item) -> None:
        self._lines[type].write(json_bytes({"type": type, type: item}) + b"\n")

    def user_name(self, id: str) -> str:
        """Return the name of someone in Mattermost, who is then among the users."""
        return self.accounts[id].user_name

    def _conversation(self, room: Room) -> None:
        members = tuple(sorted(map(self.user_name, room.member_ids())))
        about = room.conversation
        if about.type == "direct" and 2 <= len(members) <= _MOST_MEMBERS and members not in self._direct:
            self._direct.add(members)
            self.ids.add("conversation", room.id, "__".join(members))
            read = _Posts(self, room, "direct_post", {"channel_members": members}, _LONGEST_DIRECT_POST).write()
            self.line("direct_channel", self._direct_channel(room, members, read))
        else:
            name = self._channel_name(room)
            read = _Posts(self, room, "post", {"team": self.team, "channel": name}, _LONGEST_POST).write()
            self.scratch.add_members(len(self._channels), members)
            self._channels.append((name, read))
            self.line("channel", self._channel(room, name, members, read))
        self._last = max(self._last, read.last)

    def _channel_name(self, room: Room) -> str:
        name = room.conversation.name
        plain = slug(name, _LONGEST_CHANNEL)
        if len(plain) == 1 or _GROUP_NAME.fullmatch(plain):
            name = f"channel {name}"
        found = self.ids.add("conversation", room.id, self._names.take(name, room.id))
        if found != room.conversation.name:
            self.tally.lose("name changed", room.id)
        return found

    def _channel(self, room: Room, name: str, members: Sequence[str], read: _Read) -> Item:
        about = room.conversation
        item: Item = {
            "team": self.team,
            "name": name,
            "display_name": self.cut(about.name.strip() or ", ".join(members) or name, _LONGEST_DISPLAY_NAME, room.id),
            "type": "O" if about.type != "direct" and about.privacy == "public" else "P",
            "header": self.cut(about.topic, _LONGEST_HEADER, room.id),
            "purpose": self.cut(about.name, _LONGEST_PURPOSE, room.id),
        }
        if about.is_archived:
            changed = int(about.modified.timestamp() * 1000) if about.modified is not None else 0
            item["deleted_at"] = max(1, changed, read.last)
        return item

    def _direct_channel(self, room: Room, members: Sequence[str], read: _Read) -> Item:
        return {
            "members": members,
            "participants": [{"username": name, "scheme_user": True, **read.item()} for name in members],
            "header": self.cut(room.conversation.topic, _LONGEST_HEADER, room.id),
        }

    def _user(self, account: Account) -> Item:
        person = account.person
        channels = [self._channels[number] for number in self.scratch.channels_of(account.user_name)]
        inside = [{"name": name, "roles": "channel_user", "mention_count": 0, **read.item()} for name, read in channels]
        item: Item = {
            "username": self.ids.add("user", account.id, account.user_name),
            "email": account.email,
            "nickname": self.cut(person.label, _LONGEST_NAME, account.id),
            "first_name": self.cut(account.given_name, _LONGEST_NAME, account.id),
            "last_name": self.cut(account.family_name, _LONGEST_NAME, account.id),
            "position": self.cut(account.title, _LONGEST_TITLE, account.id),
            "roles": "system_user",
            "teams": [{"name": self.team, "roles": "team_user", "channels": inside}],
        }
        if not person.active:
            item["delete_at"] = self._last
        return item

    def _bot(self, account: Account, owner: Account) -> Item:
        item: Item = {
            "username": self.ids.add("user", account.id, account.user_name),
            "display_name": self.cut(account.person.label, _LONGEST_DISPLAY_NAME, account.id),
            "owner": owner.user_name,
        }
        if not account.person.active:
            item["delete_at"] = self._last
        return item

    def cut(self, text: str, longest: int, id: str) -> str:
        if len(text) > longest:
            self.tally.lose("name cut", id)
        return text[:longest]


def team_of(cloud_id: str) -> str:
    """Return the name of the team for a site."""
    return f"site-{slug(cloud_id, _LONGEST_TEAM - 5) or digest_of(cloud_id)[:8]}"


class _Posts:
    """The posts of one conversation."""

    def __init__(self, export: _Export, room: Room, type: str, place: Item, longest: int) -> None:
        self._export = export
        self._room = room
        self._type = type
        self._place = place
        self._longest = longest
        self._tally = export.tally
        self._times = RisingTimes(MILLISECOND)
        self._read = _Read()
        self._paths: dict[str, None] = {}
        self._message_id = ""
        self._text = MattermostText(export.user_name, self._file_in_text, self._lose)

    def write(self) -> _Read:
        """Write all posts, and return what there is to read."""
        for message in self._room.messages():
            self._message(message)
            self._tally.message()
        return self._read

    def _message(self, message: Message) -> None:
        self._message_id = message.id
        self._paths.clear()
        text = self._text.of(document_of(message)).strip()
        parts: list[Item] = [{"message": part} for part in split(text, self._longest)]
        if len(parts) > 1:
            self._lose("message split")
        for number, paths in enumerate(_groups(list(self._paths), _MOST_FILES)):
            if number == len(parts):
                parts.append({"message": ""})
            parts[number]["attachments"] = [{"path": path} for path in paths]
        if not text and not self._paths:
            self._lose("empty message")
            parts[0]["message"] = EMPTY_MESSAGE
        sent = min(max(message.ts, MILLISECOND), _LAST_TIME * MILLISECOND)
        time = self._times.next(sent)
        if self._times.moved or sent != message.ts:
            self._lose("time moved")
        self._times.skip_to(time + len(parts) - 1)
        user = self._export.user_name(message.sender_id)
        props = {"stride_id": message.id, "stride_ts": str(message.ts)}
        for number, part in enumerate(parts):
            part |= {"user": user, "create_at": time + number}
        for group in _groups(parts, _MOST_REPLIES):
            root, *replies = group
            self._export.line(self._type, {**self._place, **root, "props": props, "replies": replies})
            self._read.roots += 1
        self._read.posts += len(parts)
        self._read.last = time + len(parts) - 1

    def _file_in_text(self, node: JsonObject) -> str:
        """Attach a file to the post. Return what the text says about one that is not held."""
        id = attr(node, "id")
        medium = self._room.medium(id)
        if medium is None:
            self._lose("file not held")
            return file_not_held(id)
        original = f"{self._room.id}/{id}"
        path = f"{_BODIES}/{digest_of(original)[:26]}_{safe_name(medium.name or '')}"
        if self._export.scratch.add_body(path, medium):
            self._export.ids.add("file", original, path)
            self._tally.file(medium.size)
        self._paths[path] = None
        return ""

    def _lose(self, kind: str) -> None:
        self._tally.lose(kind, self._message_id)


def _groups(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """Yield items in groups of up to `most`."""
    return (items[start : start + most] for start in range(0, len(items), most))
