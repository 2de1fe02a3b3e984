"""From the service's JSON to the models. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count, repeat
from typing import Any, TypeVar

import msgspec

from stride_async._errors import DecodeError
from stride_async._json import NOT_DECODABLE, decoder, members
from stride_async._models import (
    Key,
    Message,
    Module,
    RawMessage,
    Site,
    UnfrozenMessage,
    new_message,
)
from stride_async._moments import parse_all_nanoseconds, parse_nanoseconds
from stride_async._wire.structuring import Id, structured
from stride_async.document import Document

M = TypeVar("M")


_json = decoder(Any)


def json_of(raw: bytes | msgspec.Raw, path: str = "$") -> Any:
    """Return the decoded JSON value.

    Raises:
        DecodeError: The bytes are not JSON, or are nested too deeply.
    """
    try:
        return _json(raw)
    except NOT_DECODABLE as error:
        raise undecodable(path, bytes(raw), str(error)) from error


def structure(value: object, model: type[M], raw: bytes, path: str = "$") -> M:
    """Return a decoded JSON value as one of the models.

    Raises:
        DecodeError: The value does not match the model. The message names the first mismatch.
    """
    try:
        return structured(value, model)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        raise undecodable(path + where.rstrip("`"), raw, message) from error


def undecodable(path: str, raw: bytes, why: str) -> DecodeError:
    """Return the error for an element at `path`, with all its bytes."""
    return DecodeError(f"{why} @ {path}", path=path, raw=raw)


def object_at(raw: bytes | msgspec.Raw, model: type[M], path: str = "$", **defaults: str) -> M:
    """Return an element of a response as a model. `defaults` are fields to add if the element lacks them."""
    value = json_of(raw, path)
    if defaults and isinstance(value, dict):
        value = {**defaults, **value}
    return structure(value, model, bytes(raw), path)


def site_at(raw: bytes | msgspec.Raw, path: str, links: Mapping[str, str]) -> Site:
    """Return a site from an id, or from an object with `id` or `cloudId` (protocol 4.10)."""
    value = json_of(raw, path)
    if isinstance(value, str) and value:
        return Site(id=value, url=links.get(value))
    if isinstance(value, dict):
        for name in ("id", "cloudId"):
            if isinstance(value.get(name), str) and value[name]:
                url = value.get("url") or links.get(value[name])
                extra = {key: part for key, part in value.items() if key not in {name, "url"}}
                return Site(id=value[name], url=url if isinstance(url, str) else None, extra=extra)
    raise undecodable(path, bytes(raw), f"expected the id of a site, found {type(value).__name__}")


def module_at(raw: bytes | msgspec.Raw, path: str, kind: str) -> Module:
    """Return a module from its descriptor, which includes its key (protocol 4.11, 6.1)."""
    value = json_of(raw, path)
    if not isinstance(value, dict) or not isinstance(value.get("key"), str) or not value["key"]:
        raise undecodable(path, bytes(raw), "expected the descriptor of a module, with a key")
    return Module(key=value["key"], type=kind, descriptor={name: part for name, part in value.items() if name != "key"})


def id_at(raw: bytes | msgspec.Raw, path: str) -> str:
    """Return a user id, as in a roster (protocol 4.5)."""
    value = json_of(raw, path)
    if not isinstance(value, str) or not value:
        raise undecodable(path, bytes(raw), f"expected the id of a user, found {value!r:.100}")
    return value


# The structs for a message contain only strings, so the garbage collector need not track them.
class _Sender(msgspec.Struct, gc=False):
    id: Id


class _Fields(msgspec.Struct, gc=False):
    id: Id
    sender: _Sender
    ts: str
    text: str | None = None


# A message without a text takes the way of single messages.
class _UsualFields(msgspec.Struct, gc=False):
    id: Id
    sender: _Sender
    ts: str
    text: str


class _FieldsAndBody(_UsualFields, gc=False):
    body: msgspec.Raw = msgspec.Raw(b"null")


class _Messages(msgspec.Struct, gc=False):
    messages: list[_FieldsAndBody]


class _FieldsOfAll(msgspec.Struct, gc=False):
    messages: list[_UsualFields]


class _KeyFields(msgspec.Struct, gc=False):
    id: Id
    ts: str


class _Body(msgspec.Struct):
    body: Any = None


_fields = msgspec.json.Decoder(_Fields).decode
_messages = msgspec.json.Decoder(_Messages).decode
_fields_of_all = msgspec.json.Decoder(_FieldsOfAll).decode
_repaired_fields = decoder(_Fields)
_key = decoder(_KeyFields)
_body = decoder(_Body)


def messages_in(page: bytes, raw_of: Callable[[int], bytes]) -> list[Message] | None:
    """Return all messages of a page in one pass, or None if anything in it is unusual.

    Whatever this accepts, `message_at` reads in the same way from each element. The messages refer to the page until
    their `raw` is accessed. `raw_of` returns it, given the number of the message.
    """
    try:
        found = _messages(page).messages
        times = parse_all_nanoseconds([fields.ts for fields in found])
    except (*NOT_DECODABLE, ValueError):
        return None
    messages = []
    for fields, ts, place in zip(found, times, zip(repeat(raw_of), count()), strict=False):
        # `new_message`, written out: to call it would take a third of the time.
        message: Any = UnfrozenMessage()
        message.id, message.sender_id = fields.id, fields.sender.id
        message.ts, message.text = ts, fields.text
        message._raw, message._body = place, fields.body  # noqa: SLF001 (it is not frozen yet)
        message.__class__ = Message
        messages.append(message)
    return messages


def raw_messages_in(page: bytes, split: Callable[[bytes], Sequence[bytes | msgspec.Raw]]) -> list[RawMessage] | None:
    """Return all messages of a page as `messages_in` does, with their bytes."""
    try:
        found = _fields_of_all(page).messages
        times = parse_all_nanoseconds([fields.ts for fields in found])
    except (*NOT_DECODABLE, ValueError):
        return None
    elements = split(page)
    return [
        RawMessage(ts, fields.id, fields.sender.id, raw) for fields, ts, raw in zip(found, times, elements, strict=True)
    ]


def raw_message_at(raw: bytes, path: str) -> RawMessage:
    """Return the bytes of a message after decoding it as `message_at` does.

    Raises:
        DecodeError: A field is missing or malformed; the error's `path` names it.
    """
    message = message_at(raw, path)
    return RawMessage(message.ts, message.id, message.sender_id, raw)


def message_at(raw: bytes, path: str) -> Message:
    """Return a message. Its body is not decoded here (protocol 4.3).

    Raises:
        DecodeError: A field is missing or malformed; the error's `path` names it.
    """
    try:
        try:
            fields = _fields(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            fields = _repaired_fields(raw)
        ts = parse_nanoseconds(fields.ts)
    except NOT_DECODABLE as error:
        message, _, where = str(error).partition(" - at `$")
        raise undecodable(path + where.rstrip("`"), raw, message) from error
    except ValueError as error:
        raise undecodable(f"{path}.ts", raw, str(error)) from error
    text = fields.text
    return new_message(fields.id, fields.sender.id, ts, text if text is not None else _text_of(raw, path), raw)


def _text_of(raw: bytes, path: str) -> str:
    """Return the plain text of a message that the service sent without one."""
    try:
        return Document.from_json(_body(raw).body).to_text()
    except (*NOT_DECODABLE, ValueError) as error:
        raise undecodable(f"{path}.body", raw, str(error)) from error


def key_at(raw: bytes) -> Key | None:
    """Return the key of a message, or None if its time or id is unreadable.

    How deeply the other members are nested does not matter, so that the key is the same wherever this is called.
    """
    try:
        try:
            key = _key(raw)
        except RecursionError:
            parts = members(raw)
            key = _key(b'{"id":%b,"ts":%b}' % (parts.get("id", b""), parts.get("ts", b"")))
        return parse_nanoseconds(key.ts), key.id
    except (*NOT_DECODABLE, ValueError):
        return None
