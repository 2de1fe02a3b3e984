"""The zip file of a bulk import for Mattermost: taken by the server's rules, with nothing lost that is not counted."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stride_async.document import Document, code, doc, hard_break, link, media, media_group, mention, paragraph, text
from stride_async.export.formats import ConvertOptions, Report, convert
from stride_async.export.formats._mattermost_text import MattermostText, split
from stride_async.server import LocalServer
from tests.conftest import client_of
from tests.documents import COMMONMARK, expressible
from tests.export.exporting import exported
from tests.formats.archives import fill_site
from tests.formats.rules_mattermost import violations


@attrs.frozen
class Import:
    """A zip file as the server reads it, and the report on it."""

    path: Path
    report: Report

    def all(self, type: str) -> list[dict[str, Any]]:
        """Return everything of a type."""
        with ZipFile(self.path) as file:
            lines = [json.loads(line) for line in file.read("import.jsonl").splitlines()]
        return [line[type] for line in lines if line["type"] == type]

    def channel(self, name: str) -> dict[str, Any]:
        """Return the channel that has a name on the site."""
        [channel] = [channel for channel in self.all("channel") if name == channel["purpose"]]
        return channel

    def posts(self, name: str) -> list[dict[str, Any]]:
        """Return the posts of the channel that has a name on the site."""
        slug = self.channel(name)["name"]
        return [post for post in self.all("post") if slug == post["channel"]]

    def user(self, name: str) -> dict[str, Any]:
        [user] = [user for user in self.all("user") if name == user["username"]]
        return user

    @property
    def lost(self) -> dict[str, int]:
        """Return what is lost, without the names that became slugs."""
        return {loss.kind: loss.count for loss in self.report.lost if loss.kind != "name changed"}


@pytest.fixture
def mattermost(server: LocalServer, tmp_path: Path) -> Callable[..., Any]:
    """Export the site of the server and convert it; what is written satisfies every rule."""

    async def make(**options: Any) -> Import:
        async with client_of(server) as client:
            await exported(client, tmp_path / "site")
        return converted(tmp_path / "site", **options)

    return make


def converted(archive: Path, **options: Any) -> Import:
    out = archive.with_name(f"{archive.name}.zip")
    report = convert(archive, "mattermost", out, options=ConvertOptions(**options))
    assert [] == violations(out)
    return Import(out, report)


async def test_rooms_people_and_posts_are_lines(server, mattermost):
    """Everything is in one team, in which each person has read everything."""
    rooms = await fill_site(server)
    server.archive(rooms[2])

    content = await mattermost(team="old-stride")

    general, private = content.channel("general"), content.channel("General")
    ann = content.user("ann-adler")
    [team] = ann["teams"]
    seen = {channel["name"]: channel for channel in team["channels"]}
    posts = content.posts("general")
    assert (("O", "P"), 122) == ((general["type"], private["type"]), len(posts))
    assert [{"name": "old-stride", "display_name": "old-stride", "type": "I"}] == content.all("team")
    assert "deleted_at" in content.channel("empty")
    assert ("ann.adler@example.invalid", "Ann Adler") == (ann["email"], ann["nickname"])
    assert {general["name"], private["name"]} == set(seen)
    assert (122, posts[-1]["create_at"]) == tuple(
        seen[general["name"]][name] for name in ("msg_count", "last_viewed_at")
    )


async def test_text_is_markdown_with_user_names(server, mattermost):
    """A mention becomes the user name, and a file is attached to its post."""
    await fill_site(server)

    content = await mattermost()

    posts = content.posts("general")
    [mentioning] = [post for post in posts if "@" in post["message"]]
    [showing] = [post for post in posts if "attachments" in post]
    [file] = showing["attachments"]
    assert "@bob-brown reads [the page](https://example.invalid/)" == mentioning["message"]
    assert ("", True) == (showing["message"], file["path"].endswith("_plan.txt"))
    with ZipFile(content.path) as zip_file:
        assert b"body" == zip_file.read(f"data/{file['path']}")


WRITTEN = [
    ([text("one\\"), hard_break(), text("two")], "one\\\\\ntwo"),
    ([text("<b> & &amp; *")], r"&lt;b> & &amp;amp; \*"),
    ([text("=")], "&#61;"),
    ([text("ask"), mention("ann"), text("s (or "), mention("bob"), text(")")], "ask @ann s (or @bob)"),
    ([code("\\<a"), text(" \\<")], "`\\<a` \\\\&lt;"),
    ([link("w", "https://e.com/a_(b)?c=&copy;")], "[w](https://e.com/a_%28b%29?c=&amp;copy;)"),
    ([link("](x(y", "https://e.com")], r"[\](x(y](https://e.com)"),
]


@pytest.mark.parametrize(("inline", "expected"), WRITTEN)
def test_text_is_written_for_the_markdown_of_mattermost(inline, expected):
    """It breaks at each line feed, escapes fewer characters than CommonMark does, and none in URLs."""
    assert expected == MattermostText(str, str, str).of(doc(paragraph(*inline)))


def test_code_is_left_as_it_is():
    """Backslashes in it are its own, also below the markers of lists and quotes."""
    code_block = {"type": "codeBlock", "content": [{"type": "text", "text": "a\\\n\\<b"}]}
    items = [{"type": "listItem", "content": [code_block]}]
    blocks = [{"type": "bulletList", "content": items}, {"type": "blockquote", "content": [code_block]}]

    found = MattermostText(str, str, str).of(Document.from_json({"type": "doc", "version": 1, "content": blocks}))

    assert "- ```\n  a\\\n  \\<b\n  ```\n\n> ```\n> a\\\n> \\<b\n> ```" == found


async def test_the_original_of_a_post_is_in_its_props(server, mattermost):
    """Its id and its time to the nanosecond; posts of one time are a millisecond apart."""
    room = server.add_conversation("general")
    ids = server.fill(room, 3, same_ts=True, ts="2018-06-30T23:59:59.123456789Z")

    content = await mattermost()

    posts = content.posts("general")
    assert [1530403199123, 1530403199124, 1530403199125] == [post["create_at"] for post in posts]
    assert sorted(ids) == [post["props"]["stride_id"] for post in posts]
    assert {"1530403199123456789"} == {post["props"]["stride_ts"] for post in posts}
    assert 2 == content.lost["time moved"]


async def test_a_long_message_is_continued_in_replies(server, mattermost):
    """No word is lost, and the next message comes after the last reply."""
    room = server.add_conversation("general")
    words = [f"word{number}" for number in range(6_000)]
    server.add_message(room, doc(paragraph(text(" ".join(words)))).to_json(), ts="2018-06-01T00:00:00Z")
    server.add_message(room, "next", ts="2018-06-01T00:00:00.001Z")

    content = await mattermost()

    long, short = content.posts("general")
    parts = [long, *long["replies"]]
    assert words == " ".join(part["message"] for part in parts).split()
    assert len(parts) > 3
    assert parts[-1]["create_at"] + 1 == short["create_at"]
    assert {"message split": 1, "time moved": 1} == content.lost


async def test_more_than_five_files_are_continued_in_replies(server, mattermost):
    """A post has at most five."""
    room = server.add_conversation("general")
    files = [server.add_media(room, f"{number}.txt", b"%d" % number) for number in range(12)]
    group = media_group(*(media(file, collection=room) for file in files))
    server.add_message(room, doc(paragraph(text("look")), group).to_json())

    content = await mattermost()

    [post] = content.posts("general")
    assert [5, 5, 2] == [len(part["attachments"]) for part in (post, *post["replies"])]
    assert ["look", "", ""] == [part["message"] for part in (post, *post["replies"])]
    assert 12 == content.report.files


async def test_two_people_alone_have_a_direct_channel(server, mattermost):
    """It belongs to the people, so a second conversation of the same people becomes a channel."""
    ann, bob = server.add_user("Ann"), server.add_user("Bob")
    for number in range(2):
        room = server.add_conversation("", type="direct", privacy="private", roster=[ann, bob])
        server.add_message(room, f"hi {number}", sender_id=ann)

    content = await mattermost()

    [direct], [post] = content.all("direct_channel"), content.all("direct_post")
    assert (["ann", "bob"], ["ann", "bob"]) == (direct["members"], post["channel_members"])
    assert ("ann, bob", "P") == tuple(content.channel("")[name] for name in ("display_name", "type"))
    assert {"hi 0", "hi 1"} == {post["message"], content.posts("")[0]["message"]}


async def test_an_app_is_a_bot_of_the_first_person(server, mattermost):
    """Without any person, it is a user, because a bot needs an owner."""
    room = server.add_conversation("general")
    server.add_message(room, "beep", sender_id=server.app_account_id)
    [alone] = (await mattermost()).all("user")
    server.set_roster(room, [server.add_user("Zoe"), server.add_user("Yan")])

    content = await mattermost()

    [bot] = content.all("bot")
    assert bot["owner"] in {"zoe", "yan"}
    assert bot["username"] == content.posts("general")[0]["user"] == alone["username"]


async def test_a_deactivated_app_is_a_deleted_bot(server, mattermost):
    """Its messages stay those of the bot."""
    room = server.add_conversation("general", roster=[server.add_user("Zoe")])
    server.add_message(room, "beep", sender_id=server.app_account_id, ts="2018-06-01T00:00:00Z")
    address = "old@connect.atlassian.com"
    app = {"id": server.app_account_id, "userName": address, "displayName": "Old", "active": False}
    server.faults.add(
        "GET",
        f"*/Users/*{server.app_account_id[-12:]}",
        status=200,
        body=json.dumps({**app, "emails": [{"value": address}]}),
    )

    content = await mattermost()

    [bot] = content.all("bot")
    assert bot["username"] == content.posts("general")[0]["user"]
    assert bot["delete_at"] > 0


async def test_what_is_lost_is_counted(server, mattermost):
    """Someone unknown is deactivated; a message without anything says that it is empty."""
    room = server.add_conversation("general", roster=["u:1"])
    server.add_message(room, doc(paragraph()).to_json(), ts="2018-06-01T00:00:00Z")
    greeting = doc(paragraph(mention("all", "@all"), text(" hi")))
    server.add_message(room, greeting.to_json(), ts="2018-06-02T00:00:00Z")

    content = await mattermost()

    assert ["(empty message)", "@all hi"] == [post["message"] for post in content.posts("general")]
    assert content.user("u-1")["delete_at"] > 0
    assert {"empty message": 1, "person without a profile": 1} == content.lost


async def test_long_names_are_cut_and_odd_ones_replaced(server, mattermost):
    """Names that the server keeps for itself, or would misread, are not used."""
    names = ["x" * 300, "town-square", "0" * 40, "Ж", "a", "A"]
    for name in names:
        server.add_conversation(name)
    server.add_user("all")

    content = await mattermost()

    found = {name: content.channel(name[:250])["name"] for name in names}
    assert len(set(found.values())) == len(names)
    assert found["town-square"] != "town-square"
    assert {"channel-a"} <= {found["a"], found["A"]}
    assert 1 <= content.lost["name cut"]


@pytest.mark.parametrize("url", ["", "files", "ftp://files.example.com", "https://a b"])
def test_a_url_of_files_that_is_not_one_is_an_error(url):
    """The message says what was expected."""
    with pytest.raises(ValueError, match="files_base_url: expected an http or https URL"):
        ConvertOptions(files_base_url=url)


@pytest.mark.parametrize("name", ["x", "admin-team", "Stride", "a_b", "-a", "a" * 65, ""])
def test_a_team_that_the_server_refuses_is_an_error(name):
    """The message says what a name may be."""
    with pytest.raises(ValueError, match="team: expected"):
        ConvertOptions(team=name)


def shown(markdown: str) -> str:
    """Return the text that a parser of CommonMark shows."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", COMMONMARK.render(markdown))).split())


