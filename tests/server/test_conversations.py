from __future__ import annotations

import pytest

from stride_async.server import Choices


async def listed(api, **query):
    """Return the names in the list, following cursors to its end, and the sizes of the pages."""
    names, sizes, cursor = [], [], None
    while cursor != "":
        reply = await api.get(api.site, params=query | ({"cursor": cursor} if cursor else {}))
        assert 200 == reply.status
        names += [found["name"] for found in reply.json["values"]]
        sizes.append(reply.json["size"])
        cursor = reply.json["cursor"]
    return names, sizes


async def test_the_list_continues_by_cursor_until_the_cursor_is_empty(api, server):
    """`limit` is the size of a page, and the last page has an empty cursor."""
    for number in range(7):
        server.add_conversation(f"room {number}")

    names, sizes = await listed(api, limit=3)

    assert [f"room {number}" for number in range(7)] == names
    assert [3, 3, 1] == sizes


async def test_a_cursor_stays_valid_when_the_list_changes(api, server):
    """A conversation that is added before the cursor neither repeats nor hides the ones after it."""
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
async def test_the_list_can_be_sorted_searched_and_filtered(api, server, query, expected):
    """It is ordered by name without regard to case, and has archived conversations only on request."""
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
async def test_an_invalid_parameter_of_the_list_is_a_bad_request(api, query):
    """The message of the 400 starts with the name of the parameter."""
    reply = await api.get(api.site, params=query)

    assert 400 == reply.status
    assert reply.json["message"].startswith(next(iter(query)))


@pytest.mark.parametrize(("form", "expected"), [("null", {"cursor": None}), ("absent", {}), ("same", {"cursor": ""})])
async def test_the_last_page_can_have_a_null_absent_or_repeated_cursor(start, form, expected):
    """How the service ended its lists is unknown; `Choices.last_cursor` has the other forms."""
    api = await start(choices=Choices(last_cursor=form))

    reply = await api.get(api.site)

    assert expected == {name: value for name, value in reply.json.items() if name == "cursor"}


async def test_a_created_conversation_has_the_requested_fields(api, server):
    """Its object is complete and links to itself, and its roster lists the app."""
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
async def test_a_conversation_needs_a_name_and_a_known_privacy(api, content):
    """Anything else is a 400."""
    assert 400 == (await api.call("POST", api.site, json=content)).status


async def test_a_new_conversation_is_forbidden_until_the_install_delay_has_passed(start):
    """The service installed apps some time after they created a conversation."""
    api = await start(choices=Choices(install_delay=600.0))

    created = await api.call("POST", api.site, json={"name": "soon"})

    assert 201 == created.status
    assert 403 == (await api.get(api.room(created.json["id"]))).status


async def test_an_update_changes_only_the_given_fields(api, server, room):
    """It takes any of name, topic and privacy, ignores other fields, and returns the complete object."""
    before = (await api.get(api.room(room))).json

    after = (await api.call("PATCH", api.room(room), json={"topic": "news", "colour": "red"})).json

    assert before | {"topic": "news", "modified": after["modified"]} == after
    assert after == (await api.get(api.room(room))).json
    assert 400 == (await api.call("PATCH", api.room(room), json={"privacy": "x"})).status


async def test_an_archived_conversation_rejects_messages_until_it_is_unarchived(api, server, room):
    """Both calls accept an empty body or an empty object, and archiving twice is allowed."""
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


async def test_an_unknown_site_conversation_or_path_is_not_found(api, server, room):
    """The message names the unknown id."""
    site = await api.get(f"/site/elsewhere/conversation/{room}")
    conversation = await api.get(api.room("nowhere"))
    path = await api.get("/site/a/b/c")

    assert [404, 404, 404] == [site.status, conversation.status, path.status]
    assert "elsewhere" in site.json["message"]
    assert "nowhere" in conversation.json["message"]


