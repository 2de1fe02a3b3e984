"""Generate a site from a few numbers, the same one every time.

Records are produced one at a time, so memory does not grow with the number of messages. A message is assembled from
pieces of JSON text that are made in advance: generating a million of them takes less time than storing them.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any
from uuid import UUID

from attrs import Attribute, asdict, field, fields, frozen

from stride_async.server._arguments import option_of
from stride_async.server._documents import Node, to_plain_text
from stride_async.server._loading import Checkpoint
from stride_async.server._records import Conversation, Media, Message, Record, Site, User, compact_json
from stride_async.server._sample_text import block, paragraph, phrase, specimens, text
from stride_async.server._times import SECOND, UUID_EPOCH_TICKS, format_milliseconds, format_ts, parse_ts

_DAY = 86_400 * SECOND
_OPENING = parse_ts("2017-09-07T08:00:00Z")
_CHUNK_BYTES = 65_536
_POOL = 2048  # bodies made in advance; a message has a first paragraph of its own, followed by one of them
_ENVELOPE_BYTES = 470  # average size of a message that has only a first paragraph
_SPECIMEN_EVERY = 40  # messages; the others have paragraphs with mentions, links and lists
_LARGEST_ROSTER = 500
_LONGEST_BURST = 3000
_BURST_FROM = 400  # messages of the largest conversation
# Times between messages as parts of the average: 1024 values of an exponential distribution.
_STEPS = [-math.log(1 - (number + 0.5) / 1024) for number in range(1024)]
_MOST_MESSAGES = 100_000_000  # in total
_LONGEST_NUMBER = 18  # digits
# Part of the digest of a generated site. It is changed whenever the same plan gives another site than before.
_EDITION = 1


def _number(default: int, low: int, high: int) -> Any:
    """Return a field for a number within these limits."""

    def check(_: object, field: Attribute[int], value: object) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{field.name} must be of type int, not {type(value).__name__}: {value!r:.100}")
        if not low <= value <= high:
            raise ValueError(f"{field.name}: expected a number from {low:,} to {high:,}, found {value:,}")

    return field(default=default, validator=check)


@frozen
class Plan:
    """The size of a generated site.

    The same numbers produce the same site every time.

    Raises:
        ValueError: A number is too small or too large.
    """

    conversations: int = _number(20, 0, 1_000_000)
    """The number of conversations, at most 1,000,000."""
    messages: int = _number(250, 0, _MOST_MESSAGES)
    """The average number of messages in a conversation. There are at most 100,000,000 in total."""
    users: int = _number(40, 1, 100_000)
    """The number of people, 1 to 100,000."""
    media: int = _number(30, 0, 1_000_000)
    """The number of files in total, at most 1,000,000."""
    media_max: int = _number(5 * 1024 * 1024, 0, 16 * 1024**3)
    """The length of the longest file in bytes, at most 16 GiB."""
    seed: int = _number(7, 0, 10**_LONGEST_NUMBER - 1)
    """The seed of the random numbers, up to 18 digits."""
    even: bool = field(default=False, validator=option_of(bool))
    """Whether each conversation has the same number of messages, so that none is empty."""
    bytes: int = _number(900, _ENVELOPE_BYTES, 65_536)
    """The average length of a message's JSON, 470 to 65,536 bytes."""

    def __attrs_post_init__(self) -> None:
        total = self.conversations * self.messages
        if total > _MOST_MESSAGES:
            raise ValueError(
                f"conversations and messages: expected at most {_MOST_MESSAGES:,} messages in total, found {total:,}"
            )

    @classmethod
    def parse(cls, text: str) -> Plan:
        """Return the plan for a text such as `conversations=1000,messages=1000,seed=7`.

        Fields that the text does not name have their defaults.

        Args:
            text: The fields, separated by commas.

        Raises:
            ValueError: A key is unknown or given twice, or a value is invalid, too small or too large.
        """
        if not isinstance(text, str):
            raise TypeError(f"the plan must be of type str, not {type(text).__name__}: {text!r:.100}")
        given: dict[str, int] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            key, _, value = (piece.strip() for piece in part.partition("="))
            if key not in (known := [attribute.name for attribute in fields(cls)]):
                raise ValueError(f"{part!r}: expected one of {', '.join(known)}")
            if key in given:
                raise ValueError(f"{part!r}: {key} is given twice")
            given[key] = _flag(part, value) if key == "even" else _integer(part, value)
        return cls(**given)  # type: ignore[arg-type]  # `even` is the only bool


