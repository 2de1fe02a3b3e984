"""Test `stride list` and `stride history`."""

from __future__ import annotations

import json
import os

import click
import pytest

from stride_async.server import LocalServer
from tests.cli.conftest import Run, Started, on_terminal


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


async def test_list_conversations_prints_a_json_line_each(run: Run, server: LocalServer):
    """In a pipe, a conversation is a line with the service's field names."""
    server.add_conversation("general")
    server.add_conversation("attic", archived=True)

    result = await run("list", "conversations")

    assert (0, "") == (result.exit_code, result.stderr)
    (only,) = lines(result.stdout)
    assert ("general", "group", False) == (only["name"], only["type"], only["isArchived"])


async def test_list_conversations_passes_its_options_on(run: Run, server: LocalServer):
    """The service filters and sorts."""
    for name in ("b-room", "a-room"):
        server.add_conversation(name)
    server.add_conversation("room in the attic", archived=True)
    server.add_conversation("secret room", privacy="private")
    server.add_conversation("room mate", type="direct")

    result = await run(
        "list", "conversations", "--archived", "--no-private", "--no-direct", "--query", "room", "--sort", "desc"
    )

    assert ["room in the attic", "b-room", "a-room"] == [one["name"] for one in lines(result.stdout)]


async def test_a_query_without_a_match_is_exit_3(run: Run, server: LocalServer):
    """A script can tell an empty result from others."""
    server.add_conversation("general")

    result = await run("list", "conversations", "--query", "zzz")

    assert (3, "") == (result.exit_code, result.stdout)
    assert "'zzz'" in result.stderr


async def test_list_users_lists_every_member_once(run: Run, server: LocalServer):
    """Members of archived rooms count, and members of several rooms are not repeated."""
    ann, ben, eve = (server.add_user(name) for name in ("Ann", "Ben", "Eve"))
    server.add_user("A guest")
    server.add_conversation("general", roster=[ann, ben])
    server.add_conversation("attic", roster=[ben, eve], archived=True)

    result = await run("list", "users")

    assert 0 == result.exit_code
    people = {str(user["displayName"]): user["userName"] for user in lines(result.stdout)}
    assert {"Ann": "ann@example.invalid", "Ben": "ben@example.invalid", "Eve": "eve@example.invalid"} == people


async def test_a_roster_that_cannot_be_read_is_named(run: Run, server: LocalServer):
    """The members of the other rosters are listed, and the exit code is 5."""
    ann, ben = server.add_user("Ann"), server.add_user("Ben")
    server.add_conversation("general", roster=[ann])
    closed = server.add_conversation("closed", roster=[ben])
    server.faults.add("GET", f"*/conversation/{closed}/roster", status=403)

    result = await run("list", "users")

    assert 5 == result.exit_code
    assert ["Ann"] == [user["displayName"] for user in lines(result.stdout)]
    assert f"closed ({closed})" in result.stderr


async def test_list_roster_looks_up_names(run: Run, server: LocalServer):
    """A member without a profile has only an id."""
    ann = server.add_user("Ann")
    server.add_conversation("general", roster=[ann, "557058:gone"])

    result = await run("list", "roster", "general")

    assert [
        {"id": ann, "displayName": "Ann", "userName": "ann@example.invalid"},
        {"id": "557058:gone", "displayName": "", "userName": ""},
    ] == lines(result.stdout)


async def test_history_prints_the_services_own_bytes(run: Run, server: LocalServer):
    """Fields that the client does not know are kept, and numbers keep their spelling."""
    room = server.add_conversation("general")
    server.fill(room, 3)
    raw = b'{"id":"m","sender":{"id":"x"},"ts":"2018-01-01T00:00:00.000000001Z","text":"t",\n "body":null,"new":1.50}'
    server.faults.add("GET", "*/message", body=b'{"messages":[' + raw + b"]}", times=1)

    result = await run("history", room, "--limit", "1")

    assert raw.replace(b"\n", b" ") + b"\n" == result.stdout_bytes


async def test_history_reads_between_two_bounds(run: Run, server: LocalServer):
    """A bound is a message id or a time, and both are exclusive."""
    room = server.add_conversation("general")
    ids = server.fill(room, 100, ts="2018-06-01T08:00:00Z")

    result = await run(
        "history", "general", "--oldest-first", "--after", ids[9], "--before", "2018-06-01T10:01:30+02:00"
    )

    assert ids[10:90] == [message["id"] for message in lines(result.stdout)]


async def test_a_bound_may_be_a_date_with_a_time_zone(run: Run, server: LocalServer):
    """A day in Berlin begins two hours before the day in UTC."""
    room = server.add_conversation("general")
    for ts in ("2018-06-01T21:59:00Z", "2018-06-01T22:01:00Z"):
        server.add_message(room, ts, ts=ts)

    result = await run("history", room, "--after", "2018-06-02", "--tz", "Europe/Berlin")

    assert ["2018-06-01T22:01:00Z"] == [message["text"] for message in lines(result.stdout)]


