"""Generated sites: the same each time, as large as asked, with everything a real site may hold."""

import hashlib
import itertools
import json
import tracemalloc
from collections import Counter
from statistics import fmean
from uuid import UUID

import pytest

from stride_async.server._documents import problems, to_plain_text
from stride_async.server._generate import Plan, generate
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
    """The site of the usual plan."""
    return list(generate(Plan(media_max=20_000)))


def of(kind, records):
    return [record for record in records if isinstance(record, kind)]


def by_conversation(records):
    spoken = itertools.groupby(of(Message, records), lambda message: message.conversation_id)
    return {conversation_id: list(messages) for conversation_id, messages in spoken}


def nodes(node):
    yield node
    for name in ("content", "marks"):
        for child in node.get(name) or ():
            yield from nodes(child)


def test_plan_is_read_from_text():
    """What is left out is as usual."""
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
        ("users=0", "'users' must be >= 1: 0"),
    ],
)
def test_a_plan_that_cannot_be_read_is_refused(text, problem):
    """The error repeats the part that is wrong and says what would be right."""
    with pytest.raises(ValueError) as caught:
        Plan.parse(text)

    assert problem == str(caught.value)


def test_the_same_plan_gives_the_same_site(demo):
    """Ids, times, texts and bytes of files agree; another seed changes them."""
    again = list(generate(Plan(media_max=20_000)))

    assert [_told(record) for record in demo] == [_told(record) for record in again]
    assert of(Message, demo)[0] != of(Message, generate(Plan(seed=8, media_max=20_000)))[0]


def _told(record):
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
def test_the_total_is_conversations_times_messages(text):
    """However unevenly they fall, no message is lost to rounding."""
    plan = Plan.parse(text + ",media=0")

    records = list(generate(plan))

    assert plan.conversations == len(of(Conversation, records))
    assert plan.conversations * plan.messages == len(of(Message, records))


def test_an_even_plan_gives_each_conversation_the_same():
    """No conversation is empty and none is longer."""
    records = list(generate(Plan(conversations=12, messages=9, even=True, media=0)))

    assert [9] * 12 == [len(messages) for messages in by_conversation(records).values()]


def test_records_come_in_an_order_a_store_can_take(demo):
    """The site, the users, then each conversation before what belongs to it, messages oldest first."""
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


def test_conversations_are_of_every_sort(demo):
    """Archived, private, direct and empty ones are there; JSON and record say the same."""
    conversations = of(Conversation, demo)
    spoken = by_conversation(demo)
    people = {user.id for user in of(User, demo)}

    assert {True, False} == {conversation.archived for conversation in conversations}
    assert {"public", "private"} == {conversation.privacy for conversation in conversations}
    assert {"group", "direct"} == {conversation.type for conversation in conversations}
    assert {conversation.id for conversation in conversations} > set(spoken)
    directs = [conversation for conversation in conversations if conversation.type == "direct"]
    assert len(directs) == len({conversation.roster for conversation in directs})
    for conversation in conversations:
        about = json.loads(conversation.json)
        assert (conversation.id, conversation.name, conversation.type) == (about["id"], about["name"], about["type"])
        assert (conversation.privacy, conversation.archived) == (about["privacy"], about["isArchived"])
        assert people >= set(conversation.roster)
        assert {message.sender_id for message in spoken.get(conversation.id, ())} <= set(conversation.roster)


def test_users_have_ids_of_both_forms(demo):
    """Old accounts have a colon, newer ones 24 hexadecimal digits (protocol 1.2); nobody is there twice."""
    users = of(User, demo)

    assert {True, False} == {user.id.startswith("557058:") for user in users}
    assert {24} == {len(user.id) for user in users if ":" not in user.id}
    assert 40 == len({user.id for user in users}) == len({json.loads(user.json)["displayName"] for user in users})


