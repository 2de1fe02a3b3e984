"""Media: bytes in, bytes out, whole or in part (protocol 9)."""

from __future__ import annotations

import mimetypes
import re
import uuid
from urllib.parse import quote

from stride_async.server._answers import Answer, Refusal, answer_json, nothing
from stride_async.server._routes.ask import Ask
from stride_async.server._routes.conversations import check_open
from stride_async.server._store.files import File

_FOREIGN = 404  # status of a media id of another conversation (protocol 9)
_OCTETS = "application/octet-stream"
_MIME_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(; ?[\w.+-]+=[\w.+\" -]+)*", re.ASCII)
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)
_MEDIA_TYPES = {"image": "image", "video": "video", "audio": "audio", "text": "doc"}


async def upload(ask: Ask) -> Answer:
    """`POST {cv}/media?name=`: the raw bytes of the file; one that is too large is refused as soon as that is known."""
    store, choices = ask.world.store, ask.world.choices
    check_open(ask, ask.room)
    name = ask.query.get("name", "")
    if not name:
        raise Refusal(400, "name: expected the file's name, found nothing")
    number, incoming = store.files.receive()
    with incoming:
        async for chunk in ask.chunks(choices.upload_bytes):
            incoming.write(chunk)
    mime_type = mimetypes.guess_type(name)[0] or _OCTETS
    file = File(number, str(uuid.uuid4()), ask.room.number, name, mime_type, incoming.size, incoming.sha256)
    store.files.insert(file)
    data: dict[str, object] = {"id": file.id}
    if choices.upload_details:
        data |= {
            "name": name,
            "size": file.size,
            "mimeType": mime_type,
            "mediaType": _MEDIA_TYPES.get(mime_type.partition("/")[0], "unknown"),
            "processingStatus": "succeeded",
        }
    return answer_json({"data": data}, status=201)


async def download(ask: Ask) -> Answer:
    """`GET {cv}/media/{mediaId}`: the file, or the address at the second origin where it is."""
    file = _find(ask)
    if not ask.world.media_redirect:
        return _serve(ask, file)
    location = ask.world.media_location(ask.room.id, file.id)
    return Answer(302, b"", None, {"Location": location, "Cache-Control": "private, no-store"})


async def serve_signed(ask: Ask) -> Answer:
    """The file at the second origin; no token is asked for, the address itself is the permission."""
    media_id, expires = ask.places["media"], ask.query.get("expires", "")
    signature = ask.query.get("signature", "")
    if not re.fullmatch("[0-9]{1,18}", expires) or not ask.world.media_location_is_good(media_id, expires, signature):
        raise Refusal(403, "the address is not signed, or has expired")
    file = ask.world.store.files.find(media_id)
    if file is None:
        raise Refusal(404, f"no such media: {media_id}")
    return _serve(ask, file)


async def delete(ask: Ask) -> Answer:
    """`DELETE {cv}/media/{mediaId}`; messages that show the file stay."""
    ask.world.store.files.delete(_find(ask))
    return nothing(ask.world.choices.media_delete_status)


def _find(ask: Ask) -> File:
    media_id = ask.places["media"]
    file = ask.world.store.files.find(media_id)
    if file is None:
        raise Refusal(404, f"no such media: {media_id}")
    if file.conversation != ask.room.number:
        raise Refusal(_FOREIGN, f"no such media: {media_id}")
    return file


def _serve(ask: Ask, file: File) -> Answer:
    etag = f'"{file.sha256}"'
    mime_type = file.mime_type if _MIME_TYPE.fullmatch(file.mime_type) else _OCTETS
    headers = {"ETag": etag, "Content-Disposition": _disposition(file.name)}
    part = _part(ask, file, etag)
    if ask.world.choices.media_ranges:
        headers["Accept-Ranges"] = "bytes"
    if part is None:
        return Answer(200, ask.world.store.files.stretch(file, 0, file.size), mime_type, headers)
    first, last = part
    headers["Content-Range"] = f"bytes {first}-{last}/{file.size}"
    return Answer(206, ask.world.store.files.stretch(file, first, last - first + 1), mime_type, headers)


def _part(ask: Ask, file: File, etag: str) -> tuple[int, int] | None:
    """First and last byte asked for; None for the whole: no range, one not understood, or of another version."""
    match = _RANGE.fullmatch(ask.headers.get("Range", "").replace(" ", ""))
    if match is None or match.group() == "bytes=-" or not ask.world.choices.media_ranges:
        return None
    if ask.headers.get("If-Range", etag) != etag:
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
        raise Refusal(416, f"the file has {file.size} bytes", headers=content_range)
    return start, end


def _disposition(name: str) -> str:
    plain = "".join(char if " " <= char <= "~" and char not in '"\\' else "_" for char in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='', errors='replace')}"