@pytest.mark.parametrize("option", ["--after", "--before"])
@pytest.mark.parametrize(
    "bound",
    """
    yesterday|gestern|2 days ago|last week|30d|-1h|8:30|06/01/2018|1.6.18|2018-06||2018|2018-6-1|2018/06/01|2018-152
    |2018-W60|1-6-2018|1-Jun-18|1527811200|@1527811200.5
    """.strip()
    .replace("\n    ", "")
    .split("|"),
)
async def test_a_bound_that_is_neither_an_id_nor_a_time_is_a_usage_error(
    run: Run, server: LocalServer, option: str, bound: str
):
    """The service is not asked for a message with such an id."""
    result = await run("history", server.add_conversation("general"), f"{option}={bound}")

    assert (2, "") == (result.exit_code, result.stdout)
    assert f"Invalid value for '{option}': {bound!r} is " in result.stderr
    assert 0 == len(server.calls)


async def test_a_conversation_can_be_named_by_its_url(run: Run, server: LocalServer):
    """The URL may come from a browser or from a mail."""
    room = server.add_conversation("general")
    server.fill(room, 1)
    app = f"https://app.stride.com/{server.cloud_id}/chat/{room}/info"
    link = f"https://applink.atlassian.com/stride/{server.cloud_id}/chat/{room}?from=mail"

    found = [(await run("history", address)).stdout for address in (app, link)]

    assert [1, 1] == [len(lines(text)) for text in found]


async def test_a_misspelled_name_suggests_similar_ones(run: Run, server: LocalServer):
    """Names of archived rooms count too; the exit code is 3."""
    server.add_conversation("general")
    server.add_conversation("General affairs", archived=True)
    server.add_conversation("zoo")

    result = await run("history", "genral")

    assert 3 == result.exit_code
    assert "No conversation is named 'genral' (3 available). Did you mean 'general'" in result.stderr
    assert "zoo" not in result.stderr


async def test_an_ambiguous_name_is_refused_with_the_ids(run: Run, server: LocalServer):
    """Nothing is sent to either room."""
    rooms = [server.add_conversation("general") for _ in range(2)]

    result = await run("send", "general", "hi")

    assert 2 == result.exit_code
    assert all(room in result.stderr for room in rooms)
    assert [] == server.calls.matching("POST", "*/message")


async def test_a_terminal_shows_a_table(start: Started, server: LocalServer, environment: dict[str, str]):
    """There are no colors if NO_COLOR is set."""
    server.add_conversation("general", privacy="private")
    variables = dict(os.environ) | environment | {"NO_COLOR": "1", "COLUMNS": "100", "TERM": "xterm"}

    code, shown = await on_terminal(start, "list", "conversations", env=variables)

    assert 0 == code
    assert ["private", "general"] == [word for word in shown.splitlines()[-2].split() if word in ("private", "general")]
    assert "\x1b[3" not in shown


async def test_a_table_breaks_no_words(start: Started, server: LocalServer, environment: dict[str, str]):
    """A row that does not fit becomes a block of lines."""
    ann = server.add_user("Ann", id="557058:5878707f-ef97-4b6a-ad77-f526fd6f22c4", email="ann.adler@mail.example.com")
    server.add_conversation("general", roster=[ann])
    variables = dict(os.environ) | environment | {"NO_COLOR": "1", "COLUMNS": "80", "TERM": "xterm"}

    code, shown = await on_terminal(start, "list", "roster", "general", env=variables)

    assert 0 == code
    assert [f"ID     {ann}", "NAME   Ann", "EMAIL  ann.adler@mail.example.com"] == click.unstyle(shown).splitlines()[:3]


@pytest.mark.parametrize(
    ("args", "lost"), [(("history", "general"), "as plain as day"), (("list", "conversations"), "general")]
)
async def test_a_narrow_terminal_shows_everything(
    start: Started, server: LocalServer, environment: dict[str, str], args: tuple[str, ...], lost: str
):
    """What does not fit next to the rest goes below it."""
    server.add_message(server.add_conversation("general"), "as plain as day")
    variables = dict(os.environ) | environment | {"NO_COLOR": "1", "COLUMNS": "40", "TERM": "xterm"}

    code, shown = await on_terminal(start, *args, env=variables)

    assert 0 == code
    assert lost in shown


async def test_a_message_cannot_control_the_terminal(start: Started, server: LocalServer):
    """Its control characters are replaced, and its brackets are not markup."""
    ann = server.add_user("Ann [red]")
    room = server.add_conversation("general", roster=[ann])
    server.add_message(room, "clear \x1b[2J [bold]it", sender_id=ann, ts="2018-06-01T08:00:00Z")

    _, shown = await on_terminal(start, "history", "general")

    assert "\x1b[2J" not in shown
    assert "clear \N{REPLACEMENT CHARACTER}[2J [bold]it" in shown
    assert "2018-06-01 08:00:00Z" in shown
    assert "Ann [red]" in shown


async def test_a_missing_secret_is_prompted_for(start: Started, server: LocalServer, environment: dict[str, str]):
    """What is typed does not appear on the terminal."""
    server.add_conversation("general")
    variables = dict(os.environ) | environment
    del variables["STRIDE_CLIENT_SECRET"]

    code, shown = await on_terminal(
        start,
        *("list", "conversations", "--json"),
        asked=b"Client secret: ",  # with the space, which is written when the terminal no longer discards input
        typed=server.client_secret.encode() + b"\n",
        env=variables,
    )

    assert 0 == code
    assert server.client_secret not in shown
    assert '"name":"general"' in shown
