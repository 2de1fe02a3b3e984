"""What of the service is in an archive, and what is left out and why: every operation and every field.

What is exported is stored as the service sent it, so a field that is not in this list is stored, too, next to those
that are.
"""

from __future__ import annotations

from collections.abc import Mapping

# Operations of the service (protocol 5) that an export uses, and where the archive stores the result.
OPERATIONS: Mapping[tuple[str, str], str] = {
    ("POST", "/oauth/token"): "gives the token, which is not stored",
    (
        "GET",
        "/site/{site}/conversation",
    ): "the details of each conversation, including archived, private and direct ones",
    ("GET", "/site/{site}/conversation/{room}/roster"): "roster/, with the time it was taken",
    ("GET", "/site/{site}/conversation/{room}/message"): "sealed/, every message",
    ("GET", "/site/{site}/conversation/{room}/media/{media}"): "media/, the body of each file a message shows",
    ("GET", "/scim/site/{site}/Users/{user}"): "data/users/, the profile of everyone in rosters, messages and mentions",
}

_SAME_AS_LISTED = "gives the same as the list of conversations"
_IN_HISTORY = "gives messages that are in the history"
_WRITES = "changes the site, which an export never does"
_OF_THE_APP = "belongs to the app that exports, not to the content of the site"

# The others, each with the reason.
OPERATIONS_LEFT_OUT: Mapping[tuple[str, str], str] = {
    ("GET", "/site/"): "an archive is of one site; it has the id of that site",
    ("POST", "/site/{site}/conversation"): _WRITES,
    ("GET", "/site/{site}/conversation/{room}"): _SAME_AS_LISTED,
    ("PATCH", "/site/{site}/conversation/{room}"): _WRITES,
    ("PUT", "/site/{site}/conversation/{room}/archive"): _WRITES,
    ("PUT", "/site/{site}/conversation/{room}/unarchive"): _WRITES,
    ("PATCH", "/site/{site}/conversation/{room}/roster"): _WRITES,
    ("GET", "/site/{site}/conversation/user/{user}"): "opens a direct conversation if there is none; existing ones "
    "are listed",
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
    ("GET", "/users/lookup"): "finds a person by address; an export looks people up by id",
    ("GET", "/me"): "describes the app that exports, not the site",
    ("POST", "/pf-editor-service/convert"): "converts texts; it has no content of its own",
    ("POST", "/pf-editor-service/render"): "converts texts; it has no content of its own",
}

_ENVELOPE = "leads from page to page"

# Fields of the service's objects (protocol 4) that are in an archive, by section.
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

# The others, each with the reason.
FIELDS_LEFT_OUT: Mapping[str, Mapping[str, str]] = {
    "4.2": dict.fromkeys(("cursor", "size", "limit"), _ENVELOPE),
    "4.5": {"_links": "addresses made of the ids next to them"},
    "4.6": {"id": "is the response to a call that writes"},
    "4.8": dict.fromkeys(("account_id", "name", "email", "picture"), "describes the app that exports"),
    "4.9": dict.fromkeys(
        ("data", "id", "conversationId", "name", "size", "mimeType", "mediaType", "processingStatus"),
        "is the response to an upload; name, type and size of a body come with the body",
    ),
    "4.10": dict.fromkeys(("values", "_links", "id", "url"), "an archive is of one site; it has the id of that site"),
    "4.11": dict.fromkeys(("values", "start", "limit", "size", "key", "type", "descriptor"), _OF_THE_APP),
}
