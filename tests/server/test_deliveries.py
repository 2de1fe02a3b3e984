"""Deliveries: what an app is called for, with which bodies and tokens, and how often (protocol 6.2 to 6.6, 7)."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiohttp import web

from stride_async.server import Choices, LocalServer

from .app import App, running_app
from .calling import Api, Start, log_in

AT_ONCE = (0.0, 0.0, 0.0)


@pytest.fixture
async def api(start: Start, app: App) -> Api:
    """Calls of an app that is registered; redeliveries do not wait."""
    api = await start(rate_limit=None, choices=Choices(redelivery_spans=AT_ONCE))
    await api.server.register_app(f"{app.url}/descriptor.json")
    return api


@pytest.fixture
async def room(server: LocalServer, ann: str, app: App) -> str:
    """A conversation whose creation is delivered already."""
    room = server.add_conversation("general", roster=[ann])
    await server.delivered()
    app.received.clear()
    return room


async def calls(server: LocalServer, app: App) -> list[tuple[str, object]]:
    """Return path and body of the calls that the app received, after the last has ended."""
    await server.delivered()
    return [(call.path, call.json) for call in app.received]


async def test_a_mention_is_delivered(server, app, room, ann):
    """The body has the message, its sender twice, and the conversation without site and links."""
    message = server.add_message(room, "deploy api", sender_id=ann, mention_app=True, ts="2018-06-01T08:00:00.5Z")

    ((path, body),) = await calls(server, app)

    assert ("/mention", server.cloud_id, None) == (path, body["cloudId"], body["recipients"])
    assert ("chat_message_sent", {"id": ann}) == (body["type"], body["sender"])
    assert {"id", "body", "text", "sender", "ts"} == body["message"].keys()
    assert (message, "@Local app deploy api", {"id": ann}, "2018-06-01T08:00:00.5Z") == (
        *(body["message"][name] for name in ("id", "text", "sender", "ts")),
    )
    assert {"avatarUrl", "id", "isArchived", "name", "privacy", "topic", "type", "modified", "created"} == (
        body["conversation"].keys()
    )


async def test_a_call_is_json_with_a_token_signed_for_the_app(server, app, room, ann):
    """The token names app, sender, site and conversation, and expires after 15 minutes."""
    server.add_message(room, "hi", sender_id=ann, mention_app=True)
    await server.delivered()

    (call,) = app.received

    claims = call.claims(server.client_secret)
    assert ("POST", "application/json") == (call.method, call.headers["Content-Type"])
    assert call.headers["Authorization"].startswith("Bearer ")
    assert (server.client_id, ann) == (claims["iss"], claims["sub"])
    assert {"cloudId": server.cloud_id, "resourceType": "conversation", "resourceId": room} == claims["context"]
    assert 900 == claims["exp"] - claims["iat"]
    assert abs(time.time() - claims["iat"]) < 60


async def test_a_token_may_come_without_its_scheme(start, app):
    """The service had this bug in early 2018."""
    api = await start(choices=Choices(jwt_spelling="bare"))
    await api.server.register_app(f"{app.url}/descriptor.json")
    room = api.server.add_conversation("general")
    api.server.add_message(room, "weather", sender_id=api.server.add_user("Ann"))
    await api.server.delivered()

    call = app.received[-1]

    assert " " not in call.headers["Authorization"]
    assert api.server.client_id == call.claims(api.server.client_secret)["iss"]


async def test_a_direct_message_is_delivered_as_one(server, app, ann):
    """A mention or a pattern in it changes nothing."""
    direct = server.add_conversation("Ann Adler", type="direct", roster=[ann])
    server.add_message(direct, "deploy, whatever the weather", sender_id=ann, mention_app=True)

    paths = [path for path, _ in await calls(server, app)]

    assert ["/rooms", "/direct"] == paths


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("How is the weather?", ["/weather"]),
        ("deploy it whatever the weather", ["/weather", "/deploy"]),
        ("DEPLOY", ["/deploy"]),
        ("please deploy", []),
        ("hello", []),
    ],
)
async def test_a_message_is_delivered_to_modules_whose_pattern_occurs(server, app, room, ann, text, paths):
    """Each module has its own call."""
    server.add_message(room, text, sender_id=ann)

    assert paths == [path for path, _ in await calls(server, app)]


async def test_a_mention_is_also_matched_with_patterns(server, app, room, ann):
    """A bot that has handlers for both decides which responds."""
    server.add_message(room, "weather", sender_id=ann, mention_app=True)

    assert {"/mention", "/weather"} == {path for path, _ in await calls(server, app)}


async def test_an_app_does_not_receive_its_own_messages(api, server, app, room):
    """Neither those sent over HTTP nor those added to the server."""
    server.add_message(room, "weather")
    await api.call("POST", f"{api.room(room)}/message", data="weather", headers={"Content-Type": "text/plain"})

    assert [] == await calls(server, app)


async def test_messages_of_another_app_are_delivered(api, server, app, room):
    """They are like those of any person."""
    other = await log_in(api.http, server, *server.add_app())
    await other.call("POST", f"{api.room(room)}/message", data="weather", headers={"Content-Type": "text/plain"})

    assert ["/weather"] == [path for path, _ in await calls(server, app)]


async def test_what_a_person_says_over_http_is_delivered(api, server, app, room, ann):
    """`stride send --as` reaches a bot."""
    await api.call(
        "POST", "/local-server/message", json={"as": ann, "conversation": room, "text": "x", "mention": True}
    )

    assert ["/mention"] == [path for path, _ in await calls(server, app)]


async def test_seeds_and_filled_messages_are_the_past(start, app):
    """Nothing of them is delivered, and neither is what happened before the app was registered."""
    api = await start(generate="conversations=3,messages=30,media=0")
    room = next(iter(api.server.truth().conversations))
    api.server.add_message(room, "weather", sender_id=api.server.truth().users[0])
    await api.server.register_app(f"{app.url}/descriptor.json")
    api.server.fill(room, 20, sender_id=api.server.truth().users[0])

    assert [] == await calls(api.server, app)


async def test_only_conversations_with_the_app_are_delivered(server, app, room, ann):
    """It is not installed elsewhere, and no longer after it is uninstalled."""
    foreign = server.add_conversation("foreign", app_is_member=False)
    server.add_message(foreign, "weather", sender_id=ann)
    await server.uninstall(room, by=ann)
    server.add_message(room, "weather", sender_id=ann)

    assert ["/uninstalled"] == [path for path, _ in await calls(server, app)]


async def test_a_delivered_document_is_as_unclean_as_the_service_sent_it(api, server, app, room, ann):
    """The stored message stays as it was sent."""
    media = {"type": "media", "attrs": {"type": "file", "id": "f", "collection": room}}
    mention = {"type": "mention", "attrs": {"id": ann, "text": "@Ann"}}
    document = {
        "version": 1,
        "type": "doc",
        "content": [
            {"type": "paragraph", "content": [mention, {"type": "text", "text": " weather"}]},
            {"type": "mediaGroup", "content": [media]},
        ],
    }
    message = server.add_message(room, document, sender_id=server.add_user("Bob"))

    ((_, body),) = await calls(server, app)
    stored = (await api.get(f"{api.room(room)}/message/{message}")).json

    paragraph, group = body["message"]["body"]["content"]
    assert "CONTAINER" == paragraph["content"][0]["attrs"]["accessLevel"]
    assert {} == group["attrs"]
    attrs = {**media["attrs"], "occurrenceKey": f"urn:chat:message:{message}"}
    assert [{"type": "media", "content": None, "attrs": attrs}] == group["content"]
    assert document == stored["body"]


async def test_changes_of_the_roster_are_delivered(api, server, app, room, ann):
    """Each person who is added or removed is one call, regardless of who changes the roster."""
    bob, eve = server.add_user("Bob"), server.add_user("Eve")
    await api.call("PATCH", f"{api.room(room)}/roster", json={"add": [bob, ann], "remove": [eve]})
    server.set_roster(room, [bob, eve])
    server.add_message(room, {**_mentioning(ann)}, sender_id=bob)
    server.add_message(room, {**_mentioning(ann)}, sender_id=bob)

    found = await calls(server, app)

    assert {"/roster"} == {path for path, _ in found}
    assert [("add", bob), ("remove", ann), ("add", eve), ("add", ann)] == [
        (body["action"], body["user"]["id"]) for _, body in found
    ]
    assert {"cloudId", "conversation", "user", "action", "type"} == found[0][1].keys()
    assert (server.cloud_id, room, "chat_roster_updates") == (
        found[0][1]["cloudId"],
        found[0][1]["conversation"]["id"],
        found[0][1]["type"],
    )


def _mentioning(user_id: str) -> dict[str, object]:
    mention = {"type": "mention", "attrs": {"id": user_id, "text": "@A"}}
    return {"version": 1, "type": "doc", "content": [{"type": "paragraph", "content": [mention]}]}


async def test_changes_of_a_conversation_are_delivered(api, server, app, ann):
    """What changes nothing is not delivered; the token is the initiator's."""
    room = server.add_conversation("general", roster=[ann])
    server.archive(room)
    server.archive(room)
    server.archive(room, archived=False)
    await api.call("PATCH", api.room(room), json={"topic": "News"})
    await api.call("PUT", f"{api.room(room)}/archive")
    await api.call("PUT", f"{api.room(room)}/archive")
    await api.call("PUT", f"{api.room(room)}/unarchive")

    found = await calls(server, app)

    bot = server.app_account_id
    initiators = [("create", ann), ("archive", ann), ("unarchive", ann), *((name, bot) for name in
                  ("update", "archive", "unarchive"))]  # fmt: skip
    assert initiators == [(body["action"], body["initiator"]["id"]) for _, body in found]
    assert [user for _, user in initiators] == [call.claims(server.client_secret)["sub"] for call in app.received]
    assert "News" == found[3][1]["conversation"]["topic"]
    assert {"cloudId", "conversation", "action", "initiator", "type"} == found[0][1].keys()


