"""Each rule of the importers of Slack files is violated by a file with exactly that mistake, and by no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

from tests.formats.rules_slack import LARGEST_JSON, RULES, violations

Entries = dict[str, Any]


def user(number: int, name: str, **more: Any) -> dict[str, Any]:
    profile = dict.fromkeys(
        ("title", "image_72", "image_512", "image_original", "status_text", "first_name", "last_name"), ""
    )
    names = ("real_name", "real_name_normalized", "display_name", "display_name_normalized")
    return {
        "id": f"U{number:010}",
        "team_id": "T0000000001",
        "name": name,
        "real_name": name,
        "tz": "UTC",
        "tz_label": "UTC",
        "tz_offset": 0,
        "updated": 0,
        **dict.fromkeys(("deleted", "is_admin", "is_owner", "is_primary_owner", "is_restricted"), False),
        **dict.fromkeys(("is_ultra_restricted", "is_bot", "is_app_user"), False),
        "profile": {
            **profile,
            **dict.fromkeys(names, name),
            "email": f"{name}@example.com",
            "team": "T0000000001",
        },
        **more,
    }


ANN, BEN, BOT = (f"U{number:010}" for number in (1, 2, 3))
FILE = "F0000000001"


def channel(id: str, name: str, **more: Any) -> dict[str, Any]:
    value = {"value": "", "creator": ANN, "last_set": 0}
    return {
        "id": id,
        "name": name,
        "created": 1_500_000_000,
        "creator": ANN,
        "is_archived": False,
        "is_general": False,
        "members": [ANN, BEN],
        "topic": value,
        "purpose": value,
        "updated": 1_500_000_000_000,
        **more,
    }


def valid() -> Entries:
    """Return the entries of a small export without any mistake."""
    bot = user(3, "bot", is_bot=True)
    bot["profile"]["bot_id"] = "B0000000003"
    file = {
        "id": FILE,
        **dict.fromkeys(("name", "title"), "a.txt"),
        "mimetype": "text/plain",
        "filetype": "txt",
        "size": 5,
        "mode": "hosted",
        "is_external": False,
        "user": BEN,
        "created": 1_500_000_001,
        "timestamp": 1_500_000_001,
        **dict.fromkeys(("url_private", "url_private_download"), "https://files.invalid/a.txt"),
    }
    return {
        "channels.json": [channel("C0000000001", "general"), channel("C0000000002", "empty")],
        "groups.json": [channel("G0000000003", "secret")],
        "dms.json": [{"id": "D0000000004", "created": 1_500_000_000, "members": [ANN, BEN]}],
        "mpims.json": [],
        "users.json": [user(1, "ann"), user(2, "ben"), bot],
        "integration_logs.json": [],
        "general/": b"",
        "general/2017-07-14.json": [
            {"type": "message", "user": ANN, "text": f"a &lt; b, <@{BEN}> <!here>", "ts": "1500000000.000001"},
            {
                "type": "message",
                "user": BEN,
                "text": "<https://example.com/?a=1&amp;b=2|here>",
                "ts": "1500000001.000000",
                "files": [file],
                "upload": True,
            },
        ],
        "general/2017-07-15.json": [
            {
                "type": "message",
                "subtype": "bot_message",
                "bot_id": "B0000000003",
                "username": "bot",
                "text": "hi",
                "ts": "1500100000.000000",
            }
        ],
        f"__uploads/{FILE}/a.txt": b"hello",
        "empty/": b"",
        "secret/": b"",
        "D0000000004/": b"",
        "D0000000004/2017-07-14.json": [{"type": "message", "user": BEN, "text": "", "ts": "1500000000.000000"}],
    }


def zipped(entries: Entries, path: Path) -> Path:
    with ZipFile(path, "w", ZIP_DEFLATED, compresslevel=1) as file:
        for name, content in entries.items():
            file.writestr(name, content if isinstance(content, bytes) else json.dumps(content))
    return path


def general(entries: Entries) -> list[dict[str, Any]]:
    return entries["general/2017-07-14.json"]


def moved(entries: Entries, old: str, new: str) -> None:
    entries[new] = entries.pop(old)


def renamed_group(entries: Entries, name: str) -> None:
    entries["groups.json"][0]["name"] = name
    moved(entries, "secret/", f"{name}/")


BROKEN: list[tuple[str, str, Callable[[Entries], object]]] = [
    ("S01", "a missing list", lambda e: e.pop("integration_logs.json")),
    ("S01", "a list that is an object", lambda e: e.update({"mpims.json": {}})),
    ("S02", "a foreign file", lambda e: e.update({"readme.txt": b""})),
    ("S03", "a name that is not ASCII", lambda e: moved(e, f"__uploads/{FILE}/a.txt", f"__uploads/{FILE}/ä.txt")),
    ("S03", "a name that leads out", lambda e: moved(e, f"__uploads/{FILE}/a.txt", f"__uploads/{FILE}/..")),
    ("S04", "a conversation without a folder", lambda e: e.pop("empty/")),
    ("S05", "a folder without a conversation", lambda e: e.update({"nothing/": b""})),
    ("S06", "an id of another kind", lambda e: e["channels.json"][1].update(id="X0000000002")),
    ("S06", "an id that occurs twice", lambda e: e["channels.json"][1].update(id="C0000000001")),
    (
        "S07",
        "a name in capitals",
        lambda e: (e["groups.json"][0].update(name="Secret"), moved(e, "secret/", "Secret/")),
    ),
    ("S07", "a long name", lambda e: renamed_group(e, "s" * 81)),
    ("S07", "a name that occurs twice", lambda e: (e["groups.json"][0].update(name="empty"), e.pop("secret/"))),
    ("S08", "a creation in milliseconds", lambda e: e["dms.json"][0].update(created=1_500_000_000_000)),
    ("S09", "an unknown creator", lambda e: e["groups.json"][0].update(creator="U9")),
    ("S10", "no members", lambda e: e["groups.json"][0].update(members=[])),
    ("S10", "a member twice", lambda e: e["groups.json"][0].update(members=[ANN, ANN])),
    ("S10", "an unknown member", lambda e: e["groups.json"][0].update(members=["U9"])),
    ("S11", "a direct conversation of three", lambda e: e["dms.json"][0].update(members=[ANN, BEN, BOT])),
    ("S12", "no topic", lambda e: e["groups.json"][0].pop("topic")),
    ("S12", "a purpose without a value", lambda e: e["groups.json"][0].update(purpose={})),
    ("S12", "no word on archiving", lambda e: e["groups.json"][0].pop("is_archived")),
    ("S13", "a user id twice", lambda e: e["users.json"].append(user(1, "ann2"))),
    ("S13", "a user id of another kind", lambda e: e["users.json"].append(user(4, "dan", id="X4"))),
    ("S14", "a user name twice", lambda e: e["users.json"].append(user(4, "ann"))),
    ("S14", "a user name with a blank", lambda e: e["users.json"][0].update(name="ann b")),
    ("S15", "a profile without a picture", lambda e: e["users.json"][0]["profile"].pop("image_72")),
    ("S15", "a user without an e-mail address", lambda e: e["users.json"][0]["profile"].update(email="")),
    ("S15", "a user without a flag", lambda e: e["users.json"][0].pop("is_bot")),
    ("S16", "a day that is not in the calendar", lambda e: e.update({"secret/2017-02-30.json": [old_message()]})),
    ("S17", "an empty day", lambda e: e.update({"secret/2017-07-14.json": []})),
    ("S17", "something other than a message", lambda e: general(e)[0].update(type="event")),
    ("S18", "a time as a number", lambda e: general(e)[0].update(ts=1500000000.1)),
    ("S18", "a time of three digits after the dot", lambda e: general(e)[0].update(ts="1500000000.001")),
    ("S19", "a message of another day", lambda e: moved(e, "general/2017-07-15.json", "general/2017-07-16.json")),
    ("S20", "two messages of one time", lambda e: general(e)[1].update(ts="1500000000.000001")),
    ("S20", "messages in reverse", lambda e: general(e).reverse()),
    ("S21", "an unknown sender", lambda e: general(e)[0].update(user="U9")),
    ("S21", "a bot without a name", lambda e: e["general/2017-07-15.json"][0].pop("username")),
    ("S22", "a sign that is not escaped", lambda e: general(e)[0].update(text="a < b")),
    ("S22", "a link of another scheme", lambda e: general(e)[0].update(text="<ftp://a|b>")),
    ("S22", "an ampersand in a link", lambda e: general(e)[0].update(text="<https://a?b&c|b>")),
    ("S22", "no text", lambda e: general(e)[0].pop("text")),
    ("S23", "an unknown mention", lambda e: general(e)[0].update(text="<@U9>")),
    ("S24", "a file without a title", lambda e: general(e)[1]["files"][0].pop("title")),
    ("S24", "a file without upload", lambda e: general(e)[1].pop("upload")),
    ("S25", "a body that is missing", lambda e: e.pop(f"__uploads/{FILE}/a.txt")),
    ("S25", "a body of another size", lambda e: e.update({f"__uploads/{FILE}/a.txt": b"hell"})),
    ("S25", "two bodies", lambda e: e.update({f"general/attachments/{FILE}-a.txt": b"hello"})),
    ("S26", "a body that nothing uses", lambda e: e.update({"__uploads/F0000000002/b.txt": b""})),
    ("S27", "a reply to nothing", lambda e: general(e)[0].update(thread_ts="1400000000.000000")),
    ("S27", "a thread without its key", lambda e: general(e)[0].update(reply_count=1)),
    ("S28", "a huge list", lambda e: e.update({"mpims.json": b"[" + b" " * LARGEST_JSON + b"]"})),
    ("S29", "a subtype of groups", lambda e: general(e)[0].update(subtype="group_join")),
]


def old_message() -> dict[str, Any]:
    return {"type": "message", "user": ANN, "text": "", "ts": "1488326400.000000"}


def test_a_small_export_without_mistakes_violates_no_rule(tmp_path):
    """The file that the other tests break is valid as it is."""
    assert [] == violations(zipped(valid(), tmp_path / "slack.zip"))


def test_files_may_lie_next_to_the_messages(tmp_path):
    """A body in `attachments/` of its conversation's folder counts like one in `__uploads/`."""
    entries = valid()
    moved(entries, f"__uploads/{FILE}/a.txt", f"general/attachments/{FILE}-a.txt")

    assert [] == violations(zipped(entries, tmp_path / "slack.zip"))


