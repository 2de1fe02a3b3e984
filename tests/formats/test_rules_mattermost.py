"""Each rule of Mattermost's import is violated by a file with exactly that mistake, and by no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import attrs
import pytest

from tests.formats.rules_mattermost import RULES, violations

PATH = "bulk-export-attachments/0123456789abcdef0123456789_a.txt"
Item = dict[str, Any]


@attrs.define
class Import:
    """The content of a zip file, to be spoiled."""

    lines: list[Any]
    bodies: dict[str, bytes]
    before: dict[str, bytes] = attrs.field(factory=dict)

    def of(self, type: str) -> Item:
        """Return the first object of a type."""
        return next(line[type] for line in self.lines if line["type"] == type)

    def add(self, below: str, type: str, item: Any) -> None:
        """Add a line below the last one of a type."""
        last = max(number for number, line in enumerate(self.lines) if line["type"] == below)
        self.lines.insert(last + 1, {"type": type, type: item})

    def saved(self, path: Path) -> Path:
        with ZipFile(path, "w", ZIP_DEFLATED, compresslevel=1) as file:
            for name, content in self.before.items():
                file.writestr(name, content)
            texts = [line if isinstance(line, str) else json.dumps(line) for line in self.lines]
            file.writestr("import.jsonl", "".join(f"{text}\n" for text in texts))
            for name, content in self.bodies.items():
                file.writestr(name, content)
        return path


def user(name: str, *channels: str) -> Item:
    inside = [{"name": channel, "roles": "channel_user", "last_viewed_at": 1_500_000_000_000} for channel in channels]
    return {
        "username": name,
        "email": f"{name}@example.com",
        **dict.fromkeys(("nickname", "first_name", "last_name", "position"), ""),
        "roles": "system_user",
        "teams": [{"name": "ours", "roles": "team_user", "channels": inside}],
    }


def valid() -> Import:
    """Return a small import without any mistake."""
    channel = {"team": "ours", "type": "O", "header": "", "purpose": ""}
    files = [{"path": PATH}]
    reply = {"user": "ann", "message": "more", "create_at": 1_500_000_000_001}
    post = {"team": "ours", "channel": "general", "user": "ann", "message": "hello"}
    direct = {"channel_members": ["ann", "ben"], "user": "ben", "create_at": 1_500_000_000_000}
    lines = {
        "team": [{"name": "ours", "display_name": "Ours", "type": "I"}],
        "channel": [
            {**channel, "name": "general", "display_name": "General"},
            {**channel, "name": "old", "display_name": "Old", "type": "P", "deleted_at": 1_500_000_000_000},
        ],
        "user": [user("ann", "general", "old"), {**user("ben"), "delete_at": 1_500_000_000_000}],
        "bot": [{"username": "helper", "display_name": "Helper", "owner": "ann"}],
        "post": [
            {**post, "create_at": 1_500_000_000_000, "props": {"stride_id": "1"}, "replies": [reply]},
            {**post, "create_at": 1_500_000_000_002, "message": "", "attachments": files},
            {**post, "create_at": 1_500_000_000_003, "user": "helper"},
        ],
        "direct_channel": [{"members": ["ann", "ben"], "header": ""}],
        "direct_post": [{**direct, "message": "hi"}],
    }
    typed = [{"type": type, type: item} for type, items in lines.items() for item in items]
    return Import([{"type": "version", "version": 1}, *typed], {f"data/{PATH}": b"hello"})


def with_text(type: str, length: int) -> Callable[[Import], object]:
    return lambda i: i.of(type).update(message="x" * length)


BROKEN: list[tuple[str, str, Callable[[Import], object]]] = [
    ("M01", "two files of lines", lambda i: i.bodies.update({"more.jsonl": b""})),
    ("M01", "a body before the lines", lambda i: i.before.update({f"data/{PATH}": i.bodies.pop(f"data/{PATH}")})),
    ("M02", "an empty line", lambda i: i.lines.insert(3, "")),
    ("M02", "a line that is not JSON", lambda i: i.lines.append("{")),
    ("M02", "an unknown type", lambda i: i.lines.append({"type": "playbook", "playbook": {}})),
    ("M02", "a type without its object", lambda i: i.lines.append({"type": "direct_post", "post": {}})),
    ("M02", "a huge line", lambda i: i.of("post").update(extra="x" * 2**24)),
    ("M03", "another version", lambda i: i.lines[0].update(version=2)),
    ("M03", "no version", lambda i: i.lines.pop(0)),
    ("M03", "a second version", lambda i: i.lines.append({"type": "version", "version": 1})),
    ("M04", "a channel below the users", lambda i: i.add("user", "channel", {**i.of("channel"), "name": "new"})),
    ("M05", "a name of one letter", lambda i: renamed_team(i, "x")),
    ("M05", "a name with an underscore", lambda i: renamed_team(i, "our_s")),
    ("M06", "a reserved name", lambda i: renamed_team(i, "help-us")),
    ("M07", "no display name", lambda i: i.of("team").update(display_name="")),
    ("M07", "another type", lambda i: i.of("team").update(type="P")),
    ("M08", "a name in capitals", lambda i: i.add("channel", "channel", {**i.of("channel"), "name": "New"})),
    ("M08", "a name that ends with a hyphen", lambda i: i.add("channel", "channel", {**i.of("channel"), "name": "n-"})),
    ("M08", "a long name", lambda i: i.add("channel", "channel", {**i.of("channel"), "name": "n" * 65})),
    ("M09", "the name of a group", lambda i: i.add("channel", "channel", {**i.of("channel"), "name": "0" * 40})),
    (
        "M09",
        "the name of a direct channel",
        lambda i: i.add("channel", "channel", {**i.of("channel"), "name": f"{'a' * 26}__{'b' * 26}"}),
    ),
    ("M10", "a long display name", lambda i: i.of("channel").update(display_name="x" * 65)),
    ("M10", "a long header", lambda i: i.of("channel").update(header="x" * 1025)),
    ("M10", "a long purpose", lambda i: i.of("channel").update(purpose="x" * 251)),
    ("M10", "another type", lambda i: i.of("channel").update(type="D")),
    ("M11", "an unknown team", lambda i: i.of("channel").update(team="theirs")),
    ("M11", "a channel twice", lambda i: i.add("channel", "channel", i.of("channel"))),
    ("M12", "a reserved user name", lambda i: i.add("user", "user", user("system"))),
    ("M12", "a user name with a blank", lambda i: i.add("user", "user", {**user("dan"), "username": "d an"})),
    ("M12", "a long user name", lambda i: i.add("user", "user", user("a" * 23))),
    ("M12", "a bot named like a user", lambda i: i.add("bot", "bot", {**i.of("bot"), "username": "ben"})),
    ("M13", "an e-mail address in capitals", lambda i: i.of("user").update(email="Ann@example.com")),
    ("M13", "an e-mail address twice", lambda i: i.of("user").update(email="ben@example.com")),
    ("M13", "a long last name", lambda i: i.of("user").update(last_name="x" * 65)),
    ("M13", "a bot without an owner", lambda i: i.of("bot").update(owner="dan")),
    ("M14", "a member of an unknown channel", lambda i: i.of("user")["teams"][0]["channels"][1].update(name="new")),
    ("M14", "a member without a role", lambda i: i.of("user")["teams"][0]["channels"][1].pop("roles")),
    ("M15", "a post of an unknown user", lambda i: i.of("post").update(user="dan")),
    ("M15", "a post in an unknown channel", lambda i: i.of("post").update(channel="new")),
    ("M15", "a reply of an unknown user", lambda i: i.of("post")["replies"][0].update(user="dan")),
    ("M16", "a time of zero", lambda i: i.of("direct_post").update(create_at=0)),
    ("M16", "a time as text", lambda i: i.of("direct_post").update(create_at="1500000000000")),
    ("M17", "a long post", with_text("post", 16_384)),
    ("M17", "a long direct post", with_text("direct_post", 4_001)),
    ("M17", "a post without a text", lambda i: i.of("post").pop("message")),
    ("M18", "an empty post", with_text("post", 0)),
    ("M19", "a post twice", lambda i: i.add("post", "post", i.lines[-3]["post"])),
    ("M20", "huge props", lambda i: i.of("post").update(props={"x": "x" * 800_000})),
    ("M21", "a file that is not there", lambda i: i.of("post").update(attachments=[{"path": "none"}])),
    ("M21", "a path that leads out", lambda i: i.of("post").update(attachments=[{"path": f"../data/{PATH}"}])),
    ("M22", "six files", lambda i: i.of("post").update(attachments=[{"path": PATH}] * 6)),
    ("M23", "a reply before its post", lambda i: i.of("post")["replies"][0].update(create_at=1_400_000_000_000)),
    ("M24", "one member", lambda i: i.add("direct_channel", "direct_channel", {"members": ["ann"]})),
    ("M24", "an unknown member", lambda i: i.add("direct_channel", "direct_channel", {"members": ["ann", "dan"]})),
    ("M24", "a direct channel twice", lambda i: i.add("direct_channel", "direct_channel", {"members": ["ben", "ann"]})),
    ("M25", "an unknown direct channel", lambda i: i.of("direct_post").update(channel_members=["ben", "helper"])),
    ("M25", "a direct post by another", lambda i: i.of("direct_post").update(user="helper")),
    ("M26", "a body that nothing uses", lambda i: i.bodies.update({"data/x": b""})),
    ("M27", "a deletion at zero", lambda i: i.lines[-8]["user"].update(delete_at=0)),
    ("M28", "a sender who is not a member", lambda i: i.of("post").update(user="ben")),
]


def renamed_team(content: Import, name: str) -> None:
    for line in content.lines:
        item = line.get(line["type"])
        if line["type"] in ("channel", "post"):
            item["team"] = name
        elif line["type"] == "team":
            item["name"] = name
        elif line["type"] == "user":
            item["teams"][0]["name"] = name


def test_a_small_import_without_mistakes_violates_no_rule(tmp_path):
    """The file that the other tests break is valid as it is."""
    assert [] == violations(valid().saved(tmp_path / "mattermost.zip"))


@pytest.mark.parametrize(("rule", "mistake", "spoil"), BROKEN, ids=[f"{rule}: {what}" for rule, what, _ in BROKEN])
def test_one_mistake_violates_the_rule_against_it_and_no_other(tmp_path, rule, mistake, spoil):
    """What is wrong is reported by exactly one rule, with its place and a reason."""
    content = valid()
    spoil(content)

    found = violations(content.saved(tmp_path / "mattermost.zip"))

    assert {rule} == {violation.rule for violation in found}, found
    assert all(violation.place.entry and violation.why for violation in found)


def test_every_rule_is_tested_and_has_a_source():
    """There is a mistake for each of the rules M01 to M28, and each names what imposes it."""
    assert [f"M{number:02}" for number in range(1, 29)] == [rule.id for rule in RULES]
    assert {rule.id for rule in RULES} == {rule for rule, _, _ in BROKEN}
    assert all(rule.importer and rule.says for rule in RULES)


def test_a_violation_shows_its_place(tmp_path):
    """It can be read: rule, entry, line, time, reason."""
    content = valid()
    content.of("post")["user"] = "dan"

    [found] = violations(content.saved(tmp_path / "mattermost.zip"))

    assert "M15 import.jsonl:8 at 1500000000000: is by 'dan'" == str(found)