async def test_an_installation_begins_access_and_is_delivered(api, server, app, ann):
    """The app may use the conversation when it is called, and the call has returned when `install` does."""
    foreign = server.add_conversation("foreign", app_is_member=False)
    statuses = []

    async def post_a_welcome(_):
        reply = await api.call("POST", f"{api.room(foreign)}/message", json={"body": _mentioning(ann)})
        statuses.append(reply.status)
        return web.Response(status=200)

    app.respond = post_a_welcome
    await server.install(foreign, by=ann, relay_state="from the link")

    (call,) = app.received
    assert ([201], "/installed") == (statuses, call.path)
    assert {
        "key": "deployer",
        "productType": "chat",
        "cloudId": server.cloud_id,
        "resourceType": "conversation",
        "resourceId": foreign,
        "eventType": "installed",
        "userId": ann,
        "oauthClientId": server.client_id,
        "version": "1",
        "relayState": "from the link",
    } == call.json
    assert ann == call.claims(server.client_secret)["sub"]


async def test_an_uninstallation_ends_access_and_is_delivered(api, server, app, room, ann):
    """The app can no longer use the conversation when it is called."""
    await server.uninstall(room, by=ann)

    (call,) = app.received

    assert ("uninstalled", room) == (call.json["eventType"], call.json["resourceId"])
    assert "relayState" not in call.json
    assert 403 == (await api.get(api.room(room))).status


