"""One origin's HTTP: from bytes to a call, from an answer to bytes, and every fault on the way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote

from aiohttp import hdrs, web
from aiohttp.http import HttpProcessingError, HttpVersion11
from attrs import evolve, frozen
from multidict import CIMultiDict

from stride_async.server._answers import GATEWAY_HEADERS, JSON, Answer, Refusal, refuse
from stride_async.server._bodies import Stretch
from stride_async.server._calls import KEPT_BODY_BYTES, Call
from stride_async.server._faults import Action, Fault
from stride_async.server._routes import Ask
from stride_async.server._world import World

# A faulted request is read before it is answered, so that the answer is not lost in a reset; more is not read.
_READ_BEFORE_FAULT_BYTES = 1 << 30


@frozen(eq=False)
class Exchange:
    """What aiohttp calls with each request to one origin.

    `record` keeps each call, `choose_fault` returns the fault for a method and path, and `perform` runs a fault's
    action. `closing` is set when the server closes.
    """

    world: World
    record: Callable[[Call], None]
    choose_fault: Callable[[str, str], Fault | None]
    perform: Callable[[Action], Awaitable[None]]
    closing: asyncio.Event
    latency: float
    origin: str
    answer: Callable[[Ask, Sequence[str]], Awaitable[Answer]]

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer the request, or end its connection."""
        call, segments = _read_target(request, self.origin)
        self.record(call)
        fault = self.choose_fault(call.method, call.path)
        try:
            if self.latency:
                await self._pause(self.latency)
            if fault is not None:
                return await self._misbehave(request, call, segments, fault)
            return await self._send(request, call, await self._act(request, call, segments))
        except ConnectionError:
            # The client left, or was told to: nothing can be sent any more, and aiohttp notices without a word.
            return _hang_up(request)

    async def _act(self, request: web.BaseRequest, call: Call, segments: Sequence[str]) -> Answer:
        """Do what the call asks for."""
        query: dict[str, str] = {}
        for name, value in call.query:
            query.setdefault(name, value)
        ask = Ask(
            world=self.world,
            method=call.method,
            query=query,
            headers=request.headers,
            chunks=lambda limit: _chunks(request, call, limit),
        )
        form = self.world.choices.error_body
        try:
            answer = await self.answer(ask, segments)
        except Refusal as refusal:
            answer = refuse(refusal, form)
        except RecursionError:
            answer = refuse(Refusal(400, "nested too deeply"), form)
        return evolve(answer, headers={**ask.answer_headers, **answer.headers}) if ask.answer_headers else answer

    async def _send(self, request: web.BaseRequest, call: Call, answer: Answer) -> web.StreamResponse:
        """Send the answer; a body that is held goes out in one piece, a stored one in chunks."""
        call.status = answer.status
        headers = {**GATEWAY_HEADERS, **answer.headers}
        if answer.content_type is not None:
            headers[hdrs.CONTENT_TYPE] = answer.content_type
        if isinstance(answer.body, bytes):
            response = web.Response(status=answer.status, body=answer.body, headers=headers)
            if self.world.choices.chunked_json and answer.body and request.version >= HttpVersion11:
                response.enable_chunked_encoding()
        else:
            headers[hdrs.CONTENT_LENGTH] = str(answer.body.size)
            return await _stream(request, web.StreamResponse(status=answer.status, headers=headers), answer.body)
        if not request.content.is_eof():
            response.force_close()  # answered before the body was all there: what still comes is no next request
        return response

    async def _misbehave(
        self, request: web.BaseRequest, call: Call, segments: Sequence[str], fault: Fault
    ) -> web.StreamResponse:
        """Do what the fault says, in the order `Fault` tells."""
        if fault.delay:
            await self._pause(fault.delay)
        if fault.do is not None:
            await self.perform(fault.do)
        if fault.drop == "before":
            return _hang_up(request)
        if fault.status is not None:
            async for _ in _chunks(request, call, _READ_BEFORE_FAULT_BYTES):
                pass
            answer = _fault_answer(fault.status)
        else:
            answer = await self._act(request, call, segments)
        if fault.drop == "after":
            return _hang_up(request)
        if fault.stall == "headers":
            await self.closing.wait()
            return _hang_up(request)
        answer = _altered(answer, fault)
        if _is_plain(fault):
            return await self._send(request, call, answer)
        return await self._send_raw(request, call, answer, fault)

    async def _send_raw(self, request: web.BaseRequest, call: Call, answer: Answer, fault: Fault) -> web.StreamResponse:
        """Write an answer that breaks HTTP's rules, past aiohttp, and end the connection."""
        call.status = answer.status
        size = len(answer.body) if isinstance(answer.body, bytes) else answer.body.size
        left = 0 if call.method == "HEAD" else size
        if fault.cut_after is not None:
            left = min(left, fault.cut_after)
        elif fault.stall == "body":
            left //= 2
        await request.writer.write(_head(answer, fault, size))
        for chunk in [answer.body] if isinstance(answer.body, bytes) else answer.body.chunks():
            if not left:
                break
            await request.writer.write(chunk[:left])
            left -= len(chunk[:left])
        if fault.stall == "body":
            await self.closing.wait()
        return _hang_up(request)

    async def _pause(self, seconds: float) -> None:
        """Wait; a server that closes meanwhile ends the connection."""
        try:
            async with asyncio.timeout(seconds):
                await self.closing.wait()
        except TimeoutError:
            return
        raise ConnectionAbortedError


