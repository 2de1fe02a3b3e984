"""What a person's browser calls an app for: actions, glances and configurations (protocol 6.7, 6.8)."""

from __future__ import annotations

import json

import pytest
from aiohttp import web

from stride_async.server import AppCallError, LocalServer

from .app import CORS, App, running_app
from .calling import Api

CARD = {
    "type": "applicationCard",
    "attrs": {
        "text": "Vote",
        "title": {"text": "Vote"},
        "actions": [
            {"title": "Yes", "target": {"key": "vote"}, "parameters": {"answer": "yes"}},
            {"title": "No", "target": {"key": "vote"}, "parameters": {"answer": "no"}},
        ],
    },
}


@pytest.fixture
async def card(server: LocalServer, room: str, app: App) -> str:
    """A message with a card of the app, which is registered."""
    await server.register_app(f"{app.url}/descriptor.json")
    return server.add_message(room, {"version": 1, "type": "doc", "content": [CARD]})


async def test_a_press_is_a_preflight_and_a_call(server, app, room, ann, card):
    """The body has the message as `mid`, the target and the parameters; the response is returned."""
    app.respond = lambda _: web.json_response({"message": "Done!"}, headers=CORS)

    answer = await server.press("vote", room, card, by=ann, parameters={"answer": "maybe"})

    preflight, call = app.received
    assert {"message": "Done!"} == answer
    assert [("OPTIONS", "/vote"), ("POST", "/vote")] == [(one.method, one.path) for one in app.received]
    assert ("POST", "authorization, content-type", None) == (
        preflight.headers["Access-Control-Request-Method"],
        preflight.headers["Access-Control-Request-Headers"],
        preflight.headers.get("Authorization"),
    )
    assert ["https://app.stride.com"] * 2 == [one.headers["Origin"] for one in app.received]
    assert {"key": "vote"} == call.json["target"]
    assert {"answer": "maybe"} == call.json["parameters"]
    assert (card, CARD) == (
        call.json["context"]["message"]["mid"],
        call.json["context"]["message"]["body"]["content"][0],
    )
    claims = call.claims(server.client_secret)
    assert (ann, room) == (claims["sub"], claims["context"]["resourceId"])


async def test_a_press_has_the_parameters_of_the_action(server, app, room, ann, card):
    """Without an action of this target in the message, it has those that the target declares."""
    plain = server.add_message(room, "no card")
    for message in (card, plain):
        await server.press("vote", room, message, by=ann)

    assert [{"answer": "yes"}, {"times": 1}] == [
        call.json["parameters"] for call in app.received if call.method == "POST"
    ]


async def test_a_response_without_content_is_none(server, app, room, ann, card):
    """An app responds with 204, or with an empty body."""
    app.responses.append(web.Response(status=200, headers=CORS))

    assert [None, None] == [await server.press("vote", room, card, by=ann) for _ in range(2)]


@pytest.mark.parametrize(
    ("response", "status", "problem"),
    [
        (web.Response(status=403, headers=CORS), 403, "POST .*/vote responded 403"),
        (web.Response(status=204), 204, "does not allow https://app.stride.com .*; the app has received the call"),
        (web.Response(text="Done!", headers=CORS), 200, "something else than JSON"),
    ],
    ids=["status", "CORS", "text"],
)
async def test_a_response_that_a_page_could_not_use_is_an_error(
    server, app, room, ann, card, response, status, problem
):
    """The error has the status, and the message says what is wrong."""
    app.responses.append(response)

    with pytest.raises(AppCallError, match=problem) as caught:
        await server.press("vote", room, card, by=ann)

    assert status == caught.value.status


@pytest.mark.parametrize(
    ("response", "problem"),
    [
        (web.Response(status=401), "responded 401, expected 200 or 204"),
        (web.Response(), "does not allow https://app.stride.com in Access-Control-Allow-Origin$"),
        (web.Response(headers={"Access-Control-Allow-Origin": "*"}), "does not allow the header authorization"),
        (
            web.Response(headers={"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*"}),
            "does not allow the header authorization",
        ),
    ],
    ids=["status", "origin", "headers", "any header"],
)
async def test_a_browser_does_not_call_without_permission(server, app, room, ann, card, response, problem):
    """The preflight response decides; `*` does not cover the token."""
    app.preflight = response

    with pytest.raises(AppCallError, match=problem):
        await server.press("vote", room, card, by=ann)

    assert ["OPTIONS"] == [call.method for call in app.received]


