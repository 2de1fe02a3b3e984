"""Credentials, the token call, and when a token counts as spent (protocol 2)."""

from __future__ import annotations

import re
from typing import Protocol

import attrs
import msgspec

from stride_async._errors import DecodeError
from stride_async._wire.request import Request, Response

AHEAD = 60.0
"""Seconds before its end from which a token is renewed; less for tokens that live only minutes."""


_SENDABLE = re.compile(r"[!-~]([ -~]*[!-~])?")


def _hidden(_: str) -> str:
    return "'***'"


@attrs.frozen
class AccessToken:
    """A bearer token and how many seconds it is good for, from when it was given; None: it does not end."""

    value: str = attrs.field(repr=_hidden)
    expires_in: float | None = None

    def __attrs_post_init__(self) -> None:
        _must_fit_a_header(self)


@attrs.frozen
class ClientCredentials:
    """An app's id and secret; tokens are asked for with them and renewed (protocol 2.1)."""

    client_id: str
    client_secret: str = attrs.field(repr=_hidden)


@attrs.frozen
class StaticToken:
    """A token that cannot be renewed, such as a room token (protocol 2.4)."""

    value: str = attrs.field(repr=_hidden)

    def __attrs_post_init__(self) -> None:
        _must_fit_a_header(self)


def _must_fit_a_header(token: AccessToken | StaticToken) -> None:
    # Its value is no local here: a traceback may show those.
    if not _SENDABLE.fullmatch(token.value):
        raise ValueError(
            "the token is empty, or has a line break, a blank at an end or another character no header carries"
        )


class TokenProvider(Protocol):
    """Your own source of tokens; asked once for any number of waiting calls."""

    async def token(self) -> AccessToken:
        """A token that is good now; called again when it is spent or was refused."""
        ...


Credentials = ClientCredentials | StaticToken | TokenProvider


class _TokenAnswer(msgspec.Struct):
    access_token: str
    expires_in: float | None = None

    def __repr__(self) -> str:
        return f"_TokenAnswer(expires_in={self.expires_in})"


AUDIENCE = "api.atlassian.com"
"""Required by the older token host, taken by the newer (protocol 2.1)."""


def ask_token(credentials: ClientCredentials, url: str | None) -> Request[AccessToken]:
    """`POST /oauth/token` as JSON (protocol 2.1); `url` where it is asked elsewhere than below the base URL."""
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


def _read(response: Response) -> AccessToken:
    try:
        told = msgspec.json.decode(response.body, type=_TokenAnswer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # The body may hold a token: it is neither quoted nor kept.
        raise DecodeError(f"the token call's answer cannot be read: {error}") from None
    try:
        return AccessToken(told.access_token, told.expires_in)
    except ValueError as error:
        raise DecodeError(f"the token call's answer cannot be used: {error}").with_facts(
            path="$.access_token"
        ) from None


def renew_after(expires_in: float | None, jitter: float) -> float | None:
    """Seconds after which a token should be renewed although it is still good; None: never.

    `jitter` (0 to 1) spreads clients that were given their tokens at the same moment.
    """
    if expires_in is None:
        return None
    ahead = min(AHEAD * (1 + jitter), expires_in * (0.1 + 0.1 * jitter))
    return max(0.0, expires_in - ahead)