async def test_a_delivery_may_contain_half_a_surrogate_pair(server, app, room, ann):
    """It arrives as the escape that JSON has for it."""
    await server.install(room, by=ann, relay_state="cut \ud83d")

    (call,) = app.received
    assert "cut \ud83d" == call.json["relayState"]


async def test_an_app_without_lifecycle_is_installed_without_a_call(server, app, room, ann):
    """The same is true of an app that is not registered."""
    del app.descriptor["lifecycle"]
    await server.register_app(f"{app.url}/descriptor.json")
    other, _ = server.add_app(conversations=[])

    await server.uninstall(room, by=ann)
    await server.install(room, by=ann, client_id=other)

    assert [] == await calls(server, app)


async def test_installing_checks_conversation_user_and_app(server, room, ann):
    """What does not exist is a KeyError with its id."""
    for arguments in ((("nowhere",), {"by": ann}), ((room,), {"by": "x"}), ((room,), {"by": ann, "client_id": "x"})):
        with pytest.raises(KeyError):
            await server.install(*arguments[0], **arguments[1])
        with pytest.raises(KeyError):
            await server.uninstall(*arguments[0], **arguments[1])


async def test_a_404_on_a_lifecycle_call_ends_quietly(server, app, room, ann):
    """Real apps name such URLs without serving them."""
    app.respond = lambda _: web.Response(status=404)
    await server.install(room, by=ann)

    (delivery,) = [one for one in server.deliveries if one.kind == "installed"]

    assert (True, [404]) == (delivery.ended, [one.status for one in delivery.tries])


