"""Credentials, the token call, and when a token is due for renewal (protocol 2)."""

from __future__ import annotations

import math
import re
from types import NoneType
from typing import Protocol

import attrs
import msgspec

from stride_async._arguments import of_type
from stride_async._errors import DecodeError
from stride_async._json import NOT_DECODABLE, decoder
from stride_async._wire.request import Request, Response

# A token is renewed this many seconds before it expires; tokens that live only minutes are renewed closer to their end.
AHEAD = 60.0
# What the older token host requires and the newer one accepts (protocol 2.1).
AUDIENCE = "api.atlassian.com"

_SURROGATE = re.compile("[\ud800-\udfff]")
_SENDABLE = re.compile(r"[!-~]([ -~]*[!-~])?")


def _hidden(_: str) -> str:
    return "'***'"


@attrs.frozen
class AccessToken:
    """A bearer token, as a `TokenProvider` returns it."""

    value: str = attrs.field(repr=_hidden)
    """The token itself. The repr does not show it."""
    expires_in: float | None = None
    """For how many seconds after it was issued the token is valid; None means that it does not expire."""

    def __attrs_post_init__(self) -> None:
        _must_fit_a_header(self)
        of_type(self.expires_in, "expires_in", int, float, NoneType)
        if self.expires_in is not None and math.isnan(self.expires_in):
            raise ValueError("expires_in is nan; expected a number of seconds or None")


@attrs.frozen
class ClientCredentials:
    """The id and secret of an app; the client requests tokens with them and renews the tokens (protocol 2.1)."""

    client_id: str
    """The client id of the app."""
    client_secret: str = attrs.field(repr=_hidden)
    """The client secret of the app. The repr does not show it."""

    def __attrs_post_init__(self) -> None:
        for name in ("client_id", "client_secret"):
            _must_be_text(self, name)
            if _SURROGATE.search(getattr(self, name)):
                raise ValueError(f"{name} of ClientCredentials cannot be encoded as UTF-8")


@attrs.frozen
class StaticToken:
    """A token that cannot be renewed, such as a room token (protocol 2.4)."""

    value: str = attrs.field(repr=_hidden)
    """The token itself. The repr does not show it."""

    def __attrs_post_init__(self) -> None:
        _must_fit_a_header(self)


def _must_be_text(credentials: AccessToken | StaticToken | ClientCredentials, name: str) -> None:
    # The value is not quoted, and not a local here or below, because a traceback can show locals.
    if not isinstance(getattr(credentials, name), str):
        raise TypeError(
            f"{name} of {type(credentials).__name__} must be a str, not {type(getattr(credentials, name)).__name__}"
        )


def _must_fit_a_header(token: AccessToken | StaticToken) -> None:
    _must_be_text(token, "value")
    if not _SENDABLE.fullmatch(token.value):
        raise ValueError(
            "the token is empty, contains a line break or another character that a header cannot carry, "
            "or begins or ends with a space"
        )


class TokenProvider(Protocol):
    """A source of tokens of your own; it is called once for any number of waiting calls."""

    async def token(self) -> AccessToken:
        """Return a valid token; called again when that token has expired or was refused."""
        ...


Credentials = ClientCredentials | StaticToken | TokenProvider
"""How an app identifies itself."""


def check_credentials(credentials: Credentials) -> None:
    """Refuse what is of another type. It is not quoted: it may be the secret itself.

    Raises:
        TypeError: It is.
    """
    if isinstance(credentials, type) or not (
        isinstance(credentials, ClientCredentials | StaticToken) or callable(getattr(credentials, "token", None))
    ):
        raise TypeError(
            f"credentials must be ClientCredentials, StaticToken or a TokenProvider, not {type(credentials).__name__}"
        )


class _TokenFields(msgspec.Struct):
    access_token: str
    expires_in: msgspec.Raw = msgspec.Raw(b"null")

    def __repr__(self) -> str:
        return "_TokenFields()"


def ask_token(credentials: ClientCredentials, url: str | None) -> Request[AccessToken]:
    """Return the token call, `POST /oauth/token` (protocol 2.1).

    `url` is the complete URL of the token endpoint if it is not below the base URL.
    """
    fields = {
        "grant_type": "client_credentials",
        "client_id": credentials.client_id,
        "client_secret": credentials.client_secret,
        "audience": AUDIENCE,
    }
    return Request(
        method="POST",
        path="/oauth/token",
        read=_read,
        body=msgspec.json.encode(fields),
        content_type="application/json",
        authorized=False,
        url=url,
    )


def without_tokens(response: Response) -> Response:
    """Return an error response of the token call with `***` in place of every token that it contains."""
    return Response(response.status, response.headers, _TOKEN_FIELD.sub(rb'\1"***"', response.body))


_TOKEN_FIELD = re.compile(rb'("(?:access|refresh|id)_token"\s*+:\s*+)"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_decode = decoder(_TokenFields)


def _read(response: Response) -> AccessToken:
    try:
        fields = _decode(response.body)
    except NOT_DECODABLE as error:
        # The body may contain a token, so it is neither quoted nor kept.
        raise DecodeError(f"the response of the token call cannot be decoded: {error}") from None
    try:
        return AccessToken(fields.access_token, _seconds(fields.expires_in))
    except ValueError as error:
        raise DecodeError(f"the response of the token call cannot be used: {error}", path="$.access_token") from None


def _seconds(raw: msgspec.Raw) -> float | None:
    """Return a lifetime that came as a number, or as text; None if it cannot be read: then a 401 ends the token."""
    try:
        value = msgspec.json.decode(raw)
        seconds = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (*NOT_DECODABLE, ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def renew_after(expires_in: float | None, jitter: float) -> float | None:
    """Return after how many seconds a token should be renewed although it is still valid; None means never.

    `jitter` (0 to 1) spreads the renewals of clients that got their tokens at the same moment.
    """
    if expires_in is None:
        return None
    ahead = min(AHEAD * (1 + jitter), expires_in * (0.1 + 0.1 * jitter))
    return max(0.0, expires_in - ahead)
