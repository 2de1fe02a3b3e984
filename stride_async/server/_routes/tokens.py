"""The token call (protocol 2)."""

from __future__ import annotations

import hmac
from urllib.parse import parse_qsl

from stride_async.server._limits import App
from stride_async.server._responses import HttpError, Response, json_response
from stride_async.server._routes.request import Request, parse_json

# Statuses of Auth0 and OAuth (protocol 2.3).
_WRONG_SECRET = 401
_GRANT_NOT_ALLOWED = 403
_MISSING_FIELD = 400

_NO_STORE = {"Cache-Control": "private, no-store, no-cache, must-revalidate, post-check=0, pre-check=0"}


async def issue_token(request: Request) -> Response:
    """`POST /oauth/token` with a JSON or a form body; an `Authorization` header is ignored."""
    choices = request.world.choices
    content = await _fields(request)
    for name in ("grant_type", "client_id", "client_secret"):
        if not content.get(name):
            raise _oauth_error(_MISSING_FIELD, "invalid_request", f"Missing required parameter: {name}")
    _count(request, content["client_id"])
    if content["grant_type"] != "client_credentials":
        message = f"Grant type '{content['grant_type']}' not allowed for the client."
        raise _oauth_error(_GRANT_NOT_ALLOWED, "unauthorized_client", message)
    app = _known_app(request, content)
    audience = content.get("audience")
    if choices.audiences is not None and audience not in choices.audiences:
        message = f"Client is not authorized to access {audience!r}"
        raise _oauth_error(403, "access_denied", message)
    token = {
        "access_token": request.world.grants.issue(app, choices.token_seconds),
        "scope": " ".join(sorted(app.scopes)),
        "expires_in": choices.token_seconds,
        "token_type": "Bearer",
    }
    return json_response(token, headers=_NO_STORE)


async def _fields(request: Request) -> dict[str, str]:
    raw = await request.body()
    if request.headers.get("Content-Type", "").lower().startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(raw.decode(errors="replace"), errors="replace"))
    value = parse_json(raw) if raw.strip() else {}
    if not isinstance(value, dict):
        raise _oauth_error(_MISSING_FIELD, "invalid_request", "expected an object")
    return {name: text for name, text in value.items() if isinstance(text, str)}


def _known_app(request: Request, content: dict[str, str]) -> App:
    app = request.world.store.people.app(content["client_id"])
    secret = content["client_secret"].encode(errors="replace")
    if app is None or not hmac.compare_digest(app.client_secret.encode(), secret):
        raise _oauth_error(_WRONG_SECRET, "access_denied", "Unauthorized")
    return app


def _count(request: Request, client_id: str) -> None:
    """Count the call against the limit of the token endpoint, which states its reset in epoch seconds."""
    allowance = request.world.token_limit.count(client_id)
    if allowance is None:
        return
    content = {"error": "too_many_requests", "error_description": "Global limit has been reached"}
    request.response_headers |= request.rate_limit_headers(allowance, content, epoch=True)


def _oauth_error(status: int, error: str, description: str) -> HttpError:
    content = {"error": error, "error_description": description}
    return HttpError(status, description, content=content, headers=_NO_STORE)