@pytest.mark.parametrize("delay", [0.0, 0.05])
async def test_a_room_that_the_app_creates_is_installed_later(start, app, delay):
    """The lifecycle call comes when the app may use the room, and then the call for the new conversation."""
    api = await start(choices=Choices(install_delay=delay))
    await api.server.register_app(f"{app.url}/descriptor.json")
    statuses = []

    async def look(call):
        room = call.json.get("resourceId") or call.json["conversation"]["id"]
        statuses.append((call.path, (await api.get(api.room(room))).status))
        return web.Response(status=204)

    app.respond = look
    created = await api.call("POST", api.site, json={"name": "new"})
    await api.server.delivered()

    assert [("/installed", 200), ("/rooms", 200)] == sorted(statuses)
    assert api.server.app_account_id == app.received[0].json["userId"]
    assert {created.json["id"]} == {one.conversation_id for one in api.server.deliveries}


async def test_a_direct_conversation_that_the_app_opens_is_installed(api, server, app, ann):
    """It is opened once."""
    direct = (await api.get(f"{api.site}/user/{ann}")).json["id"]
    await api.get(f"{api.site}/user/{ann}")

    ((path, body),) = await calls(server, app)

    assert ("/installed", direct, ann) == (path, body["resourceId"], body["userId"])


async def test_modules_added_at_run_time_are_called(api, server, app, room, ann):
    """They are called in their conversation only, and replace those of the descriptor with the same key."""
    other = server.add_conversation("other", roster=[ann])
    modules = f"{api.room(room)}/app/module"
    await api.call("PUT", f"{modules}/chat:bot:messages/weather", json={"pattern": "rain", "url": "/rain"})
    await api.call("PUT", f"{modules}/chat:bot:messages/wrong", json={"pattern": "(", "url": "/wrong"})
    await server.delivered()
    app.received.clear()

    for text in ("rain", "weather"):
        server.add_message(room, text, sender_id=ann)
        server.add_message(other, text, sender_id=ann)
    await api.call("DELETE", f"{modules}/chat:bot:messages/weather")
    server.add_message(room, "weather", sender_id=ann)

    found = await calls(server, app)
    assert [("/rain", room), ("/weather", other), ("/weather", room)] == [
        (path, body["conversation"]["id"]) for path, body in found
    ]


async def test_each_registered_app_is_called_with_its_own_token(server, app, room, ann):
    """The lifecycle call names the key of the app."""
    client_id, secret = server.add_app(name="Second")
    async with running_app() as second:
        second.descriptor["key"] = "second"
        await server.register_app(f"{second.url}/descriptor.json", client_id=client_id)
        server.add_message(room, "weather", sender_id=ann)
        await server.install(room, by=ann, client_id=client_id)
        await server.delivered()

        message, installed = second.received

    assert (client_id, "second") == (message.claims(secret)["iss"], installed.json["key"])
    assert [server.client_id] == [call.claims(server.client_secret)["iss"] for call in app.received]


async def test_an_app_without_key_is_installed_with_its_client_id(server, app, room, ann):
    """One real app has no key."""
    del app.descriptor["key"]
    await server.register_app(f"{app.url}/descriptor.json")
    await server.install(room, by=ann)

    assert server.client_id == app.received[-1].json["key"]


@pytest.mark.parametrize(
    ("statuses", "tries"),
    [([204], 1), ([200], 1), ([503, 204], 2), ([500, 502, 503, 200], 4), ([503] * 5, 4), ([408, 429, 201], 3)]
    + [([status], 1) for status in (301, 400, 401, 403, 404, 410)],
    ids=lambda value: "" if isinstance(value, int) else "-".join(map(str, value)),
)
async def test_a_failed_call_is_delivered_again_up_to_three_times(server, app, room, ann, statuses, tries):
    """A response below 500 ends it, except 408 and 429: a call that is refused would be refused again."""
    app.responses.extend(web.Response(status=status) for status in statuses)
    server.add_message(room, "weather", sender_id=ann)
    await server.delivered()

    (delivery,) = [one for one in server.deliveries if one.kind == "message"]

    assert statuses[:tries] == [one.status for one in delivery.tries]
    assert (True, tries) == (delivery.ended, len(app.received))
    assert 1 == len({call.body for call in app.received})


async def test_each_try_is_signed_anew(server, app, room, ann, monkeypatch):
    """A token of an earlier try may have expired."""
    now = time.time()
    app.responses.extend([web.Response(status=503), web.Response(status=204)])

    def fail_later(_):
        monkeypatch.setattr(time, "time", lambda: now + 1000)

    server.faults.add("DELIVER", "message", after=1, do=fail_later)
    server.add_message(room, "weather", sender_id=ann)
    await server.delivered()

    first, second = (call.claims(server.client_secret)["iat"] for call in app.received)

    assert 999 <= second - first