async def test_the_error_for_an_unknown_method_names_the_allowed_methods(api, room):
    """The 405 has an `Allow` header."""
    reply = await api.call("DELETE", api.room(room))

    assert (405, "GET, PATCH") == (reply.status, reply.headers["Allow"])


async def test_the_roster_can_be_ordered_by_id(start):
    """The order of the service is unknown; `start` and `limit` apply to the order that is chosen."""
    api = await start(choices=Choices(roster_order="id"))
    people = sorted(api.server.add_user(name) for name in ("Ann", "Bob", "Cleo", "Dora"))
    roster = f"{api.room(api.server.add_conversation('general', roster=people[::-1]))}/roster"

    everyone, part = [(await api.get(roster, params=asked)).json for asked in ({}, {"start": 1, "limit": 2})]

    assert people == everyone["values"]
    assert people[1:3] == part["values"]


async def test_the_roster_is_complete_unless_start_and_limit_select_a_part(api, server):
    """It is in the order people joined; invalid values of `start` and `limit` are ignored."""
    people = [server.add_user(f"Person {number}") for number in range(5)]
    roster = f"{api.room(server.add_conversation('general', roster=people))}/roster"

    complete = (await api.get(roster)).json

    assert people == complete["values"]
    assert f"{server.url}/scim/site/{server.cloud_id}/Users/{people[0]}" == complete["_links"][people[0]]
    assert people[1:3] == (await api.get(roster, params={"start": 1, "limit": 2})).json["values"]
    assert people == (await api.get(roster, params={"start": "x", "limit": "-1"})).json["values"]
    assert [] == (await api.get(roster, params={"start": "9" * 4000})).json["values"]


async def test_a_roster_change_is_applied_completely_or_not_at_all(api, server, room):
    """An unknown person makes the call a 404; adding someone again keeps their place."""
    ann, bob = server.add_user("Ann"), server.add_user("Bob")
    roster = f"{api.room(room)}/roster"

    statuses = [
        (await api.call("PATCH", roster, json=content)).status
        for content in (
            {"add": [ann, "unknown"]},
            {"add": [bob, ann]},
            {"add": [bob]},
            {"remove": [ann, "x"]},
            {"add": 5},
        )
    ]

    assert [404, 204, 204, 204, 400] == statuses
    assert [bob] == (await api.get(roster)).json["values"]


@pytest.mark.parametrize("colon", [":", "%3A"])
async def test_a_direct_conversation_is_created_only_once(api, server, colon):
    """It has the name of the person, and the id in the path may be escaped or not."""
    person = server.add_user("Ann")
    path = f"{api.site}/user/{person.replace(':', colon)}"

    first, second = [(await api.get(path)).json for _ in range(2)]

    assert first == second
    assert ("Ann", "direct", "private") == (first["name"], first["type"], first["privacy"])


async def test_an_existing_direct_conversation_is_found_by_its_person(api, server):
    """A seeded or added direct conversation with one person is the app's with that person."""
    person = server.add_user("Ann")
    room = server.add_conversation("Ann", type="direct", roster=[person])

    assert room == (await api.get(f"{api.site}/user/{person}")).json["id"]


async def test_opening_a_direct_conversation_may_need_several_calls(start):
    """The service may time out at first, and expects the call to be repeated."""
    api = await start(choices=Choices(direct_open_failures=2))
    path = f"{api.site}/user/{api.server.add_user('Ann')}"

    replies = [await api.get(path) for _ in range(3)]

    assert [504, 504, 200] == [reply.status for reply in replies]
    assert "try again" in replies[0].json["message"]


async def test_a_direct_conversation_with_an_unknown_user_is_not_found(api):
    """The same holds for a direct message."""
    say = {"data": "hello", "headers": {"Content-Type": "text/plain"}}

    assert 404 == (await api.get(f"{api.site}/user/unknown")).status
    assert 404 == (await api.call("POST", f"{api.site}/user/unknown/message", **say)).status
