"""Generated sites: repeatable, of the requested size, with everything that a real site may contain."""

import hashlib
import itertools
import json
import tracemalloc
from collections import Counter
from statistics import fmean
from uuid import UUID

import pytest

from stride_async.server import Plan
from stride_async.server._documents import problems, to_plain_text
from stride_async.server._generate import generate
from stride_async.server._records import Conversation, Media, Message, Site, User
from stride_async.server._times import format_ts, parse_ts

KINDS = {
    "paragraph", "heading", "bulletList", "orderedList", "listItem", "panel", "codeBlock", "blockquote", "rule",
    "decisionList", "decisionItem", "taskList", "taskItem", "mediaGroup", "mediaSingle", "media", "table", "tableRow",
    "tableCell", "tableHeader", "applicationCard", "extension", "bodiedExtension", "text", "hardBreak", "mention",
    "emoji", "inlineExtension", "date", "placeholder", "strong", "em", "strike", "underline", "code", "subsup",
    "textColor", "link", "action",
}  # fmt: skip
DAY = 86_400 * 10**9


@pytest.fixture(scope="module")
def demo():
    """The records of the default plan with small files."""
    return list(generate(Plan(media_max=20_000)))


def of(kind, records):
    return [record for record in records if isinstance(record, kind)]


def by_conversation(records):
    groups = itertools.groupby(of(Message, records), lambda message: message.conversation_id)
    return {conversation_id: list(messages) for conversation_id, messages in groups}


def nodes(node):
    yield node
    for name in ("content", "marks"):
        for child in node.get(name) or ():
            yield from nodes(child)


def test_a_plan_is_parsed_from_text():
    """Fields that the text does not name have their defaults."""
    assert Plan(conversations=1000, messages=10, seed=7, even=True) == Plan.parse(
        "conversations=1000, messages=10,even=true"
    )
    assert Plan() == Plan.parse("")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rooms=3", "'rooms=3': expected one of conversations, messages, users, media, media_max, seed, even, bytes"),
        ("conversations=many", "'conversations=many': expected a non-negative integer"),
        ("conversations=-1", "'conversations=-1': expected a non-negative integer"),
        ("conversations", "'conversations': expected a non-negative integer"),
        ("even=1", "'even=1': expected true or false"),
        ("seed=1,seed=2", "'seed=2': seed is given twice"),
        ("users=0", "users: expected a number from 1 to 100,000, found 0"),
        ("conversations=1000001", "conversations: expected a number from 0 to 1,000,000, found 1,000,001"),
        ("messages=999999999999", "messages: expected a number from 0 to 100,000,000, found 999,999,999,999"),
        ("users=999999999999", "users: expected a number from 1 to 100,000, found 999,999,999,999"),
        ("media=1000001", "media: expected a number from 0 to 1,000,000, found 1,000,001"),
        ("media_max=17179869185", "media_max: expected a number from 0 to 17,179,869,184, found 17,179,869,185"),
        ("bytes=65537", "bytes: expected a number from 470 to 65,536, found 65,537"),
        (
            "conversations=1000000,messages=101",
            "conversations and messages: expected at most 100,000,000 messages in total, found 101,000,000",
        ),
        ("seed=" + "9" * 19, "'seed=9999999999999…': expected a number of at most 18 digits"),
        ("seed=" + "9" * 5000, "'seed=9999999999999…': expected a number of at most 18 digits"),
    ],
    ids=lambda value: value[:30],
)
def test_an_invalid_plan_is_rejected(text, problem):
    """The error quotes the invalid part and says what is expected."""
    with pytest.raises(ValueError) as caught:
        Plan.parse(text)

    assert problem == str(caught.value)


def test_the_same_plan_generates_the_same_site(demo):
    """Ids, times, texts and bodies are equal; another seed changes them."""
    again = list(generate(Plan(media_max=20_000)))

    assert [_comparable(record) for record in demo] == [_comparable(record) for record in again]
    assert of(Message, demo)[0] != of(Message, generate(Plan(seed=8, media_max=20_000)))[0]


