"""Sign the tokens of calls to apps (protocol 7)."""

from __future__ import annotations

import time

import jwt

from stride_async.server._limits import App

_SECONDS = 900  # for which a token is valid (protocol 7)


def signed_token(app: App, cloud_id: str, conversation_id: str, user_id: str) -> str:
    """Return a new token for a call to the app, on behalf of a user in a conversation."""
    now = int(time.time())
    claims = {
        "iss": app.client_id,
        "sub": user_id,
        "iat": now,
        "exp": now + _SECONDS,
        "context": {"cloudId": cloud_id, "resourceType": "conversation", "resourceId": conversation_id},
    }
    return jwt.encode(claims, app.client_secret, algorithm="HS256")
