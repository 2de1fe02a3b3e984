"""The descriptor states what the service should call a bot for."""

from __future__ import annotations

import re

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from stride_async.bot import Bot
from stride_async.bot._descriptor import wire_pattern
from tests.bot.delivering import served, serving


async def handler(event): ...


def test_a_bot_without_handlers_still_has_a_lifecycle():
    """The lifecycle URLs are always there; modules only if they have handlers."""
    assert {
        "baseUrl": "https://bot.example.com",
        "key": "deployer",
        "lifecycle": {"installed": "/installed", "uninstalled": "/uninstalled"},
        "modules": {},
    } == Bot("deployer").descriptor("https://bot.example.com/")


def test_modules_stand_in_the_order_of_registration():
    """Each module has the fields of the protocol and a URL below the base URL."""
    bot = Bot("deployer")
    bot.message("weather", key="second")(handler)
    bot.mention()(handler)
    bot.message("rain", key="a first")(handler)
    bot.roster()(handler)
    bot.conversation()(handler)
    bot.action("vote")(handler)
    bot.glance("votes", name="Votes", icon="https://example.com/i.png", target="votes-sidebar")(handler)
    bot.configuration("settings", page="settings-dialog")(handler)
    bot.module("chat:dialog", "settings-dialog", {"title": {"value": "Settings"}, "url": "/settings"})

    modules = bot.descriptor("https://b")["modules"]

    assert [
        *("chat:bot:messages", "chat:bot", "chat:webhook", "chat:actionTarget", "chat:glance"),
        *("chat:configuration", "chat:dialog"),
    ] == list(modules)
    assert [{"key": "bot", "mention": {"url": "/mention"}}] == modules["chat:bot"]
    assert [("second", "/message/second"), ("a first", "/message/a%20first")] == [
        (module["key"], module["url"]) for module in modules["chat:bot:messages"]
    ]
    assert [
        {"key": "roster", "event": "roster:updates", "url": "/roster"},
        {"key": "conversation", "event": "conversation:updates", "url": "/conversation"},
    ] == modules["chat:webhook"]
    assert [{"key": "vote", "callService": {"url": "/action/vote"}}] == modules["chat:actionTarget"]
    assert [
        {
            "key": "votes",
            "name": {"value": "Votes"},
            "icon": {"url": "https://example.com/i.png", "url@2x": "https://example.com/i.png"},
            "target": "votes-sidebar",
            "queryUrl": "/glance/votes",
            "weight": 100,
            "authentication": "jwt",
        }
    ] == modules["chat:glance"]
    assert [
        {
            "key": "settings",
            "page": {"target": "settings-dialog"},
            "state": {"url": "/configuration/settings"},
            "authentication": "jwt",
        }
    ] == modules["chat:configuration"]
    assert [{"key": "settings-dialog", "title": {"value": "Settings"}, "url": "/settings"}] == modules["chat:dialog"]


def test_a_command_is_called_in_both_ways():
    """The bot module asks for mentions and for direct messages."""
    bot = Bot("deployer")
    bot.command("deploy")(handler)

    assert [{"key": "bot", "mention": {"url": "/mention"}, "directMessage": {"url": "/direct"}}] == bot.descriptor("b")[
        "modules"
    ]["chat:bot"]


def test_the_key_of_a_message_module_is_the_name_of_its_function():
    """Underscores in the name become hyphens."""
    bot = Bot("deployer")

    @bot.message("x")
    async def current_weather(event): ...

    assert "current-weather" == bot.descriptor("b")["modules"]["chat:bot:messages"][0]["key"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("weather", r"[\s\S]*(?:weather)[\s\S]*"),
        ("(?P<city>x)|(?P<land>y)", r"[\s\S]*(?:(x)|(y))[\s\S]*"),
        ("(?i)weather", r"(?i)[\s\S]*(?:weather)[\s\S]*"),
        ("(?i)(?s)[(?m)]", r"(?is)[\s\S]*(?:[(?m)])[\s\S]*"),
        (re.compile("a.b", re.DOTALL | re.MULTILINE), r"(?ms)[\s\S]*(?:a.b)[\s\S]*"),
        (r"\(?P<no>", r"[\s\S]*(?:\(?P<no>)[\s\S]*"),
        (r"[(?P<no>]x[]^(?P<n>]", r"[\s\S]*(?:[(?P<no>]x[]^(?P<n>])[\s\S]*"),
        (r"(?P<x>a)\1", r"[\s\S]*(?:(a)\1)[\s\S]*"),
        (r"(?#(?P<no>)a", r"[\s\S]*(?:(?#(?P<no>)a)[\s\S]*"),
        ("(?x) a # (?P<no>\n (?P<x>b) # end", "(?x)[\\s\\S]*(?: a # (?P<no>\n (b) # end\n)[\\s\\S]*"),
    ],
)
def test_a_pattern_goes_out_as_any_engine_reads_it(pattern, expected):
    """Named groups become plain groups, and flags stand at the beginning."""
    assert expected == wire_pattern(re.compile(pattern))


@pytest.mark.parametrize("pattern", ["(?P<x>a)(?P=x)", "(?P<x>a)?(?(x)b|c)"])
def test_a_named_back_reference_is_refused(pattern):
    """Engines write named references differently; numbered ones are the same everywhere."""
    with pytest.raises(ValueError, match="refers back"):
        wire_pattern(re.compile(pattern))


@pytest.mark.parametrize(
    "pattern",
    ["a(?P<x>[bc]+)", "(?i)^hello$", "x|y", r"(?x) a b # c", r"\d{2}$", "(?#a)(?i)(?m)^b", "(?x) # a\n (?i) B (?-i:c)"],
)
@given(text=st.text(alphabet="abcxyhelo 12\n", max_size=12))
def test_the_pattern_that_goes_out_matches_what_the_bot_matches(pattern, text):
    """A search and a full match find it exactly where the handler's own pattern is found."""
    regex = re.compile(pattern)
    wire = re.compile(wire_pattern(regex))

    assert bool(regex.search(text)) == bool(wire.search(text)) == bool(wire.fullmatch(text))


async def test_the_base_url_is_where_the_request_went(scene):
    """The descriptor uses the scheme, host and mount of the request for it."""
    async with served(Bot("deployer"), scene) as bot_app:
        for path in ("/descriptor.json", "/%64escriptor.json"):
            async with scene.http.get(URL(f"{bot_app.url}{path}", encoded=True)) as response:
                assert bot_app.url == (await response.json())["baseUrl"]


async def test_the_base_url_may_be_given(scene):
    """`public_url` replaces it, for example behind a proxy."""
    async with served(Bot("deployer"), scene, public_url="https://bot.example.com/x/") as bot_app:
        answer = await bot_app.call("/descriptor.json", method="GET", token=None)

    assert "https://bot.example.com/x" == answer.json["baseUrl"]


async def test_several_bots_hang_in_one_application(scene, tmp_path):
    """Each bot has its own store and mount."""
    outer = web.Application()
    for name in ("one", "two"):
        outer.add_subapp(f"/{name}", Bot(name).application(scene.settings(store=tmp_path / name)))

    async with serving(outer) as url, scene.http.get(f"{url}/two/descriptor.json") as response:
        found = await response.json()

    assert ("two", f"{url}/two") == (found["key"], found["baseUrl"])
