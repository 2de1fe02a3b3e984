"""From a path to its route, past everything that holds for all of them: token, limit, site, membership, scope."""

from __future__ import annotations

from collections.abc import Sequence

from stride_async.server._answers import Answer, Refusal
from stride_async.server._limits import App
from stride_async.server._routes.ask import Ask
from stride_async.server._routes.table import MEDIA_ROUTES, ROUTES, Paths, Route

_PATHS = Paths(ROUTES)
_MEDIA_PATHS = Paths(MEDIA_ROUTES)


async def answer(ask: Ask, segments: Sequence[str]) -> Answer:
    """What the service answers to a call of this path.

    Raises:
        Refusal: the call is refused.
    """
    route = _find(_PATHS, ask, segments)
    if route.scope is not None:
        _admit(ask, route, route.scope)
    return await route.run(ask)


async def answer_media(ask: Ask, segments: Sequence[str]) -> Answer:
    """What the second origin answers, where media bodies may live.

    Raises:
        Refusal: the call is refused.
    """
    return await _find(_MEDIA_PATHS, ask, segments).run(ask)


def _find(paths: Paths, ask: Ask, segments: Sequence[str]) -> Route:
    routes, ask.places = paths.find(segments)
    if not routes:
        raise Refusal(404, "no such path")
    route = routes.get("GET" if ask.method == "HEAD" else ask.method)
    if route is None:
        allowed = ", ".join(sorted(routes))
        raise Refusal(405, f"method not allowed, only {allowed}", headers={"Allow": allowed})
    return route


def _admit(ask: Ask, route: Route, scope: str) -> None:
    grant = ask.world.grants.find(ask.headers.get("Authorization"))
    if grant is None:
        raise Refusal(401, "Unauthorized")
    ask.grant = grant
    room, user = ask.places.get("room"), ask.places.get("user") if "{user}" in route.path else None
    _count(ask, grant.app, room, user if route.path.startswith("/site/") else None)
    if ask.places.get("site", ask.world.store.cloud_id) != ask.world.store.cloud_id:
        raise Refusal(404, f"no such site: {ask.places['site']}")
    if room is not None:
        _enter(ask, grant.app, room)
    if scope and scope not in grant.app.scopes:
        raise Refusal(403, f"the token lacks the scope {scope}")


def _count(ask: Ask, app: App, room: str | None, user: str | None) -> None:
    """Count the call against the limit of its conversation (protocol 3.4)."""
    world = ask.world
    if room is not None:
        standing = world.rate_limit.count(app.client_id, room)
    elif user is not None:
        standing = world.rate_limit.count(app.client_id, "user", user)
    else:
        standing = world.outer_limit.count(app.client_id)
    if standing is None:
        return
    headers = standing.headers()
    if not standing.allowed:
        content = {"code": 429, "message": "request has been rate limited"}
        headers |= standing.retry_after(world.choices.retry_after)
        raise Refusal(429, "request has been rate limited", content=content, headers=headers)
    if world.choices.rate_headers_on_success:
        ask.answer_headers |= headers


def _enter(ask: Ask, app: App, room_id: str) -> None:
    conversations = ask.world.store.conversations
    room = conversations.find(room_id)
    if room is None:
        raise Refusal(404, f"no such conversation: {room_id}")
    if not conversations.is_member(app.client_id, room.number):
        raise Refusal(403, f"the app is not installed in the conversation {room_id}")
    ask.room = room
