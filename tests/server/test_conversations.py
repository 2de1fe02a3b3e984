from __future__ import annotations

import pytest

from stride_async.server import Choices


async def listed(api, **query):
    """Names in the list, following cursors to the end, and the sizes of the pages."""
    names, sizes, cursor = [], [], None
    while cursor != "":
        reply = await api.get(api.site, params=query | ({"cursor": cursor} if cursor else {}))
        assert 200 == reply.status
        names += [found["name"] for found in reply.json["values"]]
        sizes.append(reply.json["size"])
        cursor = reply.json["cursor"]
    return names, sizes


async def test_the_list_goes_on_by_cursor_until_an_empty_one(api, server):
    """Pages are cut by limit; the last one's cursor is empty."""
    for number in range(7):
        server.add_conversation(f"room {number}")

    names, sizes = await listed(api, limit=3)

    assert [f"room {number}" for number in range(7)] == names
    assert [3, 3, 1] == sizes


async def test_a_cursor_survives_changes_of_the_list(api, server):
    """Conversations that come and go before the cursor neither repeat nor hide any behind it."""
    for name in "bdf":
        server.add_conversation(name)
    first = await api.get(api.site, params={"limit": 1})
    server.add_conversation("a")

    rest = await api.get(api.site, params={"cursor": first.json["cursor"]})

    assert ["d", "f"] == [found["name"] for found in rest.json["values"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["Alpha", "beta", "direct", "private"]),
        ({"sort": "desc"}, ["private", "direct", "beta", "Alpha"]),
        ({"query": "ALPH"}, ["Alpha"]),
        ({"query": "a", "include-archived": "true"}, ["Alpha", "archived", "beta", "private"]),
        ({"include-private": "false"}, ["Alpha", "beta", "direct"]),
        ({"exclude-direct": "true"}, ["Alpha", "beta", "private"]),
        ({"query": ""}, ["Alpha", "beta", "direct", "private"]),
    ],
)
async def test_the_list_is_sorted_searched_and_filtered(api, server, query, expected):
    """By name in any case; archived ones only when asked for."""
    server.add_conversation("beta")
    server.add_conversation("Alpha")
    server.add_conversation("archived", archived=True)
    server.add_conversation("private", privacy="private")
    server.add_conversation("direct", type="direct")

    names, _ = await listed(api, **query)

    assert expected == names


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 76},
        {"limit": "many"},
        {"limit": "9" * 5000},
        {"sort": "up"},
        {"cursor": "made up"},
        {"include-private": "perhaps"},
    ],
)
async def test_a_bad_parameter_of_the_list_is_refused(api, query):
    """400 names the parameter."""
    reply = await api.get(api.site, params=query)

    assert 400 == reply.status
    assert reply.json["message"].startswith(next(iter(query)))


@pytest.mark.parametrize(("form", "expected"), [("null", {"cursor": None}), ("absent", {}), ("same", {"cursor": ""})])
async def test_the_end_of_the_list_can_be_told_otherwise(start, form, expected):
    """How the service ended its lists is unknown; a client must stand all readings."""
    api = await start(choices=Choices(last_cursor=form))

    reply = await api.get(api.site)

    assert expected == {name: value for name, value in reply.json.items() if name == "cursor"}


async def test_a_created_conversation_has_what_was_asked(api, server):
    """Its object is whole, links to itself, and lists the app."""
    created = await api.call("POST", api.site, json={"name": "Plans", "privacy": "private", "topic": "soon"})
    room = created.json["id"]

    found = (await api.get(api.room(room))).json
    roster = (await api.get(f"{api.room(room)}/roster")).json

    assert 201 == created.status
    assert ("Plans", "private", "soon", "group") == tuple(found[name] for name in ("name", "privacy", "topic", "type"))
    assert {room: f"{server.url}{api.room(room)}"} == found["_links"]
    assert (server.cloud_id, False) == (found["cloudId"], found["isArchived"])
    assert [server.app_account_id] == roster["values"]


@pytest.mark.parametrize(
    "content", [{}, {"name": ""}, {"name": 5}, {"name": "x", "privacy": "secret"}, {"name": "x", "topic": None}]
)
async def test_a_conversation_needs_a_name_and_known_privacy(api, content):
    """What cannot be a conversation is refused."""
    assert 400 == (await api.call("POST", api.site, json=content)).status


async def test_a_new_conversation_may_be_closed_for_a_moment(start):
    """Apps are installed into what they create a little later."""
    api = await start(choices=Choices(install_delay=600.0))

    created = await api.call("POST", api.site, json={"name": "soon"})

    assert 201 == created.status
    assert 403 == (await api.get(api.room(created.json["id"]))).status


async def test_an_update_changes_only_what_it_names(api, server, room):
    """Name, topic and privacy, any of them; the answer is the whole object."""
    before = (await api.get(api.room(room))).json

    after = (await api.call("PATCH", api.room(room), json={"topic": "news", "colour": "red"})).json

    assert before | {"topic": "news", "modified": after["modified"]} == after
    assert after == (await api.get(api.room(room))).json
    assert 400 == (await api.call("PATCH", api.room(room), json={"privacy": "x"})).status


