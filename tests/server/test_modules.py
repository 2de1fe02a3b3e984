from __future__ import annotations

import pytest

TYPES = [
    "chat:actionTarget",
    "chat:bot",
    "chat:bot:messages",
    "chat:dialog",
    "chat:externalPage",
    "chat:glance",
    "chat:sidebar",
    "chat:webhook",
]


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("colon", [":", "%3A"])
async def test_modules_of_every_type_can_be_put_listed_and_deleted(api, room, type, colon):
    """Colons in the path may be escaped or not, and a second put replaces the first."""
    path = f"{api.room(room)}/app/module/{type.replace(':', colon)}"

    statuses = [
        (await api.call("PUT", f"{path}/k", json={"url": "/old"})).status,
        (await api.call("PUT", f"{path}/k", json={"url": "/new"})).status,
    ]
    found = (await api.get(path)).json
    statuses += [(await api.call("DELETE", f"{path}/k")).status for _ in range(2)]

    assert [204, 204, 204, 404] == statuses
    assert {"values": [{"url": "/new", "key": "k"}], "start": 0, "limit": 10, "size": 1} == found


async def test_modules_are_listed_ten_at_a_time(api, room):
    """They are ordered by key; `start` and `limit` select others."""
    path = f"{api.room(room)}/app/module/chat:bot"
    for number in range(12):
        await api.call("PUT", f"{path}/k{number:02}", json={})

    pages = [
        [module["key"] for module in (await api.get(f"{path}?{query}")).json["values"]]
        for query in ("start=0&10", "start=10", "limit=2&start=1")
    ]

    assert [[f"k{number:02}" for number in range(10)], ["k10", "k11"], ["k01", "k02"]] == pages


async def test_an_unknown_module_type_is_not_found(api, room):
    """Only eight types can be managed."""
    assert 404 == (await api.get(f"{api.room(room)}/app/module/chat:inputAction")).status
    assert 404 == (await api.call("PUT", f"{api.room(room)}/app/module/chat:configuration/k", json={})).status


@pytest.mark.parametrize("label", ["5 open", {"value": "5 open"}])
async def test_a_glance_can_be_set_in_both_generations_of_the_api(api, server, room, label):
    """The label is a string or an object with a value; in the first generation, a state can be for one person."""
    ann = server.add_user("Ann")
    context = {"cloudId": server.cloud_id, "conversationId": room, "userId": ann}

    later = await api.call("PUT", f"{api.room(room)}/app/module/chat:glance/g/state", json={"label": label})
    earlier = await api.call(
        "POST",
        "/app/module/chat/conversation/chat:glance/g/state",
        json={"context": context, "label": label, "metadata": {"n": 5}},
    )

    assert [(204, b""), (204, b"")] == [(later.status, later.body), (earlier.status, earlier.body)]
    assert {"label": {"value": "5 open"}, "metadata": {}} == server.module_state(
        "chat:glance", "g", conversation_id=room
    )
    assert {"label": {"value": "5 open"}, "metadata": {"n": 5}} == server.module_state(
        "chat:glance", "g", conversation_id=room, user_id=ann
    )


async def test_the_state_of_a_glance_can_be_for_the_site(api, server):
    """Conversation and user are null."""
    context = {"cloudId": server.cloud_id, "conversationId": None, "userId": None}

    path = "/app/module/chat/conversation/chat:glance/g/state"
    reply = await api.call("POST", path, json={"context": context, "label": "x"})

    assert 204 == reply.status
    assert {"label": {"value": "x"}, "metadata": {}} == server.module_state("chat:glance", "g")


async def test_a_configuration_can_be_set_in_both_generations_of_the_api(api, server, room):
    """The value is true or false; anything else is a 400."""
    later = f"{api.room(room)}/app/module/chat:configuration/c/state"
    earlier = "/app/module/chat/conversation/chat:configuration/c/state"
    context = {"cloudId": server.cloud_id, "conversationId": room}

    statuses = [
        (await api.call("PUT", later, json={"configured": True})).status,
        (await api.call("POST", earlier, json={"context": context, "configured": False})).status,
        (await api.call("PUT", later, json={"configured": "yes"})).status,
    ]

    assert [204, 204, 400] == statuses
    assert {"configured": False} == server.module_state("chat:configuration", "c", conversation_id=room)


@pytest.mark.parametrize(
    ("context", "status"),
    [
        (None, 400),
        ({"cloudId": "elsewhere"}, 404),
        ({"conversationId": "nowhere"}, 404),
        ({"userId": "unknown"}, 404),
        ({"conversationId": 5}, 400),
    ],
)
async def test_the_context_of_a_state_must_exist(api, server, context, status):
    """An unknown site, conversation or user is a 404."""
    content = {"context": context and {"cloudId": server.cloud_id} | context, "label": "x"}

    reply = await api.call("POST", "/app/module/chat/conversation/chat:glance/g/state", json=content)

    assert status == reply.status
