"""Check who calls: find the token, verify it, and compare it with the body (protocol 7). Pure.

Every person's browser holds a valid token of the app, so a good signature is not enough: conversation and person must
agree with the token as well.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Collection
from functools import lru_cache
from typing import Any, TypeGuard

import attrs

from stride_async._wire.token import ClientCredentials
from stride_async.bot._refusal import Refusal

try:
    import jwt
    from jwt.algorithms import HMACAlgorithm
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        f"stride_async.bot requires {_error.name}: pip install 'stride-async[bot]'", name=_error.name
    ) from _error

# Seconds by which clocks may differ, as a client of the service allowed (protocol 7).
LEEWAY = 15

_SCHEMES = ("bearer", "jwt")
# What the service may rightly send is not checked: PyJWT refuses an `aud`, an `iat` in the future and `sub: null`.
_OPTIONS: dict[str, Any] = {
    "require": ["exp", "iss"],
    "verify_aud": False,
    "verify_iat": False,
    "verify_sub": False,
    "verify_jti": False,
}
# In addition to PyJWT's own errors: header bytes that are not text reach it as surrogates (UnicodeError, a ValueError),
# and some versions raise built-in errors for claims of unexpected types or sizes.
_REFUSED = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)


@attrs.frozen
class Caller:
    """Who calls and from where, as a verified token states it."""

    cloud_id: str
    """The site."""
    conversation_id: str | None
    """The conversation; None if the token names none."""
    user_id: str | None
    """The person; None if the token names none."""


def token_in(authorization: str | None, x_acpt: str | None, query: str | None) -> str | None:
    """Return the token of a call, from the first of `Authorization`, `X-acpt` and `?jwt=` that is present.

    In `Authorization` it may follow `Bearer` or `JWT`.
    """
    for value in (authorization, x_acpt, query):
        if value is None or not value.strip():
            continue
        word, *rest = value.split(maxsplit=1)
        return "".join(rest).strip() if value is authorization and word.lower() in _SCHEMES else value.strip()
    return None


def verified(token: str | None, credentials: ClientCredentials, sites: Collection[str] | None) -> Caller:
    """Return who calls.

    Raises:
        Refusal: 401 without a token or with one that is not good; 403 for a site that is not served.
    """
    if not token:
        raise Refusal(401, "expected a token in the Authorization or X-acpt header, or in the jwt parameter")
    try:
        claims = jwt.decode(
            token,
            _key_of(credentials.client_secret),
            algorithms=["HS256"],
            issuer=credentials.client_id,
            leeway=LEEWAY,
            options=_OPTIONS,  # type: ignore[arg-type]  # a TypedDict that allows exactly these
        )
    except jwt.ExpiredSignatureError:
        raise Refusal(401, "the token has expired") from None
    except _REFUSED:
        raise Refusal(401, "expected a token issued for this app and signed with its secret by HS256") from None
    return _caller(claims, sites)


class _PreparedKey(HMACAlgorithm):
    """HMAC with a key that was prepared before, so that PyJWT does not check for every token what kind of key it is."""

    def prepare_key(self, key: str | bytes) -> bytes:
        return key.encode() if isinstance(key, str) else key


@lru_cache(maxsize=16)
def _key_of(secret: str) -> jwt.PyJWK:
    prepared = HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)
    key = jwt.PyJWK({"kty": "oct", "k": urlsafe_b64encode(prepared).decode()}, "HS256")
    key.Algorithm = _PreparedKey(HMACAlgorithm.SHA256)
    return key


def _caller(claims: dict[str, Any], sites: Collection[str] | None) -> Caller:
    user_id = claims.get("sub")
    if not (user_id is None or _is_text(user_id)):
        raise Refusal(401, "expected the token's sub to be text")
    context = claims.get("context")
    cloud_id = context.get("cloudId") if isinstance(context, dict) else None
    if not isinstance(context, dict) or not _is_text(cloud_id) or not cloud_id:
        raise Refusal(403, "expected a token with a cloudId in its context")
    if sites is not None and cloud_id not in sites:
        raise Refusal(403, "this site is not served here")
    conversation_id = None
    if context.get("resourceType", "conversation") == "conversation":
        conversation_id = context.get("resourceId")
        if not (conversation_id is None or _is_text(conversation_id)):
            raise Refusal(403, "expected the resourceId in the token's context to be text")
    return Caller(cloud_id, conversation_id or None, user_id or None)


def _is_text(value: object) -> TypeGuard[str]:
    """Return whether a claim is text that UTF-8 can express, as ids must be."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_place(caller: Caller, *, cloud_id: str | None, conversation_id: str | None) -> None:
    """Compare the site and conversation in a body with the token's; None means that the body names none.

    Raises:
        Refusal: 403, they differ.
    """
    if cloud_id is not None and cloud_id != caller.cloud_id:
        raise Refusal(403, "the token is for another site than the body")
    if None not in (conversation_id, caller.conversation_id) and conversation_id != caller.conversation_id:
        raise Refusal(403, "the token is for another conversation than the body")


def check_sender(caller: Caller, sender_id: str) -> None:
    """Compare the sender of a message with the token's person.

    Raises:
        Refusal: 403, the token belongs to another person.
    """
    if caller.user_id is not None and caller.user_id != sender_id:
        raise Refusal(403, "the token is of another person than the message")