@frozen
class GeneratedSite:
    """The origin of a generated site."""

    plan: Plan

    def records(self, checkpoint: Checkpoint) -> Iterator[Record]:
        """Yield the records that `generate` makes."""
        return generate(self.plan, checkpoint)

    def digest(self, _: Checkpoint) -> str:
        """Return a digest of the plan: the same plan gives the same site."""
        return f"plan {_EDITION} {hashlib.sha256(compact_json(asdict(self.plan)).encode()).hexdigest()}"


def generate(plan: Plan, checkpoint: Checkpoint = lambda: None) -> Iterator[Record]:
    """Yield the records of a site: the site, its users, then each conversation with its media and its messages.

    Messages are ordered oldest first. Rosters contain only people, not the app. `checkpoint` is called between records
    where preparing one takes long.
    """
    random = _random(f"{plan.seed}/site")
    cloud_id = _uuid4(random)
    yield Site(cloud_id, f"Generated site {plan.seed}")
    people = []
    for number in range(plan.users):
        people.append(_person(random, number))
        yield people[-1].user
    counts = _message_counts(plan)
    bodies = _bodies(plan, people, checkpoint)
    files = _media_by_conversation(plan, counts)
    for index, count in enumerate(counts):
        random = _random(f"{plan.seed}/conversation/{index}")
        start = _OPENING + int(random.random() * 60 * _DAY)
        members = _members(random, index, people)
        conversation = _conversation(random, cloud_id, index, members, start)
        sizes = files.get(index, ())
        media = [_medium(random, plan, conversation.id, number, size, checkpoint) for number, size in sizes]
        yield conversation
        yield from media
        burst = min(_LONGEST_BURST, count // 4) if index == 0 and count >= _BURST_FROM else 0
        stamps = _stamps(_moments(random, start, count, burst), random.getrandbits(13), index)
        shown = {(number + 1) * count // (len(media) + 1): file for number, file in enumerate(media)}
        yield from _messages(random, conversation.id, stamps, bodies, members, shown)


def _random(key: str) -> Random:
    return Random(key)  # noqa: S311 -- repeatable, and not a secret


def _flag(part: str, value: str) -> bool:
    if value not in {"true", "false"}:
        raise ValueError(f"{part!r}: expected true or false")
    return value == "true"


def _integer(part: str, value: str) -> int:
    if not (value.isascii() and value.isdecimal()):
        raise ValueError(f"{part!r}: expected a non-negative integer")
    if len(value) > _LONGEST_NUMBER:
        raise ValueError(f"'{part[:_LONGEST_NUMBER]}…': expected a number of at most {_LONGEST_NUMBER} digits")
    return int(value)


def _message_counts(plan: Plan) -> list[int]:
    """Return the number of messages of each conversation: the first has the most, and one in ten has none."""
    if plan.even or plan.conversations == 0:
        return [plan.messages] * plan.conversations
    random = _random(f"{plan.seed}/counts")
    weights = [
        0 if index % 10 == 6 else (0.5 + random.random()) / (index + 1) ** 0.8 for index in range(plan.conversations)
    ]
    weights[0] = 1.5
    total = plan.conversations * plan.messages
    sum_of_weights = sum(weights)
    counts = [int(total * weight / sum_of_weights) for weight in weights]
    counts[0] += total - sum(counts)
    return counts


def _media_by_conversation(plan: Plan, counts: Sequence[int]) -> dict[int, list[tuple[int, int]]]:
    """Return (number, size) of the files of each conversation.

    One file is empty, one has a single byte and one has the largest size. Conversations without messages have files
    only if none has messages.
    """
    random = _random(f"{plan.seed}/media")
    sizes = [0, min(1, plan.media_max), plan.media_max][: plan.media]
    sizes += [int(plan.media_max ** random.random()) if plan.media_max else 0 for _ in range(plan.media - len(sizes))]
    indexes = [index for index, count in enumerate(counts) if count] or list(range(len(counts)))
    files: dict[int, list[tuple[int, int]]] = {}
    for number, size in enumerate(sizes if indexes else ()):
        files.setdefault(indexes[number % len(indexes)], []).append((number, size))
    return files


_GIVEN_NAMES = (
    "Ann", "Bjørn", "Chloé", "Dmitri", "Eleni", "Farah", "Grzegorz", "Hana", "İpek", "José", "Kōji", "Lê Thị",
    "Māra", "Noa", "Ọlá", "Pål", "Quentin", "Renée", "Søren", "Tomáš", "Ursula", "Věra", "Wei", "Zoë",
)  # fmt: skip
_FAMILY_NAMES = ("Adler", "Ćosić", "Einarsdóttir", "Fischer", "Nguyễn", "O\u2019Neill", "Šimić", "Tanaka", "עמית", "王")
_ROOM_NAMES = (
    "general", "releases", "on call", "design review", "Büro & Küche", "support", "données", "データ", "צוות",
    "🚀 launch", "random", "interviews", "security", "reading group",
)  # fmt: skip
_FILES = (
    ("diagram.png", "image/png"),
    ("Résumé \u2013 final (2).pdf", "application/pdf"),
    ("notes.txt", "text/plain"),
    ("figures 100%.csv", "text/csv"),
    ("写真.jpg", "image/jpeg"),
    ("recording.mp4", "video/mp4"),
    ("archive.tar.gz", "application/gzip"),
    ("no extension", "application/octet-stream"),
)


def _uuid4(random: Random) -> str:
    return str(UUID(int=random.getrandbits(128), version=4))


def _name(number: int) -> str:
    names = len(_GIVEN_NAMES) * len(_FAMILY_NAMES)
    name = f"{_GIVEN_NAMES[number % len(_GIVEN_NAMES)]} {_FAMILY_NAMES[number % len(_FAMILY_NAMES)]}"
    return (
        name if number < math.lcm(len(_GIVEN_NAMES), len(_FAMILY_NAMES)) else f"{name} {number // names + 1}-{number}"
    )


@frozen
class _Person:
    """A user, a mention of them, and the start of a first paragraph with that mention."""

    user: User
    name: str
    mention: Node
    opening: _Piece


def _person(random: Random, number: int) -> _Person:
    """Return a person. Every third account has an id of the newer form, which is not a UUID (protocol 1.2)."""
    user_id = f"{random.getrandbits(96):024x}" if number % 3 == 2 else f"557058:{_uuid4(random)}"
    name = _name(number)
    email = f"member{number}@example.invalid"
    joined = format_milliseconds(_OPENING - int(random.random() * 300 * _DAY))
    photo = f"https://avatar-cdn.atlassian.com/{random.getrandbits(128):032x}"
    about = {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "id": user_id,
        "userName": email,
        "active": number % 11 != 10,
        "displayName": name,
        "nickName": f"member{number}",
        "emails": [{"value": email, "primary": True}],
        "meta": {"created": joined, "lastModified": joined, "resourceType": "User"},
        "photos": [{"primary": True, "value": photo}] if number % 2 else [],
    }
    mention = {"type": "mention", "attrs": {"id": user_id, "text": f"@{name}", "accessLevel": "CONTAINER"}}
    return _Person(User(user_id, email, compact_json(about)), name, mention, _opening_piece(mention, f"@{name}"))


def _members(random: Random, index: int, people: Sequence[_Person]) -> Sequence[_Person]:
    """Return the people in a conversation.

    The first conversation has everyone, up to 500. A direct conversation has one person, a different one each time.
    """
    if index == 0:
        return people[:_LARGEST_ROSTER]
    if index % 5 == 3 and index // 5 < len(people):
        return [people[index // 5]]
    return random.sample(people, min(len(people), 2 + int(random.random() * 40)))


def _conversation(random: Random, cloud_id: str, index: int, members: Sequence[_Person], start: int) -> Conversation:
    """Return a conversation.

    One in five is direct, one in five private and one in seven archived. The first is public.
    """
    conversation_id = _uuid4(random)
    direct = index % 5 == 3 and len(members) == 1
    again = f" {index // len(_ROOM_NAMES) + 1}" if index >= len(_ROOM_NAMES) else ""
    name = members[0].name if direct else f"{_ROOM_NAMES[index % len(_ROOM_NAMES)]}{again}"
    kind = "direct" if direct else "group"
    privacy = "private" if direct or index % 5 == 1 else "public"
    archived = index % 7 == 2
    about = {
        "cloudId": cloud_id,
        "id": conversation_id,
        "name": name,
        "topic": "" if direct or index % 3 else f"All about {name}",
        "type": kind,
        "created": format_milliseconds(start),
        "modified": format_milliseconds(start + int(random.random() * 300 * _DAY)),
        "avatarUrl": f"https://static.stride.com/default-room-avatars/web/96pt/default_{index % 10 + 1:02}-96.png",
        "privacy": privacy,
        "isArchived": archived,
        "_links": {conversation_id: f"https://api.atlassian.com/site/{cloud_id}/conversation/{conversation_id}"},
    }
    roster = tuple(member.user.id for member in members)
    return Conversation(conversation_id, name, kind, privacy, archived, compact_json(about), roster)


def _medium(random: Random, plan: Plan, conversation_id: str, number: int, size: int, checkpoint: Checkpoint) -> Media:
    name, mime_type = _FILES[number % len(_FILES)]
    body = partial(_open_body, f"{plan.seed}/media/{number}", size)
    sha256 = hashlib.sha256()
    with body() as content:
        while chunk := content.read(_CHUNK_BYTES):
            sha256.update(chunk)
            checkpoint()
    return Media(conversation_id, _uuid4(random), name, mime_type, size, sha256.hexdigest(), body)


def _open_body(key: str, size: int) -> io.BufferedReader:
    return io.BufferedReader(_Body(key, size), _CHUNK_BYTES)


class _Body(io.RawIOBase):
    """A body that is made while it is read; any part of it can be read without the bytes before it."""

    def __init__(self, key: str, size: int) -> None:
        self._key = key
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        chunk, skipped = divmod(self._at, _CHUNK_BYTES)
        count = max(0, min(len(buffer), _CHUNK_BYTES - skipped, self._size - self._at))
        if count:
            content = _random(f"{self._key}/{chunk}").randbytes(_CHUNK_BYTES)
            buffer[:count] = content[skipped : skipped + count]
        self._at += count
        return count


def _moments(random: Random, start: int, count: int, burst: int) -> Iterator[int]:
    """Yield times in ascending order.

    They span some 200 days with two pauses of months. There are short runs of equal times, and one long burst. Each
    time has 0 to 9 fraction digits, most of them 9.
    """
    quanta = [10**power for power in (*range(1, 10), 0, 0, 0, 0, 0, 0, 0)]
    pauses = {count // 4: 30 + random.random() * 60, count * 4 // 5: 30 + random.random() * 60} if count >= 10 else {}
    burst_from = count // 3
    ts = start
    repeats = 0
    for number in range(count):
        if burst_from < number < burst_from + burst:
            yield ts
            continue
        if repeats and number not in pauses:
            repeats -= 1
        else:
            step = _STEPS[int(random.random() * len(_STEPS))] * 200 * _DAY / count * (0.5 + random.random())
            if number in pauses:
                step += pauses[number] * _DAY
            moment = ts + int(step)
            ts = max(ts, moment - moment % quanta[int(random.random() * len(quanta))])
            repeats = 1 + int(random.random() * 4) if random.random() < 0.04 else 0
        yield ts


def _stamps(moments: Iterator[int], first: int, index: int) -> Iterator[tuple[int, str, str]]:
    """Yield each time with its text and a message id of that time; ids of equal times ascend.

    `first`, a number of 13 bits, is where the clock sequence of each tick starts. After 8192 messages of one tick, the
    node is counted up.
    """
    node = 0x0242_0000_0000 + index * 0x100
    last_tick = last_day = -1
    sequence = 0
    day_text = ""
    for ts in moments:
        tick = ts // 100 + UUID_EPOCH_TICKS
        sequence = sequence + 1 if tick == last_tick else 0
        last_tick = tick
        message_id = (
            f"{tick & 0xFFFFFFFF:08x}-{tick >> 32 & 0xFFFF:04x}-{tick >> 48 | 0x1000:04x}-"
            f"{first + (sequence & 0x1FFF) | 0x8000:04x}-{node + (sequence >> 13):012x}"
        )
        seconds, fraction = divmod(ts, SECOND)
        day, second = divmod(seconds, 86_400)
        if day != last_day:
            last_day = day
            day_text = format_ts(ts)[:11]
        moment = f"{day_text}{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
        yield ts, f"{moment}.{fraction:09}".rstrip("0") + "Z" if fraction else f"{moment}Z", message_id


@frozen
class _Piece:
    """A part of a body as JSON text, and its part of `text`, escaped but without quotation marks."""

    json: str
    text: str


@frozen
class _Bodies:
    """What messages are assembled from: ends of a first paragraph, and the blocks that follow it."""

    closings: list[_Piece]
    typical: list[_Piece]
    specimens: list[_Piece]


def _messages(
    random: Random,
    conversation_id: str,
    stamps: Iterator[tuple[int, str, str]],
    bodies: _Bodies,
    members: Sequence[_Person],
    shown: Mapping[int, Media],
) -> Iterator[Message]:
    """Yield a message for each stamp; `shown` has the files by the number of the message that shows them."""
    openings = [*_GREETINGS, *(member.opening for member in members)]
    senders = [member.user.id for member in members]
    draw = random.random
    for number, (ts, ts_text, message_id) in enumerate(stamps):
        opening = openings[int(draw() * len(openings))]
        closing = bodies.closings[int(draw() * len(bodies.closings))]
        if number % _SPECIMEN_EVERY == _SPECIMEN_EVERY // 2:
            rest = bodies.specimens[number // _SPECIMEN_EVERY % len(bodies.specimens)]
        else:
            rest = bodies.typical[int(draw() * len(bodies.typical))]
        sender = senders[int(draw() * len(senders))]
        group = _media_group(shown[number], message_id) if number in shown else ""
        content = f"{opening.json}{closing.json}{rest.json}{group}"
        yield Message(
            conversation_id,
            message_id,
            sender,
            ts,
            f'{{"id":"{message_id}","body":{{"version":1,"type":"doc","content":[{content}]}},'
            f'"text":"{opening.text}{closing.text}{rest.text}","sender":{{"id":"{sender}"}},"ts":"{ts_text}"}}',
        )


def _media_group(file: Media, message_id: str) -> str:
    """Return the node that shows a file: as it was sent, or with what the service adds on delivery (protocol 6.3)."""
    attrs = {"type": "file", "id": file.id, "collection": file.conversation_id}
    if file.size % 2:
        return "," + compact_json({"type": "mediaGroup", "content": [{"type": "media", "attrs": attrs}]})
    attrs["occurrenceKey"] = f"urn:chat:message:{message_id}"
    return "," + compact_json(
        {"type": "mediaGroup", "attrs": {}, "content": [{"type": "media", "content": None, "attrs": attrs}]}
    )


def _opening_piece(node: Node, text: str) -> _Piece:
    return _Piece('{"type":"paragraph","content":[' + compact_json(node) + ",", compact_json(text)[1:-1])


_GREETINGS = (
    _opening_piece({"type": "emoji", "attrs": {"shortName": ":wave:", "id": "1f44b", "text": "👋"}}, ":wave:"),
    _opening_piece(text("For all:", {"type": "strong"}), "For all:"),
)


def _bodies(plan: Plan, people: Sequence[_Person], checkpoint: Checkpoint) -> _Bodies:
    """Return bodies of exponentially distributed sizes, with which a message has `plan.bytes` bytes on average."""
    random = _random(f"{plan.seed}/bodies")
    mentions = [person.mention for person in people[:200]]
    closings = [_closing_piece(f" {phrase(random, 2, 5)}.") for _ in range(256)]
    count = max(64, min(_POOL, plan.conversations * plan.messages // 4))
    typical = []
    carried = 0.0
    for number in range(count):
        wanted = carried - math.log(1 - (number + 0.5) / count) * (plan.bytes - _ENVELOPE_BYTES)
        blocks: list[Node] = []
        size = 0
        while size < wanted - 60:
            blocks.append(block(random, mentions))
            last = _rest_piece(blocks[-1:])
            size += len(last.json.encode()) + len(last.text.encode())
            checkpoint()
        carried = wanted - size
        typical.append(_rest_piece(blocks))
    return _Bodies(closings, typical, [_rest_piece(blocks) for blocks in specimens(mentions[0])])


def _closing_piece(words: str) -> _Piece:
    return _Piece(compact_json(text(words)) + "]}", compact_json(words)[1:-1])


def _rest_piece(blocks: Sequence[Node]) -> _Piece:
    """Return the piece for blocks after a first paragraph; a block without text adds no line break."""
    added = to_plain_text({"content": [paragraph(text(".")), *blocks]})[1:]
    return _Piece("".join("," + compact_json(block) for block in blocks), compact_json(added)[1:-1])
