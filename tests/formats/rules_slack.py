"""The rules of the programs that read the zip file of a Slack export.

They read the zip as a stranger would and share nothing with the writer. Each rule names the program that imposes it:
mmetl (Mattermost's converter), the Mattermost server's own import of Slack files, slack-export-viewer,
slack-to-discord, slack-chat-migrator (Google Chat), and Slack's description of its exports. Programs differ in what
they survive; a file that satisfies all rules is read completely by all of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zipfile import ZipFile

import attrs

from tests.formats.ruled import Found, Json, Place, Rules, Violation, doubles, is_integer, listing, mapping, text

LISTS = ("channels.json", "groups.json", "dms.json", "mpims.json", "users.json", "integration_logs.json")
CONVERSATION_LISTS = LISTS[:4]
LARGEST_JSON = 70 * 1024 * 1024
"""The Mattermost server reads no larger JSON file from a Slack export."""

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_TS = re.compile(r"\d{10,12}\.\d{6}")
_NAME = re.compile(r"[a-z0-9_-]{1,80}")
_USER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,20}")
_USER_ID = re.compile(r"[UW][A-Z0-9]+")
_FILE_ID = re.compile(r"F[A-Z0-9]+")
_EMAIL = re.compile(r"[^@\s<>]+@[^@\s<>]+\.[^@\s<>]+")
_IDS = {"channels.json": "CG", "groups.json": "CG", "dms.json": "D", "mpims.json": "CG"}
_TOKEN = re.compile(r"<(?:@[UW][A-Z0-9]+|!here|!channel|(?:https?|mailto):[^<>|\s]*\|[^<>|\n]+)>")
_ENTITY = re.compile(r"&(?:amp|lt|gt);")
_USER_FLAGS = (
    "deleted", "is_admin", "is_owner", "is_primary_owner", "is_restricted", "is_ultra_restricted", "is_bot",
    "is_app_user",
)  # fmt: skip
_PROFILE_KEYS = (
    "real_name", "real_name_normalized", "display_name", "display_name_normalized", "first_name", "last_name", "email",
    "title", "image_72", "image_512", "image_original", "status_text", "team",
)  # fmt: skip
_FILE_TEXTS = ("id", "name", "title", "mimetype", "filetype", "mode", "user", "url_private", "url_private_download")


@attrs.frozen
class Post:
    """A message with its place."""

    place: Place
    folder: str
    day: str
    json: dict[str, Json]

    @property
    def files(self) -> list[dict[str, Json]]:
        return [mapping(file) for file in listing(self.json.get("files"))]


class SlackZip:
    """A zip file as a reader sees it: anything may be missing or of another type."""

    def __init__(self, path: Path) -> None:
        with ZipFile(path) as opened:
            self.infos = opened.infolist()
            self.names = [info.filename for info in self.infos]
            self.json = {
                info.filename: _decoded(opened.read(info)) for info in self.infos if info.filename.endswith(".json")
            }
        self.sizes = {info.filename: info.file_size for info in self.infos}

    def items(self, name: str) -> Iterator[tuple[Place, dict[str, Json]]]:
        """Yield the objects in one of the lists."""
        for line, item in enumerate(listing(self.json.get(name)), 1):
            yield Place(name, line), mapping(item)

    def conversations(self) -> Iterator[tuple[Place, dict[str, Json]]]:
        for name in CONVERSATION_LISTS:
            yield from self.items(name)

    def folders(self) -> dict[str, Place]:
        """Return the folder that each conversation should have."""
        return {text(item.get("name")) or text(item.get("id")): place for place, item in self.conversations()}

    def named_in_entries(self) -> set[str]:
        """Return all folders in the zip file except that of the uploads."""
        return {name.split("/")[0] for name in self.names if "/" in name} - {"__uploads"}

    def day_files(self) -> list[str]:
        return [name for name in self.names if name.count("/") == 1 and name.endswith(".json")]

    def posts(self) -> Iterator[Post]:
        for name in sorted(self.day_files()):
            folder, day = name.removesuffix(".json").split("/")
            for line, item in enumerate(listing(self.json[name]), 1):
                found = mapping(item)
                yield Post(Place(name, line, text(found.get("ts"))), folder, day, found)

    def user_ids(self) -> set[str]:
        return {text(user.get("id")) for _, user in self.items("users.json")}

    def bot_ids(self) -> set[str]:
        profiles = (mapping(user.get("profile")) for _, user in self.items("users.json") if user.get("is_bot") is True)
        return {text(profile.get("bot_id")) for profile in profiles} - {""}

    def bodies(self) -> dict[str, str]:
        """Return the file id of each entry that is the body of a file."""
        found = {}
        for name in self.names:
            parts = name.split("/")
            if len(parts) == 3 and parts[0] == "__uploads":
                found[name] = parts[1]
            elif len(parts) == 3 and parts[1] == "attachments":
                found[name] = parts[2].split("-")[0]
        return found


def _decoded(content: bytes) -> Json:
    try:
        return json.loads(content)
    except ValueError:
        return None


def _is_day(text: str) -> bool:
    try:
        return _DAY.fullmatch(text) is not None and datetime.fromisoformat(text) is not None
    except ValueError:
        return False


_rules: Rules[SlackZip] = Rules()
RULES = _rules.all


def violations(path: Path) -> list[Violation]:
    """Return what any of the importers would not take."""
    return _rules.violations(SlackZip(path))


@_rules.rule("S01", "mmetl, slack-export-viewer", "The six lists are there, and each is a list of objects.")
def _lists(zip_file: SlackZip) -> Found:
    for name in LISTS:
        found = zip_file.json.get(name)
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            yield Place(name), "is missing or is not a list of objects"


@_rules.rule("S02", "Slack, slack-chat-migrator", "Nothing is anywhere else than in a list, a folder or the uploads.")
def _entries(zip_file: SlackZip) -> Found:
    for name in zip_file.names:
        parts = name.split("/")
        known = (
            name in LISTS
            or (len(parts) == 2 and parts[0] != "__uploads" and (not parts[1] or parts[1].endswith(".json")))
            or name in zip_file.bodies()
        )
        if not known:
            yield Place(name), "has no place in an export"


@_rules.rule("S03", "slack-export-viewer, unzip", "Names of entries are ASCII, stay inside, and occur once.")
def _entry_names(zip_file: SlackZip) -> Found:
    for name in zip_file.names:
        if not name.isascii() or not name.isprintable() or "\\" in name or ":" in name:
            yield Place(name), "has characters other than plain ASCII"
        if name.startswith("/") or ".." in name.split("/"):
            yield Place(name), "leads out of the folder"
    for name in doubles(name.lower() for name in zip_file.names):
        yield Place(name), "occurs twice"


@_rules.rule("S04", "slack-to-discord", "Each conversation has a folder, even when it is empty.")
def _folders(zip_file: SlackZip) -> Found:
    for folder, place in zip_file.folders().items():
        if f"{folder}/" not in zip_file.names:
            yield place, f"has no folder {folder}/"


@_rules.rule("S05", "slack-chat-migrator", "Each folder belongs to a conversation.")
def _owners(zip_file: SlackZip) -> Found:
    for folder in sorted(zip_file.named_in_entries() - set(zip_file.folders())):
        yield Place(f"{folder}/"), "belongs to no conversation"


@_rules.rule("S06", "mmetl", "Ids of conversations begin with C or G, those of direct ones with D, and are unique.")
def _conversation_ids(zip_file: SlackZip) -> Found:
    found = list(zip_file.conversations())
    for place, item in found:
        if not re.fullmatch(rf"[{_IDS[place.entry]}][A-Z0-9]{{8,}}", text(item.get("id"))):
            yield place, f"has the id {item.get('id')!r}"
    for id in doubles(text(item.get("id")) for _, item in found):
        yield Place("channels.json"), f"the id {id} occurs twice"


@_rules.rule("S07", "Slack, Mattermost", "Names of conversations are short, of plain characters, and unique.")
def _conversation_names(zip_file: SlackZip) -> Found:
    found = [(place, item) for place, item in zip_file.conversations() if place.entry != "dms.json"]
    for place, item in found:
        if not _NAME.fullmatch(text(item.get("name"))):
            yield place, f"has the name {item.get('name')!r}"
    for name in doubles(text(item.get("name")).lower() for _, item in found):
        yield Place("channels.json"), f"the name {name} occurs twice"


@_rules.rule("S08", "mmetl", "`created` is in seconds.")
def _created(zip_file: SlackZip) -> Found:
    for place, item in zip_file.conversations():
        if not is_integer(item.get("created")) or not 0 <= item["created"] < 10**10:
            yield place, f"was created at {item.get('created')!r}"


@_rules.rule("S09", "Rocket.Chat", "The creator of a conversation is a user.")
def _creator(zip_file: SlackZip) -> Found:
    for place, item in zip_file.conversations():
        if place.entry != "dms.json" and item.get("creator") not in zip_file.user_ids():
            yield place, f"was created by {item.get('creator')!r}"


@_rules.rule("S10", "mmetl, Mattermost", "A conversation has members, each once, and all are users.")
def _members(zip_file: SlackZip) -> Found:
    known = zip_file.user_ids()
    for place, item in zip_file.conversations():
        members = [text(member) for member in listing(item.get("members"))]
        if not members:
            yield place, "has no members"
        for member in [*doubles(members), *sorted(set(members) - known)]:
            yield place, f"has the member {member!r} twice, or it is not a user"


@_rules.rule("S11", "slack-export-viewer, Mattermost", "A direct conversation has two members.")
def _direct(zip_file: SlackZip) -> Found:
    for place, item in zip_file.items("dms.json"):
        members = listing(item.get("members"))
        if members and len(members) != 2:
            yield place, f"has {len(members)} members"


@_rules.rule("S12", "slack-to-discord, mmetl", "A channel has a topic, a purpose and `is_archived`.")
def _topics(zip_file: SlackZip) -> Found:
    for place, item in zip_file.conversations():
        if place.entry == "dms.json":
            continue
        for name in ("topic", "purpose"):
            if not isinstance(mapping(item.get(name)).get("value"), str):
                yield place, f"has no {name}"
        for name in ("is_archived", "is_general"):
            if not isinstance(item.get(name), bool):
                yield place, f"does not say {name}"
        if not is_integer(item.get("updated")) or 0 < item["updated"] < 10**11:
            yield place, "was updated at a time that is not in milliseconds"


@_rules.rule("S13", "mmetl", "Ids of users begin with U or W and are unique.")
def _user_ids(zip_file: SlackZip) -> Found:
    users = list(zip_file.items("users.json"))
    for place, user in users:
        if not _USER_ID.fullmatch(text(user.get("id"))):
            yield place, f"has the id {user.get('id')!r}"
    for id in doubles(text(user.get("id")) for _, user in users):
        yield Place("users.json"), f"the id {id} occurs twice"


@_rules.rule("S14", "Mattermost", "Names of users are short, of plain characters, and unique.")
def _user_names(zip_file: SlackZip) -> Found:
    users = list(zip_file.items("users.json"))
    for place, user in users:
        if not _USER_NAME.fullmatch(text(user.get("name"))):
            yield place, f"has the name {user.get('name')!r}"
    for name in doubles(text(user.get("name")) for _, user in users):
        yield Place("users.json"), f"the name {name} occurs twice"


@_rules.rule("S15", "slack-to-discord, slack-chat-migrator", "A user has all flags and a profile with all keys.")
def _profiles(zip_file: SlackZip) -> Found:
    for place, user in zip_file.items("users.json"):
        profile = mapping(user.get("profile"))
        for name in _PROFILE_KEYS:
            if not isinstance(profile.get(name), str):
                yield place, f"has no {name} in the profile"
        for name in _USER_FLAGS:
            if not isinstance(user.get(name), bool):
                yield place, f"does not say {name}"
        if not _EMAIL.fullmatch(text(profile.get("email"))):
            yield place, f"has the e-mail address {profile.get('email')!r}"
        if not text(profile.get("real_name")):
            yield place, "has an empty real name"
        if not is_integer(user.get("tz_offset")) or not isinstance(user.get("team_id"), str):
            yield place, "has no tz_offset or team_id"


@_rules.rule("S16", "Slack, slack-to-discord", "Files of messages are named by days.")
def _day_names(zip_file: SlackZip) -> Found:
    for name in zip_file.day_files():
        if not _is_day(name.split("/")[1].removesuffix(".json")):
            yield Place(name), "is not named by a day"


@_rules.rule("S17", "mmetl, slack-export-viewer", "A file of a day is a list of messages and not empty.")
def _days(zip_file: SlackZip) -> Found:
    for name in zip_file.day_files():
        found = zip_file.json[name]
        if not isinstance(found, list) or not found:
            yield Place(name), "is not a list, or is empty"
        for line, item in enumerate(listing(found), 1):
            if mapping(item).get("type") != "message":
                yield Place(name, line), "is not a message"


@_rules.rule("S18", "slack-to-discord, Slack", "`ts` is text: seconds of ten digits, a dot, six digits.")
def _ts(zip_file: SlackZip) -> Found:
    for post in zip_file.posts():
        if not isinstance(post.json.get("ts"), str) or not _TS.fullmatch(post.json["ts"]):
            yield post.place, f"has the ts {post.json.get('ts')!r}"


@_rules.rule("S19", "Slack", "A message is in the file of its day (UTC).")
def _on_its_day(zip_file: SlackZip) -> Found:
    for post in zip_file.posts():
        seconds, _, rest = text(post.json.get("ts")).partition(".")
        if not seconds.isdigit() or not rest.isdigit() or not _is_day(post.day):
            continue
        if (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(seconds))).strftime("%Y-%m-%d") != post.day:
            yield post.place, f"is not of {post.day}"


@_rules.rule("S20", "mmetl, slack-to-discord", "In a conversation `ts` rises strictly.")
def _rising(zip_file: SlackZip) -> Found:
    last: dict[str, tuple[int, int]] = {}
    for post in zip_file.posts():
        seconds, _, rest = text(post.json.get("ts")).partition(".")
        if not seconds.isdigit() or not rest.isdigit():
            continue
        now = int(seconds), int(rest)
        if now <= last.get(post.folder, (-1, -1)):
            yield post.place, "is not after the message before it"
        last[post.folder] = now


@_rules.rule("S21", "mmetl, slack-export-viewer", "The sender is a user, or a bot with a name.")
def _sender(zip_file: SlackZip) -> Found:
    users, bots = zip_file.user_ids(), zip_file.bot_ids()
    for post in zip_file.posts():
        if post.json.get("subtype") == "bot_message":
            if post.json.get("bot_id") not in bots or not text(post.json.get("username")):
                yield post.place, f"is from the bot {post.json.get('bot_id')!r}"
        elif post.json.get("user") not in users:
            yield post.place, f"is from {post.json.get('user')!r}"


@_rules.rule("S22", "Slack, mmetl", "`text` is text in which &, < and > occur escaped, or in a mention or a link.")
def _text(zip_file: SlackZip) -> Found:
    for post in zip_file.posts():
        found = post.json.get("text")
        if not isinstance(found, str):
            yield post.place, "has no text"
            continue
        for sign in unescaped(found):
            yield post.place, f"has an unescaped {sign}"


def unescaped(text: str) -> list[str]:
    """Return the signs in the text of a message that should be escaped."""
    rest = _ENTITY.sub("", _TOKEN.sub(lambda token: _ENTITY.sub("", token[0]).strip("<>"), text))
    return [sign for sign in "&<>" if sign in rest]


@_rules.rule("S23", "slack-to-discord, mmetl", "Mentioned people are users.")
def _mentions(zip_file: SlackZip) -> Found:
    known = zip_file.user_ids()
    for post in zip_file.posts():
        for id in sorted(set(re.findall(r"<@([^>|]*)", text(post.json.get("text")))) - known):
            yield post.place, f"mentions {id}, which is not a user"


@_rules.rule("S24", "mmetl, slack-to-discord", "A file has all keys, and its message has `upload`.")
def _files(zip_file: SlackZip) -> Found:
    for post in zip_file.posts():
        if post.files and post.json.get("upload") is not True:
            yield post.place, "has files but no `upload`"
        for file in post.files:
            for name in _FILE_TEXTS:
                if not text(file.get(name)):
                    yield post.place, f"has a file without {name}"
            if not _FILE_ID.fullmatch(text(file.get("id"))):
                yield post.place, f"has a file with the id {file.get('id')!r}"
            for name in ("size", "created", "timestamp"):
                if not is_integer(file.get(name)):
                    yield post.place, f"has a file without {name}"
            if file.get("is_external") is not False or file.get("mode") not in (None, "", "hosted"):
                yield post.place, "has a file that is not hosted"


@_rules.rule("S25", "mmetl, slack-to-discord", "Each file has one body, of its size.")
def _bodies(zip_file: SlackZip) -> Found:
    entries: dict[str, list[str]] = {}
    for name, id in zip_file.bodies().items():
        entries.setdefault(id, []).append(name)
    for post in zip_file.posts():
        for file in post.files:
            found = entries.get(text(file.get("id")), [])
            here = [name for name in found if name.startswith(("__uploads/", f"{post.folder}/"))]
            if len(found) != 1 or not here:
                yield post.place, f"the file {file.get('id')} has {len(found)} bodies"
            elif is_integer(file.get("size")) and zip_file.sizes[here[0]] != file["size"]:
                yield post.place, f"the body of {file.get('id')} has {zip_file.sizes[here[0]]} bytes"


@_rules.rule("S26", "mmetl", "No body is there without a file.")
def _unused(zip_file: SlackZip) -> Found:
    used = {text(file.get("id")) for post in zip_file.posts() for file in post.files}
    for name, id in zip_file.bodies().items():
        if id not in used:
            yield Place(name), "belongs to no file"


@_rules.rule("S27", "mmetl, slack-to-discord", "A reply names a root that is there.")
def _threads(zip_file: SlackZip) -> Found:
    known = {(post.folder, text(post.json.get("ts"))) for post in zip_file.posts()}
    for post in zip_file.posts():
        root = post.json.get("thread_ts")
        if root is not None and (post.folder, root) not in known:
            yield post.place, f"replies to {root}, which is not there"
        if root is None and any(name in post.json for name in ("reply_count", "replies", "parent_user_id")):
            yield post.place, "has keys of a thread without thread_ts"


@_rules.rule("S28", "Mattermost", "No JSON file is larger than 70 MiB.")
def _size(zip_file: SlackZip) -> Found:
    for name in zip_file.json:
        if zip_file.sizes[name] > LARGEST_JSON:
            yield Place(name), f"has {zip_file.sizes[name]} bytes"


@_rules.rule("S29", "mmetl", "No message has a subtype of groups, which readers no longer know.")
def _subtypes(zip_file: SlackZip) -> Found:
    for post in zip_file.posts():
        if text(post.json.get("subtype")).startswith("group_"):
            yield post.place, f"has the subtype {post.json['subtype']}"