async def test_an_app_that_does_not_run_is_called_again(server, app, room, ann):
    """The error of each try says why there was no response."""
    app.descriptor["modules"]["chat:bot"][0]["mention"]["url"] = "/mention"
    async with running_app() as stopped:
        await server.register_app(f"{stopped.url}/descriptor.json")
    server.add_message(room, "weather", sender_id=ann)
    await server.delivered()

    (delivery,) = [one for one in server.deliveries if one.kind == "message"]

    assert [None] * 4 == [one.status for one in delivery.tries]
    assert all("Cannot connect" in one.error for one in delivery.tries)


async def test_a_response_that_is_late_is_a_failed_one(start, app):
    """The call ends when the time to respond is over, and is delivered again."""
    api = await start(choices=Choices(redelivery_spans=(0.0,), delivery_seconds=0.05))
    await api.server.register_app(f"{app.url}/descriptor.json")
    room = api.server.add_conversation("general")
    await api.server.delivered()
    never = asyncio.Event()

    async def hang(_):
        await never.wait()

    app.respond = hang
    api.server.add_message(room, "weather", sender_id=api.server.add_user("Ann"))
    async with asyncio.timeout(10):
        await api.server.delivered()

    delivery = api.server.deliveries[-1]
    assert [(None, "no response within 0.05 s")] * 2 == [(one.status, one.error) for one in delivery.tries]
    assert all(one.seconds >= 0.05 for one in delivery.tries)
    never.set()


async def test_deliveries_do_not_wait_for_each_other(server, app, room, ann):
    """They start in order; a call that hangs does not delay those after it."""
    first_may_end = asyncio.Event()

    async def respond(call):
        if call.json["message"]["text"] == "weather 0":
            await first_may_end.wait()
        else:
            first_may_end.set()
        return web.Response(status=204)

    app.respond = respond
    async with asyncio.timeout(10):
        for number in range(2):
            server.add_message(room, f"weather {number}", sender_id=ann)
        await server.delivered()

    assert ["weather 0", "weather 1"] == [call.json["message"]["text"] for call in app.received]


async def test_closing_the_server_ends_deliveries(start, app):
    """A call that hangs and a redelivery that waits are both cut off, and nothing is left behind."""
    tasks = asyncio.all_tasks()
    server = LocalServer(choices=Choices(redelivery_spans=(600.0,)))
    async with asyncio.timeout(10):
        await server.start()
        await server.register_app(f"{app.url}/descriptor.json")
        room, ann = server.add_conversation("general"), server.add_user("Ann")
        received = asyncio.Event()

        async def hang(call):
            if call.path == "/weather":
                received.set()
                await asyncio.Event().wait()
            return web.Response(status=503)

        app.respond = hang
        server.add_message(room, "deploy, whatever the weather", sender_id=ann)
        await received.wait()
        await server.close()
        await asyncio.sleep(0)

    assert [] == [task for task in asyncio.all_tasks() - tasks if "Deliveries" in repr(task.get_coro())]


async def test_a_fault_fails_deliveries_without_a_call(server, app, room, ann):
    """The status counts as that of the response."""
    fault = server.faults.add("DELIVER", "message", status=503, times=2)
    server.add_message(room, "weather", sender_id=ann, mention_app=True)
    await server.delivered()

    by_kind = {one.kind: [one.status for one in one.tries] for one in server.deliveries[1:]}

    assert {"mention": [204], "message": [503, 503, 204]} == by_kind
    assert (3, 2) == (fault.seen, fault.hits)
    assert sorted(["/mention", "/weather"]) == sorted(app.paths())


async def test_a_fault_loses_the_response_of_an_app(server, app, room, ann):
    """The app has acted, and is called again."""
    server.faults.add("DELIVER", "message", lose_answer=True, times=1)
    server.add_message(room, "weather", sender_id=ann)
    await server.delivered()

    delivery = server.deliveries[-1]

    assert [(None, "the response was lost"), (204, None)] == [(one.status, one.error) for one in delivery.tries]
    assert ["/weather", "/weather"] == app.paths()


