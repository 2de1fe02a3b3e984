"""The table of all operations (protocol 5), and the router that finds the operation for a path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from attrs import define, field, frozen

from stride_async.server._limits import MANAGE, PARTICIPATE, USER_PROFILE
from stride_async.server._paths import CONVERSATION, CONVERSATIONS, LOCAL, MEDIA_FILE, SCIM_USER
from stride_async.server._responses import Response
from stride_async.server._routes import (
    conversations,
    documents,
    local,
    media,
    messages,
    modules,
    people,
    rosters,
    tokens,
)
from stride_async.server._routes.request import Request


@frozen
class Route:
    """One operation. `scope` is the scope it requires: "" accepts any token, and None needs no token."""

    method: str
    path: str
    run: Callable[[Request], Awaitable[Response]]
    scope: str | None = PARTICIPATE


_USER = CONVERSATIONS + "/user/{user}"
_MESSAGE = CONVERSATION + "/message/{message}"
_USER_MESSAGE = _USER + "/message/{message}"
_MEDIA = CONVERSATION + "/media"
_MODULES = CONVERSATION + "/app/module"
_FIRST_STATE = "/app/module/chat/conversation"  # of the first generation

ROUTES = [
    Route("POST", "/oauth/token", tokens.issue_token, None),
    Route("GET", "/site", people.list_sites, ""),
    Route("GET", "/site/", people.list_sites, ""),
    Route("GET", CONVERSATIONS, conversations.list_page),
    Route("POST", CONVERSATIONS, conversations.create, MANAGE),
    Route("GET", CONVERSATION, conversations.get),
    Route("PATCH", CONVERSATION, conversations.update, MANAGE),
    Route("PUT", CONVERSATION + "/archive", conversations.archive, MANAGE),
    Route("PUT", CONVERSATION + "/unarchive", conversations.unarchive, MANAGE),
    Route("GET", CONVERSATION + "/roster", rosters.get),
    Route("PATCH", CONVERSATION + "/roster", rosters.change, MANAGE),
    Route("GET", _USER, conversations.get_direct),
    Route("POST", CONVERSATION + "/message", messages.send),
    Route("POST", _USER + "/message", messages.send),
    Route("PUT", _MESSAGE, messages.edit),
    Route("PUT", _USER_MESSAGE, messages.edit),
    Route("DELETE", _MESSAGE, messages.delete),
    Route("DELETE", _USER_MESSAGE, messages.delete),
    Route("GET", _MESSAGE, messages.get),
    Route("GET", CONVERSATION + "/message", messages.history),
    Route("GET", CONVERSATION + "/message/recent", messages.recent),
    Route("GET", _MESSAGE + "/context", messages.context),
    Route("POST", _MEDIA, media.upload),
    Route("GET", _MEDIA + "/{media}", media.download),
    Route("DELETE", _MEDIA + "/{media}", media.delete),
    Route("GET", _MODULES + "/{type}", modules.list_page),
    Route("PUT", _MODULES + "/{type}/{key}", modules.put),
    Route("DELETE", _MODULES + "/{type}/{key}", modules.delete),
    Route("PUT", _MODULES + "/chat:glance/{key}/state", modules.set_glance),
    Route("PUT", _MODULES + "/chat:configuration/{key}/state", modules.set_configuration),
    Route("POST", _FIRST_STATE + "/chat:glance/{key}/state", modules.update_glance, ""),
    Route("POST", _FIRST_STATE + "/chat:configuration/{key}/state", modules.update_configuration, ""),
    Route("GET", SCIM_USER, people.scim_user, USER_PROFILE),
    Route("GET", "/users/lookup", people.look_up, USER_PROFILE),
    Route("GET", "/me", people.me, ""),
    Route("POST", "/pf-editor-service/convert", documents.convert, ""),
    Route("POST", "/pf-editor-service/render", documents.render, ""),
    Route("POST", "/pf-adf-service/render", documents.render, ""),
]

# They are not calls to the service, so no rate limit applies to them.
LOCAL_ROUTES = [Route("POST", LOCAL + "/message", local.add_message, "")]
MEDIA_ROUTES = [Route("GET", MEDIA_FILE, media.serve_signed, None)]


@define(eq=False)
class _Node:
    literals: dict[str, _Node] = field(factory=dict)
    name: str = ""
    parameter: _Node | None = None
    routes: dict[str, Route] = field(factory=dict)


class Router:
    """A tree of path segments. A literal segment is preferred to a parameter if it leads to a route."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._root = _Node()
        for route in routes:
            node = self._root
            for segment in route.path.split("/")[1:]:
                node = self._child(node, segment)
            node.routes[route.method] = route

    def find(self, segments: Sequence[str]) -> tuple[dict[str, Route], dict[str, str]]:
        """Return the routes for this path by method, empty if there is no such path, and the path parameters."""
        return _find(self._root, segments)

    @staticmethod
    def _child(node: _Node, segment: str) -> _Node:
        if not segment.startswith("{"):
            return node.literals.setdefault(segment, _Node())
        if node.parameter is None:
            node.parameter = _Node(name=segment[1:-1])
        return node.parameter


def _find(node: _Node, segments: Sequence[str]) -> tuple[dict[str, Route], dict[str, str]]:
    if not segments:
        return node.routes, {}
    segment, *rest = segments
    if (child := node.literals.get(segment)) is not None:
        found = _find(child, rest)
        if found[0]:
            return found
    if node.parameter is None or not segment:
        return {}, {}
    routes, path_params = _find(node.parameter, rest)
    return routes, {node.parameter.name: segment, **path_params}
