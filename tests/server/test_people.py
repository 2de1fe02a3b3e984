from __future__ import annotations

import pytest

from stride_async.server import Choices


async def test_sites_and_the_own_account_are_told(api, server):
    """With and without the slash; the account is the one that signs messages."""
    slashed, plain = await api.get("/site/"), await api.get("/site")
    me = (await api.get("/me")).json

    assert slashed.json == plain.json
    assert [server.cloud_id] == slashed.json["values"]
    assert {"account_id", "name", "email", "picture"} == me.keys()
    assert server.app_account_id == me["account_id"]


async def test_a_person_is_found_by_address_and_by_id(api, server):
    """The address in any case of letters."""
    ann = server.add_user("Ann Example", email="Ann@Example.com")

    found = await api.get(
        "/users/lookup", params={"email": "ann@example.COM", "site": server.cloud_id, "product": "chat"}
    )
    user = (await api.get(f"/scim/site/{server.cloud_id}/Users/{ann}")).json

    assert {"id": ann} == found.json
    assert (ann, "Ann Example", "Ann@Example.com") == (user["id"], user["displayName"], user["userName"])


async def test_the_app_itself_has_a_profile(api, server):
    """Its account is a user of the site too."""
    user = (await api.get(f"/scim/site/{server.cloud_id}/Users/{server.app_account_id}")).json

    assert (await api.get("/me")).json["name"] == user["displayName"]


async def test_an_unknown_person_is_told_in_the_words_of_scim(api, server):
    """404 with SCIM's schema."""
    reply = await api.get(f"/scim/site/{server.cloud_id}/Users/nobody")

    assert 404 == reply.status
    assert ["urn:ietf:params:scim:api:messages:2.0:Error"] == reply.json["schemas"]
    assert "404" == reply.json["status"]


@pytest.mark.parametrize(
    ("query", "status"), [({}, 400), ({"email": "x@y.z"}, 404), ({"email": "x@y.z", "site": "elsewhere"}, 404)]
)
async def test_an_unknown_address_is_not_found(api, query, status):
    """And a look-up without one is refused."""
    assert status == (await api.get("/users/lookup", params=query)).status


async def test_an_unknown_address_can_answer_without_an_id(start):
    """One published client expects that."""
    api = await start(choices=Choices(unknown_email_status=200))

    reply = await api.get("/users/lookup", params={"email": "x@y.z"})

    assert (200, {}) == (reply.status, reply.json)


async def test_markdown_is_converted(api):
    """The answer is the document itself."""
    path = "/pf-editor-service/convert?from=markdown&to=adf"

    reply = await api.call("POST", path, json={"input": "# Hello"})

    assert [{"type": "heading", "attrs": {"level": 1}, "content": [{"type": "text", "text": "Hello"}]}] == reply.json[
        "content"
    ]
    assert 400 == (await api.call("POST", path, json={"input": 5})).status
    assert 400 == (await api.call("POST", "/pf-editor-service/convert?from=html&to=adf", json={"input": ""})).status


@pytest.mark.parametrize("service", ["pf-editor-service", "pf-adf-service"])
async def test_a_document_is_rendered_as_plain_text(api, service):
    """Under both names, also as the service itself delivers documents; no JSON even if it looks like it."""
    document = {
        "version": 1,
        "type": "doc",
        "content": [
            {"type": "paragraph", "content": [{"type": "text", "text": "42"}]},
            {"type": "mediaGroup", "attrs": {}, "content": None},
        ],
    }

    reply = await api.call("POST", f"/{service}/render", json=document)

    assert (200, b"42") == (reply.status, reply.body.strip())
    assert reply.headers["Content-Type"].startswith("text/plain")
    assert 400 == (await api.call("POST", f"/{service}/render", json={"type": "page"})).status