def test_message_json_agrees_with_its_record(demo):
    """Id, sender and time stand in both; `text` is what the document says; keys are those of the service."""
    for message in of(Message, demo):
        about = json.loads(message.json)

        assert ["id", "body", "text", "sender", "ts"] == list(about)
        assert (message.id, message.sender_id) == (about["id"], about["sender"]["id"])
        assert (message.ts, about["ts"]) == (parse_ts(about["ts"]), format_ts(message.ts))
        assert to_plain_text(about["body"]) == about["text"]


def test_message_ids_are_time_based_and_unique(demo):
    """Each is a version 1 UUID of the message's own time, to its tick of 100 ns."""
    messages = of(Message, demo)

    assert len(messages) == len({message.id for message in messages})
    for message in messages:
        uuid = UUID(message.id)
        assert (1, message.id) == (uuid.version, str(uuid))
        assert message.ts // 100 == uuid.time - 0x01B21DD213814000


def test_times_have_all_the_oddities(demo):
    """0 to 9 digits, runs and a burst of one time, silences of a month and more."""
    texts = [json.loads(message.json)["ts"] for message in of(Message, demo)]
    longest = max(by_conversation(demo).values(), key=len)

    assert set(range(10)) == {len(text[19:-1].removeprefix(".")) for text in texts}
    assert len(longest) // 4 <= Counter(message.ts for message in longest).most_common(1)[0][1]
    runs = [len(list(run)) for _, run in itertools.groupby(longest, lambda message: message.ts)]
    assert len([run for run in runs if 2 <= run <= 6]) > 5
    gaps = [after.ts - before.ts for before, after in itertools.pairwise(longest)]
    assert 2 <= len([gap for gap in gaps if gap > 29 * DAY])


def test_documents_hold_every_kind_of_node_and_mark(demo):
    """Each is on show somewhere, and bodies are clean but for what the service itself adds to media."""
    kinds = set()
    oddities = Counter()
    for number, message in enumerate(of(Message, demo)):
        body = json.loads(message.json)["body"]
        kinds |= {node["type"] for node in nodes(body)}
        if number % 3 == 0 or "occurrenceKey" in message.json:
            oddities.update(problem.partition(": ")[2] for problem in problems(body))

    assert KINDS == kinds - {"doc"}
    assert {"'attrs' is not part of it", "'content' is not part of it"} == set(oddities)


def test_files_are_shown_in_the_conversation_they_are_of(demo):
    """Each file is referenced by a message beside it, some as sent and some as delivered (protocol 6.3)."""
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


def test_files_are_of_every_size_and_read_the_same_each_time(demo):
    """One empty, one of a byte, one as large as may be; size and digest are those of the bytes."""
    files = of(Media, demo)

    assert {0, 1, 20_000} <= {file.size for file in files}
    for file in files:
        with file.open() as body:
            content = body.read()
        assert (file.size, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_a_part_of_a_file_is_read_without_the_rest():
    """What is read after seeking is what stands there in the whole."""
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
def test_messages_have_the_size_asked_for_on_average(wanted):
    """The mean of their JSON in UTF-8 is within a tenth."""
    sizes = [
        len(message.json.encode()) for message in of(Message, generate(Plan(bytes=wanted, media=0, conversations=8)))
    ]

    assert wanted == pytest.approx(fmean(sizes), rel=0.1)


def test_memory_does_not_grow_with_the_messages():
    """Three thousand more messages leave no trace."""
    records = generate(Plan(conversations=1, messages=20_000, media=0))
    for _ in itertools.islice(records, 1_000):
        pass
    tracemalloc.start()
    for _ in itertools.islice(records, 3_000):
        pass
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert 50_000 > grown


def test_a_conversation_beyond_a_clock_sequence_keeps_its_ids_apart():
    """Thousands of messages of one time have as many ids, in rising order."""
    messages = of(Message, generate(Plan(conversations=1, messages=13_000, media=0)))
    (_, burst) = Counter(message.ts for message in messages).most_common(1)[0]

    assert 3000 <= burst
    assert 13_000 == len({message.id for message in messages})
