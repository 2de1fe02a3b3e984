"""Reading the responses of simple calls, and creating calls with a JSON body. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from stride_async._json import NOT_DECODABLE, decoder
from stride_async._models import Json
from stride_async._wire.convert import json_of, undecodable
from stride_async._wire.request import Query, Request, Response
from stride_async._wire.structuring import Id

T = TypeVar("T")


def json_call(
    method: str,
    path: str,
    read: Callable[[Response], T],
    body: Json,
    *,
    query: Query = (),
    limit_key: str | None = None,
    repeatable: bool = True,
) -> Request[T]:
    """Return a request with a JSON body.

    Raises:
        ValueError: The body contains something that has no form in JSON.
    """
    try:
        text = msgspec.json.encode(body)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{method} {path}: the body cannot be encoded as JSON: {error}") from error
    return Request(
        method=method,
        path=path,
        read=read,
        query=query,
        body=text,
        content_type="application/json",
        limit_key=limit_key,
        repeatable=repeatable,
    )


def nothing(_: Response) -> None:
    """Accept any successful response; its body, if any, is ignored."""


class _Entity(msgspec.Struct):
    id: Id


_entity = decoder(_Entity)


def entity_id(response: Response) -> str:
    """Return the id in `{"id": …}` (protocol 4.6), whatever the content type is."""
    try:
        return _entity(response.body).id
    except NOT_DECODABLE as error:
        raise undecodable("$.id", response.body, str(error)) from error


def decoded(response: Response) -> Json:
    """Return the decoded JSON of the response, or None if the body is empty."""
    return json_of(response.body) if response.body.strip() else None


def object_in(response: Response) -> dict[str, Any]:
    """Return the JSON object of the response."""
    value = json_of(response.body)
    if not isinstance(value, dict):
        raise undecodable("$", response.body, f"expected object, found {type(value).__name__}")
    return value