@pytest.mark.parametrize(("rule", "mistake", "spoil"), BROKEN, ids=[f"{rule}: {what}" for rule, what, _ in BROKEN])
def test_one_mistake_violates_the_rule_against_it_and_no_other(tmp_path, rule, mistake, spoil):
    """What is wrong is reported by exactly one rule, with its place and a reason."""
    entries = valid()
    spoil(entries)

    found = violations(zipped(entries, tmp_path / "slack.zip"))

    assert {rule} == {violation.rule for violation in found}, found
    assert all(violation.place.entry and violation.why for violation in found)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_occurs_twice_is_found(tmp_path):
    """A dictionary cannot have two entries of one name; a zip file can."""
    path = zipped(valid(), tmp_path / "slack.zip")
    with ZipFile(path, "a") as file:
        file.writestr("mpims.json", "[]")

    assert ["S03"] == [violation.rule for violation in violations(path)]


def test_every_rule_is_tested_and_has_a_source():
    """There is a mistake for each of the rules S01 to S29, and each names the importer that imposes it."""
    assert [f"S{number:02}" for number in range(1, 30)] == [rule.id for rule in RULES]
    assert {rule.id for rule in RULES} == {rule for rule, _, _ in BROKEN}
    assert all(rule.importer and rule.says for rule in RULES)


def test_a_violation_shows_its_place(tmp_path):
    """It can be read: rule, entry, line, time, reason."""
    entries = valid()
    general(entries)[1].update(user="U9")

    [found] = violations(zipped(entries, tmp_path / "slack.zip"))

    assert "S21 general/2017-07-14.json:2 at 1500000001.000000: is from 'U9'" == str(found)
