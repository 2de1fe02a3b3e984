from __future__ import annotations

import pytest

from stride_async.server import Choices


async def test_the_site_and_the_account_of_the_app_can_be_read(api, server):
    """The path of the sites may end in a slash or not; the account is the sender of the app's messages."""
    slashed, plain = await api.get("/site/"), await api.get("/site")
    me = (await api.get("/me")).json

    assert slashed.json == plain.json
    assert [server.cloud_id] == slashed.json["values"]
    assert {"account_id", "name", "email", "picture"} == me.keys()
    assert server.app_account_id == me["account_id"]


async def test_a_person_is_found_by_email_address_and_by_id(api, server):
    """The address is not case-sensitive."""
    ann = server.add_user("Ann Example", email="Ann@Example.com")

    found = await api.get(
        "/users/lookup", params={"email": "ann@example.COM", "site": server.cloud_id, "product": "chat"}
    )
    user = (await api.get(f"/scim/site/{server.cloud_id}/Users/{ann}")).json

    assert {"id": ann} == found.json
    assert (ann, "Ann Example", "Ann@Example.com") == (user["id"], user["displayName"], user["userName"])


async def test_the_app_has_a_profile(api, server):
    """Its account is a user of the site."""
    user = (await api.get(f"/scim/site/{server.cloud_id}/Users/{server.app_account_id}")).json

    assert (await api.get("/me")).json["name"] == user["displayName"]


async def test_the_error_for_an_unknown_user_has_the_form_of_scim(api, server):
    """The 404 has the schema of a SCIM error."""
    reply = await api.get(f"/scim/site/{server.cloud_id}/Users/unknown")

    assert 404 == reply.status
    assert ["urn:ietf:params:scim:api:messages:2.0:Error"] == reply.json["schemas"]
    assert "404" == reply.json["status"]


@pytest.mark.parametrize(
    ("query", "status"), [({}, 400), ({"email": "x@y.z"}, 404), ({"email": "x@y.z", "site": "elsewhere"}, 404)]
)
async def test_an_unknown_email_address_is_not_found(api, query, status):
    """A lookup without an address is a 400."""
    assert status == (await api.get("/users/lookup", params=query)).status


async def test_a_lookup_of_an_unknown_address_can_return_no_id(start):
    """A published client expects this."""
    api = await start(choices=Choices(unknown_email_status=200))

    reply = await api.get("/users/lookup", params={"email": "x@y.z"})

    assert (200, {}) == (reply.status, reply.json)


async def test_markdown_is_converted_to_a_document(api):
    """The body of the response is the document itself."""
    path = "/pf-editor-service/convert?from=markdown&to=adf"

    reply = await api.call("POST", path, json={"input": "# Hello"})

    assert [{"type": "heading", "attrs": {"level": 1}, "content": [{"type": "text", "text": "Hello"}]}] == reply.json[
        "content"
    ]
    assert 400 == (await api.call("POST", path, json={"input": 5})).status
    assert 400 == (await api.call("POST", "/pf-editor-service/convert?from=html&to=adf", json={"input": ""})).status


@pytest.mark.parametrize("service", ["pf-editor-service", "pf-adf-service"])
async def test_a_document_is_rendered_as_plain_text(api, service):
    """Both paths accept documents as the service delivers them."""
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
