"""Every operation the server knows (protocol 5), and how a path finds its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from attrs import define, field, frozen

from stride_async.server._answers import Answer
from stride_async.server._limits import MANAGE, PARTICIPATE, USER_PROFILE
from stride_async.server._routes import conversations, documents, media, messages, modules, people, rosters, tokens
from stride_async.server._routes.ask import Ask


@frozen
class Route:
    """One operation. `scope` is what its token must allow: "" is any token, None is no token at all."""

    method: str
    path: str
    run: Callable[[Ask], Awaitable[Answer]]
    scope: str | None = PARTICIPATE


_SITE = "/site/{site}/conversation"
_ROOM = _SITE + "/{room}"
_USER = _SITE + "/user/{user}"

ROUTES = [
    Route("POST", "/oauth/token", tokens.give_token, None),
    Route("GET", "/site", people.list_sites, ""),
    Route("GET", "/site/", people.list_sites, ""),
    Route("GET", _SITE, conversations.listing),
    Route("POST", _SITE, conversations.create, MANAGE),
    Route("GET", _ROOM, conversations.get),
    Route("PATCH", _ROOM, conversations.update, MANAGE),
    Route("PUT", _ROOM + "/archive", conversations.archive, MANAGE),
    Route("PUT", _ROOM + "/unarchive", conversations.unarchive, MANAGE),
    Route("GET", _ROOM + "/roster", rosters.get),
    Route("PATCH", _ROOM + "/roster", rosters.change, MANAGE),
    Route("GET", _USER, conversations.direct),
    Route("POST", _ROOM + "/message", messages.send),
    Route("POST", _USER + "/message", messages.send),
    Route("PUT", _ROOM + "/message/{message}", messages.edit),
    Route("PUT", _USER + "/message/{message}", messages.edit),
    Route("DELETE", _ROOM + "/message/{message}", messages.delete),
    Route("DELETE", _USER + "/message/{message}", messages.delete),
    Route("GET", _ROOM + "/message/{message}", messages.get),
    Route("GET", _ROOM + "/message", messages.history),
    Route("GET", _ROOM + "/message/recent", messages.recent),
    Route("GET", _ROOM + "/message/{message}/context", messages.context),
    Route("POST", _ROOM + "/media", media.upload),
    Route("GET", _ROOM + "/media/{media}", media.download),
    Route("DELETE", _ROOM + "/media/{media}", media.delete),
    Route("GET", _ROOM + "/app/module/{type}", modules.listing),
    Route("PUT", _ROOM + "/app/module/{type}/{key}", modules.put),
    Route("DELETE", _ROOM + "/app/module/{type}/{key}", modules.delete),
    Route("PUT", _ROOM + "/app/module/chat:glance/{key}/state", modules.set_glance),
    Route("PUT", _ROOM + "/app/module/chat:configuration/{key}/state", modules.set_configuration),
    Route("POST", "/app/module/chat/conversation/chat:glance/{key}/state", modules.update_glance, ""),
    Route("POST", "/app/module/chat/conversation/chat:configuration/{key}/state", modules.update_configuration, ""),
    Route("GET", "/scim/site/{site}/Users/{user}", people.scim_user, USER_PROFILE),
    Route("GET", "/users/lookup", people.look_up, USER_PROFILE),
    Route("GET", "/me", people.me, ""),
    Route("POST", "/pf-editor-service/convert", documents.convert, ""),
    Route("POST", "/pf-editor-service/render", documents.render, ""),
    Route("POST", "/pf-adf-service/render", documents.render, ""),
]

MEDIA_ROUTES = [Route("GET", "/file/{room}/{media}", media.serve_signed, None)]


@define(eq=False)
class _Node:
    words: dict[str, _Node] = field(factory=dict)
    name: str = ""
    any: _Node | None = None
    routes: dict[str, Route] = field(factory=dict)


class Paths:
    """Paths as a tree of segments; a written word wins over a named place wherever it leads to a route."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._root = _Node()
        for route in routes:
            node = self._root
            for segment in route.path.split("/")[1:]:
                node = self._descend(node, segment)
            node.routes[route.method] = route

    def find(self, segments: Sequence[str]) -> tuple[dict[str, Route], dict[str, str]]:
        """The routes at this path by method, none if there is no such path, and its named places."""
        return _found(self._root, segments)

    @staticmethod
    def _descend(node: _Node, segment: str) -> _Node:
        if not segment.startswith("{"):
            return node.words.setdefault(segment, _Node())
        if node.any is None:
            node.any = _Node(name=segment[1:-1])
        return node.any


def _found(node: _Node, segments: Sequence[str]) -> tuple[dict[str, Route], dict[str, str]]:
    if not segments:
        return node.routes, {}
    segment, *rest = segments
    if (below := node.words.get(segment)) is not None:
        found = _found(below, rest)
        if found[0]:
            return found
    if node.any is None or not segment:
        return {}, {}
    routes, places = _found(node.any, rest)
    return routes, {node.any.name: segment, **places}
