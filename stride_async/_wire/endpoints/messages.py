"""Messages: send, change, read (protocol 5.10 to 5.17). Pure."""

from __future__ import annotations

import msgspec

from stride_async._arguments import number, text
from stride_async._json import NOT_DECODABLE, decoder
from stride_async._models import Content, Markdown, Message, key_of
from stride_async._settings import MOST_ITEMS_A_PAGE
from stride_async._wire.convert import message_at, undecodable
from stride_async._wire.endpoints.reading import entity_id, nothing
from stride_async._wire.history import Bound, HistoryListing, history
from stride_async._wire.pages import read_all, split_history
from stride_async._wire.request import Request, Response, segment
from stride_async.document import Document


def encoded(content: Content) -> tuple[bytes, str]:
    """Return the body of a message and its content type: plain text, Markdown, or a bare document (protocol 5.10).

    Raises:
        TypeError: The content is of another type.
        ValueError: The text is empty, or the document does not match the schema. The message names the first problem.
    """
    if isinstance(content, str):
        return _text(content), "text/plain; charset=utf-8"
    if isinstance(content, Markdown):
        return _text(content.text), "text/markdown; charset=utf-8"
    if isinstance(content, Document):
        problems = content.validate()
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise ValueError(f"the document is invalid: {problems[0].path}: {problems[0].message}{more}")
        try:
            return msgspec.json.encode(content.to_json()), "application/json"
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the document cannot be written as JSON: {error}") from error
    raise TypeError(
        f"the content must be a str, Markdown or Document, not {type(content).__name__}: {content!r:.100}; "
        "Document.from_json() reads a decoded document"
    )


def _text(content: str) -> bytes:
    if not text(content, "message").strip():
        raise ValueError("the message is empty")
    return content.encode()


def send_message(messages: str, limit_key: str, content: Content) -> Request[str]:
    """`POST …/message` (protocol 5.10, 5.11). Reads the id of the message. Not repeatable: each call sends one.

    `messages` is the path of the messages of a conversation, or of a direct conversation.
    """
    body, content_type = encoded(content)
    return Request(
        method="POST",
        path=messages,
        read=entity_id,
        body=body,
        content_type=content_type,
        limit_key=limit_key,
        repeatable=False,
    )


def edit_message(messages: str, limit_key: str, message_id: str, content: Content) -> Request[None]:
    """`PUT …/message/{messageId}`, which only the author may call (protocol 5.12)."""
    body, content_type = encoded(content)
    return Request(
        method="PUT",
        path=f"{messages}/{segment(message_id, 'message id')}",
        read=nothing,
        body=body,
        content_type=content_type,
        limit_key=limit_key,
    )


def delete_message(messages: str, limit_key: str, message_id: str) -> Request[None]:
    """`DELETE …/message/{messageId}` (protocol 5.13)."""
    return Request(
        method="DELETE",
        path=f"{messages}/{segment(message_id, 'message id')}",
        read=nothing,
        limit_key=limit_key,
        gone_is_done=True,
    )


def get_message(messages: str, limit_key: str, message_id: str) -> Request[Message]:
    """`GET …/message/{messageId}` (protocol 5.14). Reads a bare or a wrapped message."""
    return Request(
        method="GET",
        path=f"{messages}/{segment(message_id, 'message id')}",
        read=_one_message,
        limit_key=limit_key,
    )


_ABSENT = msgspec.Raw()


class _Wrapped(msgspec.Struct):
    message: msgspec.Raw = _ABSENT
    messages: list[msgspec.Raw] | None = None


_unwrap = decoder(_Wrapped)


def _one_message(response: Response) -> Message:
    try:
        wrapped = _unwrap(response.body)
    except NOT_DECODABLE as error:
        raise undecodable("$", response.body, str(error)) from error
    if bytes(wrapped.message) not in {b"", b"null"}:
        return message_at(bytes(wrapped.message), "$.message")
    if wrapped.messages:
        return message_at(bytes(wrapped.messages[0]), "$.messages[0]")
    return message_at(response.body, "$")


def list_messages(
    messages: str, limit_key: str, *, after: Bound | None, before: Bound | None, oldest_first: bool
) -> HistoryListing[Message]:
    """`GET …/message`, request by request (protocol 5.15)."""
    return history(messages, limit_key, after, before, oldest_first=oldest_first)


def recent_messages(messages: str, limit_key: str, *, limit: int) -> Request[list[Message]]:
    """`GET …/message/recent` (protocol 5.16). Reads the latest messages, oldest first."""
    return Request(
        method="GET",
        path=f"{messages}/recent",
        read=_messages,
        query=(("limit", str(number(limit, "limit", 1, MOST_ITEMS_A_PAGE))),),
        limit_key=limit_key,
    )


def context_of(messages: str, limit_key: str, message_id: str, *, before: int, after: int) -> Request[list[Message]]:
    """`GET …/message/{messageId}/context` (protocol 5.17). Reads the message and its neighbors, oldest first."""
    if number(before, "before", 0) + number(after, "after", 0) >= MOST_ITEMS_A_PAGE:
        raise ValueError(
            f"before={before} and after={after}; expected 0 or more each, and at most {MOST_ITEMS_A_PAGE - 1} together"
        )
    return Request(
        method="GET",
        path=f"{messages}/{segment(message_id, 'message id')}/context",
        read=_messages,
        query=(("before", str(before)), ("after", str(after))),
        limit_key=limit_key,
    )


def _messages(response: Response) -> list[Message]:
    elements, path = split_history(response.body)
    return sorted(read_all(elements, path, message_at), key=key_of)
