"""A web app on aiohttp that shows a site: its conversations, their messages as they arrive, and their files.

    stride server --env-file .env --generate conversations=8,messages=200,seed=7
    (set -a; . ./.env; python examples/web_app.py)        # in another terminal
    curl http://127.0.0.1:8080/conversations
    curl -N http://127.0.0.1:8080/conversations/ID/events        # with an id that the first call returned

A browser that reconnects to the events sends the id of the last one that it got. It misses none and gets none twice.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from urllib.parse import quote

from aiohttp import web
from aiohttp.typedefs import Handler

from stride_async import Bookmark, Forbidden, NotFound, RateLimited, Settings, StaleBookmark, StrideClient, StrideError

STATUSES = {StaleBookmark: 400, Forbidden: 403, NotFound: 404, RateLimited: 503}
LATEST = 20  # messages that a new visitor sees at once
LOOK_SECONDS = float(os.environ.get("LOOK_SECONDS", "5"))

CLIENT = web.AppKey("CLIENT", StrideClient)
STOPPING = web.AppKey("STOPPING", asyncio.Event)
routes = web.RouteTableDef()


async def use_stride(app: web.Application) -> AsyncIterator[None]:
    """Open one client for all requests. A visitor waits neither for minutes nor for the downloads of others."""
    settings = Settings.from_env(deadline=20.0, longest_limit_wait=2.0, media_concurrency=64)
    async with StrideClient.from_env(settings=settings) as app[CLIENT]:
        yield


async def end_events(app: web.Application) -> None:
    """End the streams of events, which do not end by themselves."""
    app[STOPPING].set()


@web.middleware
async def report_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn an error into a status. A 401 is about the credentials of this app, so the visitor gets a 502."""
    try:
        return await handler(request)
    except StrideError as error:
        status = next((status for kind, status in STATUSES.items() if isinstance(error, kind)), 502)
        headers = {} if error.retry_after is None else {"Retry-After": str(int(error.retry_after) + 1)}
        facts = {"error": type(error).__name__, "maybe_processed": error.maybe_processed}
        return web.json_response(facts, status=status, headers=headers)


@routes.get("/conversations")
async def conversations(request: web.Request) -> web.Response:
    """Return the conversations that are not archived."""
    return web.json_response([{"id": each.id, "name": each.name} async for each in request.app[CLIENT].conversations()])


@routes.post("/conversations/{id}/messages")
async def send(request: web.Request) -> web.Response:
    """Send the body of the request as a message."""
    if not (text := (await request.text()).strip()):
        raise web.HTTPBadRequest(text="The message is empty.")
    message_id = await request.app[CLIENT].conversation(request.match_info["id"]).send(text)
    return web.json_response({"id": message_id}, status=201)


@routes.get("/conversations/{id}/files/{file}", allow_head=False)
async def file(request: web.Request) -> web.StreamResponse:
    """Pass a file through in chunks. It is a download, so that a file with a script does not run on this site."""
    room = request.app[CLIENT].conversation(request.match_info["id"])
    async with room.open_media(request.match_info["file"]) as body:
        name = quote(body.name or "file", safe="")
        response = web.StreamResponse(headers={"Content-Disposition": f"attachment; filename*=UTF-8''{name}"})
        response.content_length = body.size
        await response.prepare(request)
        try:
            with suppress(ConnectionResetError):  # the visitor has left
                async for chunk in body.chunks():
                    await response.write(chunk)
        except StrideError as error:  # too late for a status: a broken connection shows that the file is incomplete
            raise ConnectionAbortedError from error
    return response


@routes.get("/conversations/{id}/events", allow_head=False)
async def events(request: web.Request) -> web.StreamResponse:
    """Send messages as server-sent events: those after `Last-Event-ID`, or the latest, and then the new ones."""
    room, last = request.app[CLIENT].conversation(request.match_info["id"]), request.headers.get("Last-Event-ID")
    latest = [] if last else await room.recent(LATEST)
    start = Bookmark.loads(last) if last else (latest[0].ts, "") if latest else None
    news = room.history(after=start, oldest_first=True)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    with suppress(StrideError, ConnectionResetError):  # the browser reconnects, or the visitor has left
        while not request.app[STOPPING].is_set():
            async with news.stream() as messages:
                async for message in messages:
                    data = json.dumps({"sender": message.sender_id, "text": message.text})
                    await response.write(f"id: {messages.bookmark.dumps()}\ndata: {data}\n\n".encode())
                    news = room.history(after=messages.bookmark, oldest_first=True)
            await response.write(b":\n\n")  # raises ConnectionResetError if the visitor has left
            with suppress(TimeoutError):
                await asyncio.wait_for(request.app[STOPPING].wait(), LOOK_SECONDS)
    return response


if __name__ == "__main__":
    app = web.Application(middlewares=[report_errors])
    app[STOPPING] = asyncio.Event()
    app.add_routes(routes)
    app.cleanup_ctx.append(use_stride)
    app.on_shutdown.append(end_events)
    web.run_app(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8080")), print=partial(print, flush=True))
