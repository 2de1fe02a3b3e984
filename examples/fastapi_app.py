"""A web app on FastAPI that does what `web_app.py` does on aiohttp.

    stride server --env-file .env --generate conversations=8,messages=200,seed=7
    (set -a; . ./.env; python examples/fastapi_app.py)        # in another terminal

Its pages are described at http://127.0.0.1:8080/docs.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated
from urllib.parse import quote

import uvicorn
from fastapi import Body, Depends, FastAPI, Header, Request
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from stride_async import (
    Bookmark,
    ConversationClient,
    Forbidden,
    Message,
    NotFound,
    Pager,
    RateLimited,
    RemoteBody,
    Settings,
    StaleBookmark,
    StrideClient,
    StrideError,
)

STATUSES = {StaleBookmark: 400, Forbidden: 403, NotFound: 404, RateLimited: 503}
LATEST = 20  # messages that a new visitor sees at once
LOOK_SECONDS = float(os.environ.get("LOOK_SECONDS", "5"))


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, StrideClient]]:
    """Open one client for all requests. A visitor waits neither for minutes nor for the downloads of others."""
    settings = Settings.from_env(deadline=20.0, longest_limit_wait=2.0, media_concurrency=64)
    async with StrideClient.from_env(settings=settings) as client:
        yield {"client": client}


app = FastAPI(lifespan=lifespan)


async def room_of(id: str, request: Request) -> ConversationClient:
    room: ConversationClient = request.state.client.conversation(id)
    return room


Room = Annotated[ConversationClient, Depends(room_of)]


async def opened(file: str, room: Room) -> AsyncIterator[RemoteBody]:
    """Open a file before the response begins, and close it after the response has ended."""
    async with room.open_media(file) as body:
        yield body


async def news_of(room: Room, last_event_id: Annotated[str | None, Header()] = None) -> Pager[Message]:
    """Return the messages after `Last-Event-ID`, or the latest. An error here can still be a status."""
    latest = [] if last_event_id else await room.recent(LATEST)
    start = Bookmark.loads(last_event_id) if last_event_id else (latest[0].ts, "") if latest else None
    return room.history(after=start, oldest_first=True)


@app.exception_handler(StrideError)
async def report_error(_: Request, error: StrideError) -> JSONResponse:
    """Turn an error into a status. A 401 is about the credentials of this app, so the visitor gets a 502."""
    status = next((status for kind, status in STATUSES.items() if isinstance(error, kind)), 502)
    headers = {} if error.retry_after is None else {"Retry-After": str(int(error.retry_after) + 1)}
    return JSONResponse({"error": type(error).__name__, "maybe_processed": error.maybe_processed}, status, headers)


@app.get("/conversations")
async def conversations(request: Request) -> list[dict[str, str]]:
    """Return the conversations that are not archived."""
    return [{"id": each.id, "name": each.name} async for each in request.state.client.conversations()]


@app.post("/conversations/{id}/messages", status_code=201)
async def send(room: Room, text: Annotated[str, Body(media_type="text/plain", pattern=r"\S")]) -> dict[str, str]:
    """Send the body of the request as a message."""
    return {"id": await room.send(text)}


@app.get("/conversations/{id}/files/{file}")
async def file(body: Annotated[RemoteBody, Depends(opened)]) -> StreamingResponse:
    """Pass a file through in chunks. It is a download, so that a file with a script does not run on this site."""
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(body.name or 'file', safe='')}"}
    headers |= {} if body.size is None else {"Content-Length": str(body.size)}
    return StreamingResponse(body.chunks(), headers=headers, media_type="application/octet-stream")


@app.get("/conversations/{id}/events", response_class=EventSourceResponse)
async def events(room: Room, news: Annotated[Pager[Message], Depends(news_of)]) -> AsyncIterator[ServerSentEvent]:
    """Send messages as server-sent events: those after `Last-Event-ID`, or the latest, and then the new ones."""
    with suppress(StrideError):  # the browser reconnects
        while True:
            async with news.stream() as messages:
                async for message in messages:
                    data = {"sender": message.sender_id, "text": message.text}
                    yield ServerSentEvent(data=data, id=messages.bookmark.dumps())
                    news = room.history(after=messages.bookmark, oldest_first=True)
            await asyncio.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8080")), timeout_graceful_shutdown=1)  # streams do not end
