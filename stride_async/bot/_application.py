"""The web application of a bot: its routes, the status of each refusal, and CORS for browsers.

A delivery is acknowledged when it is on disk. Before that it is checked in this order: shutdown, token, room in the
inbox, size, JSON, agreement of token and body. Nothing is read of a body whose token is bad.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

from aiohttp import web

from stride_async.bot import _rows
from stride_async.bot._descriptor import descriptor
from stride_async.bot._http import caller_of, json_response, refused, shutting_down
from stride_async.bot._parts import Parts, opened
from stride_async.bot._queries import DID_NOT_WORK, AskedKind, HandlerFailed, ask, press
from stride_async.bot._read import read_delivery
from stride_async.bot._refusal import Refusal
from stride_async.bot._reports import LOG, Refused, UnderTest
from stride_async.bot._router import BOT_MODULE, LIFECYCLE, MESSAGE_KINDS, Kind, Routes, path_of
from stride_async.bot._running import RunningBot
from stride_async.bot._settings import BotSettings
from stride_async.bot._store import StoreFailed
from stride_async.bot._verify import check_place, check_sender

RUNNING: web.AppKey[RunningBot] = web.AppKey("RUNNING", RunningBot)
"""Where an application of `Bot.application()` keeps its `RunningBot` while it runs."""

PARTS: web.AppKey[Parts] = web.AppKey("PARTS", Parts)
_ORIGIN = {"Access-Control-Allow-Origin": "*"}
_PREFLIGHT = {
    **_ORIGIN,
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, X-acpt",
    "Access-Control-Max-Age": "600",
}

# A key may have braces, which a part of a path may not have by default.
_KEY = "{key:[^/]+}"

Answer = Callable[[Parts, web.Request], Awaitable[web.Response]]
Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(
    key: str, routes: Routes, settings: BotSettings, under_test: UnderTest | None = None
) -> web.Application:
    """Return the application of a bot, which runs the bot from its start-up to its clean-up."""
    app = web.Application(middlewares=[_refuse_unknown])
    app.cleanup_ctx.append(partial(_run, partial(opened, key, routes, settings, under_test)))
    app.on_shutdown.append(_stop_accepting)
    app.router.add_get("/descriptor.json", _describe)
    app.router.add_get("/health", _tell_health)
    modules: dict[Kind, str] = {
        "mention": BOT_MODULE,
        "direct_message": BOT_MODULE,
        "roster": "roster",
        "conversation": "conversation",
        "installed": LIFECYCLE,
        "uninstalled": LIFECYCLE,
    }
    for kind, module in modules.items():
        app.router.add_post(path_of(kind), _refusing(partial(_deliver, kind, module)))
    app.router.add_post(f"{path_of('message')}/{_KEY}", _refusing(_deliver_matched))
    _add_browser_route(app, "POST", "action", _press)
    _add_browser_route(app, "GET", "glance", partial(_ask, "glance"))
    _add_browser_route(app, "GET", "configuration", partial(_ask, "configuration"))
    return app


async def _run(open: Callable[[], AbstractAsyncContextManager[Parts]], app: web.Application) -> AsyncIterator[None]:
    async with open() as parts:
        app[PARTS] = parts
        app[RUNNING] = RunningBot(parts)
        yield


async def _stop_accepting(app: web.Application) -> None:
    parts = app[PARTS]
    parts.stop_accepting()
    if running := parts.dispatcher.running:
        LOG.info("waiting up to %g s for %d running handlers to end", parts.settings.shutdown_timeout, running)


@web.middleware
async def _refuse_unknown(request: web.Request, handler: Handle) -> web.StreamResponse:
    """Refuse an unknown path or method with a reason in JSON, like everything else that is refused."""
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as error:
        methods = " or ".join(sorted(error.allowed_methods))
        headers = {"Allow": error.headers["Allow"]}
        if "OPTIONS" in error.allowed_methods:  # A browser calls this path.
            headers.update(_ORIGIN)
        return _refused(request.app[PARTS], Refusal(405, f"expected the method {methods}"), headers)
    except web.HTTPNotFound:
        return _refused(request.app[PARTS], Refusal(404, "this bot is not called at this path"), None)


def _add_browser_route(app: web.Application, method: str, kind: Kind, answer: Answer) -> None:
    path = f"{path_of(kind)}/{_KEY}"
    app.router.add_route(method, path, _refusing(answer, _ORIGIN))
    app.router.add_route("OPTIONS", path, _preflight)


async def _preflight(_: web.Request) -> web.Response:
    return web.Response(status=204, headers=_PREFLIGHT)


def _refusing(answer: Answer, headers: dict[str, str] | None = None) -> Handle:
    """Return a request handler that turns refusals into responses and adds headers to every response."""

    async def handle(request: web.Request) -> web.StreamResponse:
        parts = request.app[PARTS]
        try:
            _check_open(parts)
            response = await answer(parts, request)
        except StoreFailed as error:
            LOG.error("a delivery could not be kept: %s", error)
            return _refused(parts, Refusal(503, "the event cannot be kept now"), headers)
        except Refusal as refusal:
            return _refused(parts, refusal, headers)
        response.headers.update(headers or {})
        return response

    return handle


def _check_open(parts: Parts) -> None:
    if parts.dispatcher.closing:
        raise shutting_down()


def _refused(parts: Parts, refusal: Refusal, headers: dict[str, str] | None) -> web.Response:
    parts.report(Refused(refusal.status, refusal.why))
    return refused(refusal, headers)


async def _deliver(kind: Kind, module: str, parts: Parts, request: web.Request) -> web.Response:
    caller = caller_of(request, parts.settings)
    if parts.full:
        raise Refusal(503, "too many events wait")
    body = await parts.bodies.receive(request)
    if parts.full:  # Other bodies were complete earlier.
        raise Refusal(503, "too many events wait")
    incoming = read_delivery(kind, module, body)
    check_place(caller, cloud_id=incoming.cloud_id, conversation_id=incoming.conversation_id)
    if kind in MESSAGE_KINDS:
        check_sender(caller, incoming.user_id)
    await parts.keep(incoming)
    return web.Response(status=204)


async def _deliver_matched(parts: Parts, request: web.Request) -> web.Response:
    key = request.match_info["key"]
    if ("message", key) not in parts.routes.handlers:
        caller_of(request, parts.settings)
        raise Refusal(404, "this bot has no message module of this key")
    return await _deliver("message", key, parts, request)


async def _press(parts: Parts, request: web.Request) -> web.Response:
    caller = caller_of(request, parts.settings)
    answer = await press(parts, request.match_info["key"], caller, lambda: parts.bodies.receive(request))
    return web.Response(status=204) if answer is None else json_response(answer)


async def _ask(kind: AskedKind, parts: Parts, request: web.Request) -> web.Response:
    caller = caller_of(request, parts.settings)
    try:
        return json_response(await ask(parts, kind, request.match_info["key"], caller))
    except HandlerFailed:
        return json_response(DID_NOT_WORK, status=500)


async def _describe(request: web.Request) -> web.Response:
    parts = request.app[PARTS]
    mount = request.rel_url.raw_path.rpartition("/")[0]
    if parts.settings.public_url is None and not request.host.isprintable():  # bytes that are not text are surrogates
        return refused(Refusal(400, "expected a Host header with the name of a host"))
    base_url = parts.settings.public_url or f"{request.scheme}://{request.host}{mount}"
    return json_response(descriptor(parts.key, base_url, parts.routes))


async def _tell_health(request: web.Request) -> web.Response:
    parts = request.app[PARTS]
    dispatcher = parts.dispatcher
    try:
        health = await parts.store.run(_rows.health)
    except StoreFailed:
        return refused(Refusal(503, "the store cannot be read"))
    oldest = health.oldest_received_at
    facts = {
        "waiting": dispatcher.waiting,
        "running": dispatcher.running,
        "oldest_seconds": 0.0 if oldest is None else max(0.0, round(time.time() - oldest, 3)),
        "failed": health.failed,
    }
    return json_response(facts, status=503 if dispatcher.closing else 200)
