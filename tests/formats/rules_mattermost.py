"""The rules of the Mattermost server's bulk import.

They read the zip as a stranger would and share nothing with the writer. The server checks some of them before it
imports anything, some in the middle of an import, which then stays half done, and some not at all: it drops or merges
what violates them without a word. Each rule names the part of the server, or mmetl, that imposes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from zipfile import ZipFile

import attrs

from tests.formats.ruled import Found, Json, Place, Rules, Violation, doubles, is_integer, listing, mapping, text

TYPES = ("version", "team", "channel", "user", "bot", "post", "direct_channel", "direct_post")
"""The types of lines, in the order in which what they name must exist."""

_LARGEST_LINE = 16 * 1024 * 1024
_LONGEST_POST, _LONGEST_DIRECT_POST = 16_383, 4_000
_LARGEST_PROPS = 800_000
_MOST_FILES = 5
_LAST_MOMENT = 253_402_300_799_999  # the end of the year 9999
_RESERVED = (
    "admin", "api", "channel", "claim", "error", "files", "help", "landing", "login", "mfa", "oauth", "plug", "plugins",
    "post", "signup", "boards", "playbooks",
)  # fmt: skip
_RESERVED_USERS = ("all", "channel", "here", "matterbot", "system")
_TEAM = re.compile(r"[a-z0-9]+([a-z0-9-]+|(__)?)[a-z0-9]+")
_CHANNEL = re.compile(r"[a-z0-9]+([a-z0-9_-]+|(__)?)[a-z0-9]+")
_GROUP_CHANNEL = re.compile(r"[0-9a-f]{40}")
_DIRECT_CHANNEL = re.compile(r"[a-z0-9]{26}__[a-z0-9]{26}")
_USER = re.compile(r"[a-z0-9._-]{1,22}")
_EMAIL = re.compile(r"[^@\s<>A-Z]+@[^@\s<>A-Z]+\.[^@\s<>A-Z]+")
_LENGTHS = {"nickname": 64, "first_name": 64, "last_name": 64, "position": 128}


@attrs.frozen
class Line:
    """A line of the file, or a reply in one."""

    place: Place
    type: str
    json: dict[str, Json]
    """The object that has the name of the type."""
    root: dict[str, Json]
    """The post that this is, or that this replies to."""

    @property
    def paths(self) -> list[str]:
        return [text(mapping(item).get("path")) for item in listing(self.json.get("attachments"))]

    @property
    def channel(self) -> Json:
        """What tells the channel of a post from others."""
        if self.type == "direct_post":
            return frozenset(text(member) for member in listing(self.root.get("channel_members")))
        return text(self.root.get("channel"))


class MattermostZip:
    """A zip file as the server sees it: anything may be missing or of another type."""

    def __init__(self, path: Path) -> None:
        with ZipFile(path) as opened:
            self.names = opened.namelist()
            self.files = [name for name in self.names if name.endswith(".jsonl")]
            self.entry = self.files[0] if self.files else ""
            self.bytes = opened.read(self.entry).split(b"\n") if self.entry else []
        self.json = [_decoded(line) for line in self.bytes]

    def lines(self, *types: str) -> Iterator[Line]:
        """Yield the lines of some types."""
        for number, item in enumerate(self.json, 1):
            type = text(mapping(item).get("type"))
            found = mapping(mapping(item).get(type))
            if type in types and found:
                yield Line(Place(self.entry, number, found.get("create_at")), type, found, found)

    def posts(self) -> Iterator[Line]:
        """Yield all posts, each followed by its replies."""
        for post in self.lines("post", "direct_post"):
            yield post
            for reply in map(mapping, listing(post.json.get("replies"))):
                yield Line(attrs.evolve(post.place, ts=reply.get("create_at")), post.type, reply, post.json)

    def names_of(self, *types: str) -> list[str]:
        """Return the names of teams or channels, or the user names of people or bots."""
        return [text(line.json.get("username", line.json.get("name"))) for line in self.lines(*types)]

    def direct_channels(self) -> set[frozenset[str]]:
        return {frozenset(map(text, _members(line.json))) for line in self.lines("direct_channel")}

    def members(self) -> set[tuple[str, str]]:
        """Return who is in which channel."""
        return {
            (text(user.json.get("username")), text(mapping(channel).get("name")))
            for user in self.lines("user")
            for team in listing(user.json.get("teams"))
            for channel in listing(mapping(team).get("channels"))
        }


def _decoded(line: bytes) -> Json:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _members(channel: dict[str, Json]) -> list[Json]:
    people = [mapping(person).get("username") for person in listing(channel.get("participants"))]
    return people or listing(channel.get("members"))


_rules: Rules[MattermostZip] = Rules()
RULES = _rules.all


def violations(path: Path) -> list[Violation]:
    """Return what the server would not take."""
    return _rules.violations(MattermostZip(path))


@_rules.rule("M01", "import process", "The zip has one file of JSON lines, and it comes first.")
def _one_file(zip_file: MattermostZip) -> Found:
    if len(zip_file.files) != 1 or zip_file.names[0] != zip_file.entry or "/" in zip_file.entry:
        yield Place(zip_file.entry), f"{len(zip_file.files)} files of lines, first entry {zip_file.names[:1]}"


@_rules.rule("M02", "bulk import", "Each line is an object with its type, none is empty, and none is over 16 MiB.")
def _lines(zip_file: MattermostZip) -> Found:
    for number, (line, item) in enumerate(zip(zip_file.bytes, zip_file.json, strict=True), 1):
        place = Place(zip_file.entry, number)
        if not line and number == len(zip_file.bytes):
            continue  # what follows the last line feed
        if len(line) >= _LARGEST_LINE:
            yield place, f"has {len(line)} bytes"
        type = text(mapping(item).get("type"))
        if type not in TYPES:
            yield place, f"has the type {type!r}"
        elif type != "version" and not isinstance(item.get(type), dict):
            yield place, f"has no {type}"


@_rules.rule("M03", "bulk import", "The first line, and no other, is version 1.")
def _version(zip_file: MattermostZip) -> Found:
    found = [
        (number, item.get("version"))
        for number, item in enumerate(map(mapping, zip_file.json), 1)
        if item.get("type") == "version"
    ]
    if found != [(1, 1)]:
        yield Place(zip_file.entry, 1), f"the versions are {found}"


@_rules.rule("M04", "bulk import", "Lines are grouped by type, and what is named stands above.")
def _order(zip_file: MattermostZip) -> Found:
    ranks = [
        (number, TYPES.index(item["type"]))
        for number, item in enumerate(map(mapping, zip_file.json), 1)
        if item.get("type") in TYPES[1:]
    ]
    for (_, before), (number, after) in pairwise(ranks):
        if after < before:
            yield Place(zip_file.entry, number), f"a {TYPES[after]} stands below a {TYPES[before]}"


@_rules.rule("M05", "ValidateTeamImportData", "A team has a name of 2 to 64 plain characters.")
def _team_name(zip_file: MattermostZip) -> Found:
    for line in zip_file.lines("team"):
        name = text(line.json.get("name"))
        if not _TEAM.fullmatch(name) or len(name) > 64:
            yield line.place, f"has the name {name!r}"


@_rules.rule("M06", "IsReservedTeamName", "The name of a team does not begin like an address of the server.")
def _reserved_team(zip_file: MattermostZip) -> Found:
    for line in zip_file.lines("team"):
        if text(line.json.get("name")).startswith(_RESERVED):
            yield line.place, f"has the reserved name {line.json['name']!r}"


@_rules.rule("M07", "ValidateTeamImportData", "A team has a display name and a type.")
def _team(zip_file: MattermostZip) -> Found:
    for line in zip_file.lines("team"):
        if not 1 <= len(text(line.json.get("display_name"))) <= 64 or line.json.get("type") not in ("O", "I"):
            yield line.place, "has no display name of up to 64 characters, or no type"


@_rules.rule("M08", "IsValidChannelIdentifier", "A channel has a name of 2 to 64 plain characters.")
def _channel_name(zip_file: MattermostZip) -> Found:
    for line in zip_file.lines("channel"):
        name = text(line.json.get("name"))
        if not _CHANNEL.fullmatch(name) or len(name) > 64:
            yield line.place, f"has the name {name!r}"


@_rules.rule("M09", "Channel.IsValid", "The name of a channel does not look like that of a group or direct one.")
def _channel_kind(zip_file: MattermostZip) -> Found:
    for line in zip_file.lines("channel"):
        name = text(line.json.get("name"))
        if _GROUP_CHANNEL.fullmatch(name) or _DIRECT_CHANNEL.fullmatch(name):
            yield line.place, f"has the name {name!r}"


@_rules.rule("M10", "ValidateChannelImportData", "The texts of a channel are short, and it is open or private.")
def _channel(zip_file: MattermostZip) -> Found:
    for line in zip_file.lines("channel"):
        for name, least, longest in (("display_name", 1, 64), ("header", 0, 1024), ("purpose", 0, 250)):
            if not least <= len(text(line.json.get(name))) <= longest:
                yield line.place, f"has a {name} of {len(text(line.json.get(name)))} characters"
        if line.json.get("type") not in ("O", "P"):
            yield line.place, f"has the type {line.json.get('type')!r}"


@_rules.rule("M11", "importChannel", "The team of a channel is there, and no channel is there twice.")
def _channel_team(zip_file: MattermostZip) -> Found:
    for line in zip_file.lines("channel"):
        if line.json.get("team") not in zip_file.names_of("team"):
            yield line.place, f"is in the team {line.json.get('team')!r}"
    for name in doubles(zip_file.names_of("channel")):
        yield Place(zip_file.entry), f"the channel {name} occurs twice"


@_rules.rule("M12", "IsValidUsername", "User names are short, of plain characters, not reserved, and occur once.")
def _user_names(zip_file: MattermostZip) -> Found:
    for line in zip_file.lines("user", "bot"):
        name = text(line.json.get("username"))
        if not _USER.fullmatch(name) or name in _RESERVED_USERS:
            yield line.place, f"has the name {name!r}"
    for name in doubles(zip_file.names_of("user", "bot")):
        yield Place(zip_file.entry), f"the user {name} occurs twice"


@_rules.rule("M13", "ValidateUserImportData", "A user has an e-mail address of their own, and short names.")
def _emails(zip_file: MattermostZip) -> Found:
    for line in zip_file.lines("user"):
        email = text(line.json.get("email"))
        if not _EMAIL.fullmatch(email) or len(email) > 128:
            yield line.place, f"has the e-mail address {email!r}"
        for name, longest in _LENGTHS.items():
            if len(text(line.json.get(name))) > longest:
                yield line.place, f"has a {name} of over {longest} characters"
    for email in doubles(text(line.json.get("email")) for line in zip_file.lines("user")):
        yield Place(zip_file.entry), f"the e-mail address {email} occurs twice"
    for line in zip_file.lines("bot"):
        if line.json.get("owner") not in zip_file.names_of("user"):
            yield line.place, f"belongs to {line.json.get('owner')!r}"


@_rules.rule("M14", "ValidateUserTeamsImportData", "The teams and channels of a user are there, with a role in each.")
def _memberships(zip_file: MattermostZip) -> Found:
    teams, channels = zip_file.names_of("team"), set(zip_file.names_of("channel"))
    for line in zip_file.lines("user"):
        if not text(line.json.get("roles")):
            yield line.place, "has no roles"
        for team in map(mapping, listing(line.json.get("teams"))):
            if team.get("name") not in teams or not text(team.get("roles")):
                yield line.place, f"is in the team {team.get('name')!r}, or without roles"
            for channel in map(mapping, listing(team.get("channels"))):
                if channel.get("name") not in channels or not text(channel.get("roles")):
                    yield line.place, f"is in the channel {channel.get('name')!r}, or without roles"


@_rules.rule("M15", "importMultiplePostLines", "The team, the channel and the user of a post are there.")
def _named(zip_file: MattermostZip) -> Found:
    teams, channels = set(zip_file.names_of("team")), set(zip_file.names_of("channel"))
    users = set(zip_file.names_of("user", "bot"))
    for post in zip_file.posts():
        if post.json.get("user") not in users:
            yield post.place, f"is by {post.json.get('user')!r}"
        if post.type == "post" and post.json is post.root:
            if post.json.get("team") not in teams:
                yield post.place, f"is in the team {post.json.get('team')!r}"
            if post.json.get("channel") not in channels:
                yield post.place, f"is in the channel {post.json.get('channel')!r}"


@_rules.rule("M16", "ValidatePostImportData", "`create_at` is a number of milliseconds over 0.")
def _moments(zip_file: MattermostZip) -> Found:
    for post in zip_file.posts():
        found = post.json.get("create_at")
        if not is_integer(found) or not 0 < found <= _LAST_MOMENT:
            yield post.place, f"is of {found!r}"


@_rules.rule("M17", "ValidatePostImportData", "A post has a text of at most 16 383 characters, a direct one 4 000.")
def _length(zip_file: MattermostZip) -> Found:
    for post in zip_file.posts():
        found = post.json.get("message")
        longest = _LONGEST_POST if post.type == "post" else _LONGEST_DIRECT_POST
        if not isinstance(found, str) or len(found) > longest:
            yield post.place, "has no text, or a text that is too long"


@_rules.rule("M18", "mmetl", "A post has a text or a file.")
def _something(zip_file: MattermostZip) -> Found:
    for post in zip_file.posts():
        if post.json.get("message") == "" and not post.paths:
            yield post.place, "is empty"


@_rules.rule("M19", "importMultiplePostLines", "No two posts of a channel have the same time and text.")
def _single(zip_file: MattermostZip) -> Found:
    seen = set()
    for post in zip_file.posts():
        key = post.channel, post.json.get("create_at"), post.json.get("message")
        if key in seen:
            yield post.place, "would replace another post"
        seen.add(key)


@_rules.rule("M20", "ValidatePostImportData", "The props of a post have at most 800 000 characters.")
def _props(zip_file: MattermostZip) -> Found:
    for post in zip_file.posts():
        if len(json.dumps(mapping(post.json.get("props")), ensure_ascii=False)) > _LARGEST_PROPS:
            yield post.place, "has huge props"


@_rules.rule("M21", "processAttachmentPaths", "A file lies at its path below `data/`.")
def _paths(zip_file: MattermostZip) -> Found:
    names = set(zip_file.names)
    for post in zip_file.posts():
        for path in post.paths:
            if ".." in path.split("/") or path.startswith("/") or f"data/{path}" not in names:
                yield post.place, f"has the file {path!r}, which is not there"


@_rules.rule("M22", "mmetl", "A post has at most five files.")
def _few_files(zip_file: MattermostZip) -> Found:
    for post in zip_file.posts():
        if len(post.paths) > _MOST_FILES:
            yield post.place, f"has {len(post.paths)} files"


@_rules.rule("M23", "ValidateReplyImportData", "A reply is not older than what it replies to.")
def _replies(zip_file: MattermostZip) -> Found:
    for post in zip_file.posts():
        reply, root = post.json.get("create_at"), post.root.get("create_at")
        if is_integer(reply) and is_integer(root) and reply < root:
            yield post.place, f"is older than the post of {root}"


@_rules.rule("M24", "ValidateDirectChannelImportData", "A direct channel has 2 to 8 users and is there once.")
def _direct_channels(zip_file: MattermostZip) -> Found:
    users = set(zip_file.names_of("user", "bot"))
    seen = set()
    for line in zip_file.lines("direct_channel"):
        members = [text(member) for member in _members(line.json)]
        if not 2 <= len(members) <= 8 or len(set(members)) < len(members):
            yield line.place, f"has {len(members)} members, or one twice"
        for member in sorted(set(members) - users):
            yield line.place, f"has the unknown member {member!r}"
        if (key := frozenset(members)) in seen:
            yield line.place, "is there twice"
        seen.add(key)


@_rules.rule("M25", "importMultipleDirectPostLines", "A direct post is in a direct channel, by one of its members.")
def _direct_posts(zip_file: MattermostZip) -> Found:
    channels = zip_file.direct_channels()
    for post in zip_file.posts():
        if post.type == "direct_post" and (post.channel not in channels or post.json.get("user") not in post.channel):
            yield post.place, "is in an unknown direct channel, or by another user"


@_rules.rule("M26", "mmetl", "No body is there without a post.")
def _unused(zip_file: MattermostZip) -> Found:
    used = {f"data/{path}" for post in zip_file.posts() for path in post.paths}
    for name in zip_file.names:
        if name not in used and name not in zip_file.files:
            yield Place(name), "belongs to no post"
    for name in doubles(zip_file.names):
        yield Place(name), "occurs twice"


@_rules.rule("M27", "importChannel, importUser", "Times of deletion are milliseconds over 0.")
def _deletions(zip_file: MattermostZip) -> Found:
    for line in zip_file.lines("channel", "user", "bot"):
        for name in ("deleted_at", "delete_at"):
            found = line.json.get(name, 1)
            if not is_integer(found) or not 0 < found <= _LAST_MOMENT:
                yield line.place, f"was deleted at {found!r}"


@_rules.rule("M28", "mmetl", "The user of a post is a member of its channel.")
def _senders(zip_file: MattermostZip) -> Found:
    members, users = zip_file.members(), set(zip_file.names_of("user"))
    channels = set(zip_file.names_of("channel"))
    for post in zip_file.posts():
        user = text(post.json.get("user"))
        if post.type == "post" and user in users and post.channel in channels and (user, post.channel) not in members:
            yield post.place, f"is by {user!r}, who is not a member of {post.channel!r}"
