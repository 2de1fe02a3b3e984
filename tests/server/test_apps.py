"""Descriptors: which are accepted, what is wrong with the others, and where apps are called."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from stride_async.server import LocalServer, RegisteredApp
from stride_async.server._apps import BOT_MESSAGES, Module, Registration, read_descriptor
from stride_async.server._limits import App
from tests.schema_cases import places_in, with_value

from .app import DESCRIPTOR, running_app


def test_a_complete_descriptor_is_accepted():
    """Modules keep their order, their keys and their content."""
    descriptor = read_descriptor(DESCRIPTOR)

    assert ("deployer", "https://claimed.example") == (descriptor.key, descriptor.base_url)
    assert ["bot", "weather", "deploy", "roster", "rooms", "builds", "setup", "vote", "help"] == [
        module.key for module in descriptor.modules
    ]


def test_key_lifecycle_and_modules_may_be_missing():
    """One real app has no key, and another has no lifecycle."""
    descriptor = read_descriptor({"baseUrl": "https://claimed.example"})

    assert (None, {}, ()) == (descriptor.key, descriptor.lifecycle, descriptor.modules)


def test_what_the_service_does_not_use_may_have_any_value():
    """Unknown fields are accepted at every level."""
    sidebar = {"key": "s", "url": "/s", "name": None, "weight": "heavy", "icon": {"url": None, "url@2x": None}}
    more = {"vendor": 5, "modules": {"chat:sidebar": [sidebar]}}

    assert "s" == read_descriptor({**DESCRIPTOR, **more}).modules[0].key


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ([], "the descriptor: expected an object, found []"),
        ({"key": 5}, "key: expected a string that is not empty, found 5"),
        ({"key": ""}, "key: expected a string that is not empty, found nothing"),
        ({"baseUrl": None}, "baseUrl: expected an http or https URL, found nothing"),
        ({"baseUrl": "/path"}, "baseUrl: expected an http or https URL, found '/path'"),
        ({"baseUrl": "ftp://host"}, "baseUrl: expected an http or https URL, found 'ftp://host'"),
        ({"baseUrl": "http://[::1"}, "baseUrl: expected an http or https URL, found 'http://[::1'"),
        ({"baseUrl": "http://host:99999"}, "baseUrl: expected an http or https URL, found 'http://host:99999'"),
        ({"lifecycle": []}, "lifecycle: expected an object, found []"),
        ({"lifecycle": {"instaled": "/x"}}, "lifecycle: expected installed and uninstalled, found 'instaled'"),
        ({"lifecycle": {"installed": 5}}, "lifecycle.installed: expected a path below baseUrl or an http or https URL"),
        ({"modules": []}, "modules: expected an object, found []"),
        ({"modules": {"chat:bots": []}}, "modules: expected one of chat:actionTarget, chat:bot, "),
        ({"modules": {"chat:bot": {}}}, "modules.chat:bot: expected a list, found {}"),
        ({"modules": {"chat:bot": [5]}}, "modules.chat:bot[0]: expected an object, found 5"),
        (
            {"modules": {"chat:bot": [{}]}},
            "modules.chat:bot[0].key: expected a string that is not empty, found nothing",
        ),
        (
            {"modules": {"chat:bot": [{"key": "a"}, {"key": "a"}]}},
            "modules.chat:bot[1].key: expected a key that no other module of this type has, found 'a'",
        ),
        (
            {"modules": {"chat:bot": [{"key": "a", "mention": {"url": "a b"}}]}},
            "modules.chat:bot[0].mention.url: expected a path below baseUrl or an http or https URL, found 'a b'",
        ),
        (
            {"modules": {"chat:bot": [{"key": "a", "mention": "/m"}]}},
            "modules.chat:bot[0].mention: expected an object, found '/m'",
        ),
        (
            {"modules": {"chat:bot:messages": [{"key": "a", "url": "/a", "pattern": "("}]}},
            "modules.chat:bot:messages[0].pattern: '(' is not a regular expression: missing )",
        ),
        (
            {"modules": {"chat:bot:messages": [{"key": "a", "url": "/a"}]}},
            "modules.chat:bot:messages[0].pattern: expected a regular expression, found nothing",
        ),
        (
            {"modules": {"chat:bot:messages": [{"key": "a", "pattern": "x"}]}},
            "modules.chat:bot:messages[0].url: expected a path below baseUrl",
        ),
        (
            {"modules": {"chat:webhook": [{"key": "a", "url": "/a", "event": "message:sent"}]}},
            "modules.chat:webhook[0].event: expected conversation:updates or roster:updates, found 'message:sent'",
        ),
        (
            {"modules": {"chat:webhook": [{"key": "a", "url": "javascript:x", "event": "roster:updates"}]}},
            "modules.chat:webhook[0].url: expected a path below baseUrl or an http or https URL, found 'javascript:x'",
        ),
        (
            {"modules": {"chat:actionTarget": [{"key": "a"}]}},
            "modules.chat:actionTarget[0]: expected exactly one of callService, openConfiguration, ",
        ),
        (
            {"modules": {"chat:actionTarget": [{"key": "a", "callService": {}}]}},
            "modules.chat:actionTarget[0].callService.url: expected a path below baseUrl",
        ),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else "",
)
def test_a_wrong_descriptor_is_refused_with_the_place(change, problem):
    """The message says what was expected there, and what was found."""
    wrong = {**DESCRIPTOR, **change} if isinstance(change, dict) else change

    with pytest.raises(ValueError, match=re.escape(problem)):
        read_descriptor(wrong)


@pytest.mark.parametrize("value", [None, True, -1, 0.5, "", [], ["x"], [[]], {}, {"url": []}], ids=repr)
def test_any_value_anywhere_is_accepted_or_refused_with_the_place(value):
    """The place is that of the value, one inside it, or one around it."""
    for path, _ in places_in(DESCRIPTOR):
        if not path:
            continue
        try:
            read_descriptor(with_value(DESCRIPTOR, path, value))
        except ValueError as error:
            named, changed = str(error).partition(": ")[0], dotted(path)
            assert named.startswith(changed) or changed.startswith(named)


def dotted(path: tuple[str | int, ...]) -> str:
    """Return a path as messages write it, such as `modules.chat:bot[0].key`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


