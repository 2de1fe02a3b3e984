"""Seeds: a site read from JSON lines, and its times."""

import hashlib
import json
import os
import pickle
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stride_async.server import LocalServer, SeedError
from stride_async.server._records import Conversation, Media, Message, Site, User
from stride_async.server._seed import read_seed
from stride_async.server._times import format_ts, parse_ts
from tests.conftest import client_of

MEETUP = Path(__file__).parents[2].parent / "shared/data/meetup"
YEAR_1 = parse_ts("0001-01-01T00:00:00Z")
YEAR_9999 = parse_ts("9999-12-31T23:59:59.999999999Z")

CLOUD = "911f7ab6-0583-4083-bed7-bad889ec4c92"
ROOM = "a5e28121-89e5-4e0c-8176-0011f48673c0"


def site(**fields):
    return {"type": "site", "cloudId": CLOUD, "name": "Here"} | fields


def user(**fields):
    return {
        "type": "user",
        "user": {"id": "5a26734395dac237f1299f01", "userName": "ann@example.invalid", "displayName": "Ann"} | fields,
    }


def conversation(roster=("5a26734395dac237f1299f01",), **fields):
    about = {
        "cloudId": CLOUD,
        "id": ROOM,
        "name": "general",
        "topic": "",
        "type": "group",
        "created": "2018-02-27T08:54:23.197Z",
        "modified": "2018-02-27T08:54:23.197Z",
        "privacy": "public",
        "isArchived": False,
    }
    return {"type": "conversation", "conversation": about | fields, "roster": list(roster)}


def message(conversation_id=ROOM, **fields):
    about = {
        "ts": "2018-02-27T09:00:00.000000001Z",
        "id": "6ed6b2a3-167f-11e8-af18-02420aff0003",
        "body": {"version": 1, "type": "doc", "content": []},
        "text": "",
        "sender": {"id": "5a26734395dac237f1299f01"},
    }
    return {"type": "message", "conversationId": conversation_id, "message": about | fields}


def media(**fields):
    return {
        "type": "media",
        "conversationId": ROOM,
        "id": "90054813-d63a-496c-8ab9-ec8ccba574ef",
        "name": "a.bin",
        "mimeType": "application/octet-stream",
        "size": 3,
        "sha256": hashlib.sha256(b"abc").hexdigest(),
        "path": "media/a",
    } | fields


@pytest.fixture
def seed(tmp_path):
    """A function that writes lines (objects or text) to a seed, next to which there is a file of three bytes."""
    (tmp_path / "site" / "media").mkdir(parents=True)
    (tmp_path / "site" / "media" / "a").write_bytes(b"abc")
    (tmp_path / "outside").write_bytes(b"abc")
    path = tmp_path / "site" / "site.jsonl"

    def write(*lines):
        path.write_text(
            "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines), "utf-8"
        )
        return path

    return write


def test_each_line_of_a_seed_becomes_a_record(seed):
    """Records have the order of the lines; empty lines are skipped."""
    path = seed(site(), "", user(), conversation(), message(), " ", media())

    records = list(read_seed(path))

    assert [Site, User, Conversation, Message, Media] == [type(record) for record in records]
    assert "ann@example.invalid" == records[1].email
    assert ("5a26734395dac237f1299f01",) == records[2].roster
    assert parse_ts("2018-02-27T09:00:00.000000001Z") == records[3].ts
    with records[4].open() as body:
        assert b"abc" == body.read()


def test_the_json_of_a_message_is_kept(seed):
    """Every character of it is kept, spaces included."""
    line = message(body={"type": "doc", "content": None, "x": [1.50, {"é": "\ud83d\ude00"}]}, later=None)

    text = json.dumps(line["message"]).replace(": ", " : ")
    line = f'{{ "message" : {text} , "type":"message", "conversationId":"{ROOM}" }}'

    *_, record = read_seed(seed(site(), conversation(), line))

    assert text == record.json


