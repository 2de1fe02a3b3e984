"""Decide which error a failure of the connection, or a response, stands for. Pure.

A failed attempt is classified by what happened on the wire: aiohttp's own silent retry is switched off (see
`transport.sent_once`), and an upload records whether its end was sent.
"""

from __future__ import annotations

import os
import socket
import ssl
from typing import Any

import aiohttp

from stride_async._errors import (
    Ambiguous,
    ApiError,
    BodyInterrupted,
    DecodeError,
    NotSent,
    TransportError,
)
from stride_async._net.upload import Upload
from stride_async._wire.request import Request, Response
from stride_async._wire.response import error_of
from stride_async._wire.token import without_tokens

MOST_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})

_NEVER_CONNECTED = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ServerFingerprintMismatch,
    aiohttp.InvalidURL,
)


def failure_of(request: Request[Any], cause: Exception, upload: Upload | None) -> TransportError:
    """Return the error of an attempt that got no response: did the service receive the complete request?"""
    if isinstance(cause, aiohttp.ConnectionTimeoutError):
        return NotSent(f"{request}: connecting took too long")
    if isinstance(cause, _NEVER_CONNECTED):
        return NotSent(f"{request}: cannot connect{_to_host_and_why(cause)}")
    if upload is not None and not upload.sent:
        return NotSent(f"{request}: the connection broke while the body was being sent: {cause!r}")
    if isinstance(cause, BodyInterrupted):
        return cause
    if isinstance(cause, aiohttp.ClientResponseError):
        # aiohttp shows the position of the fault on several lines.
        return Ambiguous(f"{request}: the response is not valid HTTP: {' '.join(cause.message.split())}")
    if isinstance(cause, TimeoutError):
        return Ambiguous(f"{request}: no response in time")
    return Ambiguous(f"{request}: the connection broke after the request was sent: {cause!r}")


def _to_host_and_why(cause: Exception) -> str:
    """Name the host and the operating system's reason."""
    if not isinstance(cause, aiohttp.ClientConnectorError) or isinstance(cause, ssl.CertificateError):
        return f": {cause}"
    why = cause.os_error
    # asyncio replaces the reason of a failed connect by "Connect call failed", but keeps its number.
    if why.errno is None or isinstance(why, socket.gaierror | ssl.SSLError):
        reason = why.strerror or str(why)
    else:
        reason = os.strerror(why.errno)
    host = f"[{cause.host}]" if ":" in cause.host else cause.host
    return f" to {host}:{cause.port}: {reason}"


def refusal_of(request: Request[Any], response: Response, *, renewable: bool) -> ApiError:
    """Return the error of a response that is not a success; `renewable` is whether the token could be renewed."""
    if not request.authorized:
        response = without_tokens(response)
    if response.status in REDIRECTS:
        return error_of(str(request), response, problem=_why_not_followed(request, response))
    if response.status == 401 and request.authorized and not renewable:
        hint = "the token in STRIDE_TOKEN was refused: create a new one in the room's Apps sidebar"
    elif response.status == 404 and not request.authorized:
        hint = "does base_url point to the service?"
    else:
        hint = None
    return error_of(str(request), response, hint=hint)


def _why_not_followed(request: Request[Any], response: Response) -> str:
    location = response.headers.get("Location")
    if location is None:
        return "with a redirect that does not say where it leads"
    write = request.method not in {"GET", "HEAD"}
    why = "a write is not redirected" if write else f"more than {MOST_REDIRECTS} redirects in a row"
    return f"with a redirect to {location[:200]}, which is not followed: {why}"


def unreadable(request: Request[Any], response: Response, error: DecodeError | RecursionError) -> DecodeError:
    """Return the error of a successful response that cannot be decoded, naming the call."""
    if isinstance(error, DecodeError):
        return DecodeError(f"{request}: {error}", path=error.path, raw=error.raw)
    return DecodeError(f"{request}: the response is nested too deeply", raw=response.body)