async def test_archiving_closes_a_conversation_until_it_is_brought_back(api, server, room):
    """An empty body or an empty object will do; sending there is refused meanwhile."""
    say = {"data": "hello", "headers": {"Content-Type": "text/plain"}}

    statuses = [
        (await api.call("PUT", f"{api.room(room)}/archive", json={})).status,
        (await api.call("PUT", f"{api.room(room)}/archive")).status,
        (await api.call("POST", f"{api.room(room)}/message", **say)).status,
        (await api.call("POST", f"{api.room(room)}/media?name=a", data=b"x")).status,
        (await api.get(f"{api.room(room)}/message")).status,
        (await api.call("PUT", f"{api.room(room)}/unarchive", headers={"Content-Type": "application/json"})).status,
        (await api.call("POST", f"{api.room(room)}/message", **say)).status,
    ]

    assert [204, 204, 403, 403, 200, 204, 201] == statuses


async def test_unknown_places_are_not_found(api, server, room):
    """A wrong site, conversation or path says what it does not know."""
    site = await api.get(f"/site/elsewhere/conversation/{room}")
    conversation = await api.get(api.room("nowhere"))
    path = await api.get("/site/a/b/c")

    assert [404, 404, 404] == [site.status, conversation.status, path.status]
    assert "elsewhere" in site.json["message"]
    assert "nowhere" in conversation.json["message"]


async def test_a_method_that_is_not_there_names_those_that_are(api, room):
    """405 carries Allow."""
    reply = await api.call("DELETE", api.room(room))

    assert (405, "GET, PATCH") == (reply.status, reply.headers["Allow"])


async def test_the_roster_can_come_by_id(start):
    """In which order the service gave it is not known; a stretch is one of that order."""
    api = await start(choices=Choices(roster_order="id"))
    people = sorted(api.server.add_user(name) for name in ("Ann", "Bob", "Cleo", "Dora"))
    roster = f"{api.room(api.server.add_conversation('general', roster=people[::-1]))}/roster"

    whole, part = [(await api.get(roster, params=asked)).json for asked in ({}, {"start": 1, "limit": 2})]

    assert people == whole["values"]
    assert people[1:3] == part["values"]


async def test_the_roster_is_whole_or_a_stretch(api, server):
    """In join order; garbage in start and limit counts as not given."""
    people = [server.add_user(f"Person {number}") for number in range(5)]
    roster = f"{api.room(server.add_conversation('general', roster=people))}/roster"

    whole = (await api.get(roster)).json

    assert people == whole["values"]
    assert f"{server.url}/scim/site/{server.cloud_id}/Users/{people[0]}" == whole["_links"][people[0]]
    assert people[1:3] == (await api.get(roster, params={"start": 1, "limit": 2})).json["values"]
    assert people == (await api.get(roster, params={"start": "x", "limit": "-1"})).json["values"]
    assert [] == (await api.get(roster, params={"start": "9" * 4000})).json["values"]


async def test_people_are_invited_and_removed_all_or_nobody(api, server, room):
    """An unknown person keeps the others out too; adding twice keeps the place."""
    ann, bob = server.add_user("Ann"), server.add_user("Bob")
    roster = f"{api.room(room)}/roster"

    statuses = [
        (await api.call("PATCH", roster, json=content)).status
        for content in (
            {"add": [ann, "nobody"]},
            {"add": [bob, ann]},
            {"add": [bob]},
            {"remove": [ann, "x"]},
            {"add": 5},
        )
    ]

    assert [404, 204, 204, 204, 400] == statuses
    assert [bob] == (await api.get(roster)).json["values"]


@pytest.mark.parametrize("colon", [":", "%3A"])
async def test_a_direct_conversation_is_opened_once(api, server, colon):
    """The same one each time, named after the person, for raw and for escaped ids."""
    person = server.add_user("Ann")
    path = f"{api.site}/user/{person.replace(':', colon)}"

    first, second = [(await api.get(path)).json for _ in range(2)]

    assert first == second
    assert ("Ann", "direct", "private") == (first["name"], first["type"], first["privacy"])


async def test_a_direct_conversation_may_be_there_already(api, server):
    """A seeded or scripted one with a single person is found by that person."""
    person = server.add_user("Ann")
    room = server.add_conversation("Ann", type="direct", roster=[person])

    assert room == (await api.get(f"{api.site}/user/{person}")).json["id"]


async def test_a_direct_conversation_may_need_several_calls(start):
    """Opening one can take the service too long; it is to be asked again."""
    api = await start(choices=Choices(direct_open_failures=2))
    path = f"{api.site}/user/{api.server.add_user('Ann')}"

    replies = [await api.get(path) for _ in range(3)]

    assert [504, 504, 200] == [reply.status for reply in replies]
    assert "try again" in replies[0].json["message"]


async def test_nobody_has_no_direct_conversation(api):
    """An id of no person is not found, whatever is asked of it."""
    say = {"data": "hello", "headers": {"Content-Type": "text/plain"}}

    assert 404 == (await api.get(f"{api.site}/user/nobody")).status
    assert 404 == (await api.call("POST", f"{api.site}/user/nobody/message", **say)).status
