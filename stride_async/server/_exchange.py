"""HTTP at one origin: requests become calls, responses become bytes, and faults happen on the way."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote

from aiohttp import hdrs, web
from aiohttp.http import HttpProcessingError, HttpVersion11
from attrs import evolve, frozen
from multidict import CIMultiDict

from stride_async.server._bodies import ByteRange
from stride_async.server._calls import KEPT_BODY_BYTES, Call
from stride_async.server._faults import Fault, FaultAction
from stride_async.server._paths import LOCAL
from stride_async.server._responses import GATEWAY_HEADERS, JSON, RATE_LIMITED, HttpError, Response, error_response
from stride_async.server._routes import Request, handle_local
from stride_async.server._world import World

# A request that a fault applies to is read before the response is sent, so that the client receives the response and
# not a connection reset. No more than this is read.
_READ_BEFORE_FAULT_BYTES = 1 << 30

_LOG = logging.getLogger("stride_async.server")

Handle = Callable[[Request, Sequence[str]], Awaitable[Response]]


@frozen(eq=False)
class Exchange:
    """The function that aiohttp calls with each request to one origin.

    `record` keeps each call, `choose_fault` returns the fault for a method and path, `perform` runs a fault's action,
    and `handle` returns the response to a request for a path. `closing` is set when the server closes.
    """

    world: World
    record: Callable[[Call], None]
    choose_fault: Callable[[str, str], Fault | None]
    perform: Callable[[FaultAction], Awaitable[None]]
    closing: asyncio.Event
    latency: float
    origin: str
    handle: Handle

    async def __call__(self, http: web.BaseRequest) -> web.StreamResponse:
        """Respond to the request, or end its connection."""
        call, segments = _read_target(http, self.origin)
        if segments[:1] == [LOCAL[1:]] and self.origin == "api":
            return await self._respond_locally(http, call, segments)
        self.record(call)
        fault = self.choose_fault(call.method, call.path)
        try:
            if self.latency:
                await self._pause(self.latency)
            if fault is not None:
                return await self._respond_with_fault(http, call, segments, fault)
            return await self._send(http, call, await self._process(http, call, segments))
        except ConnectionError:
            # The client has disconnected, or the server is closing: nothing can be sent any more.
            return _hang_up(http)

    async def _respond_locally(self, http: web.BaseRequest, call: Call, segments: Sequence[str]) -> web.StreamResponse:
        """Respond to a request that is not one to the service: it is not recorded, and no fault applies to it."""
        try:
            response = await _run(handle_local, self._request(http, call), segments, error_form="gateway")
        except ConnectionError:
            return _hang_up(http)
        return await self._send(http, call, response)

    def _request(self, http: web.BaseRequest, call: Call) -> Request:
        query: dict[str, str] = {}
        for name, value in call.query:
            query.setdefault(name, value)
        return Request(
            world=self.world,
            method=call.method,
            query=query,
            headers=http.headers,
            chunks=lambda limit: _chunks(http, call, limit),
        )

    async def _process(self, http: web.BaseRequest, call: Call, segments: Sequence[str]) -> Response:
        """Do what the call asks for, and return the response."""
        request = self._request(http, call)
        response = await _run(self.handle, request, segments, error_form=self.world.choices.error_body)
        if not request.response_headers:
            return response
        return evolve(response, headers={**request.response_headers, **response.headers})

    async def _send(self, http: web.BaseRequest, call: Call, response: Response) -> web.StreamResponse:
        """Send the response: a body in memory in one piece, a stored body in chunks."""
        call.status = response.status
        headers = {**GATEWAY_HEADERS, **response.headers}
        if response.content_type is not None:
            headers[hdrs.CONTENT_TYPE] = response.content_type
        if isinstance(response.body, bytes):
            outgoing = web.Response(status=response.status, body=response.body, headers=headers)
            if self.world.choices.chunked_json and response.body and http.version >= HttpVersion11:
                outgoing.enable_chunked_encoding()
        else:
            headers[hdrs.CONTENT_LENGTH] = str(response.body.size)
            return await _stream(http, web.StreamResponse(status=response.status, headers=headers), response.body)
        if not http.content.is_eof():
            # The rest of the body may still arrive; it must not be read as the next request.
            outgoing.force_close()
        return outgoing

    async def _respond_with_fault(
        self, http: web.BaseRequest, call: Call, segments: Sequence[str], fault: Fault
    ) -> web.StreamResponse:
        """Do what the fault says, in the order that `Fault` lists."""
        if fault.delay:
            await self._pause(fault.delay)
        if fault.do is not None:
            await self.perform(fault.do)
        if fault.drop == "before":
            return _hang_up(http)
        if fault.status is not None:
            async for _ in _chunks(http, call, _READ_BEFORE_FAULT_BYTES):
                pass
            response = _fault_response(fault.status)
        else:
            response = await self._process(http, call, segments)
        if fault.drop == "after":
            return _hang_up(http)
        if fault.stall == "headers":
            await self.closing.wait()
            return _hang_up(http)
        response = _altered(response, fault)
        if _follows_http(fault):
            return await self._send(http, call, response)
        return await self._send_raw(http, call, response, fault)

    async def _send_raw(
        self, http: web.BaseRequest, call: Call, response: Response, fault: Fault
    ) -> web.StreamResponse:
        """Write a response that aiohttp would refuse to send, and end the connection."""
        call.status = response.status
        size = len(response.body) if isinstance(response.body, bytes) else response.body.size
        unsent = 0 if call.method == "HEAD" else size
        if fault.cut_after is not None:
            unsent = min(unsent, fault.cut_after)
        elif fault.stall == "body":
            unsent //= 2
        await http.writer.write(_head(response, fault, size))
        for chunk in [response.body] if isinstance(response.body, bytes) else response.body.chunks():
            if not unsent:
                break
            await http.writer.write(chunk[:unsent])
            unsent -= len(chunk[:unsent])
        if fault.stall == "body":
            await self.closing.wait()
        return _hang_up(http)

    async def _pause(self, seconds: float) -> None:
        """Wait; end the connection if the server closes meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                await self.closing.wait()
        except TimeoutError:
            return
        raise ConnectionAbortedError


