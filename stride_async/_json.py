"""Read JSON in which some part is malformed, so that one malformed element costs one element.

Both steps are taken only after the strict decoder has refused the bytes. `members` and `elements` find where the parts
of a page begin and end by its strings and brackets alone; whatever else is wrong stays inside its part. `decoder` then
repairs one part, so that the strict decoder accepts what JavaScript and JVM senders produce: unpaired surrogates,
invalid UTF-8 and raw control characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec

T = TypeVar("T")

NOT_DECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder raises for bytes that are not JSON, do not match the type, or are nested too deeply."""

# A string that never ends reaches to the end of the text, so that it is scanned once and not from each of its quotes.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{},:]', re.DOTALL)
# The next run of opening brackets, with the names between them, or of closing brackets, or a comma, or the end, after
# everything that is neither. So a deeply nested value is a few runs.
_MARK = re.compile(
    rb'(?:[^"\[\]{},]++|"(?:[^"\\]++|\\.)*+(?:"|\\?\Z))*+'
    rb'((?:[\[{]\s*+(?:"(?:[^"\\]++|\\.)*+"\s*+:\s*+)?+)++|(?:[\]}]\s*+)++|,|\Z)',
    re.DOTALL,
)
_OPENING = re.compile(rb'"(?:[^"\\]++|\\.)*+"|([\[{])', re.DOTALL)
_OBJECT, _ARRAY = b"{}", b"[]"

# Within a string: an escape, with the second half of a surrogate pair if there is one, or a raw control character.
_IN_STRING = re.compile(
    r"\\u(?:[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<alone>[dD][89a-fA-F][0-9a-fA-F]{2}))"
    r"|\\.|(?P<control>[\x00-\x1f])",
    re.DOTALL,
)
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)


def decoder(type: type[T]) -> Callable[[bytes | msgspec.Raw], T]:
    """Return a function that decodes JSON as a type, after repairing its text if that is malformed.

    The function raises one of `NOT_DECODABLE`.
    """
    strict = msgspec.json.Decoder(type).decode

    def decode(raw: bytes | msgspec.Raw) -> T:
        try:
            return strict(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            text = bytes(raw)
            better = repaired(text)
            if better == text:
                raise
        return strict(better)

    return decode


_text = decoder(str)


def members(raw: bytes) -> dict[str, bytes]:
    """Return the undecoded value of each member of an object, by its name; the last one wins.

    Raises:
        ValueError: The bytes are not an object with balanced brackets.
    """
    found = {}
    for part in _parts(raw, _OBJECT):
        name = _TOKEN.match(part)
        colon = _TOKEN.search(part, name.end()) if name else None
        if name is None or colon is None or colon[0] != b":" or not name[0].startswith(b'"'):
            raise ValueError("expected the name of a member and a colon")
        found[_name(name[0])] = part[colon.end() :].strip()
    return found


def _name(quoted: bytes) -> str:
    try:
        return _text(quoted)
    except NOT_DECODABLE:  # An invalid escape.
        return quoted[1:-1].decode("utf-8", "replace")


def elements(raw: bytes) -> list[bytes]:
    """Return the undecoded elements of an array.

    Raises:
        ValueError: The bytes are not an array with balanced brackets.
    """
    return list(_parts(raw, _ARRAY))


def _parts(raw: bytes, brackets: bytes) -> Iterator[bytes]:
    """Yield the parts between the commas of one object or array, without surrounding white space."""
    text = raw.strip()
    if text[:1] != brackets[:1] or text[-1:] != brackets[1:]:
        raise ValueError(f"expected {brackets.decode()}")
    depth, begin = 0, 1
    for found in _MARK.finditer(text):
        mark = found[1]
        if mark == b",":
            if depth == 1:
                yield text[begin : found.start(1)].strip()
                begin = found.end()
        elif mark[:1] in {b"[", b"{"}:
            brackets_and_names = _OPENING.findall(mark)
            depth += len(brackets_and_names) - brackets_and_names.count(b"")
        else:
            depth -= len(mark.translate(None, b" \t\r\n\v\f"))
            if depth <= 0 and mark and found.end() != len(text):
                raise ValueError("expected one value")
    if depth != 0:  # Also after a string that never ends.
        raise ValueError("brackets are not balanced")
    last = text[begin:-1].strip()
    if last or begin > 1:
        yield last


def repaired(raw: bytes) -> bytes:
    """Return the same JSON as valid UTF-8, with U+FFFD for unpaired surrogates and control characters escaped.

    Bytes that need no repair come back equal; what is wrong beyond that stays wrong.
    """
    return _STRING.sub(lambda string: _IN_STRING.sub(_replacement, string[0]), raw.decode("utf-8", "replace")).encode()


def _replacement(found: re.Match[str]) -> str:
    if found["alone"] is not None:
        return "\N{REPLACEMENT CHARACTER}"
    if found["control"] is not None:
        return f"\\u{ord(found['control']):04x}"
    return found[0]
