"""Send, edit, delete and read messages (protocol 5.10 to 5.17)."""

from __future__ import annotations

from collections.abc import Iterable

from stride_async.server._documents import from_markdown, from_plain, problems
from stride_async.server._records import compact_json
from stride_async.server._responses import JSON, HttpError, Response, json_response, no_content
from stride_async.server._routes.conversations import check_recipient, refuse_archived
from stride_async.server._routes.request import PAGE_LIMIT, Request, parse_json, shortened
from stride_async.server._store import StoredConversation
from stride_async.server._store.messages import FIRST_ID, FIRST_KEY, LAST_ID, LAST_KEY, Key, StoredMessage
from stride_async.server._times import parse_ts

_MESSAGE_BYTES = 1_048_576  # protocol 5.10
_TEXT_CHARS = 20_000  # of a `text/plain` or `text/markdown` message (protocol 5.10)
_TOO_LARGE = 413  # protocol 3.3
_NOT_THE_AUTHOR = 403  # protocol 5.12
_CONTEXT_LIMIT = PAGE_LIMIT - 1  # messages around the one that a context is about (protocol 5.17)


async def send(request: Request) -> Response:
    """`POST {cv}/message`, and the form for a person, whose direct conversation is created if there is none."""
    if "user" in request.path_params:
        check_recipient(request, request.path_params["user"])
    document = await _read_document(request)
    conversation = _conversation(request)
    assert conversation is not None
    refuse_archived(conversation)
    message_id = request.world.add_message(conversation, document, request.grant.app.account_id)
    return json_response({"id": message_id}, status=201)


async def edit(request: Request) -> Response:
    """`PUT {cv}/message/{messageId}`, and the form for a person; only the author may edit a message."""
    document = await _read_document(request)
    conversation, message = _own_message(request)
    refuse_archived(conversation)
    request.world.store.messages.change(message, request.world.edited_json(message.json, document))
    if not request.world.choices.edit_answers_id:
        return Response(200, b"", None)
    return json_response({"id": message.id})


async def delete(request: Request) -> Response:
    """`DELETE {cv}/message/{messageId}`, and the form for a person; only the author may delete a message."""
    _, message = _own_message(request)
    if request.world.choices.deleted_vanish:
        request.world.store.messages.delete(message)
    else:
        empty = request.world.edited_json(message.json, {"version": 1, "type": "doc", "content": []})
        request.world.store.messages.change(message, empty)
    return no_content()


async def get(request: Request) -> Response:
    """`GET {cv}/message/{messageId}`."""
    message = _find(request, request.conversation, request.path_params["message"])
    match request.world.choices.single_message:
        case "message":
            return Response(200, b'{"message":' + message.json + b"}")
        case "messages":
            return Response(200, b'{"messages":[' + message.json + b"]}")
        case _:
            return Response(200, message.json)


async def history(request: Request) -> Response:
    """`GET {cv}/message`: the latest messages between the bounds.

    With a lower bound alone, these are the latest of all messages after it, not the next ones (protocol 5.15).
    """
    limit = request.integer("limit", PAGE_LIMIT, 1, PAGE_LIMIT)
    above = max(
        _message_bound(request, "afterMessage", FIRST_KEY), _time_bound(request, "afterTimestamp", FIRST_KEY, LAST_ID)
    )
    below = min(
        _message_bound(request, "beforeMessage", LAST_KEY), _time_bound(request, "beforeTimestamp", LAST_KEY, FIRST_ID)
    )
    found = request.world.store.messages.latest(request.conversation.number, above=above, below=below, limit=limit)
    return _page(request, reversed(found))


async def recent(request: Request) -> Response:
    """`GET {cv}/message/recent`: the latest messages."""
    limit = request.integer("limit", PAGE_LIMIT, 1, PAGE_LIMIT)
    return _page(request, reversed(request.world.store.messages.latest(request.conversation.number, limit=limit)))


