"""Calls are accepted, or refused with a status and a reason."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from typing import Any

import pytest
from aiohttp import web

from stride_async.bot import RUNNING, Bot, Mention, Received, Refused
from stride_async.bot import _http as http
from stride_async.bot import _store as store
from tests.bot.delivering import Scene, Served, served, serving, until


@pytest.fixture
def bot() -> Bot:
    """Return a bot with mentions, a message module, an action, a glance and a configuration."""
    bot = Bot("deployer")

    @bot.mention()
    async def mention(event: Mention) -> None: ...

    @bot.message("weather")
    async def weather(event) -> None: ...

    @bot.action("vote")
    async def vote(event) -> str:
        return f"{event.user_id} voted {event.parameters.get('for')} on {event.message_id}"

    @bot.glance("votes", name="Votes", icon="https://example.com/v.png")
    async def votes(event) -> str:
        return f"votes in {event.conversation_id}"

    @bot.configuration("settings", page="dialog")
    async def configured(event) -> bool:
        return True

    return bot


ROUTES = ["/mention", "/direct", "/message/weather", "/roster", "/conversation", "/installed", "/uninstalled"]


@pytest.mark.parametrize("spelling", ["Bearer {}", "bearer {}", "JWT {}", "jwt  {}", "{}"])
async def test_every_spelling_of_the_header_is_accepted(bot, scene, spelling):
    """The token may follow Bearer or JWT in any case, or stand alone."""
    body = await scene.body(scene.say_to_bot("hi"))
    async with served(bot, scene) as bot_app:
        headers = {"Authorization": spelling.format(scene.token())}
        answer = await bot_app.call("/mention", body, token=None, headers=headers)

    assert (204, None) == (answer.status, answer.json)


@pytest.mark.parametrize("where", ["header", "query"])
async def test_the_token_may_stand_elsewhere(bot, scene, where):
    """`X-acpt` and `?jwt=` are accepted on every route."""
    body = await scene.body(scene.say_to_bot("hi"))
    async with served(bot, scene) as bot_app:
        if where == "header":
            answer = await bot_app.call("/mention", body, token=None, headers={"X-acpt": scene.token()})
        else:
            answer = await bot_app.call(f"/mention?jwt={scene.token()}", body, token=None)

    assert 204 == answer.status


@pytest.mark.parametrize("path", [*ROUTES, "/action/vote"])
async def test_a_call_without_a_good_token_is_refused_everywhere(bot, scene, path):
    """The status is 401 with a WWW-Authenticate header, and the reason does not quote the token."""
    wrong = scene.token(secret="x" * 64)
    async with served(bot, scene) as bot_app:
        absent = await bot_app.call(path, {}, token=None)
        forged = await bot_app.call(path, {}, token=wrong)

    for answer in (absent, forged):
        assert (401, "Bearer") == (answer.status, answer.headers["WWW-Authenticate"])
        assert ["error"] == list(answer.json)
    assert not [part for part in wrong.split(".") if part in json.dumps(forged.json)]


async def test_header_bytes_that_are_not_text_are_refused(bot, scene):
    """They reach the verification as surrogates and are refused like any bad token."""
    async with served(bot, scene) as bot_app:
        port = int(bot_app.url.split(":")[2].split("/")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /stride/mention HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe.\xe9.x\r\n"
                     b"Content-Length: 2\r\nConnection: close\r\n\r\n{}")  # fmt: skip
        response = await reader.read()
        writer.close()

    assert response.startswith(b"HTTP/1.1 401 ")


async def test_nothing_is_read_of_a_body_whose_token_is_bad(bot, scene):
    """The response comes while the body is still being sent."""
    async with served(bot, scene) as bot_app:
        port = int(bot_app.url.split(":")[2].split("/")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /stride/mention HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
        writer.close()


MESSAGE = b'{"id":"M","sender":{"id":"U"},"ts":"2018-02-27T08:54:23Z","text":""}'


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"", "$"),
        (b"{", "$"),
        (b"[]", "$"),
        (b"null", "$"),
        (b'"text"', "$"),
        (b"\xff", "$"),
        (b"[" * 100_000, "$"),
        (b'{"cloudId":"C"}', "$"),
        (b'{"cloudId":7,"message":{},"conversation":{"id":"V"}}', "$.cloudId"),
        (b'{"cloudId":"C","message":{},"conversation":{"id":"V"}}', "$.message"),
        (b'{"cloudId":"C","message":null,"conversation":{"id":"V"}}', "$.message"),
        (b'{"cloudId":"C","message":%s,"conversation":null}' % MESSAGE, "$.conversation"),
        (b'{"cloudId":"C","message":%s,"conversation":{"id":""}}' % MESSAGE, "$.conversation.id"),
        (b'{"cloudId":"C","message":%s,"conversation":{"id":"V"}}' % MESSAGE.replace(b"23Z", b""), "$.message.ts"),
        (
            b'{"cloudId":"C","message":%s,"conversation":{"id":"V"}}' % MESSAGE.replace(b'"id":"U"', b""),
            "$.message.sender",
        ),
        (b'{"cloudId":"C","message":%s,"conversation":{"id":"V"}}' % MESSAGE.replace(b'"M"', b'""'), "$.message.id"),
    ],
)  # fmt: skip
async def test_a_malformed_body_is_refused_with_its_path(bot, scene, body, path):
    """The status is 400, and the reason names the path of the first problem."""
    reports = []
    async with served(bot, scene, on_event=reports.append) as bot_app:
        answer = await bot_app.call("/mention", body)

    assert 400 == answer.status
    assert answer.json["error"].endswith(f"@ {path}")
    assert [Refused(400, answer.json["error"])] == reports


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        ("/roster", "user"),
        ("/roster", "action"),
        ("/roster", "conversation"),
        ("/conversation", "action"),
        ("/installed", "resourceId"),
        ("/uninstalled", "cloudId"),
    ],
)
async def test_a_field_that_is_needed_must_be_there(bot, scene, path, missing):
    """A required field that is missing is named."""
    conversation = await scene.conversation_json(scene.room)
    body = scene.lifecycle() | {"conversation": conversation, "user": {"id": "U"}, "action": "add"}
    del body[missing]
    async with served(bot, scene) as bot_app:
        answer = await bot_app.call(path, body)

    assert 400 == answer.status
    assert missing in answer.json["error"]


async def test_what_the_service_is_known_to_send_is_accepted(bot, scene):
    """Null content, stray attributes, unknown fields and an unknown type are accepted."""
    body = await scene.body(scene.say_to_bot("hi"))
    body["message"]["body"]["content"] += [
        {"type": "mediaGroup", "attrs": {}, "content": [{"type": "media", "attrs": {"id": "m"}, "content": None}]},
        {"type": "novelty", "content": None},
    ]
    body |= {"type": "chat_message_sung", "recipients": None, "more": [1]}
    body["conversation"] |= {"type": "choir"}
    async with served(bot, scene) as bot_app:
        answer = await bot_app.call("/mention", body)
        await bot_app.running.idle()

        assert [] == await bot_app.running.failed()
    assert 204 == answer.status


async def test_a_number_of_any_size_is_accepted_where_it_is_not_needed(bot, scene):
    """It is a field like any other that is unknown, and the body is still told from others."""
    body = {
        "cloudId": scene.server.cloud_id,
        "conversation": {"id": scene.room},
        "user": {"id": scene.ann},
        "action": "add",
    }
    raw = json.dumps(body).encode()
    received: list[object] = []
    async with served(bot, scene, on_event=received.append) as bot_app:
        for number in (b"1e999", b"1e999", b"-1e999"):
            answer = await bot_app.call("/roster", raw.replace(b"{", b'{"more":' + number + b",", 1))
            assert 204 == answer.status

    assert [True, False, True] == [report.new for report in received if isinstance(report, Received)]


async def test_a_descriptor_needs_a_host_that_is_text(bot, scene):
    """Unless the settings have the public URL."""
    async with served(bot, scene) as bot_app:
        host, _, port = bot_app.url.removeprefix("http://").partition("/")[0].partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /stride/descriptor.json HTTP/1.1\r\nHost: \xff\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"expected a Host header" in answer


async def test_a_body_that_is_too_large_is_refused(bot, scene):
    """The limit holds for the stated length, for chunks, and for decompressed data."""
    large = b'{"x":"' + b"y" * http.BODY_BYTES + b'"}'

    async def chunks():
        yield large

    async with served(bot, scene) as bot_app:
        stated = await bot_app.call("/mention", large)
        chunked = await bot_app.scene.http.post(
            f"{bot_app.url}/mention", data=chunks(), headers={"Authorization": scene.token()}
        )
        bomb = await bot_app.call("/mention", gzip.compress(large), headers={"Content-Encoding": "gzip"})

    assert (413, 413, 413) == (stated.status, chunked.status, bomb.status)


async def test_a_body_that_is_too_slow_is_refused(bot, scene, monkeypatch):
    """The status is 408 when the body does not arrive in time."""
    monkeypatch.setattr(http, "BODY_SECONDS", 0.05)
    ended = asyncio.Event()

    async def stalling():
        yield b"{"
        await ended.wait()

    async with served(bot, scene) as bot_app:
        headers = {"Authorization": scene.token()}
        async with scene.http.post(f"{bot_app.url}/mention", data=stalling(), headers=headers) as response:
            status = response.status
        ended.set()

    assert 408 == status


async def test_another_middleware_may_have_read_the_body(bot, scene):
    """The bot may hang in an application that logs bodies, for example. The limit of the size still holds."""

    @web.middleware
    async def log(request: web.Request, handler: Any) -> web.StreamResponse:
        await request.read()
        return await handler(request)

    inner = bot.application(scene.settings())
    outer = web.Application(middlewares=[log], client_max_size=10 * http.BODY_BYTES)
    outer.add_subapp("/stride", inner)
    async with serving(outer) as url:
        bot_app = Served(scene, f"{url}/stride", inner[RUNNING])
        kept = await bot_app.deliver("/mention", scene.say_to_bot("hi"))
        pressed = await bot_app.call("/action/vote", {"parameters": {"for": "tea"}}, token=scene.token(sub=scene.ann))
        large = await bot_app.call("/mention", b" " * (http.BODY_BYTES + 1))
        empty = await bot_app.call("/mention", b"")

    assert (204, 200, 413, 400) == (kept.status, pressed.status, large.status, empty.status)


async def test_a_body_that_cannot_be_decompressed_is_refused(bot, scene):
    """The status is 400."""
    async with served(bot, scene) as bot_app:
        answer = await bot_app.call("/mention", b"no gzip", headers={"Content-Encoding": "gzip"})

    assert 400 == answer.status


async def test_token_and_body_must_agree(bot, scene):
    """A token for another site, conversation or person, or for a site that is not served, is refused."""
    body = await scene.body(scene.say_to_bot("hi"))
    cloud_id = scene.server.cloud_id
    elsewhere = {"cloudId": cloud_id, "resourceType": "conversation", "resourceId": scene.direct}
    async with served(bot, scene, sites={cloud_id, "another"}) as bot_app:
        answers = [
            await bot_app.call("/mention", body | {"cloudId": "another"}),
            await bot_app.call("/mention", body, token=scene.token(context=elsewhere)),
            await bot_app.call("/mention", body, token=scene.token(sub=scene.bob)),
            await bot_app.call("/mention", body, token=scene.token(context={"cloudId": "third"})),
        ]
        good = await bot_app.call("/mention", body, token=scene.token(sub=scene.ann, context={"cloudId": cloud_id}))

    assert [403] * 4 == [answer.status for answer in answers]
    assert 204 == good.status


async def test_the_first_reason_counts(bot, scene, monkeypatch):
    """They are the end of the bot, the token, a full inbox, the size, the JSON, and the agreement of token and body."""
    release = asyncio.Event()

    @bot.middleware
    async def hold(event, call) -> None:
        await release.wait()

    monkeypatch.setattr(http, "BODY_BYTES", 10_000)
    large, body = b"{" * 10_001, await scene.body(scene.say_to_bot("hi"))
    bad, wrong = scene.token(secret="x" * 64), scene.token(context={"cloudId": "another"})
    async with served(bot, scene, backlog=1, concurrency=1, shutdown_timeout=5.0) as bot_app:
        await bot_app.mention("one is under way")
        await until(lambda: bot_app.under_way)
        await bot_app.mention("two waits")
        answers = [await bot_app.call("/mention", large, token=token) for token in (bad, wrong)]
        release.set()
        await bot_app.running.idle()
        answers += [await bot_app.call("/mention", each, token=wrong) for each in (large, b"{", body)]
        bot_app.running._parts.dispatcher.closing = True
        answers.append(await bot_app.call("/mention", large, token=bad))

    assert [401, 503, 413, 400, 403, 503] == [answer.status for answer in answers]


async def test_a_full_inbox_asks_for_a_redelivery(bot, scene):
    """The status is 503 with Retry-After, and the redelivery is accepted later."""
    release = asyncio.Event()

    @bot.middleware
    async def hold(event, call) -> None:
        await release.wait()

    async with served(bot, scene, backlog=1, concurrency=1, shutdown_timeout=5.0) as bot_app:
        await bot_app.mention("one is under way")
        await until(lambda: bot_app.under_way)
        await bot_app.mention("two waits")
        third = scene.say_to_bot("three")
        full = await bot_app.deliver("/mention", third)
        release.set()
        await bot_app.running.idle()
        again = await bot_app.deliver("/mention", third)

    assert (503, "5", 204) == (full.status, full.headers["Retry-After"], again.status)


async def test_bodies_that_arrive_at_once_do_not_overfill_the_inbox(bot, scene):
    """There is room when each call begins, but not for all of their bodies."""
    release = asyncio.Event()

    @bot.middleware
    async def hold(event, call) -> None:
        await release.wait()

    async with served(bot, scene, backlog=2, concurrency=1, shutdown_timeout=5.0) as bot_app:
        await bot_app.mention("this one is under way")
        await until(lambda: bot_app.under_way)
        port = int(bot_app.url.split(":")[2].split("/")[0])
        calls = []
        for text in ("one", "two", "three"):
            body = json.dumps(await scene.body(scene.say_to_bot(text))).encode()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"POST /stride/mention HTTP/1.1\r\nHost: x\r\nAuthorization: {scene.token()}\r\n".encode())
            writer.write(f"Content-Length: {len(body)}\r\n\r\n".encode())
            calls.append((reader, writer, body))
        await until(lambda: len(bot_app.running._parts.bodies._under_way) == len(calls))
        for _, writer, body in calls:
            writer.write(body)
        statuses = [(await reader.readline()).split()[1] for reader, _, _ in calls]
        release.set()
        await bot_app.running.idle()
        for _, writer, _ in calls:
            writer.close()

    assert [b"204", b"204", b"503"] == sorted(statuses)


async def test_a_store_that_fails_asks_for_a_redelivery(bot, scene):
    """An event that could not be written is not acknowledged, and its redelivery is accepted."""
    message_id = scene.say_to_bot("hi")
    async with served(bot, scene) as bot_app:
        kept = bot_app.running._parts.store
        pages = await kept.run(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
        await kept.run(lambda db: db.execute(f"PRAGMA max_page_count = {pages}").fetchone())
        for _ in range(200):
            failed = await bot_app.deliver("/mention", message_id)
            if failed.status == 503:
                break
            message_id = scene.say_to_bot("x" * 10_000)
        await kept.run(lambda db: db.execute("PRAGMA max_page_count = 1000000").fetchone())
        again = await bot_app.deliver("/mention", message_id)

    assert (503, "5", 204) == (failed.status, failed.headers.get("Retry-After"), again.status)


async def test_a_bot_that_is_shutting_down_asks_for_a_redelivery(bot, scene):
    """Deliveries, browser calls and the health check get 503."""
    async with served(bot, scene) as bot_app:
        bot_app.running._parts.dispatcher.closing = True
        delivery = await bot_app.call("/mention", {}, token=None)
        press = await bot_app.call("/action/vote", {}, token=None)
        health = await bot_app.call("/health", method="GET", token=None)

    assert (503, 503, 503) == (delivery.status, press.status, health.status)
    assert "*" == press.headers["Access-Control-Allow-Origin"]


async def test_a_module_that_is_not_there_is_not_found(bot, scene):
    """The status is 404, after the token was checked."""
    async with served(bot, scene) as bot_app:
        answers = [
            await bot_app.call("/message/unknown", {}),
            await bot_app.call("/action/unknown", {}),
            await bot_app.call("/glance/unknown", method="GET"),
        ]
        unknown = await bot_app.call("/message/unknown", {}, token=None)

    assert [404, 404, 404] == [answer.status for answer in answers]
    assert 401 == unknown.status


async def test_an_unknown_path_or_method_is_refused_like_everything_else(bot, scene):
    """The reason is JSON, and is reported."""
    reports: list[object] = []
    async with served(bot, scene, on_event=reports.append) as bot_app:
        path = await bot_app.call("/mentions", {})
        below = await bot_app.call("/mention/", {})
        method = await bot_app.call("/mention", method="GET")
        glance = await bot_app.call("/glance/votes", {})

    assert [(404, {"error": "this bot is not called at this path"})] * 2 == [(a.status, a.json) for a in (path, below)]
    assert (405, {"error": "expected the method POST"}) == (method.status, method.json)
    assert (405, {"error": "expected the method GET or OPTIONS"}) == (glance.status, glance.json)
    assert ("POST", "GET,OPTIONS") == (method.headers["Allow"], glance.headers["Allow"])
    assert (None, "*") == tuple(each.headers.get("Access-Control-Allow-Origin") for each in (method, glance))
    assert [404, 404, 405, 405] == [report.status for report in reports if isinstance(report, Refused)]


async def test_a_body_that_is_incomplete_does_not_delay_the_end(bot, scene):
    """It is answered with 503 at once, so that the delivery is repeated."""
    async with served(bot, scene) as bot_app:
        port = int(bot_app.url.split(":")[2].split("/")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"POST /stride/mention HTTP/1.1\r\nHost: x\r\nAuthorization: {scene.token()}\r\n".encode())
        writer.write(b"Content-Length: 2\r\n\r\n{")
        await until(lambda: bot_app.running._parts.bodies._under_way)
        began = asyncio.get_running_loop().time()
    response = await reader.read()
    writer.close()

    assert response.startswith(b"HTTP/1.1 503 ")
    assert response.endswith(b'{"error":"the bot is shutting down"}')
    assert asyncio.get_running_loop().time() - began < http.BODY_SECONDS


async def test_health_reports_what_waits(bot, scene):
    """The health check needs no token and returns numbers."""
    async with served(bot, scene) as bot_app:
        await bot_app.mention("hi")
        await bot_app.running.idle()
        answer = await bot_app.call("/health", method="GET", token=None)

    assert (200, {"waiting": 0, "running": 0, "oldest_seconds": 0, "failed": 0}) == (answer.status, answer.json)


async def test_a_delivery_is_reported_as_new_or_not(bot, scene):
    """`Received.new` is false for an event that was kept before."""
    reports = []
    async with served(bot, scene, on_event=reports.append) as bot_app:
        message_id = await bot_app.mention("hi")
        await bot_app.deliver("/mention", message_id)

    assert [Received("mention", "bot", True), Received("mention", "bot", False)] == [
        report for report in reports if isinstance(report, Received)
    ]


async def test_a_receiver_that_raises_harms_nothing(bot, scene, caplog):
    """Its exception is logged once."""

    def broken(report) -> None:
        raise ZeroDivisionError

    async with served(bot, scene, on_event=broken) as bot_app:
        await bot_app.mention("hi")
        await bot_app.mention("hi again")
        await bot_app.running.idle()

    assert 1 == len([record for record in caplog.records if "on_event" in record.message])


# Browsers


async def test_a_browser_may_ask_from_any_page(bot, scene):
    """Preflight requests need no token. Refusals have the origin header, too. Credentials are never allowed."""
    async with served(bot, scene) as bot_app:
        for path in ("/action/vote", "/glance/votes", "/configuration/settings"):
            answer = await bot_app.call(
                path, method="OPTIONS", token=None, headers={"Origin": "https://app.stride.com"}
            )
            assert (204, "*", "600") == (
                answer.status,
                answer.headers["Access-Control-Allow-Origin"],
                answer.headers["Access-Control-Max-Age"],
            )
            assert "Authorization, Content-Type, X-acpt" == answer.headers["Access-Control-Allow-Headers"]
            assert "Access-Control-Allow-Credentials" not in answer.headers
        refused = await bot_app.call("/action/vote", {}, token=None)
        delivery = await bot_app.call("/mention", method="OPTIONS", token=None)

    assert (401, "*") == (refused.status, refused.headers["Access-Control-Allow-Origin"])
    assert "Access-Control-Allow-Origin" not in delivery.headers


@pytest.mark.parametrize(
    ("path", "body", "token", "status"),
    [
        ("/action/vote", {}, {"secret": "x" * 64}, 401),
        ("/action/vote", {}, {"sub": "U", "exp": 1}, 401),
        ("/action/vote", {"cloudId": "another"}, {"sub": "U"}, 403),
        ("/action/vote", {}, {"sub": "U", "context": {}}, 403),
        ("/action/unknown", {}, {"sub": "U"}, 404),
        ("/action/vote", b"{", {"sub": "U"}, 400),
        ("/action/vote", b"x" * (1024 * 1024 + 1), {"sub": "U"}, 413),
        ("/action/broken", {}, {"sub": "U"}, 200),
        ("/glance/unknown", None, {}, 404),
        ("/glance/broken", None, {}, 500),
        ("/configuration/broken", None, {}, 500),
    ],
)
async def test_a_page_can_read_why_it_was_refused(bot, scene, path, body, token, status):
    """Every refusal of a browser call is one sentence, with the header that lets a page read it."""

    @bot.action("broken")
    @bot.glance("broken", name="x", icon="https://example.com/v.png")
    @bot.configuration("broken", page="dialog")
    async def broken(event) -> None:
        raise ZeroDivisionError

    async with served(bot, scene) as bot_app:
        method = "POST" if path.startswith("/action") else "GET"
        answer = await bot_app.call(path, body, method=method, token=scene.token(**token))

    assert (status, "*") == (answer.status, answer.headers["Access-Control-Allow-Origin"])
    assert ["error"] == list(answer.json)


async def test_a_press_gets_its_response_at_once(bot, scene):
    """Person and conversation come from the token; the message id is `mid`."""
    body = {"context": {"message": {"mid": "M", "body": None}, "x": 1}, "parameters": {"for": "tea"}, "source": "s"}
    async with served(bot, scene) as bot_app:
        answer = await bot_app.call("/action/vote", body, token=scene.token(sub=scene.ann))

    assert (200, {"message": f"{scene.ann} voted tea on M"}) == (answer.status, answer.json)
    assert "*" == answer.headers["Access-Control-Allow-Origin"]


async def test_a_press_of_another_place_is_refused(bot, scene):
    """The body must not name another conversation or site than the token, which must name a person and a place."""
    token = scene.token(sub=scene.ann)
    async with served(bot, scene) as bot_app:
        answers = [
            await bot_app.call("/action/vote", {"context": {"conversationId": scene.direct}}, token=token),
            await bot_app.call("/action/vote", {"context": {"conversation": {"id": scene.direct}}}, token=token),
            await bot_app.call("/action/vote", {"conversationId": scene.direct}, token=token),
            await bot_app.call("/action/vote", {"cloudId": "another"}, token=token),
            await bot_app.call("/action/vote", {}, token=scene.token()),
            await bot_app.call(
                "/action/vote", {}, token=scene.token(context={"cloudId": scene.server.cloud_id}, sub="U")
            ),
        ]
        good = await bot_app.call("/action/vote", {"context": {"conversationId": scene.room}}, token=token)

    assert [403] * 6 == [answer.status for answer in answers]
    assert 200 == good.status


async def test_glances_and_configurations_get_their_state(bot, scene):
    """The token may be in the query, as iframes send it."""
    async with served(bot, scene) as bot_app:
        glance = await bot_app.call(f"/glance/votes?jwt={scene.token()}", method="GET", token=None)
        configured = await bot_app.call("/configuration/settings", method="GET")

    assert {"label": {"value": f"votes in {scene.room}"}} == glance.json
    assert {"configured": True} == configured.json


async def test_a_key_may_be_any_text(bot, scene):
    """The module is called at the URL that the descriptor has for it."""
    keys = ["a/b", "a%2Fb", "{key}", "50 %", "größe?", "..."]
    for key in keys:

        @bot.glance(key, name="x", icon="https://example.com/v.png")
        async def label(event) -> str:
            return event.key

    urls = {module["key"]: module["queryUrl"] for module in bot.descriptor("")["modules"]["chat:glance"]}
    async with served(bot, scene) as bot_app:
        answers = [await bot_app.call(urls[key], method="GET") for key in keys]

    assert [(200, {"label": {"value": key}}) for key in keys] == [(answer.status, answer.json) for answer in answers]


async def test_no_secret_is_stored_logged_or_shown(bot, scene: Scene, caplog):
    """The client secret and tokens are not in the store, a log record, a repr or a response."""
    caplog.set_level(logging.DEBUG)
    body = await scene.body(scene.say_to_bot("hi"))
    token = scene.token(sub=scene.ann)
    shown = []

    @bot.error()
    async def error(event, error) -> None:
        shown.append(repr(event))

    async with served(bot, scene, on_event=lambda report: shown.append(repr(report))) as bot_app:
        for path in (*ROUTES, "/action/vote"):
            for sent in (token, f"{token}x"):
                answer = await bot_app.call(path, body, token=sent)
                shown.append(f"{answer.json}{dict(answer.headers)}")
        await bot_app.running.idle()
        shown += [repr(bot_app.running), repr(scene.settings()), repr(bot)]
    shown += [record.getMessage() for record in caplog.records if record.name.startswith("stride_async")]
    stored = b"".join(path.read_bytes() for path in scene.store.parent.iterdir())

    secrets = [scene.server.client_secret, token.split(".")[1], token.split(".")[2]]
    assert [] == [secret for secret in secrets if any(secret in text for text in shown) or secret.encode() in stored]


async def test_the_store_is_what_the_package_says_it_is(bot, scene):
    """It is SQLite in WAL mode, synced at each commit."""
    async with served(bot, scene) as bot_app:
        kept = bot_app.running._parts.store
        modes = [
            await kept.run(lambda db, name=name: db.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("journal_mode", "synchronous", "locking_mode", "application_id")
        ]

    assert ["wal", 2, "exclusive", store.APPLICATION_ID] == modes