def test_half_a_surrogate_pair_stays_escaped(seed):
    """UTF-8 cannot represent it, and the database stores UTF-8."""
    *_, record = read_seed(seed(site(), conversation(), message(text="\ud83d")))

    assert b'"\\ud83d"' in record.json.encode()


@pytest.mark.parametrize(
    ("lines", "number", "problem"),
    [
        ([], 1, "expected the site, found the end of the file"),
        ([user()], 1, "expected exactly one site, on the first line, found a user"),
        ([site(), site()], 2, "expected exactly one site, on the first line, found a site"),
        ([site(), '{"type":"user"'], 2, "expected a JSON object in UTF-8, found something else: "),
        ([site(), "[" * 100_000], 2, "expected a JSON object in UTF-8, found something else: "),
        ([site(), "[1]"], 2, "expected a JSON object, found [1]"),
        (
            [site(), {"type": "room"}],
            2,
            "expected site or user or conversation or message or media as type, found 'room'",
        ),
        (
            [site(), {"type": ["site"]}],
            2,
            "expected site or user or conversation or message or media as type, found ['site']",
        ),
        ([site(cloudId="")], 1, "expected a non-empty string of printable characters as cloudId, found ''"),
        ([site(), user(userName=None)], 2, "expected a string as user.userName, found None"),
        ([site(), user(), user()], 3, "expected a unique user.id, found 5a26734395dac237f1299f01 again"),
        ([site(), {"type": "conversation"}], 2, "expected an object as conversation, found None"),
        ([site(), conversation(cloudId="x")], 2, f"expected the site's '{CLOUD}' as conversation.cloudId, found 'x'"),
        ([site(), conversation(type="team")], 2, "expected group or direct as conversation.type, found 'team'"),
        ([site(), conversation(isArchived=1)], 2, "expected true or false as conversation.isArchived, found 1"),
        ([site(), conversation(created="now")], 2, "expected an RFC 3339 time as conversation.created, found 'now'"),
        ([site(), conversation(roster=["u", "u"])], 2, "expected each user only once in roster, found 'u'"),
        ([site(), conversation(roster=[3])], 2, "expected a list of user ids as roster, found [3]"),
        ([site(), conversation(), conversation()], 3, f"expected a unique conversation.id, found {ROOM} again"),
        ([site(), message()], 2, f"expected the id of an earlier conversation as conversationId, found '{ROOM}'"),
        (
            [site(), conversation(), "", message(ts="1.1.2018")],
            4,
            "expected an RFC 3339 time as message.ts, found '1.1.2018'",
        ),
        (
            [site(), conversation(), message(ts="2300-01-01T00:00:00Z")],
            3,
            "expected a time between 1678 and 2261 as message.ts, found '2300-01-01T00:00:00Z'",
        ),
        ([site(), conversation(), message(sender={})], 3, "expected a string as message.sender.id, found None"),
        (
            [site(), conversation(), message(body={"type": "page"})],
            3,
            "expected doc as message.body.type, found 'page'",
        ),
        (
            [site(), conversation(), message(), message()],
            4,
            "expected a unique message.id, found 6ed6b2a3-167f-11e8-af18-02420aff0003 again",
        ),
        (
            [site(), json.dumps(user(active=1)).replace('"active": 1', '"active": 1e999')],
            2,
            "expected numbers within the range of a float, found a larger one",
        ),
        (
            [site(), conversation(), json.dumps(message()).replace('"version": 1', '"version": NaN')],
            3,
            "expected a JSON object in UTF-8, found something else: NaN is not JSON",
        ),
        ([site(), conversation(), media(size=4)], 3, "expected a file of 4 bytes at 'media/a', found 3 bytes"),
        ([site(), conversation(), media(size=True)], 3, "expected a number of bytes as size, found True"),
        ([site(), conversation(), media(path="media/b")], 3, "expected a path to a file, found 'media/b'"),
        (
            [site(), conversation(), media(path="../outside")],
            3,
            "expected a path within the seed's folder, found '../outside'",
        ),
        (
            [site(), conversation(), media(path="/etc/passwd")],
            3,
            "expected a path within the seed's folder, found '/etc/passwd'",
        ),
        ([site(), conversation(), media(path="a" * 9999)], 3, "expected a path, found 'aaa"),
        (
            [site(), conversation(), media(sha256="00")],
            3,
            "expected 64 lowercase hexadecimal digits as sha256, found '00'",
        ),
        (
            [site(), conversation(), media(), media()],
            4,
            "expected a unique id, found 90054813-d63a-496c-8ab9-ec8ccba574ef again",
        ),
    ],
)
def test_an_invalid_line_is_rejected_with_its_location(seed, lines, number, problem):
    """The error has the file, the line, what was expected and what was found."""
    path = seed(*lines)

    with pytest.raises(SeedError) as caught:
        list(read_seed(path))

    assert str(caught.value).startswith(f"{path}, line {number}: {problem}")