def _read_target(request: web.BaseRequest, origin: str) -> tuple[Call, list[str]]:
    target = request.raw_path
    if not target.isascii():
        target = target.encode(errors="surrogateescape").decode(errors="replace")
    path, _, query = target.partition("?")
    segments = path.split("/")[1:]
    if "%" in path:
        segments = [unquote(segment) for segment in segments]
        path = "/" + "/".join(segments)
    call = Call(
        method=request.method,
        path=path,
        query=parse_qsl(query, keep_blank_values=True) if query else [],
        headers=request.headers,
        time=time.time(),
        origin=origin,
    )
    return call, segments


async def _chunks(request: web.BaseRequest, call: Call, limit: int) -> AsyncIterator[bytes]:
    """The body of the request as it comes in, noted in its call."""
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and not call.body_bytes:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    try:
        async for chunk in request.content.iter_any():
            if call.body_bytes < KEPT_BODY_BYTES:
                call.body += chunk[: KEPT_BODY_BYTES - call.body_bytes]
            call.body_bytes += len(chunk)
            if call.body_bytes > limit:
                raise _too_large(limit)
            yield chunk
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise Refusal(400, f"the body cannot be read: {error}") from None


def _too_large(limit: int) -> Refusal:
    return Refusal(413, f"the body is too large, at most {limit} bytes are taken")


async def _stream(request: web.BaseRequest, response: web.StreamResponse, body: Stretch) -> web.StreamResponse:
    await response.prepare(request)
    if request.method != hdrs.METH_HEAD:
        for chunk in body.chunks():
            await response.write(chunk)
    return response


def _fault_answer(status: int) -> Answer:
    text = "request has been rate limited" if status == HTTPStatus.TOO_MANY_REQUESTS else _phrase(status)
    return refuse(Refusal(status, text), "gateway")


def _altered(answer: Answer, fault: Fault) -> Answer:
    """The answer with the body and headers the fault puts in place of its own."""
    if fault.body is not None:
        body = fault.body.encode() if isinstance(fault.body, str) else fault.body
        answer = evolve(answer, body=body, content_type=answer.content_type or JSON)
    if not fault.headers:
        return answer
    replaced = {name.lower() for name in fault.headers}
    headers = {name: value for name, value in answer.headers.items() if name.lower() not in replaced}
    content_type = None if "content-type" in replaced else answer.content_type
    given = {name: value for name, value in fault.headers.items() if value is not None}
    return evolve(answer, headers={**headers, **given}, content_type=content_type)


def _is_plain(fault: Fault) -> bool:
    """Whether the faulted answer is one that aiohttp itself can send."""
    removes = any(value is None for value in fault.headers.values())
    return not removes and fault.content_length is None and fault.cut_after is None and fault.stall is None


def _head(answer: Answer, fault: Fault, size: int) -> bytes:
    headers = CIMultiDict(GATEWAY_HEADERS)
    headers["Date"] = formatdate(usegmt=True)
    headers["Connection"] = "close"
    headers["Content-Length"] = str(size if fault.content_length is None else fault.content_length)
    if answer.content_type is not None:
        headers["Content-Type"] = answer.content_type
    headers.update(answer.headers)
    for name, value in fault.headers.items():
        if value is None:
            headers.popall(name, None)
    lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Fault"


def _hang_up(request: web.BaseRequest) -> web.StreamResponse:
    """End the connection once what was written is out; the response is for aiohttp, which cannot send it any more."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()
