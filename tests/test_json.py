"""Parts of malformed JSON are found by strings and brackets, and repaired one by one."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stride_async
from stride_async._json import elements, members, repaired

TEXTS = st.text(st.characters(exclude_categories=()), max_size=8)  # lone surrogates included
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
SPACES = st.sampled_from(["", " ", "\n", "\r\n\t "])


def written(value: object, *, raw: bool) -> bytes:
    """A value as JSON; `raw` leaves characters beyond ASCII unescaped, surrogates included."""
    return json.dumps(value, ensure_ascii=not raw).encode("utf-8", "surrogatepass")


def without_surrogates(value: object) -> object:
    """The value as a reader that replaces unpaired surrogates sees it."""
    if isinstance(value, str):
        # Adjacent halves are a pair once they are escaped.
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [without_surrogates(each) for each in value]
    if isinstance(value, dict):
        return {without_surrogates(name): without_surrogates(each) for name, each in value.items()}
    return value


@given(st.lists(VALUES, max_size=5), SPACES, st.booleans())
def test_an_array_is_split_into_the_exact_bytes_of_its_elements(values: list[object], space: str, raw: bool):
    """Whatever the elements hold, joining them with commas and splitting again gives the same bytes."""
    parts = [written(value, raw=raw) for value in values]
    gap = space.encode()

    assert parts == elements(gap + b"[" + (gap + b"," + gap).join(parts) + b"]" + gap)


@given(st.dictionaries(st.text('aé"\\', max_size=3), VALUES, max_size=4), SPACES, st.booleans())
def test_an_object_is_split_into_its_members(values: dict[str, object], space: str, escaped: bool):
    """Each name, however it is escaped, has the exact bytes of its value."""
    parts = {name: written(value, raw=False) for name, value in values.items()}
    gap = space.encode()
    names = {
        name: ('"' + "".join(f"\\u{ord(c):04x}" for c in name) + '"' if escaped else json.dumps(name)).encode()
        for name in parts
    }
    body = b",".join(gap + names[name] + gap + b":" + gap + part for name, part in parts.items())

    assert parts == members(b"{" + body + b"}")


@given(VALUES)
def test_a_repaired_value_is_the_same_value_with_replacement_characters(value: object):
    """Only unpaired surrogates differ."""
    try:
        read = msgspec.json.decode(repaired(written(value, raw=False)))
    except msgspec.ValidationError:
        return  # A number beyond 64 bits is not repaired.

    assert without_surrogates(value) == read


@given(VALUES)
def test_valid_json_is_not_changed_by_repair(value: object):
    """Repair is only for what is malformed."""
    valid = written(without_surrogates(value), raw=True)

    assert valid == repaired(valid)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (rb'"cut \ud83d"', "cut \ufffd"),
        (rb'"\ude00\ud83d"', "\ufffd\ufffd"),
        (rb'"\ud83d\ud83d\ude00"', "\ufffd\U0001f600"),
        (rb'"\\ud83d"', r"\ud83d"),
        (rb'"\ud83d\n\ude00"', "\ufffd\n\ufffd"),
        (b'"a\x00b\nc"', "a\x00b\nc"),
        (b'"\xff\xc3"', "\ufffd\ufffd"),
        (b'"\xed\xa0\xbd"', "\ufffd\ufffd\ufffd"),
    ],
)
def test_each_kind_of_malformed_text_is_repaired(raw: bytes, text: str):
    """As Python's and browsers' decoders replace them."""
    assert text == msgspec.json.decode(repaired(raw))


@pytest.mark.parametrize("raw", [b"", b"[", b"]", b"{}", b"[1]]", b"[[1]", b'["]', b"[1] [2]", b'[1,"a]', b"[" * 1000])
def test_unbalanced_brackets_are_refused(raw: bytes):
    """No part of such bytes can be trusted."""
    with pytest.raises(ValueError, match=r"expected|balanced"):
        elements(raw)


@pytest.mark.parametrize("raw", [b"[]", b'{"a"}', b"{1:2}", b'{"a":1,}', b'{"a":1'])
def test_an_object_without_names_or_colons_is_refused(raw: bytes):
    """A member needs a name in quotes and a colon."""
    with pytest.raises(ValueError, match=r"expected|balanced"):
        members(raw)


def test_an_unterminated_string_is_refused_in_linear_time():
    """A megabyte of escapes without a closing quote takes no time worth measuring."""
    endless = b'["' + b'\\"' * 500_000

    assert repaired(endless) == endless
    with pytest.raises(ValueError, match="balanced"):
        elements(endless + b"]")


def test_any_depth_of_nesting_is_one_element():
    """Depth is counted, not entered."""
    deep = b"[" * 100_000 + b"]" * 100_000

    assert [b"1", deep, b"2"] == elements(b"[1," + deep + b",2]")


# In these two, what a strict decoder refuses is decoded again, and everything else is left to the caller.
DECODED_TWICE = {"_json.py", "_wire/convert.py"}


def test_what_is_nested_too_deeply_is_expected_wherever_json_is_decoded():
    """Each clause for malformed JSON is for a `RecursionError` too, as `NOT_DECODABLE` is."""
    package = Path(stride_async.__file__).parent
    clauses = [
        (name, ast.unparse(clause))
        for name in {path.relative_to(package).as_posix() for path in package.rglob("*.py")} - DECODED_TWICE
        for node in ast.walk(ast.parse((package / name).read_text()))
        for clause in ([node.type] if isinstance(node, ast.ExceptHandler) and node.type else [])
        + ([node] if isinstance(node, ast.Call) and ast.unparse(node.func) == "suppress" else [])
    ]

    assert [] == [each for each in clauses if "msgspec.DecodeError" in each[1] and "RecursionError" not in each[1]]
    assert any("NOT_DECODABLE" in clause for _, clause in clauses)