def test_a_link_out_of_the_folder_is_rejected(seed, tmp_path):
    """The folder that counts is the one of the target."""
    (tmp_path / "site" / "link").symlink_to(tmp_path / "outside")

    with pytest.raises(SeedError, match="within the seed's folder"):
        list(read_seed(seed(site(), conversation(), media(path="link"))))


def test_a_line_that_is_not_utf8_is_rejected_with_its_location(seed):
    """It is an invalid line like any other."""
    path = seed(site())
    path.write_bytes(path.read_bytes() + b'{"type":"user","user":"\xff"}\n')

    with pytest.raises(SeedError, match="line 2: expected a JSON object in UTF-8"):
        list(read_seed(path))


@pytest.mark.parametrize(
    "line",
    [
        '{"type" "site"}',
        '{"type":"site",}',
        '{"type":"site" "x":1}',
        '{"type":"site"} x',
        '{"type":"site"',
        "{1:2}",
        "[1]",
    ],
)
def test_a_line_that_is_not_an_object_is_rejected(seed, line):
    """That holds for anything that is not JSON, too."""
    with pytest.raises(SeedError, match=r"line 1: expected a JSON object"):
        list(read_seed(seed(line)))


async def test_a_seed_can_come_as_lines_and_leave_bodies_where_they_are(seed, tmp_path):
    """The messages are served byte for byte, and a body is the file itself."""
    text = json.dumps(message()["message"], indent=None, separators=(", ", ": "))
    lines = [json.dumps(line).encode() for line in (site(), user(), conversation())]
    lines += [f'{{"type":"message","conversationId":"{ROOM}","message":{text}}}'.encode(), json.dumps(media()).encode()]
    seed()  # makes the file of the medium

    server = LocalServer(seed=iter(lines), media_root=tmp_path / "site", rate_limit=None)
    async with server, client_of(server) as client:
        [received] = [found async for found in client.conversation(ROOM).history()]
        async with client.conversation(ROOM).open_media(media()["id"]) as body:
            content = b"".join([chunk async for chunk in body.chunks(100)])

    assert text.encode() == received.raw
    assert b"abc" == content


async def test_half_a_surrogate_pair_in_a_name_and_bytes_in_a_path_do_no_harm(tmp_path):
    """Names can be searched for with U+FFFD in their place, and a body is found."""
    root = tmp_path / os.fsdecode(b"\xff")
    (root / "media").mkdir(parents=True)
    (root / "media/a").write_bytes(b"abc")
    half = "cut \ud83d"
    lines = [site() | {"name": half}, user() | {}, conversation() | {}, media(name=half, mimeType=half)]
    lines[1]["user"] |= {"userName": half, "displayName": half}
    lines[2]["conversation"] |= {"name": half, "topic": half}

    server = LocalServer(seed=(json.dumps(line).encode() for line in lines), media_root=root, rate_limit=None)
    async with server, client_of(server) as client:
        rooms = await client.conversations(query="cut \ufffd").collect(limit=None)
        async with client.conversation(ROOM).open_media(media()["id"]) as body:
            content = b"".join([chunk async for chunk in body.chunks(100)])

    assert [ROOM] == [room.id for room in rooms]
    assert (b"abc", "cut \ufffd") == (content, body.name)


