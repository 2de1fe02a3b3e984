"""Messages: sent, edited, deleted, and read page by page (protocol 5.10 to 5.17)."""

from __future__ import annotations

from collections.abc import Iterable

from stride_async.server._answers import JSON, Answer, Refusal, answer_json, dumps, nothing
from stride_async.server._documents import from_markdown, from_plain, problems
from stride_async.server._records import parse_ts
from stride_async.server._routes.ask import PAGE, Ask, parse_json, shortened
from stride_async.server._routes.conversations import check_open, check_person
from stride_async.server._store import Room
from stride_async.server._store.messages import END, FIRST_ID, LAST_ID, START, Place, Stored

_MOST_AROUND = PAGE - 1
_MESSAGE_BYTES = 1_048_576  # protocol 5.10
_TEXT_CHARS = 20_000  # of a `text/plain` or `text/markdown` message (protocol 5.10)
_TOO_LARGE = 413  # protocol 3.3
_NOT_THE_AUTHOR = 403  # protocol 5.12


async def send(ask: Ask) -> Answer:
    """`POST {cv}/message`, and the form that names a person, whose direct conversation is opened for it."""
    if "user" in ask.places:
        check_person(ask, ask.places["user"])
    document = await _read_document(ask)
    room = _room(ask)
    assert room is not None
    check_open(ask, room)
    return answer_json({"id": ask.world.add_message(room, document, ask.grant.app.account_id)}, status=201)


async def edit(ask: Ask) -> Answer:
    """`PUT {cv}/message/{messageId}`, and the form that names a person: other content, by the author only."""
    document = await _read_document(ask)
    room, message = _own_message(ask)
    check_open(ask, room)
    ask.world.store.messages.change(message, ask.world.edited_json(message.json, document))
    return answer_json({"id": message.id}) if ask.world.choices.edit_answers_id else Answer(200, b"", None)


async def delete(ask: Ask) -> Answer:
    """`DELETE {cv}/message/{messageId}`, and the form that names a person: by the author only."""
    _, message = _own_message(ask)
    if ask.world.choices.deleted_vanish:
        ask.world.store.messages.delete(message)
    else:
        emptied = ask.world.edited_json(message.json, {"version": 1, "type": "doc", "content": []})
        ask.world.store.messages.change(message, emptied)
    return nothing()


async def get(ask: Ask) -> Answer:
    """`GET {cv}/message/{messageId}`."""
    message = _find(ask, ask.room, ask.places["message"])
    match ask.world.choices.single_message:
        case "message":
            return Answer(200, b'{"message":' + message.json + b"}")
        case "messages":
            return Answer(200, b'{"messages":[' + message.json + b"]}")
        case _:
            return Answer(200, message.json)


async def history(ask: Ask) -> Answer:
    """`GET {cv}/message`: the latest messages within the bounds.

    With only a lower bound these are the latest of all beyond it, not the next ones (protocol 5.15).
    """
    limit = ask.number("limit", PAGE, 1, PAGE)
    above = max(_message_bound(ask, "afterMessage", START), _time_bound(ask, "afterTimestamp", START, LAST_ID))
    below = min(_message_bound(ask, "beforeMessage", END), _time_bound(ask, "beforeTimestamp", END, FIRST_ID))
    found = ask.world.store.messages.latest(ask.room.number, above=above, below=below, limit=limit)
    return _page(ask, reversed(found))


async def recent(ask: Ask) -> Answer:
    """`GET {cv}/message/recent`: the latest messages."""
    limit = ask.number("limit", PAGE, 1, PAGE)
    return _page(ask, reversed(ask.world.store.messages.latest(ask.room.number, limit=limit)))


async def context(ask: Ask) -> Answer:
    """`GET {cv}/message/{messageId}/context`: the message with as many before and after it as asked."""
    message = _find(ask, ask.room, ask.places["message"])
    before = min(ask.number("before", 0, 0, 1 << 31), _MOST_AROUND)
    after = min(ask.number("after", 0, 0, 1 << 31), _MOST_AROUND)
    after = min(after, _MOST_AROUND - before)  # which side gives way is unknown (protocol 5.17)
    stored = ask.world.store.messages
    earlier = stored.latest(ask.room.number, below=message.place, limit=before)
    return _page(ask, [*reversed(earlier), message.json, *stored.next(ask.room.number, message.place, after)])