@given(expressible)
def test_what_is_written_for_mattermost_is_commonmark_too(document):
    """Apps that read CommonMark show the same text."""
    found = MattermostText(str, str, str).of(document)

    assert shown(document.to_markdown()) == shown(found), found


@given(st.text(st.sampled_from(" \nab"), max_size=60), st.integers(1, 12))
def test_split_text_has_the_same_words(original, longest):
    """Parts are short enough, and only words that are longer themselves are cut."""
    parts = split(original.strip(), longest)

    assert all(len(part) <= longest for part in parts)
    assert len(parts) == 1 or all(part.strip() for part in parts)
    assert "".join(original.split()) == "".join("".join(parts).split())
    if all(len(word) <= longest for word in original.split()):
        assert original.split() == [word for part in parts for word in part.split()]


async def test_generated_sites_satisfy_every_rule(tmp_path):
    """They have every kind of node and mark, names in many scripts, and messages of one time."""
    plan = "conversations=12,messages=120,media=12,media_max=2000"
    async with LocalServer(generate=plan, rate_limit=None) as server, client_of(server) as client:
        summary = await exported(client, tmp_path / "site")

    assert summary.messages == converted(tmp_path / "site").report.messages


async def test_a_real_history_satisfies_every_rule(tmp_path, meetup):
    """So do the messages of people, with their files."""
    async with LocalServer(seed=meetup / "site.jsonl", rate_limit=None) as server, client_of(server) as client:
        summary = await exported(client, tmp_path / "site")

    report = converted(tmp_path / "site").report
    assert (summary.messages, summary.media) == (report.messages, report.files)