async def _run(handle: Handle, request: Request, segments: Sequence[str], *, error_form: str) -> Response:
    try:
        return await handle(request, segments)
    except HttpError as error:
        return error_response(error, error_form)
    except RecursionError:
        return error_response(HttpError(400, "nested too deeply"), error_form)
    except (sqlite3.OperationalError, OSError) as error:
        if isinstance(error, OSError) and error.filename is None:
            raise  # It is about the connection.
        _LOG.error("the site cannot be stored: %s", error)
        return error_response(HttpError(500, f"the local server cannot store its site: {error}"), error_form)


def _read_target(http: web.BaseRequest, origin: str) -> tuple[Call, list[str]]:
    """Return the call, and the decoded segments of its path."""
    target = http.raw_path
    if not target.isascii():
        target = target.encode(errors="surrogateescape").decode(errors="replace")
    path, _, query = target.partition("?")
    segments = path.split("/")[1:]
    if "%" in path:
        segments = [unquote(segment) for segment in segments]
        path = "/" + "/".join(segments)
    call = Call(
        method=http.method,
        path=path,
        query=parse_qsl(query, keep_blank_values=True) if query else [],
        headers=http.headers,
        time=time.time(),
        origin=origin,
    )
    return call, segments


async def _chunks(http: web.BaseRequest, call: Call, limit: int) -> AsyncIterator[bytes]:
    """Yield the body of the request as it arrives, and record it in the call."""
    if (http.content_length or 0) > limit:
        raise _too_large(limit)
    if http.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and not call.body_bytes:
        await http.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        http.writer.output_size = 0
    try:
        async for chunk in http.content.iter_any():
            if call.body_bytes < KEPT_BODY_BYTES:
                call.body += chunk[: KEPT_BODY_BYTES - call.body_bytes]
            call.body_bytes += len(chunk)
            if call.body_bytes > limit:
                raise _too_large(limit)
            yield chunk
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise HttpError(400, f"the body cannot be read: {error}") from None


def _too_large(limit: int) -> HttpError:
    return HttpError(413, f"the body is larger than {limit} bytes")


async def _stream(http: web.BaseRequest, outgoing: web.StreamResponse, body: ByteRange) -> web.StreamResponse:
    await outgoing.prepare(http)
    if http.method != hdrs.METH_HEAD:
        for chunk in body.chunks():
            await outgoing.write(chunk)
    return outgoing


def _fault_response(status: int) -> Response:
    message = RATE_LIMITED if status == HTTPStatus.TOO_MANY_REQUESTS else _phrase(status)
    return error_response(HttpError(status, message), "gateway")


def _altered(response: Response, fault: Fault) -> Response:
    """Return the response with the body and headers that the fault replaces."""
    if fault.body is not None:
        body = fault.body.encode() if isinstance(fault.body, str) else fault.body
        response = evolve(response, body=body, content_type=response.content_type or JSON)
    if not fault.headers:
        return response
    replaced = {name.lower() for name in fault.headers}
    headers = {name: value for name, value in response.headers.items() if name.lower() not in replaced}
    content_type = None if "content-type" in replaced else response.content_type
    added = {name: value for name, value in fault.headers.items() if value is not None}
    return evolve(response, headers={**headers, **added}, content_type=content_type)


def _follows_http(fault: Fault) -> bool:
    """Return whether aiohttp can send the response that the fault altered."""
    removes = any(value is None for value in fault.headers.values())
    return not removes and fault.content_length is None and fault.cut_after is None and fault.stall is None


def _head(response: Response, fault: Fault, size: int) -> bytes:
    headers = CIMultiDict(GATEWAY_HEADERS)
    headers["Date"] = formatdate(usegmt=True)
    headers["Connection"] = "close"
    headers["Content-Length"] = str(size if fault.content_length is None else fault.content_length)
    if response.content_type is not None:
        headers["Content-Type"] = response.content_type
    headers.update(response.headers)
    for name, value in fault.headers.items():
        if value is None:
            headers.popall(name, None)
    lines = [f"HTTP/1.1 {response.status} {_phrase(response.status)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Fault"


def _hang_up(http: web.BaseRequest) -> web.StreamResponse:
    """Close the connection after what was written is sent; aiohttp cannot send the response returned here."""
    if http.transport is not None:
        http.transport.close()
    return web.Response()
