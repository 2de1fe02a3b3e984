"""Convert an archive to the zip file of a Slack export, which many programs import.

Messages are written day by day as they are read. The lists of conversations and people come last, because everyone who
is a member, a sender or mentioned must be in them. Slack's keys for threads and reactions are absent, because Stride
has neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import groupby
from typing import Any

from stride_async._models import Message
from stride_async._moments import EPOCH
from stride_async.document._nodes import JsonObject, attr
from stride_async.export._archive.reader import ArchivedMedia
from stride_async.export.formats._accounts import Account, Accounts
from stride_async.export.formats._names import Slugs, safe_name, stable_id
from stride_async.export.formats._options import ConvertOptions
from stride_async.export.formats._output import Output, OutputFile
from stride_async.export.formats._report import Tally
from stride_async.export.formats._slack_line import SlackLines
from stride_async.export.formats._slack_text import SlackText
from stride_async.export.formats._source import Room, Source, document_of
from stride_async.export.formats._times import MICROSECOND, RisingTimes
from stride_async.export.formats._tree import file_not_held
from stride_async.export.formats._zip import ZipWriter, json_bytes

_LONGEST_NAME = 80
_LONGEST_USER_NAME = 21
_NOT_USERS = frozenset({"all", "channel", "everyone", "here", "slackbot"})
_SECOND = 1_000_000  # microseconds
_DAY = 86_400 * _SECOND
_LAST_DAY = 2_932_896 * _DAY  # the beginning of 9999-12-31, so that there is room to move times after it
_LAST_SECOND = 9_999_999_999  # importers take more digits for milliseconds
_LARGEST_DAY = 70 * 1024 * 1024  # Mattermost reads no larger JSON file from an export of Slack
_FLAGS = ("is_admin", "is_owner", "is_primary_owner", "is_restricted", "is_ultra_restricted")

Item = dict[str, Any]
"""An object as Slack writes it."""


def write(source: Source, output: Output, options: ConvertOptions, tally: Tally) -> None:
    """Write the selected conversations with their people and files."""
    assert isinstance(output, OutputFile)
    with ZipWriter(output.path, tally.step) as zip_file:
        _Export(source, output, zip_file, options, tally).write()
        output.digest = zip_file.digest


class _Export:
    """One export: the zip file while it is written, and the lists that come last."""

    def __init__(
        self, source: Source, output: OutputFile, zip_file: ZipWriter, options: ConvertOptions, tally: Tally
    ) -> None:
        self.source = source
        self.ids = output.ids
        self.zip = zip_file
        self.options = options
        self.tally = tally
        self.team_id = stable_id("T", source.cloud_id)
        self.accounts = Accounts(source.people, Slugs(_LONGEST_USER_NAME, _NOT_USERS), tally)
        self._user_ids: dict[str, str] = {}
        self._names = Slugs(_LONGEST_NAME)
        self._channels: list[Item] = []
        self._groups: list[Item] = []
        self._dms: list[Item] = []

    def write(self) -> None:
        for room in self.source.rooms():
            self._conversation(room)
            self.tally.conversation()
        self.zip.json("channels.json", self._channels)
        self.zip.json("groups.json", self._groups)
        self.zip.json("dms.json", self._dms)
        self.zip.json("mpims.json", [])
        self.zip.json("users.json", [self._user(account) for account in self.accounts])
        self.zip.json("integration_logs.json", [])

    def user_id(self, id: str) -> str:
        """Return the id of someone in Slack, who is then in the list of users."""
        known = self._user_ids.get(id)
        if known is None:
            known = self._user_ids[id] = self.ids.add("user", self.accounts[id].id, stable_id("U", id))
        return known

    def _conversation(self, room: Room) -> None:
        members = sorted(room.member_ids()) or [self._anyone()]
        about = room.conversation
        created = min(max(0, int(about.created.timestamp())), _LAST_SECOND) if about.created is not None else 0
        item: Item = {"created": created, "members": [self.user_id(id) for id in members]}
        is_direct = about.type == "direct" and len(members) == 2
        is_public = about.type != "direct" and about.privacy == "public"
        prefix = "D" if is_direct else "C" if is_public else "G"
        item["id"] = folder = self.ids.add("conversation", room.id, stable_id(prefix, room.id))
        if not is_direct:
            item["name"] = folder = self._names.take(about.name, room.id)
            if folder != about.name:
                self.tally.lose("name changed", room.id)
            self.tally.lose("creator unknown", room.id)
        self.zip.folder(folder)
        messages = _Messages(self, room, folder)
        messages.write()
        if not is_direct:
            item |= self._about(room, folder, item["members"][0], messages.last)
        (self._dms if is_direct else self._channels if is_public else self._groups).append(item)

    def _about(self, room: Room, name: str, creator: str, last: int) -> Item:
        about = room.conversation
        changed = int(about.modified.timestamp() * 1000) if about.modified is not None else 0
        return {
            "creator": creator,
            "is_archived": about.is_archived,
            "is_general": name == "general" and about.privacy == "public",
            "topic": {"value": about.topic, "creator": creator, "last_set": 0},
            "purpose": {"value": about.name, "creator": creator, "last_set": 0},
            "updated": max(0, changed, last // 1000),
        }

    def _anyone(self) -> str:
        """Return someone for a conversation without members and messages, which Slack does not have."""
        return next((account.id for account in self.accounts), "unknown")

    def _user(self, account: Account) -> Item:
        person = account.person
        id = self.user_id(account.id)
        names = dict.fromkeys(
            ("real_name", "real_name_normalized", "display_name", "display_name_normalized"), person.label
        )
        profile = {
            **names,
            "first_name": account.given_name,
            "last_name": account.family_name,
            "email": account.email,
            "title": account.title,
            **dict.fromkeys(("image_72", "image_512", "image_original"), account.picture),
            "status_text": "",
            "team": self.team_id,
        }
        if account.is_app:
            profile["bot_id"] = bot_id(account)
        zone = (account.profile.timezone if account.profile is not None else None) or "UTC"
        return {
            "id": id,
            "team_id": self.team_id,
            "name": account.user_name,
            "real_name": person.label,
            "deleted": not person.active,
            "tz": zone,
            "tz_label": zone,
            "tz_offset": 0,
            **dict.fromkeys(_FLAGS, False),
            "is_bot": account.is_app,
            "is_app_user": False,
            "updated": 0,
            "profile": profile,
        }


def bot_id(account: Account) -> str:
    """Return the id of an app as a sender."""
    return stable_id("B", account.id)


class _Messages:
    """The messages of one conversation, and after them the files that they show."""

    def __init__(self, export: _Export, room: Room, folder: str) -> None:
        self.last = 0
        """The time of the last message, in microseconds."""
        self._export = export
        self._room = room
        self._folder = folder
        self._tally = export.tally
        self._held: dict[str, ArchivedMedia] = {}
        self._shown: dict[str, None] = {}
        self._message_id = ""
        self._text = SlackText(SlackLines(export.user_id, self._file_in_text, self._lose))

    def write(self) -> None:
        for day, messages in groupby(self._with_times(), lambda timed: timed[0] // _DAY):
            date = (EPOCH + timedelta(days=day)).strftime("%Y-%m-%d")
            size = 0
            with self._export.zip.entry(f"{self._folder}/{date}.json") as write:
                for time, message in messages:
                    line = (b",\n" if size else b"[") + json_bytes(self._item(time, message))
                    size += len(line)
                    write(line)
                    self._tally.message()
                write(b"]")
            if size > _LARGEST_DAY:
                self._tally.lose("day larger than importers read", self._room.id)
        for id, medium in sorted(self._held.items()):
            self._export.zip.body(self._path(id, medium), medium)
            self._tally.file(medium.size)

    def _with_times(self) -> Iterator[tuple[int, Message]]:
        times = RisingTimes(MICROSECOND)
        for message in self._room.messages():
            sent = min(max(message.ts, 0), _LAST_DAY * MICROSECOND)
            self.last = times.next(sent)
            if times.moved or sent != message.ts:
                self._tally.lose("time moved", message.id)
            yield self.last, message

    def _item(self, time: int, message: Message) -> Item:
        seconds, micros = divmod(time, _SECOND)
        account = self._export.accounts[message.sender_id]
        user_id = self._export.user_id(message.sender_id)
        self._message_id = message.id
        self._shown.clear()
        text = self._text.of(document_of(message))
        item: Item = {
            "type": "message",
            "team": self._export.team_id,
            "text": text,
            "ts": f"{seconds:010}.{micros:06}",
            "stride": {"id": message.id, "ts": str(message.ts)},
        }
        if account.is_app:
            item |= {"subtype": "bot_message", "bot_id": bot_id(account), "username": account.person.label}
        else:
            item["user"] = user_id
        if self._shown:
            item["upload"] = True
            item["files"] = [self._file(id, user_id, seconds) for id in self._shown]
        elif not text:
            self._lose("empty message")
        return item

    def _file_in_text(self, node: JsonObject) -> str:
        """Take a file of the message in. Return what the text says about one that is not held."""
        id = attr(node, "id")
        medium = self._held.get(id) or self._room.medium(id)
        if medium is None:
            self._lose("file not held")
            return file_not_held(id)
        self._held[id] = medium
        self._shown[id] = None
        return ""

    def _file(self, id: str, user_id: str, seconds: int) -> Item:
        medium = self._held[id]
        name = safe_name(medium.name or "")
        file_id = self._file_id(id)
        url = f"{self._export.options.files_base_url.rstrip('/')}/{file_id}/{name}"
        return {
            "id": file_id,
            "name": name,
            "title": medium.name or name,
            "mimetype": medium.mime_type or "application/octet-stream",
            "filetype": name.rpartition(".")[2].lower() if "." in name else "binary",
            "size": medium.size,
            "mode": "hosted",
            "is_external": False,
            "user": user_id,
            "created": seconds,
            "timestamp": seconds,
            "url_private": url,
            "url_private_download": url,
        }

    def _file_id(self, id: str) -> str:
        original = f"{self._room.id}/{id}"
        return self._export.ids.add("file", original, stable_id("F", original))

    def _path(self, id: str, medium: ArchivedMedia) -> str:
        name = safe_name(medium.name or "")
        if self._export.options.files == "beside":
            return f"{self._folder}/attachments/{self._file_id(id)}-{name}"
        return f"__uploads/{self._file_id(id)}/{name}"

    def _lose(self, kind: str) -> None:
        self._tally.lose(kind, self._message_id)