async def context(request: Request) -> Response:
    """`GET {cv}/message/{messageId}/context`: the message, with `before` messages before it and `after` after it."""
    message = _find(request, request.conversation, request.path_params["message"])
    before = min(request.integer("before", 0, 0, 1 << 31), _CONTEXT_LIMIT)
    after = min(request.integer("after", 0, 0, 1 << 31), _CONTEXT_LIMIT - before)  # protocol 5.17
    messages, number = request.world.store.messages, request.conversation.number
    earlier = messages.latest(number, below=message.key, limit=before)
    return _page(request, [*reversed(earlier), message.json, *messages.next(number, message.key, after)])


def _page(request: Request, oldest_first: Iterable[bytes]) -> Response:
    choices = request.world.choices
    messages = list(oldest_first)
    if choices.newest_first:
        messages.reverse()
    return Response(200, b"{%b:[%b]}" % (compact_json(choices.history_key).encode(), b",".join(messages)))


def _message_bound(request: Request, name: str, default: Key) -> Key:
    message_id = request.query.get(name)
    if not message_id:
        return default
    message = request.world.store.messages.find(request.conversation.number, message_id)
    if message is None:
        status = request.world.choices.unknown_boundary_status
        raise HttpError(status, f"{name}: no such message: {shortened(message_id)}")
    return message.key


def _time_bound(request: Request, name: str, default: Key, id: str) -> Key:
    text = request.query.get(name)
    if not text:
        return default
    try:
        ts = parse_ts(text)
    except ValueError as error:
        raise HttpError(400, f"{name}: {shortened(str(error), 200)}") from None
    return min(max(ts, FIRST_KEY[0]), LAST_KEY[0]), id


def _conversation(request: Request) -> StoredConversation | None:
    """Return the conversation of a message call; only sending creates a direct conversation."""
    if "user" not in request.path_params:
        return request.conversation
    if request.method == "POST":
        return request.world.direct_conversation(request.grant.app, request.path_params["user"])
    return request.world.store.conversations.direct(request.grant.app.client_id, request.path_params["user"])


def _own_message(request: Request) -> tuple[StoredConversation, StoredMessage]:
    if "user" in request.path_params:
        check_recipient(request, request.path_params["user"])
    conversation = _conversation(request)
    message = _find(request, conversation, request.path_params["message"])
    assert conversation is not None
    if message.sender != request.grant.app.account_id:
        raise HttpError(_NOT_THE_AUTHOR, f"the app is not the author of the message {message.id}")
    return conversation, message


def _find(request: Request, conversation: StoredConversation | None, id: str) -> StoredMessage:
    message = None if conversation is None else request.world.store.messages.find(conversation.number, id)
    if message is None:
        raise HttpError(404, f"no such message: {shortened(id)}")
    return message


async def _read_document(request: Request) -> dict[str, object]:
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind not in {JSON, "text/plain", "text/markdown"}:
        expected = f"{JSON}, text/plain or text/markdown"
        raise HttpError(415, f"content type: expected {expected}, found {shortened(kind) or 'none'}")
    raw = await request.body(_MESSAGE_BYTES)
    if kind == JSON:
        return checked_document(request, parse_json(raw))
    return text_document(request, _decoded(raw), markdown=kind == "text/markdown")


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise HttpError(400, f"the text is not UTF-8: {error.reason} at byte {error.start}") from None


def text_document(request: Request, text: str, *, markdown: bool) -> dict[str, object]:
    """Return the document for the text of a message, or refuse the text."""
    if len(text) > _TEXT_CHARS:
        raise HttpError(_TOO_LARGE, f"the text has {len(text)} characters, expected at most {_TEXT_CHARS}")
    if not text.strip():
        raise HttpError(400, "the message is empty")
    return checked_document(request, from_markdown(text) if markdown else from_plain(text))


def checked_document(request: Request, value: object) -> dict[str, object]:
    """Return the document in the JSON of a message, bare or wrapped, or refuse it."""
    document = _unwrapped(value)
    found = problems(document, lenient=request.world.choices.lenient_documents)
    if found:
        raise HttpError(400, "; ".join(found[:5]))
    assert isinstance(document, dict)
    return document


def _unwrapped(value: object) -> object:
    """Return the document of a bare or a wrapped JSON body; a missing version is 1 (protocol 5.10)."""
    if isinstance(value, dict) and "body" in value and "type" not in value:
        value = value["body"]
    if isinstance(value, dict) and "version" not in value:
        return {"version": 1, **value}
    return value
