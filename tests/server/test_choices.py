"""Each choice of the server has values that a client has to survive; the client survives them.

The forms of single responses are tested by the tour in `tests/test_operations.py`, those of a history in
`tests/test_history.py`.
"""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

import attrs
import pytest

from stride_async import Forbidden, NotFound, RateLimited
from stride_async.server import Choices, LocalServer
from tests.conftest import client_of

TESTS = Path(__file__).parents[1]
BODY = bytes(range(256)) * 2000


def test_every_choice_is_tested_with_another_value():
    """An option that no test changes is a constant."""
    changed = {
        keyword.arg
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Choices"
        for keyword in node.keywords
    }

    assert [] == [field.name for field in attrs.fields(Choices) if field.name not in changed]


async def test_the_client_sends_the_audience_that_the_old_token_host_requires():
    """It gets a token from a server that refuses other audiences."""
    choices = Choices(audiences=frozenset({"api.atlassian.com"}))
    async with LocalServer(choices=choices) as server, client_of(server) as client:
        assert server.app_account_id == (await client.me()).account_id


@pytest.mark.parametrize("form", ["oauth", "text", "html", "empty"])
async def test_the_client_classifies_an_error_by_its_status_whatever_the_body(form):
    """A 404 is `NotFound` and a 403 is `Forbidden`, even if the body is not the gateway's JSON."""
    async with LocalServer(choices=Choices(error_body=form)) as server, client_of(server) as client:
        closed = server.add_conversation("closed", app_is_member=False)

        with pytest.raises(NotFound):
            await client.conversation("unknown").get()
        with pytest.raises(Forbidden):
            await client.conversation(closed).get()


async def test_the_client_needs_no_rate_limit_headers_on_success():
    """Its limiter counts on its own."""
    choices = Choices(rate_headers_on_success=False)
    async with LocalServer(choices=choices) as server, client_of(server, calls_per_minute=100) as client:
        room = server.add_conversation("general")
        sent = server.fill(room, 30)

        found = await client.conversation(room).history(page_size=7).collect(limit=None)

        assert sent[::-1] == [message.id for message in found]


@pytest.mark.parametrize("form", ["none", "seconds", "date"])
async def test_the_client_reads_the_stated_wait_from_either_header(form):
    """Without `Retry-After`, the reset of the limit says how long to wait."""
    choices = Choices(retry_after=form)
    async with (
        LocalServer(rate_limit=0, window=100.0, choices=choices) as server,
        client_of(server, longest_wait=1.0) as client,
    ):
        with pytest.raises(RateLimited) as raised:
            await client.conversation(server.add_conversation("general")).get()

        assert 90 < raised.value.retry_after <= 103


@pytest.mark.parametrize(
    ("choices", "refused"),
    [
        (Choices(rate_limit_elsewhere=0), "/me"),
        (Choices(token_limit=0), "/oauth/token"),
    ],
    ids=["elsewhere", "token"],
)
async def test_the_client_reports_a_rate_limit_outside_conversations(choices, refused):
    """The reset of the token endpoint is in epoch seconds and that of other calls an RFC 3339 time."""
    async with (
        LocalServer(window=100.0, choices=choices) as server,
        client_of(server, longest_wait=1.0) as client,
    ):
        with pytest.raises(RateLimited) as raised:
            await client.me()

        assert 429 == server.calls[-1].status
        assert refused == server.calls[-1].path
        assert 90 < raised.value.retry_after <= 103


async def test_a_room_that_the_client_just_created_may_be_forbidden():
    """The service installs the app some time later; until then, calls raise `Forbidden`."""
    choices = Choices(install_delay=600.0)
    async with LocalServer(choices=choices) as server, client_of(server) as client:
        room = await client.create_conversation("soon")

        with pytest.raises(Forbidden):
            await room.send("hello")


async def test_the_client_returns_no_one_twice_from_a_roster_ordered_by_id():
    """Someone who joins ahead of the page moves the last id of one page to the next."""
    async with LocalServer(choices=Choices(roster_order="id")) as server, client_of(server) as client:
        people = [server.add_user(name, id=f"557058:{name}") for name in ("b", "c", "d", "e")]
        first = server.add_user("a", id="557058:a")
        room = server.add_conversation("general", roster=people)
        server.faults.add(
            "GET", "*/roster", after=1, times=1, do=lambda server: server.set_roster(room, [*people, first])
        )

        found = await client.conversation(room).roster(page_size=2).collect(limit=None)

        assert people == found


async def test_the_client_reads_a_history_in_which_a_deleted_message_stays():
    """The message keeps its place and has no content."""
    async with LocalServer(choices=Choices(deleted_vanish=False)) as server, client_of(server) as client:
        room = client.conversation(server.add_conversation("general"))
        kept, deleted = await room.send("kept"), await room.send("deleted")

        await room.delete(deleted)
        found = [(message.id, message.text) async for message in room.history()]

        assert [(deleted, ""), (kept, "kept")] == found


@pytest.mark.parametrize("redirect", [False, True], ids=["direct", "redirected"])
async def test_the_client_starts_a_download_over_when_ranges_are_not_honored(tmp_path, redirect):
    """Its result is the complete file."""
    choices = Choices(media_ranges=False)
    async with LocalServer(media_redirect=redirect, choices=choices) as server, client_of(server) as client:
        room = server.add_conversation("general")
        media = server.add_media(room, "a.bin", BODY)
        server.faults.add("GET", "/file/*" if redirect else "*/media/*", cut_after=100_000, times=1)

        got = await client.conversation(room).download(media, tmp_path / "a.bin")

        assert hashlib.sha256(BODY).hexdigest() == got.sha256
        assert BODY == (tmp_path / "a.bin").read_bytes()


async def test_the_client_requests_a_new_url_for_each_attempt_of_a_download(tmp_path):
    """A signed URL may have expired by the next attempt."""
    async with LocalServer(media_redirect=True) as server, client_of(server) as client:
        room = server.add_conversation("general")
        media = server.add_media(room, "a.bin", BODY)
        server.faults.add("GET", "/file/*", cut_after=100_000, times=1)

        await client.conversation(room).download(media, tmp_path / "a.bin")

        assert ["api", "media"] * 2 == [call.origin for call in server.calls if call.path != "/oauth/token"]


async def test_the_client_reports_a_url_that_has_expired():
    """The 403 of the second origin is `Forbidden`, and the request is not retried."""
    choices = Choices(media_url_seconds=-1.0)
    async with LocalServer(media_redirect=True, choices=choices) as server, client_of(server) as client:
        room = server.add_conversation("general")
        media = server.add_media(room, "a.bin", BODY)

        with pytest.raises(Forbidden):
            async with client.conversation(room).open_media(media) as body:
                await body.read()

        assert 1 == len(server.calls.matching("GET", "/file/*"))


async def test_the_client_reads_documents_that_violate_the_schema():
    """A service with a lenient check stores unknown nodes."""
    document = {"type": "doc", "content": [{"type": "novel", "attrs": {}, "content": None}]}
    async with LocalServer(choices=Choices(lenient_documents=True)) as server, client_of(server) as client:
        room = server.add_conversation("general")
        path = f"/site/{server.cloud_id}/conversation/{room}/message"
        sent = await client.request("POST", path, json=document)

        message = await client.conversation(room).message(sent["id"])

        assert "novel" == message.body.content[0].type
