"""What became of one sending: not sent, nobody knows, or answered.

Told from what really happened on the wire: aiohttp's own second sending is stopped, and a body says of itself whether
it was handed over whole.
"""

from __future__ import annotations

import os
import socket
import ssl
from typing import Any

import aiohttp

from stride_async._errors import Ambiguous, BodyInterrupted, NotSent, TransportError
from stride_async._wire.request import Request


class BrokenOff(Exception):
    """Stands for aiohttp's two errors that would make it send again by itself."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(repr(cause))
        self.cause = cause


async def sent_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """The middleware that keeps aiohttp from sending a request twice."""
    try:
        return await handler(request)
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        raise BrokenOff(error) from error


class Upload(aiohttp.payload.Payload):
    """A body on its way out that knows whether it was handed over whole."""

    begun = False
    """Whether any of it was handed over."""
    handed_over = False
    """Whether the last of it was, or may have been."""
    source_error: BaseException | None = None
    """What the caller's own source or progress callback raised, as opposed to the network."""


_NEVER_CONNECTED = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ServerFingerprintMismatch,
    aiohttp.InvalidURL,
)


def failure_of(
    request: Request[Any], error: aiohttp.ClientError | BrokenOff | BodyInterrupted | OSError, upload: Upload | None
) -> TransportError:
    """What a failed attempt means: whether the service can have seen it whole."""
    cause = error.cause if isinstance(error, BrokenOff) else error
    if isinstance(cause, aiohttp.ConnectionTimeoutError):
        return NotSent(f"{request}: connecting took too long")
    if isinstance(cause, _NEVER_CONNECTED):
        return NotSent(f"{request}: cannot connect{_to_whom_and_why(cause)}")
    if upload is not None and not upload.handed_over:
        return NotSent(f"{request}: the connection broke while the body was on its way: {cause!r}")
    if isinstance(cause, BodyInterrupted):
        return cause
    if isinstance(cause, aiohttp.ClientResponseError):
        # aiohttp draws the place of the fault over several lines.
        return Ambiguous(f"{request}: the answer is no HTTP: {' '.join(cause.message.split())}")
    if isinstance(cause, TimeoutError):
        return Ambiguous(f"{request}: no answer in time")
    return Ambiguous(f"{request}: the connection broke after sending: {cause!r}")


def _to_whom_and_why(cause: Exception) -> str:
    """The host, and the reason in the system's own words."""
    if not isinstance(cause, aiohttp.ClientConnectorError) or isinstance(cause, ssl.CertificateError):
        return f": {cause}"
    why = cause.os_error
    # asyncio writes "Connect call failed" over the reason of a failed connect, but keeps its number.
    if why.errno is None or isinstance(why, socket.gaierror | ssl.SSLError):
        reason = why.strerror or str(why)
    else:
        reason = os.strerror(why.errno)
    host = f"[{cause.host}]" if ":" in cause.host else cause.host
    return f" to {host}:{cause.port}: {reason}"
