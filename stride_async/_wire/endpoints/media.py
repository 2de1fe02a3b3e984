"""Media: upload, download, delete (protocol 9). Pure."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import msgspec

from stride_async._arguments import of_type
from stride_async._json import NOT_DECODABLE, decoder
from stride_async._models import Media
from stride_async._wire.convert import object_at, undecodable
from stride_async._wire.endpoints.conversations import conversation_path
from stride_async._wire.endpoints.reading import nothing
from stride_async._wire.request import Request, Response, segment


def upload_media(cloud_id: str, conversation_id: str, name: str) -> Request[Media]:
    """`POST {cv}/media?name=` (protocol 9.1). The body is streamed apart from this value. Not repeatable.

    Raises:
        ValueError: The name is empty or cannot be encoded as UTF-8.
    """
    if not of_type(name, "name", str):
        raise ValueError("the upload has no name; pass name=…")
    try:
        quote(name)
    except UnicodeEncodeError as error:
        raise ValueError(f"the name {name!r} cannot be encoded as UTF-8") from error
    return Request(
        method="POST",
        path=f"{conversation_path(cloud_id, conversation_id)}/media",
        read=_uploaded(conversation_id),
        query=(("name", name),),
        content_type="application/octet-stream",
        limit_key=conversation_id,
        repeatable=False,
    )


class _Upload(msgspec.Struct):
    data: msgspec.Raw


_decode = decoder(_Upload)


def _uploaded(conversation_id: str) -> Callable[[Response], Media]:
    def read(response: Response) -> Media:
        try:
            data = _decode(response.body).data
        except NOT_DECODABLE as error:
            raise undecodable("$.data", response.body, str(error)) from error
        return object_at(data, Media, "$.data", conversationId=conversation_id)

    return read


def get_media(cloud_id: str, conversation_id: str, media_id: str) -> Request[None]:
    """`GET {cv}/media/{mediaId}` (protocol 9.3). The body is streamed apart from this value."""
    return Request(
        method="GET",
        path=_media_path(cloud_id, conversation_id, media_id),
        read=nothing,
        accept="*/*",
        limit_key=conversation_id,
    )


def delete_media(cloud_id: str, conversation_id: str, media_id: str) -> Request[None]:
    """`DELETE {cv}/media/{mediaId}` (protocol 9.4)."""
    return Request(
        method="DELETE",
        path=_media_path(cloud_id, conversation_id, media_id),
        read=nothing,
        limit_key=conversation_id,
        gone_is_done=True,
    )


def _media_path(cloud_id: str, conversation_id: str, media_id: str) -> str:
    return f"{conversation_path(cloud_id, conversation_id)}/media/{segment(media_id, 'media id')}"