@pytest.mark.parametrize(
    ("base_url", "url", "called"),
    [
        ("https://claimed.example", "/mention", "/mention"),
        ("https://claimed.example/", "mention", "/mention"),
        ("https://claimed.example/stride", "/mention", "/stride/mention"),
        ("https://claimed.example/stride/", "/mention?a=1", "/stride/mention?a=1"),
        ("https://claimed.example/stride", "https://claimed.example/mention?a=b%20c", "/mention?a=b%20c"),
        ("https://claimed.example", "https://elsewhere.example", "/"),
    ],
)
def test_urls_are_called_at_the_origin_of_the_descriptor(base_url, url, called):
    """A relative URL is appended to the path of `baseUrl`; the host of an absolute one is ignored."""
    app = App("id", "secret", "account", "name", frozenset())
    registered = RegisteredApp("id", "key", "http://127.0.0.1:8080/stride/descriptor.json", {})
    registration = Registration(app, registered, read_descriptor({"baseUrl": base_url}))

    assert f"http://127.0.0.1:8080{called}" == registration.address(url)


async def test_a_registered_app_is_returned(server: LocalServer):
    """It is the app whose credentials the server shows, unless another client id is given."""
    other, _ = server.add_app()

    async with running_app() as app:
        first = await server.register_app(f"{app.url}/descriptor.json")
        second = await server.register_app(f"{app.url}/descriptor.json", client_id=other)

    assert (server.client_id, other) == (first.client_id, second.client_id)
    assert ("deployer", f"{app.url}/descriptor.json", DESCRIPTOR) == (first.key, first.url, first.descriptor)