def _comparable(record):
    return (record.id, record.size, record.sha256) if isinstance(record, Media) else record


@pytest.mark.parametrize(
    "text",
    [
        "",
        "conversations=7,messages=33",
        "conversations=3,messages=1",
        "conversations=1,messages=500",
        "conversations=0",
    ],
)
def test_the_number_of_messages_is_conversations_times_messages(text):
    """No message is lost to rounding."""
    plan = Plan.parse(text + ",media=0")

    records = list(generate(plan))

    assert plan.conversations == len(of(Conversation, records))
    assert plan.conversations * plan.messages == len(of(Message, records))


def test_an_even_plan_gives_each_conversation_the_same_number_of_messages():
    """No conversation is empty."""
    records = list(generate(Plan(conversations=12, messages=9, even=True, media=0)))

    assert [9] * 12 == [len(messages) for messages in by_conversation(records).values()]


def test_records_come_before_the_records_that_refer_to_them(demo):
    """First the site, then the users, then each conversation with its files and messages, oldest first."""
    assert isinstance(demo[0], Site)
    assert [User] * 40 == [type(record) for record in demo[1:41]]
    current = None
    for record in demo[41:]:
        if isinstance(record, Conversation):
            current = record.id
        else:
            assert current == record.conversation_id
    for messages in by_conversation(demo).values():
        assert sorted(messages, key=lambda message: (message.ts, message.id)) == messages


def test_there_are_conversations_of_every_kind(demo):
    """Some are archived, private, direct or empty; the JSON agrees with the record."""
    conversations = of(Conversation, demo)
    messages = by_conversation(demo)
    people = {user.id for user in of(User, demo)}

    assert {True, False} == {conversation.archived for conversation in conversations}
    assert {"public", "private"} == {conversation.privacy for conversation in conversations}
    assert {"group", "direct"} == {conversation.type for conversation in conversations}
    assert {conversation.id for conversation in conversations} > set(messages)
    directs = [conversation for conversation in conversations if conversation.type == "direct"]
    assert len(directs) == len({conversation.roster for conversation in directs})
    for conversation in conversations:
        about = json.loads(conversation.json)
        assert (conversation.id, conversation.name, conversation.type) == (about["id"], about["name"], about["type"])
        assert (conversation.privacy, conversation.archived) == (about["privacy"], about["isArchived"])
        assert people >= set(conversation.roster)
        assert {message.sender_id for message in messages.get(conversation.id, ())} <= set(conversation.roster)


def test_users_have_ids_of_both_forms(demo):
    """Old accounts have a colon, newer ones 24 hexadecimal digits (protocol 1.2); ids and names are unique."""
    users = of(User, demo)

    assert {True, False} == {user.id.startswith("557058:") for user in users}
    assert {24} == {len(user.id) for user in users if ":" not in user.id}
    assert 40 == len({user.id for user in users}) == len({json.loads(user.json)["displayName"] for user in users})


def test_the_json_of_a_message_agrees_with_its_record(demo):
    """Id, sender and time are equal, `text` is the text of the document, and the keys are those of the service."""
    for message in of(Message, demo):
        about = json.loads(message.json)

        assert ["id", "body", "text", "sender", "ts"] == list(about)
        assert (message.id, message.sender_id) == (about["id"], about["sender"]["id"])
        assert (message.ts, about["ts"]) == (parse_ts(about["ts"]), format_ts(message.ts))
        assert to_plain_text(about["body"]) == about["text"]


def test_message_ids_are_time_based_and_unique(demo):
    """Each is a version 1 UUID of the time of its message, with a resolution of 100 ns."""
    messages = of(Message, demo)

    assert len(messages) == len({message.id for message in messages})
    for message in messages:
        uuid = UUID(message.id)
        assert (1, message.id) == (uuid.version, str(uuid))
        assert message.ts // 100 == uuid.time - 0x01B21DD213814000


