"""The zip file of a Slack export: taken by the rules of its importers, and with nothing lost that is not counted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import attrs
import pytest

from stride_async.document import doc, media, media_group, mention, paragraph, text
from stride_async.export.formats import ConvertOptions, Report, convert
from stride_async.server import LocalServer
from tests.conftest import client_of
from tests.export.exporting import exported, show_file
from tests.formats.archives import fill_site
from tests.formats.rules_slack import violations


@attrs.frozen
class Export:
    """A zip file as its reader sees it, and the report on it."""

    path: Path
    report: Report

    def json(self, name: str) -> Any:
        with ZipFile(self.path) as file:
            return json.loads(file.read(name))

    def room(self, name: str) -> dict[str, Any]:
        """Return the channel or group that has a name on the site."""
        [room] = [
            room
            for room in [*self.json("channels.json"), *self.json("groups.json")]
            if name == room["purpose"]["value"]
        ]
        return room

    def user(self, name: str) -> dict[str, Any]:
        [user] = [user for user in self.json("users.json") if name == user["real_name"]]
        return user

    def messages(self, name: str) -> list[dict[str, Any]]:
        """Return the messages of the channel or group that has a name on the site."""
        return self.messages_in(self.room(name)["name"])

    def messages_in(self, folder: str) -> list[dict[str, Any]]:
        with ZipFile(self.path) as file:
            names = sorted(name for name in file.namelist() if name.startswith(f"{folder}/") and name.endswith(".json"))
            return [message for name in names for message in json.loads(file.read(name))]

    @property
    def lost(self) -> dict[str, int]:
        return {loss.kind: loss.count for loss in self.report.lost}


@pytest.fixture
def slack(server: LocalServer, tmp_path: Path) -> Callable[..., Any]:
    """Export the site of the server and convert it; what is written satisfies every rule."""

    async def make(**options: Any) -> Export:
        async with client_of(server) as client:
            await exported(client, tmp_path / "site")
        return converted(tmp_path / "site", **options)

    return make


def converted(archive: Path, **options: Any) -> Export:
    out = archive.with_name(f"{archive.name}.zip")
    report = convert(archive, "slack", out, options=ConvertOptions(**options))
    assert [] == violations(out)
    return Export(out, report)


async def test_messages_people_and_rooms_are_in_the_lists(server, slack):
    """Names are slugs, and the real ones travel in the purpose and the profile."""
    await fill_site(server)

    export = await slack()

    public, private, ann = export.room("general"), export.room("General"), export.user("Ann Adler")
    assert {"general"} == {room["name"][:7] for room in (public, private)}
    assert public["is_general"] == (public["name"] == "general")
    assert ann["id"] in public["members"]
    assert ("ann-adler", "ann.adler@example.invalid") == (ann["name"], ann["profile"]["email"])
    assert 122 == len(export.messages("general"))
    assert 5 == len(export.messages("General"))
    assert [] == export.messages("empty")


async def test_text_mentions_and_files_reach_the_message(server, slack):
    """A file is listed with its message, and its body has its size."""
    rooms = await fill_site(server)
    show_file(server, rooms[0], "Übersicht (1).txt", b"overview")

    export = await slack()

    [mentioning] = [message for message in export.messages("general") if "<@" in message["text"]]
    [*_, showing] = export.messages("general")
    [file] = showing["files"]
    bob = export.user("Bob Brown")
    assert f"<@{bob['id']}> reads <https://example.invalid/|the page>" == mentioning["text"]
    assert ("Ubersicht_1_.txt", "Übersicht (1).txt", 8) == (file["name"], file["title"], file["size"])
    assert f"https://files.invalid/{file['id']}/{file['name']}" == file["url_private"]
    with ZipFile(export.path) as zip_file:
        assert b"overview" == zip_file.read(f"__uploads/{file['id']}/{file['name']}")


async def test_files_can_lie_next_to_the_messages(server, slack):
    """Viewers and the importer of Discord look for them there, and URLs can be those of a server."""
    await fill_site(server)

    export = await slack(files="beside", files_base_url="https://files.example.com/stride/")

    [file] = export.messages("general")[-1]["files"]
    folder = export.room("general")["name"]
    assert f"https://files.example.com/stride/{file['id']}/plan.txt" == file["url_private"]
    with ZipFile(export.path) as zip_file:
        assert b"body" == zip_file.read(f"{folder}/attachments/{file['id']}-plan.txt")


async def test_messages_of_one_time_are_told_apart(server, slack):
    """Slack knows a message by its time, so later ones are moved by a microsecond each, and counted."""
    room = server.add_conversation("general")
    server.fill(room, 3, same_ts=True, ts="2018-06-30T23:59:59.999999Z")

    export = await slack()

    times = ["1530403199.999999", "1530403200.000000", "1530403200.000001"]
    assert times == [message["ts"] for message in export.messages("general")]
    assert 2 == export.lost["time moved"]


async def test_a_direct_conversation_has_two_people(server, slack):
    """One with another number of people becomes a private channel."""
    ann, bob = server.add_user("Ann"), server.add_user("Bob")
    room = server.add_conversation("", type="direct", privacy="private", roster=[ann, bob])
    server.add_message(room, "hi", sender_id=ann)
    server.add_conversation("alone", type="direct", privacy="private", roster=[ann])

    export = await slack()

    [dm] = export.json("dms.json")
    assert dm["id"].startswith("D")
    assert ["hi"] == [message["text"] for message in export.messages_in(dm["id"])]
    assert export.room("alone") in export.json("groups.json")


async def test_a_day_that_importers_would_refuse_is_counted(server, slack, monkeypatch):
    """Slack has one file for each day of a conversation, however large."""
    monkeypatch.setattr("stride_async.export.formats.slack._LARGEST_DAY", 2_000)
    server.fill(server.add_conversation("quiet"), 3)
    server.fill(server.add_conversation("loud"), 30)

    export = await slack()

    assert 1 == export.lost["day larger than importers read"]


async def test_a_room_without_anyone_has_a_member(server, slack):
    """Slack has no channel without members, so someone unknown is in it."""
    server.add_conversation("general")

    export = await slack()

    [someone] = export.json("users.json")
    assert [someone["id"]] == export.room("general")["members"]
    assert someone["deleted"]


async def test_a_message_without_a_document_is_carried_as_its_text(server, slack, tmp_path):
    """So is one of which only the text, the id and the time are readable."""
    room = server.add_conversation("general")
    server.add_message(room, {"type": "nothing"})
    server.add_message(room, {"type": "doc", "version": 1, "content": None})

    export = await slack()

    assert 2 == len(export.messages("general"))


async def test_an_app_is_a_bot(server, slack):
    """Its messages carry its name, and it is a user that is a bot."""
    room = server.add_conversation("general")
    server.add_message(room, "beep", sender_id=server.app_account_id)

    export = await slack()

    [message] = export.messages("general")
    [bot] = [user for user in export.json("users.json") if user["is_bot"]]
    assert ("bot_message", bot["profile"]["bot_id"]) == (message["subtype"], message["bot_id"])
    assert message["username"] == bot["real_name"]


async def test_everyone_who_is_mentioned_is_a_user(server, slack):
    """Someone whom the service does not know has the id as name, and is deactivated."""
    room = server.add_conversation("general")
    server.add_message(room, doc(paragraph(mention("all", "@all"), text(" and "), mention("u:1", "@Zoe"))).to_json())

    export = await slack()

    [unknown] = [user for user in export.json("users.json") if user["deleted"]]
    [message] = export.messages("general")
    assert f"<!channel> and <@{unknown['id']}>" == message["text"]
    assert "u:1" == unknown["real_name"]
    assert 1 == export.lost["person without a profile"]


async def test_what_is_lost_is_counted(server, slack, tmp_path):
    """A file without a body is named in the text; a message without anything stays, with an empty text."""
    room = server.add_conversation("general")
    file = show_file(server, room, "gone.txt", b"gone")
    server.add_message(room, doc(paragraph()).to_json())
    async with client_of(server) as client:
        await exported(client, tmp_path / "site")
    for body in (tmp_path / "site/media/sha256").rglob("*"):
        if body.is_file():
            body.unlink()

    export = converted(tmp_path / "site")

    assert [f"(file not held: {file})", ""] == [message["text"] for message in export.messages("general")]
    assert {"file not held": 1, "empty message": 1, "creator unknown": 1, "name changed": 1} == export.lost


async def test_one_file_in_two_messages_has_one_body(server, slack):
    """Both messages list it under one id."""
    room = server.add_conversation("general")
    file = show_file(server, room, "plan.txt", b"body")
    server.add_message(room, doc(media_group(media(file, collection=room))).to_json())

    export = await slack()

    one, other = export.messages("general")
    assert one["files"][0]["id"] == other["files"][0]["id"]
    assert 1 == export.report.files


async def test_nothing_in_the_zip_depends_on_the_machine(server, slack):
    """Entries have the earliest date and the rights of a plain file; only what can shrink is compressed."""
    await fill_site(server)

    export = await slack()

    with ZipFile(export.path) as file:
        for info in file.infolist():
            assert ((1980, 1, 1, 0, 0, 0), 3) == (info.date_time, info.create_system)
            assert info.external_attr >> 16 == (0o40755 if info.is_dir() else 0o100644)
            if not info.is_dir():
                assert (ZIP_STORED if info.filename.startswith("__") else ZIP_DEFLATED) == info.compress_type


async def test_the_digest_is_over_names_and_contents(server, slack):
    """It is the same whatever compresses them."""
    await fill_site(server)

    export = await slack()

    digest = hashlib.sha256()
    with ZipFile(export.path) as file:
        for info in file.infolist():
            content = "" if info.is_dir() else hashlib.sha256(file.read(info)).hexdigest()
            digest.update(f"{info.filename}\0{content}\n".encode())
    assert digest.hexdigest() == export.report.digest


async def test_ids_are_listed_next_to_the_zip(server, slack, tmp_path):
    """Each id of the site is there with the one that replaces it."""
    rooms = await fill_site(server)

    export = await slack()

    lines = [json.loads(line) for line in (tmp_path / "site.zip.ids.jsonl").read_text().splitlines()]
    ids = {line["stride"]: line["id"] for line in lines if line["kind"] == "conversation"}
    assert set(rooms) == set(ids)
    assert export.room("general")["id"] == ids[rooms[0]]
    assert {"conversation", "file", "user"} == {line["kind"] for line in lines}


@pytest.mark.parametrize(
    "plan", ["conversations=12,messages=120,media=12,media_max=2000", "conversations=1,messages=0,media=0"]
)
async def test_generated_sites_satisfy_every_rule(tmp_path, plan):
    """They have every kind of node and mark, names in many scripts, and messages of one time."""
    async with LocalServer(generate=plan, rate_limit=None) as server, client_of(server) as client:
        summary = await exported(client, tmp_path / "site")

    assert summary.messages == converted(tmp_path / "site").report.messages


async def test_a_real_history_satisfies_every_rule(tmp_path, meetup):
    """So do the messages of people, with their files."""
    async with LocalServer(seed=meetup / "site.jsonl", rate_limit=None) as server, client_of(server) as client:
        summary = await exported(client, tmp_path / "site")

    report = converted(tmp_path / "site").report
    assert (summary.messages, summary.media) == (report.messages, report.files)
