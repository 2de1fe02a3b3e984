from __future__ import annotations

import hashlib
import resource
from urllib.parse import urlsplit

import pytest

from stride_async.server import Choices, MediaTruth
from stride_async.server._bodies import Bodies

BODY = bytes(range(256)) * 2000


@pytest.fixture(params=["memory", "file"])
async def api(request, start, tmp_path):
    """Calls to a site in memory, and to one in a file with media next to it."""
    return await start(rate_limit=None, db=tmp_path / "site.db" if request.param == "file" else None)


async def chunks(count):
    for _ in range(count):
        yield bytes(100_000)


async def test_a_download_returns_what_was_uploaded(api, server, room):
    """Bytes, name and type are the same."""
    sent = await api.call("POST", f"{api.room(room)}/media", params={"name": "Übersicht 1.png"}, data=BODY)
    media = sent.json["data"]["id"]

    back = await api.get(f"{api.room(room)}/media/{media}")

    assert (201, len(BODY), "image/png") == (sent.status, sent.json["data"]["size"], sent.json["data"]["mimeType"])
    assert (200, BODY, "image/png") == (back.status, back.body, back.headers["Content-Type"])
    assert "filename*=UTF-8''%C3%9Cbersicht%201.png" in back.headers["Content-Disposition"]
    assert {media: MediaTruth("Übersicht 1.png", len(BODY), hashlib.sha256(BODY).hexdigest())} == dict(
        server.truth().conversations[room].media
    )


async def test_an_upload_can_be_chunked_or_empty(api, server, room):
    """A stream without a length is accepted, and a file without bytes."""
    streamed = await api.call("POST", f"{api.room(room)}/media?name=a.bin", data=chunks(5))
    empty = await api.call("POST", f"{api.room(room)}/media?name=b.bin", data=b"")
    back = await api.get(f"{api.room(room)}/media/{empty.json['data']['id']}")

    assert 500_000 == streamed.json["data"]["size"]
    assert (200, b"", "0") == (back.status, back.body, back.headers["Content-Length"])


@pytest.mark.parametrize(
    ("wanted", "status", "content_range", "expected"),
    [
        ("bytes=0-9", 206, f"bytes 0-9/{len(BODY)}", BODY[:10]),
        ("bytes=511990-", 206, f"bytes 511990-511999/{len(BODY)}", BODY[-10:]),
        ("bytes=511990-999999", 206, f"bytes 511990-511999/{len(BODY)}", BODY[-10:]),
        ("bytes=-10", 206, f"bytes 511990-511999/{len(BODY)}", BODY[-10:]),
        ("bytes=-999999", 206, f"bytes 0-511999/{len(BODY)}", BODY),
        ("bytes=512000-", 416, f"bytes */{len(BODY)}", None),
        ("bytes=-0", 416, f"bytes */{len(BODY)}", None),
        ("bytes=0-1,5-6", 200, None, BODY),
        ("bytes=9-1", 200, None, BODY),
        ("lines=0-1", 200, None, BODY),
    ],
)
async def test_a_request_for_a_single_range_is_honored(api, server, room, wanted, status, content_range, expected):
    """It gets a 206, or a 416 beyond the end; a range that is not understood is ignored."""
    path = f"{api.room(room)}/media/{server.add_media(room, 'a.bin', BODY)}"

    reply = await api.get(path, headers={"Range": wanted})

    assert status == reply.status
    assert content_range == reply.headers.get("Content-Range")
    assert expected is None or expected == reply.body


async def test_a_range_of_another_version_returns_the_complete_body(api, server, room):
    """`If-Range` with another validator makes the server ignore the range."""
    path = f"{api.room(room)}/media/{server.add_media(room, 'a.bin', BODY)}"
    etag = (await api.get(path)).headers["ETag"]

    same = await api.get(path, headers={"Range": "bytes=1-2", "If-Range": etag})
    other = await api.get(path, headers={"Range": "bytes=1-2", "If-Range": '"other"'})

    assert (206, BODY[1:3]) == (same.status, same.body)
    assert (200, BODY) == (other.status, other.body)