async def test_a_descriptor_may_arrive_in_pieces(server: LocalServer):
    """And it is requested as it is, since the app could compress it."""
    text = json.dumps({**DESCRIPTOR, "more": "x" * 100_000}).encode()
    encodings = []

    async def describe(request: web.Request) -> web.StreamResponse:
        encodings.append(request.headers["Accept-Encoding"])
        response = web.StreamResponse()
        await response.prepare(request)
        for start in range(0, len(text), 10_000):
            await response.write(text[start : start + 10_000])
            await asyncio.sleep(0)
        return response

    async with running_app() as app:
        app.respond_to_descriptor = describe
        registered = await server.register_app(f"{app.url}/descriptor.json")

    assert ("deployer", ["identity"]) == (registered.key, encodings)


async def test_an_unknown_client_id_is_a_key_error(server: LocalServer):
    """The descriptor is not fetched."""
    with pytest.raises(KeyError, match="unknown"):
        await server.register_app("http://127.0.0.1:1/", client_id="unknown")


@pytest.mark.parametrize(
    ("response", "error", "problem"),
    [
        (web.Response(status=404), ConnectionError, "responded 404, expected 200 with a descriptor"),
        (web.Response(text="[]"), ValueError, "expected a descriptor, a JSON object"),
        (web.Response(text="<html>"), ValueError, "expected a descriptor in JSON"),
        (web.Response(text=json.dumps({"baseUrl": 1})), ValueError, "baseUrl: expected an http or https URL, found 1"),
    ],
    ids=["status", "list", "HTML", "wrong descriptor"],
)
async def test_a_url_without_a_descriptor_is_refused(server: LocalServer, response, error, problem):
    """The error says what is there instead."""
    async with running_app(descriptor=response) as app:
        with pytest.raises(error, match=problem):
            await server.register_app(f"{app.url}/descriptor.json")


@pytest.mark.parametrize("url", ["", "/descriptor.json", "ftp://127.0.0.1/", "http://", "http://[::1/"])
async def test_what_is_not_a_url_is_refused(server: LocalServer, url):
    """Nothing is fetched."""
    with pytest.raises(ValueError, match="expected the http or https URL of a descriptor, found"):
        await server.register_app(url)


async def test_an_app_that_does_not_run_is_a_connection_error(server: LocalServer):
    """The error names the URL."""
    async with running_app() as app:
        url = f"{app.url}/descriptor.json"

    with pytest.raises(ConnectionError, match=url):
        await server.register_app(url)


@given(
    start=st.sampled_from(["", "(?i)", "(?s)"]),
    anything=st.sampled_from(["", ".*", r"[\s\S]*", r".*[\s\S]*", ".*?", r"[\s\S]*?", r"\[\s\S]*"]),
    rest=st.sampled_from(["(?:b)", "a|b", "^b", "b$", r"(?:^/go (\d+))[\s\S]*", "", r"\n"]),
    text=st.text("ab\n/go 1s[", max_size=12),
)
def test_a_pattern_matches_where_a_search_finds_it(start, anything, rest, text):
    """Also where it begins with what fits anything."""
    source = start + anything + rest
    module = Module(BOT_MESSAGES, "key", {"pattern": source})

    assert (re.search(source, text) is None) == (module.pattern.search(text) is None)


def test_a_pattern_that_fits_anything_around_it_is_searched_for_in_a_long_text():
    """The time is in proportion to the length: a square of it would be hours."""
    pattern = Module(BOT_MESSAGES, "key", {"pattern": r"(?i)[\s\S]*(?:deploy)[\s\S]*"}).pattern

    assert pattern.search("x" * 5_000_000) is None
    assert pattern.search("x" * 5_000_000 + "Deploy") is not None