async def test_a_glance_is_asked_for_with_the_token_in_the_query(server, app, room, ann, card):
    """There is no preflight, and the response is returned."""
    app.respond = lambda _: web.json_response({"label": {"value": "3 builds"}}, headers=CORS)

    answer = await server.ask_glance("builds", room, by=ann)

    (call,) = app.received
    assert {"label": {"value": "3 builds"}} == answer
    assert ("GET", "/builds", None) == (call.method, call.path, call.headers.get("Authorization"))
    assert ann == call.claims(server.client_secret)["sub"]


async def test_a_configuration_is_asked_for(server, app, room, ann, card):
    """The response says whether the app is configured."""
    app.respond = lambda _: web.json_response({"configured": True}, headers=CORS)

    assert {"configured": True} == await server.ask_configuration("setup", room, by=ann)
    assert ["/setup"] == app.paths()


async def test_a_module_without_authentication_gets_no_token(server, app, room, ann, card):
    """The descriptor says so."""
    app.descriptor["modules"]["chat:glance"][0]["authentication"] = "none"
    await server.register_app(f"{app.url}/descriptor.json")
    app.respond = lambda _: web.json_response({"label": {"value": ""}}, headers=CORS)

    await server.ask_glance("builds", room, by=ann)

    assert {} == app.received[0].query


async def test_a_module_added_at_run_time_is_pressed(api: Api, server, app, room, ann, card):
    """It belongs to its conversation."""
    path = f"{api.room(room)}/app/module/chat:actionTarget/later"
    await api.call("PUT", path, json={"callService": {"url": "/later"}})

    await server.press("later", room, card, by=ann)

    assert ["/later", "/later"] == app.paths()


@pytest.mark.parametrize(
    ("key", "room_id", "message", "by"),
    [
        ("absent", None, None, None),
        ("help", None, None, None),
        ("vote", "absent", None, None),
        ("vote", None, "absent", None),
        ("vote", None, None, "absent"),
    ],
    ids=["no such target", "opens a dialog", "no such conversation", "no such message", "no such user"],
)
async def test_what_cannot_be_pressed_is_a_key_error(server, app, room, ann, card, key, room_id, message, by):
    """The app is not called."""
    with pytest.raises(KeyError):
        await server.press(key, room_id or room, message or card, by=by or ann)

    assert [] == app.received


async def test_an_app_that_is_not_installed_cannot_be_asked(server, app, ann, card):
    """Its modules do not exist there."""
    foreign = server.add_conversation("foreign", app_is_member=False)

    with pytest.raises(KeyError, match="builds"):
        await server.ask_glance("builds", foreign, by=ann)


async def test_an_app_that_does_not_run_cannot_be_asked(server, room, ann):
    """The error has no status, and the message contains no token."""
    async with running_app() as app:
        await server.register_app(f"{app.url}/descriptor.json")

    with pytest.raises(AppCallError, match="GET http") as caught:
        await server.ask_glance("builds", room, by=ann)

    assert caught.value.status is None
    assert "jwt" not in str(caught.value)


async def test_a_press_of_a_message_with_an_action_mark(server, app, room, ann, card):
    """A text that is an action has its own target and parameters."""
    mark = {"type": "action", "attrs": {"title": "x", "target": {"key": "vote"}, "parameters": {"answer": "mark"}}}
    text = {"type": "text", "text": "press me", "marks": [mark]}
    document = {"version": 1, "type": "doc", "content": [{"type": "paragraph", "content": [text]}]}

    await server.press("vote", room, server.add_message(room, document), by=ann)

    assert {"answer": "mark"} == json.loads(app.received[-1].body)["parameters"]