def test_a_member_with_half_a_surrogate_pair_is_rejected(seed):
    """No call could name that person."""
    with pytest.raises(SeedError, match="list of user ids"):
        list(read_seed(seed(site(), conversation() | {"roster": ["\ud83d"]})))


def test_a_seed_error_can_be_pickled():
    """Its message is the same afterwards."""
    error = SeedError(Path("site.jsonl"), 7, "expected a, found b")

    assert str(error) == str(pickle.loads(pickle.dumps(error)))


@pytest.mark.skipif(not MEETUP.is_dir(), reason="the meet-up's data is not available")
def test_a_real_site_is_read_completely():
    """Counts, rosters and digests agree with those computed elsewhere."""
    expected = json.loads((MEETUP / "expected.json").read_text("utf-8"))

    counts: Counter[str] = Counter()
    rosters: dict[str, int] = {}
    messages: dict[str, list[Message]] = {}
    for record in read_seed(MEETUP / "site.jsonl"):
        counts[type(record).__name__] += 1
        if isinstance(record, Conversation):
            rosters[record.id] = len(record.roster)
        elif isinstance(record, Message):
            messages.setdefault(record.conversation_id, []).append(record)
        elif isinstance(record, Media):
            with record.open() as body:
                assert record.sha256 == hashlib.file_digest(body, "sha256").hexdigest()

    assert expected["messages"] == counts["Message"]
    assert expected["media"] == counts["Media"]
    assert expected["users"] == counts["User"]
    rooms = expected["by_conversation"]
    assert {room: rooms[room]["roster"] for room in rooms} == rosters
    assert {room: rooms[room]["sha256"] for room in rooms if rooms[room]["messages"]} == {
        room: _digest(found) for room, found in messages.items()
    }


def _digest(messages):
    digest = hashlib.sha256()
    for message in sorted(messages, key=lambda message: (message.ts, message.id)):
        line = json.dumps(json.loads(message.json), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


@given(st.integers(YEAR_1, YEAR_9999))
def test_a_time_is_the_same_after_formatting_and_parsing(ns):
    """No nanosecond is lost."""
    assert ns == parse_ts(format_ts(ns))


@given(
    st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31)),
    st.integers(-1439, 1439),
)
def test_any_utc_offset_is_accepted(moment, minutes):
    """The result agrees with the standard library."""
    moment = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))

    microseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert microseconds * 1000 == parse_ts(moment.isoformat())


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (1_508_883_390_243_693_008, "2017-10-24T22:16:30.243693008Z"),
        (1_508_883_390_240_000_000, "2017-10-24T22:16:30.24Z"),
    ],
)
def test_times_are_formatted_as_the_service_does(ns, text):
    """They are in UTC, without trailing zeros in the fraction (protocol 1.3)."""
    assert text == format_ts(ns)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2018-02-27",
        "2018-02-27T08:54:23",
        "2018-02-27 08:54:23Z",
        "2018-02-27T08:54:23.Z",
        "2018-02-27T08:54:23.1234567890Z",
        "2018-02-30T08:54:23Z",
        "2018-02-27T24:00:00Z",
        "2018-02-27T08:54:60Z",
        "2018-02-27T08:54:23+24:00",
        "2018-02-27T08:54:23+0100",
        "0000-01-01T00:00:00Z",
        "٢٠١٨-02-27T08:54:23Z",
        "2018-02-27T08:54:23Z\n",
    ],
)
def test_an_invalid_time_is_rejected(text):
    """The error quotes it."""
    with pytest.raises(ValueError, match="time") as caught:
        parse_ts(text)

    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("ns", [YEAR_1 - 1, YEAR_9999 + 1])
def test_a_time_outside_the_calendar_is_rejected(ns):
    """There is no year 0 and no year 10000."""
    with pytest.raises(ValueError, match="years 1 to 9999"):
        format_ts(ns)