async def test_head_returns_the_headers_of_get_without_a_body(api, server, room):
    """Length, validator and support for ranges are the same."""
    path = f"{api.room(room)}/media/{server.add_media(room, 'a.bin', BODY)}"

    head, got = await api.call("HEAD", path), await api.get(path)

    assert (200, b"") == (head.status, head.body)
    assert [got.headers[name] for name in ("Content-Length", "ETag", "Accept-Ranges")] == [
        head.headers[name] for name in ("Content-Length", "ETag", "Accept-Ranges")
    ]


async def test_media_is_found_only_in_its_own_conversation_until_it_is_deleted(api, server, room):
    """In another conversation it can be neither read nor deleted."""
    media = server.add_media(room, "a.bin", b"x")
    foreign = f"{api.room(server.add_conversation('other'))}/media/{media}"

    statuses = [
        (await api.get(foreign)).status,
        (await api.call("DELETE", foreign)).status,
        (await api.call("DELETE", f"{api.room(room)}/media/{media}")).status,
        (await api.get(f"{api.room(room)}/media/{media}")).status,
    ]

    assert [404, 404, 204, 404] == statuses


async def test_an_upload_without_a_name_is_a_bad_request(api, server, room):
    """Nothing is stored."""
    assert 400 == (await api.call("POST", f"{api.room(room)}/media", data=b"x")).status
    assert {} == server.truth().conversations[room].media


@pytest.mark.parametrize("size", [300, 300_000])
def test_a_body_that_the_disk_has_no_room_for_leaves_nothing(tmp_path, size):
    """This holds even if only its last bytes do not fit, which are written when the file is closed."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"), Bodies(tmp_path).receive(1) as body:
            body.write(bytes(size))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert [] == list(tmp_path.iterdir())


async def test_the_name_of_a_file_cannot_add_a_header(api, server, room):
    """Line breaks and quotes in a name or type are replaced or escaped."""
    media = server.add_media(room, 'a"\r\nX-Evil: 1\\ü.txt', b"x", mime_type="text/plain\r\nX: y")

    reply = await api.get(f"{api.room(room)}/media/{media}")

    assert 200 == reply.status
    assert "X-Evil" not in reply.headers
    assert "application/octet-stream" == reply.headers["Content-Type"]


@pytest.mark.parametrize("data", [bytes(2_000), chunks(1)])
async def test_an_upload_that_is_too_large_is_rejected(start, data):
    """It gets a 413, with and without a stated length, and nothing is stored."""
    api = await start(choices=Choices(upload_bytes=1_000))
    room = api.server.add_conversation("general")

    reply = await api.call("POST", f"{api.room(room)}/media?name=a.bin", data=data)

    assert 413 == reply.status
    assert {} == api.server.truth().conversations[room].media


async def test_a_download_can_redirect_to_a_second_origin(start):
    """The signed URL needs no token and supports ranges."""
    api = await start(media_redirect=True)
    room = api.server.add_conversation("general")
    media = api.server.add_media(room, "a.bin", BODY)

    redirect = await api.get(f"{api.room(room)}/media/{media}")
    location = redirect.headers["Location"]
    async with api.http.get(location, headers={"Range": "bytes=1-2"}) as response:
        part = await response.read()

    assert (302, b"") == (redirect.status, redirect.body)
    assert location.startswith(f"{api.server.media_url}/")
    assert api.server.media_url != api.server.url
    assert (206, BODY[1:3]) == (response.status, part)
    last = api.server.calls[-1]
    assert ("media", urlsplit(location).path, False) == (last.origin, last.path, "Authorization" in last.headers)


async def test_a_signed_url_is_valid_only_for_its_file_and_until_it_expires(start):
    """A changed or expired URL is forbidden."""
    api = await start(media_redirect=True)
    room = api.server.add_conversation("general")
    first, second = (api.server.add_media(room, name, b"x") for name in ("a", "b"))
    expired = await start(media_redirect=True, choices=Choices(media_url_seconds=-1.0))
    old = expired.server.add_media(expired.server.add_conversation("general"), "a", b"x")
    (old_room,) = expired.server.truth().conversations

    location = (await api.get(f"{api.room(room)}/media/{first}")).headers["Location"]
    old_location = (await expired.get(f"{expired.room(old_room)}/media/{old}")).headers["Location"]
    urls = [location.replace(first, second), location[:-1], location.split("?")[0], old_location]

    statuses = []
    for url in urls:
        async with api.http.get(url) as response:
            statuses.append(response.status)

    assert [403, 403, 403, 403] == statuses