def _page(ask: Ask, oldest_first: Iterable[bytes]) -> Answer:
    choices = ask.world.choices
    messages = list(oldest_first)
    if choices.newest_first:
        messages.reverse()
    return Answer(200, b"{%b:[%b]}" % (dumps(choices.history_key), b",".join(messages)))


def _message_bound(ask: Ask, name: str, default: Place) -> Place:
    message_id = ask.query.get(name)
    if not message_id:
        return default
    message = ask.world.store.messages.find(ask.room.number, message_id)
    if message is None:
        raise Refusal(ask.world.choices.unknown_boundary_status, f"{name}: no such message: {shortened(message_id)}")
    return message.place


def _time_bound(ask: Ask, name: str, default: Place, id: str) -> Place:
    text = ask.query.get(name)
    if not text:
        return default
    try:
        ts = parse_ts(text)
    except ValueError as error:
        raise Refusal(400, f"{name}: {shortened(str(error), 200)}") from None
    return min(max(ts, START[0]), END[0]), id


def _room(ask: Ask) -> Room | None:
    """The conversation a message call is about; None for a direct one that an edit or delete would have to open."""
    if "user" not in ask.places:
        return ask.room
    if ask.method == "POST":
        return ask.world.direct_conversation(ask.grant.app, ask.places["user"])
    return ask.world.store.conversations.direct(ask.grant.app.client_id, ask.places["user"])


def _own_message(ask: Ask) -> tuple[Room, Stored]:
    if "user" in ask.places:
        check_person(ask, ask.places["user"])
    room = _room(ask)
    message = _find(ask, room, ask.places["message"])
    assert room is not None
    if message.sender != ask.grant.app.account_id:
        raise Refusal(_NOT_THE_AUTHOR, f"the message {message.id} was sent by somebody else")
    return room, message


def _find(ask: Ask, room: Room | None, id: str) -> Stored:
    message = None if room is None else ask.world.store.messages.find(room.number, id)
    if message is None:
        raise Refusal(404, f"no such message: {shortened(id)}")
    return message


async def _read_document(ask: Ask) -> dict[str, object]:
    kind = ask.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind not in {JSON, "text/plain", "text/markdown"}:
        expected = f"{JSON}, text/plain or text/markdown"
        raise Refusal(415, f"content type: expected {expected}, found {shortened(kind) or 'none'}")
    try:
        raw = await ask.body(_MESSAGE_BYTES)
    except Refusal as refusal:
        raise Refusal(_TOO_LARGE, refusal.message, headers=refusal.headers) from None
    if kind == JSON:
        return _checked(ask, _unwrapped(parse_json(raw)))
    text = _decoded(raw)
    if len(text) > _TEXT_CHARS:
        raise Refusal(_TOO_LARGE, f"the text has {len(text)} characters, at most {_TEXT_CHARS} are taken")
    if not text.strip():
        raise Refusal(400, "the message is empty")
    return _checked(ask, from_plain(text) if kind == "text/plain" else from_markdown(text))


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise Refusal(400, f"the text is not UTF-8: {error.reason} at byte {error.start}") from None


def _unwrapped(value: object) -> object:
    """The document of a bare or a wrapped JSON body (protocol 5.10)."""
    if isinstance(value, dict) and "body" in value and "type" not in value:
        value = value["body"]
    if isinstance(value, dict) and "version" not in value:
        return {"version": 1, **value}
    return value


def _checked(ask: Ask, document: object) -> dict[str, object]:
    found = problems(document, lenient=ask.world.choices.lenient_documents)
    if found:
        raise Refusal(400, "; ".join(found[:5]))
    assert isinstance(document, dict)
    return document
