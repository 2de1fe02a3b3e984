"""Sites, the app's own account, users, and the document services (protocol 5.1, 5.21, 5.22). Pure."""

from __future__ import annotations

import msgspec

from stride_async._arguments import text
from stride_async._json import NOT_DECODABLE, decoder
from stride_async._models import Account, Site, User
from stride_async._wire.convert import object_at, site_at, undecodable
from stride_async._wire.endpoints.reading import json_call, object_in
from stride_async._wire.pages import split_values
from stride_async._wire.request import Request, Response, segment
from stride_async.document import Document


def list_sites() -> Request[list[Site]]:
    """`GET /site/`, with the trailing slash (protocol 5.1, 4.10)."""
    return Request(method="GET", path="/site/", read=_sites)


class _Links(msgspec.Struct):
    links: dict[str, str] = msgspec.field(default_factory=dict, name="_links")


_decode_links = decoder(_Links)


def _sites(response: Response) -> list[Site]:
    elements, path = split_values(response.body)
    try:
        links = _decode_links(response.body).links
    except NOT_DECODABLE:
        links = {}  # The links are a convenience, and their form is not known.
    return [site_at(raw, f"{path}[{index}]", links) for index, raw in enumerate(elements)]


def get_me() -> Request[Account]:
    """`GET /me` (protocol 4.8)."""
    return Request(method="GET", path="/me", read=lambda response: object_at(response.body, Account))


def profile_path(cloud_id: str, user_id: str) -> str:
    """Return `/scim/site/{cloudId}/Users/{userId}`, with a capital U (protocol 5.21)."""
    return f"/scim/site/{segment(cloud_id, 'cloud id')}/Users/{segment(user_id, 'user id')}"


def get_user(cloud_id: str, user_id: str) -> Request[User]:
    """`GET /scim/site/{cloudId}/Users/{userId}` (protocol 5.21)."""
    return Request(
        method="GET",
        path=profile_path(cloud_id, user_id),
        read=lambda response: object_at(response.body, User),
    )


def find_user(cloud_id: str, email: str) -> Request[str | None]:
    """`GET /users/lookup` by email address (protocol 5.21). Reads the user's id, or None if there is none."""
    if not text(email, "email address"):
        raise ValueError("the email address is empty")
    return Request(
        method="GET",
        path="/users/lookup",
        read=_found_id,
        query=(("email", email), ("site", cloud_id), ("product", "chat")),
    )


def _found_id(response: Response) -> str | None:
    found = object_in(response).get("id")
    return found if isinstance(found, str) else None


def convert_markdown(markdown: str) -> Request[Document]:
    """`POST /pf-editor-service/convert?from=markdown&to=adf` (protocol 5.22)."""
    query = (("from", "markdown"), ("to", "adf"))
    body = {"input": text(markdown, "Markdown")}
    return json_call("POST", "/pf-editor-service/convert", _document, body, query=query)


def _document(response: Response) -> Document:
    try:
        return Document.from_json(object_in(response))
    except ValueError as error:
        raise undecodable("$", response.body, str(error)) from error


def render_document(document: Document) -> Request[str]:
    """`POST /pf-editor-service/render` (protocol 5.22). Reads plain text; the response is never JSON."""
    return Request(
        method="POST",
        path="/pf-editor-service/render",
        read=lambda response: response.body.decode("utf-8", "replace"),
        body=msgspec.json.encode(document.to_json()),
        content_type="application/json",
        accept="text/plain",
    )
