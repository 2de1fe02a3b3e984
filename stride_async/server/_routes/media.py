"""Upload, download and delete media (protocol 9)."""

from __future__ import annotations

import mimetypes
import re
from urllib.parse import quote

from stride_async.server._responses import HttpError, Response, json_response, no_content
from stride_async.server._routes.conversations import refuse_archived
from stride_async.server._routes.request import Request
from stride_async.server._store import MediaFile

_OF_ANOTHER_CONVERSATION = 404  # status of such a media id (protocol 9)
_OCTETS = "application/octet-stream"
_MIME_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(; ?[\w.+-]+=[\w.+\" -]+)*", re.ASCII)
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)
_MEDIA_TYPES = {"image": "image", "video": "video", "audio": "audio", "text": "doc"}


async def upload(request: Request) -> Response:
    """`POST {cv}/media?name=` with the raw bytes; a body that is too large is refused before all of it is read."""
    store, choices = request.world.store, request.world.choices
    refuse_archived(request.conversation)
    name = request.query.get("name", "")
    if not name:
        raise HttpError(400, "name: expected the name of the file, found nothing")  # protocol 9
    with store.files.receive() as body:
        async for chunk in request.chunks(choices.upload_bytes):
            body.write(chunk)
    mime_type = mimetypes.guess_type(name)[0] or _OCTETS
    file = store.files.insert(body, request.conversation.number, name, mime_type)
    data: dict[str, object] = {"id": file.id}
    if choices.upload_details:
        data |= {
            "name": name,
            "size": file.size,
            "mimeType": mime_type,
            "mediaType": _MEDIA_TYPES.get(mime_type.partition("/")[0], "unknown"),
            "processingStatus": "succeeded",
        }
    return json_response({"data": data}, status=201)


async def download(request: Request) -> Response:
    """`GET {cv}/media/{mediaId}`: the body, or a redirect to the second origin."""
    file = _find(request)
    if not request.world.media_redirect:
        return _serve(request, file)
    location = request.world.signed_media_url(request.conversation.id, file.id)
    return Response(302, b"", None, {"Location": location, "Cache-Control": "private, no-store"})


async def serve_signed(request: Request) -> Response:
    """Serve the body at the second origin; the signature of the URL takes the place of a token."""
    media_id, expires = request.path_params["media"], request.query.get("expires", "")
    signature = request.query.get("signature", "")
    if not re.fullmatch("[0-9]{1,18}", expires) or not request.world.is_valid_signature(media_id, expires, signature):
        raise HttpError(403, "the URL is not signed, or has expired")
    file = request.world.store.files.find(media_id)
    if file is None:
        raise HttpError(404, f"no such media: {media_id}")
    return _serve(request, file)


async def delete(request: Request) -> Response:
    """`DELETE {cv}/media/{mediaId}`; messages that show the file stay."""
    request.world.store.files.delete(_find(request))
    return no_content(request.world.choices.media_delete_status)


def _find(request: Request) -> MediaFile:
    media_id = request.path_params["media"]
    file = request.world.store.files.find(media_id)
    if file is None:
        raise HttpError(404, f"no such media: {media_id}")
    if file.conversation != request.conversation.number:
        raise HttpError(_OF_ANOTHER_CONVERSATION, f"no such media: {media_id}")
    return file


def _serve(request: Request, file: MediaFile) -> Response:
    files = request.world.store.files
    etag = f'"{file.sha256}"'
    mime_type = file.mime_type if _MIME_TYPE.fullmatch(file.mime_type) else _OCTETS
    headers = {"ETag": etag, "Content-Disposition": _disposition(file.name)}
    part = _requested_part(request, file, etag)
    if request.world.choices.media_ranges:
        headers["Accept-Ranges"] = "bytes"
    if part is None:
        return Response(200, files.byte_range(file, 0, file.size), mime_type, headers)
    first, last = part
    headers["Content-Range"] = f"bytes {first}-{last}/{file.size}"
    return Response(206, files.byte_range(file, first, last - first + 1), mime_type, headers)


def _requested_part(request: Request, file: MediaFile, etag: str) -> tuple[int, int] | None:
    """Return the first and last byte that the request asks for.

    None means the complete body: the request has no range, a range that is not understood, or one of another version.
    """
    match = _RANGE.fullmatch(request.headers.get("Range", "").replace(" ", ""))
    if match is None or match.group() == "bytes=-" or not request.world.choices.media_ranges:
        return None
    if request.headers.get("If-Range", etag) != etag:
        return None
    first, last = match.groups()
    if not first:
        start, end = max(0, file.size - int(last)), file.size - 1
    else:
        start, end = int(first), min(int(last), file.size - 1) if last else file.size - 1
        if last and int(last) < start:
            return None
    if start >= file.size:
        content_range = {"Content-Range": f"bytes */{file.size}", "ETag": etag}
        raise HttpError(416, f"the file has {file.size} bytes", headers=content_range)
    return start, end


def _disposition(name: str) -> str:
    plain = "".join(char if " " <= char <= "~" and char not in '"\\' else "_" for char in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='', errors='replace')}"
