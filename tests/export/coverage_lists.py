"""What of the service an archive has, and what it deliberately has not: every operation and every field.

What is exported is kept as the service sent it, so that a field that is not in this list is kept, too, where it stands
beside one that is.
"""

from __future__ import annotations

from collections.abc import Mapping

OPERATIONS: Mapping[tuple[str, str], str] = {
    ("POST", "/oauth/token"): "used for the token; nothing of it is kept",
    ("GET", "/site/{site}/conversation"): "each conversation's details, archived, private and direct ones among them",
    ("GET", "/site/{site}/conversation/{room}/roster"): "roster/, with the time it was taken",
    ("GET", "/site/{site}/conversation/{room}/message"): "sealed/, every message",
    ("GET", "/site/{site}/conversation/{room}/media/{media}"): "media/, the body of each file a message shows",
    ("GET", "/scim/site/{site}/Users/{user}"): "data/users/, everybody met in rosters, messages and mentions",
}
"""Operations of the service (protocol 5) that an export uses, and where what they give is kept."""

_SAME_AS_LISTED = "gives what the list of conversations gives already"
_IN_HISTORY = "gives messages that the history gives already"
_WRITES = "changes the site; an export changes nothing"
_OF_THE_APP = "the app that exports has put it there itself; it is no part of what people wrote"

OPERATIONS_LEFT_OUT: Mapping[tuple[str, str], str] = {
    ("GET", "/site/"): "an archive is of one site, whose id it names; others are archives of their own",
    ("POST", "/site/{site}/conversation"): _WRITES,
    ("GET", "/site/{site}/conversation/{room}"): _SAME_AS_LISTED,
    ("PATCH", "/site/{site}/conversation/{room}"): _WRITES,
    ("PUT", "/site/{site}/conversation/{room}/archive"): _WRITES,
    ("PUT", "/site/{site}/conversation/{room}/unarchive"): _WRITES,
    ("PATCH", "/site/{site}/conversation/{room}/roster"): _WRITES,
    ("GET", "/site/{site}/conversation/user/{user}"): "opens a direct conversation where there is none; those there "
    "are, are listed",
    ("POST", "/site/{site}/conversation/{room}/message"): _WRITES,
    ("POST", "/site/{site}/conversation/user/{user}/message"): _WRITES,
    ("PUT", "/site/{site}/conversation/{room}/message/{message}"): _WRITES,
    ("PUT", "/site/{site}/conversation/user/{user}/message/{message}"): _WRITES,
    ("DELETE", "/site/{site}/conversation/{room}/message/{message}"): _WRITES,
    ("DELETE", "/site/{site}/conversation/user/{user}/message/{message}"): _WRITES,
    ("GET", "/site/{site}/conversation/{room}/message/{message}"): _IN_HISTORY,
    ("GET", "/site/{site}/conversation/{room}/message/recent"): _IN_HISTORY,
    ("GET", "/site/{site}/conversation/{room}/message/{message}/context"): _IN_HISTORY,
    ("POST", "/site/{site}/conversation/{room}/media"): _WRITES,
    ("DELETE", "/site/{site}/conversation/{room}/media/{media}"): _WRITES,
    ("GET", "/site/{site}/conversation/{room}/app/module/{type}"): _OF_THE_APP,
    ("PUT", "/site/{site}/conversation/{room}/app/module/{type}/{key}"): _WRITES,
    ("DELETE", "/site/{site}/conversation/{room}/app/module/{type}/{key}"): _WRITES,
    ("PUT", "/site/{site}/conversation/{room}/app/module/chat:glance/{key}/state"): _WRITES,
    ("PUT", "/site/{site}/conversation/{room}/app/module/chat:configuration/{key}/state"): _WRITES,
    ("POST", "/app/module/chat/conversation/chat:glance/{key}/state"): _WRITES,
    ("POST", "/app/module/chat/conversation/chat:configuration/{key}/state"): _WRITES,
    ("GET", "/users/lookup"): "finds a person by address; whoever was met is looked up by id",
    ("GET", "/me"): "tells of the app that exports, not of the site",
    ("POST", "/pf-editor-service/convert"): "a service for texts; it has no content of its own",
    ("POST", "/pf-editor-service/render"): "a service for texts; it has no content of its own",
}
"""The others, each with the reason."""

_ENVELOPE = "leads from page to page; says nothing of the site"

FIELDS: Mapping[str, tuple[str, ...]] = {
    "4.1": (
        *("cloudId", "id", "name", "topic", "type", "created", "modified", "avatarUrl", "privacy", "isArchived"),
        "_links",
    ),
    "4.2": ("values",),
    "4.3": ("id", "body", "version", "type", "content", "text", "sender", "ts"),
    "4.4": ("messages",),
    "4.5": ("values",),
    "4.7": (
        *("schemas", "id", "userName", "active", "displayName", "nickName", "title", "timezone", "meta", "created"),
        *("lastModified", "resourceType", "name", "givenName", "familyName", "formatted"),
        *("emails", "photos", "value", "primary"),
    ),
}
"""Fields of the service's objects (protocol 4) that are in an archive, by section."""

FIELDS_LEFT_OUT: Mapping[str, Mapping[str, str]] = {
    "4.2": dict.fromkeys(("cursor", "size", "limit"), _ENVELOPE),
    "4.5": {"_links": "addresses made of the ids beside them"},
    "4.6": {"id": "answers a call that writes"},
    "4.8": dict.fromkeys(("account_id", "name", "email", "picture"), "tells of the app that exports"),
    "4.9": dict.fromkeys(
        ("data", "id", "conversationId", "name", "size", "mimeType", "mediaType", "processingStatus"),
        "answers an upload; a body's name, type and size come with the body",
    ),
    "4.10": dict.fromkeys(("values", "_links", "id", "url"), "an archive is of one site, whose id it names"),
    "4.11": dict.fromkeys(("values", "start", "limit", "size", "key", "type", "descriptor"), _OF_THE_APP),
}
"""The others, each with the reason."""
