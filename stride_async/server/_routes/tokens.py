"""The token call (protocol 2)."""

from __future__ import annotations

import hmac
from urllib.parse import parse_qsl

from stride_async.server._answers import Answer, Refusal, answer_json
from stride_async.server._limits import App
from stride_async.server._routes.ask import Ask, parse_json

# Statuses in the way of Auth0 and OAuth (protocol 2.3).
_WRONG_SECRET = 401
_GRANT_NOT_ALLOWED = 403
_MISSING_FIELD = 400

_NOT_STORED = {"Cache-Control": "private, no-store, no-cache, must-revalidate, post-check=0, pre-check=0"}


async def give_token(ask: Ask) -> Answer:
    """`POST /oauth/token`, with a JSON or a form body; a header `Authorization: null` does no harm."""
    choices = ask.world.choices
    content = await _fields(ask)
    for name in ("grant_type", "client_id", "client_secret"):
        if not content.get(name):
            raise _refusal(_MISSING_FIELD, "invalid_request", f"Missing required parameter: {name}")
    _count(ask, content["client_id"])
    if content["grant_type"] != "client_credentials":
        message = f"Grant type '{content['grant_type']}' not allowed for the client."
        raise _refusal(_GRANT_NOT_ALLOWED, "unauthorized_client", message)
    app = _known_app(ask, content)
    audience = content.get("audience")
    if choices.audiences is not None and audience not in choices.audiences:
        message = f"Client is not authorized to access {audience!r}"
        raise _refusal(403, "access_denied", message)
    given = {
        "access_token": ask.world.grants.give(app, choices.token_seconds),
        "scope": " ".join(sorted(app.scopes)),
        "expires_in": choices.token_seconds,
        "token_type": "Bearer",
    }
    return answer_json(given, headers=_NOT_STORED)


async def _fields(ask: Ask) -> dict[str, str]:
    raw = await ask.body()
    if ask.headers.get("Content-Type", "").lower().startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(raw.decode(errors="replace"), errors="replace"))
    value = parse_json(raw) if raw.strip() else {}
    if not isinstance(value, dict):
        raise _refusal(_MISSING_FIELD, "invalid_request", "expected an object")
    return {name: text for name, text in value.items() if isinstance(text, str)}


def _known_app(ask: Ask, content: dict[str, str]) -> App:
    app = ask.world.store.people.app(content["client_id"])
    secret = content["client_secret"].encode(errors="replace")
    if app is None or not hmac.compare_digest(app.client_secret.encode(), secret):
        raise _refusal(_WRONG_SECRET, "access_denied", "Unauthorized")
    return app


def _count(ask: Ask, client_id: str) -> None:
    standing = ask.world.token_limit.count(client_id)
    if standing is None:
        return
    headers = standing.headers(epoch=True)
    if not standing.allowed:
        headers |= standing.retry_after(ask.world.choices.retry_after)
        content = {"error": "too_many_requests", "error_description": "Global limit has been reached"}
        raise Refusal(429, "Global limit has been reached", content=content, headers=headers)
    ask.answer_headers |= headers


def _refusal(status: int, error: str, description: str) -> Refusal:
    content = {"error": error, "error_description": description}
    return Refusal(status, description, content=content, headers=_NOT_STORED)