async def test_a_fault_whose_action_fails_is_a_failed_call(server, app, room, ann, caplog):
    """It is logged, as for a request, and the call is delivered again."""

    def action(server):
        raise ZeroDivisionError

    server.faults.add("DELIVER", "message", do=action, times=1)
    server.add_message(room, "weather", sender_id=ann)
    await server.delivered()

    errors = [(one.status, one.error) for one in server.deliveries[-1].tries]
    assert [(None, "the action of a fault raised ZeroDivisionError()"), (204, None)] == errors
    assert ["the action of a fault failed"] == [record.getMessage() for record in caplog.records]


async def test_a_fault_calls_an_app_several_times_at_once(server, app, room, ann):
    """The calls have equal bodies."""
    server.faults.add("DELIVER", "message", duplicate=3)
    server.add_message(room, "weather", sender_id=ann)
    await server.delivered()

    assert [204] * 3 == [one.status for one in server.deliveries[-1].tries]
    assert (3, 1) == (len(app.received), len({call.body for call in app.received}))


async def test_a_fault_loses_the_responses_of_several_calls(server, app, room, ann):
    """The app has acted on each of them, and is called again."""
    server.faults.add("DELIVER", "message", duplicate=2, lose_answer=True, times=1)
    server.add_message(room, "weather", sender_id=ann)
    await server.delivered()

    assert [None, None, 204] == [one.status for one in server.deliveries[-1].tries]
    assert ["/weather"] * 3 == app.paths()


async def test_faults_of_requests_and_of_deliveries_do_not_mix(api, server, app, room, ann):
    """A fault for any request applies to no delivery, and the other way around."""
    server.faults.add("*", "*", status=503)
    server.faults.add("DELIVER", "*", status=410)
    server.add_message(room, "weather", sender_id=ann)
    await server.delivered()

    assert [410] == [one.status for one in server.deliveries[-1].tries]
    assert 503 == (await api.get("/me")).status


@pytest.mark.parametrize(
    ("method", "options", "problem"),
    [
        ("DELIVER", {"drop": "before"}, "drop does not apply to a delivery"),
        ("deliver", {"body": "x"}, "body does not apply to a delivery"),
        ("DELIVER", {"headers": {"X": "y"}}, "headers does not apply to a delivery"),
        ("DELIVER", {"cut_after": 0}, "cut_after does not apply to a delivery"),
        ("DELIVER", {"status": 503, "duplicate": 2}, "duplicate does not apply to a delivery with a status"),
        ("DELIVER", {"status": 503, "lose_answer": True}, "lose_answer does not apply to a delivery with a status"),
        ("POST", {"duplicate": 2}, "duplicate does not apply to a request"),
        ("*", {"lose_answer": True}, "lose_answer does not apply to a request"),
        ("DELIVER", {"duplicate": 0}, "duplicate"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
def test_options_that_do_not_apply_are_refused(method, options, problem):
    """The error names the option."""
    with pytest.raises(ValueError, match=problem):
        LocalServer().faults.add(method, "*", **options)


async def test_the_oldest_deliveries_are_forgotten(start, app):
    """The server remembers as many as it does calls."""
    api = await start(calls_kept=2)
    await api.server.register_app(f"{app.url}/descriptor.json")
    room = api.server.add_conversation("general")
    for number in range(3):
        api.server.add_message(room, f"weather {number}", sender_id=api.server.add_user(f"Person {number}"))
    await api.server.delivered()

    texts = [one.body["message"]["text"] for one in api.server.deliveries]

    assert ["weather 1", "weather 2"] == texts


async def test_many_deliveries_arrive_once_each(server, app, room, ann):
    """A burst is neither refused nor delivered twice."""
    for number in range(500):
        server.add_message(room, f"weather {number}", sender_id=ann)
    await server.delivered()

    texts = [call.json["message"]["text"] for call in app.received]

    assert {f"weather {number}" for number in range(500)} == set(texts)
    assert 500 == len(texts)


async def test_a_delivery_says_where_it_went(server, app, room, ann):
    """It has kind, key, conversation and URL; each try has its time."""
    before = time.time()
    server.add_message(room, "weather", sender_id=ann)
    await server.delivered()

    delivery = server.deliveries[-1]

    assert ("message", "weather", room, f"{app.url}/weather") == (
        delivery.kind,
        delivery.key,
        delivery.conversation_id,
        delivery.url,
    )
    assert before <= delivery.tries[0].at <= time.time()
    assert delivery.body == app.received[0].json