def test_times_are_as_irregular_as_real_ones(demo):
    """They have 0 to 9 fraction digits, short runs and one burst of equal times, and pauses of a month and more."""
    texts = [json.loads(message.json)["ts"] for message in of(Message, demo)]
    longest = max(by_conversation(demo).values(), key=len)

    assert set(range(10)) == {len(text[19:-1].removeprefix(".")) for text in texts}
    assert len(longest) // 4 <= Counter(message.ts for message in longest).most_common(1)[0][1]
    runs = [len(list(run)) for _, run in itertools.groupby(longest, lambda message: message.ts)]
    assert len([run for run in runs if 2 <= run <= 6]) > 5
    gaps = [after.ts - before.ts for before, after in itertools.pairwise(longest)]
    assert 2 <= len([gap for gap in gaps if gap > 29 * DAY])


def test_documents_contain_every_kind_of_node_and_mark(demo):
    """The bodies are valid, except for what the service itself adds to media."""
    kinds = set()
    oddities = Counter()
    for number, message in enumerate(of(Message, demo)):
        body = json.loads(message.json)["body"]
        kinds |= {node["type"] for node in nodes(body)}
        if number % 3 == 0 or "occurrenceKey" in message.json:
            oddities.update(problem.partition(": ")[2] for problem in problems(body))

    assert KINDS == kinds - {"doc"}
    assert {"'attrs' is not part of it", "'content' is not part of it"} == set(oddities)


def test_each_file_is_shown_in_its_own_conversation(demo):
    """A message refers to each file, in the form of sending or of delivery (protocol 6.3)."""
    shown = Counter()
    for message in of(Message, demo):
        for node in nodes(json.loads(message.json)["body"]):
            if node["type"] == "media" and node["attrs"]["type"] == "file":
                assert message.conversation_id == node["attrs"]["collection"]
                key = node["attrs"].get("occurrenceKey")
                assert key in (None, f"urn:chat:message:{message.id}")
                shown[node["attrs"]["id"], key is None] += 1

    assert {file.id for file in of(Media, demo)} == {file_id for file_id, _ in shown}
    assert {True, False} == {clean for _, clean in shown}


def test_files_have_all_sizes_and_the_same_bytes_every_time(demo):
    """One is empty, one has a single byte, one the largest size; size and digest are those of the bytes."""
    files = of(Media, demo)

    assert {0, 1, 20_000} <= {file.size for file in files}
    for file in files:
        with file.open() as body:
            content = body.read()
        assert (file.size, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_a_part_of_a_file_can_be_read_alone():
    """The bytes after a seek are the same as in the complete file."""
    *_, file = of(Media, generate(Plan(conversations=1, messages=0, media=3, media_max=200_000)))
    with file.open() as body:
        whole = body.read()
        body.seek(65_000)
        part = body.read(70_000)
        body.seek(-5, 2)
        end = body.read()
        body.seek(300_000)
        beyond = body.read()

    assert (whole[65_000:135_000], whole[-5:], b"") == (part, end, beyond)


@pytest.mark.parametrize("wanted", [600, 900, 2000])
def test_messages_have_the_requested_size_on_average(wanted):
    """The average size of their JSON in UTF-8 is within a tenth."""
    sizes = [
        len(message.json.encode()) for message in of(Message, generate(Plan(bytes=wanted, media=0, conversations=8)))
    ]

    assert wanted == pytest.approx(fmean(sizes), rel=0.1)


def test_memory_does_not_grow_with_the_number_of_messages():
    """Another three thousand messages add less than 50 kB."""
    records = generate(Plan(conversations=1, messages=20_000, media=0))
    for _ in itertools.islice(records, 1_000):
        pass
    tracemalloc.start()
    for _ in itertools.islice(records, 3_000):
        pass
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert 50_000 > grown


def test_ids_stay_unique_when_a_conversation_exceeds_the_clock_sequence():
    """Thousands of messages with the same time have different ids."""
    messages = of(Message, generate(Plan(conversations=1, messages=13_000, media=0)))
    (_, burst) = Counter(message.ts for message in messages).most_common(1)[0]

    assert 3000 <= burst
    assert 13_000 == len({message.id for message in messages})
