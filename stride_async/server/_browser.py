"""Call an app as the browser of a person does, and fetch its descriptor.

A browser sends a preflight request before it sends JSON with a token, and shows a page no response that does not allow
its origin (protocol 6.7, 6.8).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import aiohttp

from stride_async.server._notices import Body

_ORIGIN = "https://app.stride.com"  # the web client (protocol 1.1)
_SENT_HEADERS = frozenset({"authorization", "content-type"})
_SECONDS = 10.0
_RESPONSE_BYTES = 1_048_576


class AppCallError(Exception):
    """A browser could not call an app, or could not read its response."""

    def __init__(self, message: str, status: int | None = None, body: bytes = b"") -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status of the response; None if no response arrived."""
        self.body = body
        """What the response contained."""


async def post_json(http: aiohttp.ClientSession, url: str, token: str | None, body: Body) -> Any:
    """Send JSON after a preflight request, and return the JSON of the response, or None if it is empty.

    Raises:
        AppCallError: The response is not 2xx or not JSON, or a browser would refuse it.
    """
    preflight = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": ", ".join(sorted(_SENT_HEADERS)),
    }
    status, headers, content = await _request(http, "OPTIONS", url, preflight)
    if not 200 <= status < 300:
        raise AppCallError(f"OPTIONS {url} responded {status}, expected 200 or 204", status, content)
    _check_origin("OPTIONS", url, status, headers, content)
    allowed = _listed(headers, "Access-Control-Allow-Headers")
    if missing := sorted(_SENT_HEADERS - allowed - ({"content-type"} if "*" in allowed else set())):
        message = f"OPTIONS {url} does not allow the header {missing[0]} in Access-Control-Allow-Headers"
        raise AppCallError(message, status, content)
    sent = {"Content-Type": "application/json"} | ({} if token is None else {"Authorization": f"Bearer {token}"})
    return _answer("POST", url, *await _request(http, "POST", url, sent, json.dumps(body).encode()))


async def get_json(http: aiohttp.ClientSession, url: str, token: str | None) -> Any:
    """Ask with the token in the query, and return the JSON of the response, or None if it is empty.

    Raises:
        AppCallError: The response is not 2xx or not JSON, or a browser would refuse it.
    """
    query = "" if token is None else f"{'&' if '?' in url else '?'}{urlencode({'jwt': token})}"
    return _answer("GET", url, *await _request(http, "GET", url + query, {}))


async def fetch_descriptor(http: aiohttp.ClientSession, url: str) -> dict[str, object]:
    """Return the JSON object at the URL.

    Raises:
        ConnectionError: No response arrived, or its status is not 200.
        ValueError: The URL is not valid, or the response is not a JSON object.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"expected the http or https URL of a descriptor, found {url!r}")
    try:
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        async with http.get(url, timeout=timeout) as response:
            status, content = response.status, await _body_of(response)
    except aiohttp.InvalidURL as error:
        raise ValueError(f"expected the http or https URL of a descriptor, found {url!r}") from error
    except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError.
        raise ConnectionError(f"cannot fetch {url}: {str(error) or repr(error)}") from error
    if status != HTTPStatus.OK:
        raise ConnectionError(f"{url} responded {status}, expected 200 with a descriptor")
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{url}: expected a descriptor in JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{url}: expected a descriptor, a JSON object")  # noqa: TRY004 -- of another program
    return value


async def _request(
    http: aiohttp.ClientSession, method: str, url: str, headers: Mapping[str, str], data: bytes | None = None
) -> tuple[int, Mapping[str, str], bytes]:
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    sent = {"Origin": _ORIGIN, **headers}
    try:
        async with http.request(
            method, url, data=data, headers=sent, allow_redirects=False, timeout=timeout
        ) as response:
            return response.status, response.headers.copy(), await _body_of(response)
    except TimeoutError:
        raise AppCallError(f"{method} {_bare(url)}: no response within {_SECONDS:g} s") from None
    except (aiohttp.ClientError, OSError) as error:
        raise AppCallError(f"{method} {_bare(url)}: {error!r}") from error


async def _body_of(response: aiohttp.ClientResponse) -> bytes:
    """Return the body, which may arrive in pieces, or its beginning if it is too large."""
    body = bytearray()
    while len(body) < _RESPONSE_BYTES and (piece := await response.content.read(_RESPONSE_BYTES - len(body))):
        body += piece
    return bytes(body)


def _answer(method: str, url: str, status: int, headers: Mapping[str, str], content: bytes) -> Any:
    if not 200 <= status < 300:
        raise AppCallError(f"{method} {url} responded {status}", status, content)
    _check_origin(method, url, status, headers, content)
    if not content:
        return None
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise AppCallError(
            f"{method} {url} responded with something else than JSON: {error}", status, content
        ) from None


def _check_origin(method: str, url: str, status: int, headers: Mapping[str, str], content: bytes) -> None:
    if headers.get("Access-Control-Allow-Origin") not in {"*", _ORIGIN}:
        message = f"the response to {method} {url} does not allow {_ORIGIN} in Access-Control-Allow-Origin"
        if method != "OPTIONS":
            message += "; the app has received the call, but its page cannot read the response"
        raise AppCallError(message, status, content)


def _listed(headers: Mapping[str, str], name: str) -> set[str]:
    return {value.strip().lower() for value in headers.get(name, "").split(",")}


def _bare(url: str) -> str:
    """Return the URL without its query, which may hold a token."""
    return url.partition("?")[0]
