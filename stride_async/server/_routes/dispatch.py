"""Find the route of a request, and check what applies to every route: token, limit, site, membership and scope."""

from __future__ import annotations

from collections.abc import Sequence

from stride_async.server._limits import App, Grant
from stride_async.server._responses import RATE_LIMITED, HttpError, Response, gateway_error
from stride_async.server._routes.request import Request
from stride_async.server._routes.table import LOCAL_ROUTES, MEDIA_ROUTES, ROUTES, Route, Router

_ROUTER = Router(ROUTES)
_LOCAL_ROUTER = Router(LOCAL_ROUTES)
_MEDIA_ROUTER = Router(MEDIA_ROUTES)


async def handle(request: Request, segments: Sequence[str]) -> Response:
    """Return the service's response to a request for this path.

    Raises:
        HttpError: The request is refused.
    """
    route = _find(_ROUTER, request, segments)
    if route.scope is not None:
        _admit(request, route, route.scope)
    return await route.run(request)


async def handle_local(request: Request, segments: Sequence[str]) -> Response:
    """Return the response to a request that is not one to the service (`_routes/local.py`).

    Raises:
        HttpError: The request is refused.
    """
    route = _find(_LOCAL_ROUTER, request, segments)
    request.grant = _grant(request)
    return await route.run(request)


async def handle_media(request: Request, segments: Sequence[str]) -> Response:
    """Return the response of the second origin, which serves media bodies.

    Raises:
        HttpError: The request is refused.
    """
    return await _find(_MEDIA_ROUTER, request, segments).run(request)


def _find(router: Router, request: Request, segments: Sequence[str]) -> Route:
    routes, request.path_params = router.find(segments)
    if not routes:
        raise HttpError(404, "no such path")
    route = routes.get("GET" if request.method == "HEAD" else request.method)
    if route is None:
        allowed = ", ".join(sorted(routes))
        raise HttpError(405, f"method not allowed; expected {allowed}", headers={"Allow": allowed})
    return route


def _admit(request: Request, route: Route, scope: str) -> None:
    request.grant = grant = _grant(request)
    conversation_id = request.path_params.get("conversation")
    user_id = request.path_params.get("user") if route.path.startswith("/site/") else None
    _count(request, grant.app, conversation_id, user_id)
    request.check_site(request.path_params.get("site", request.world.store.cloud_id))
    if conversation_id is not None:
        request.conversation = request.usable_conversation(grant.app, conversation_id)
    if scope and scope not in grant.app.scopes:
        raise HttpError(403, f"the token lacks the scope {scope}")


def _grant(request: Request) -> Grant:
    grant = request.world.grants.find(request.headers.get("Authorization"))
    if grant is None:
        raise HttpError(401, "Unauthorized")
    return grant


def _count(request: Request, app: App, conversation_id: str | None, user_id: str | None) -> None:
    """Count the call against the limit of its conversation (protocol 3.4)."""
    world = request.world
    if conversation_id is not None:
        allowance = world.rate_limit.count(app.client_id, conversation_id)
    elif user_id is not None:
        allowance = world.rate_limit.count(app.client_id, "user", user_id)
    else:
        allowance = world.outer_limit.count(app.client_id)
    if allowance is None:
        return
    headers = request.rate_limit_headers(allowance, gateway_error(429, RATE_LIMITED))
    if world.choices.rate_headers_on_success:
        request.response_headers |= headers
