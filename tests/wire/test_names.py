"""File names made from names that the service provides."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stride_async._wire.names import LONGEST_NAME_BYTES, name_key, safe_name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("report.pdf", "report.pdf"),
        (None, "file"),
        ("", "file"),
        ("..", "file"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("C:\\windows\\system.ini", "C__windows_system.ini"),
        ("a\nb\x00c.txt", "a_b_c.txt"),
        ("invoice\u202egpj.exe", "invoice_gpj.exe"),
        ("con", "_con"),
        ("NUL.tar.gz", "_NUL.tar.gz"),
        ("COM¹.txt", "_COM¹.txt"),
        ("com1 .txt", "_com1.txt"),
        ("trailing. . ", "trailing"),
        (".hidden", "hidden"),
        ("ünïcode 名前.png", "ünïcode 名前.png"),
        ("film.mkv.PART", "film.mkv_PART"),
        ("film.part.json", "film_part.json"),
    ],
)
def test_a_name_becomes_a_plain_file_name(name, safe):
    """It is not a path and has nothing invisible or reserved; the rest is unchanged."""
    assert safe == safe_name(name)


def test_a_long_name_keeps_its_extension():
    """It is cut between characters, never inside one."""
    name = safe_name("名" * 300 + ".jpeg")

    assert name.endswith(".jpeg")
    assert LONGEST_NAME_BYTES - 3 <= len(name.encode()) <= LONGEST_NAME_BYTES


def test_names_that_some_file_systems_regard_as_equal_become_different():
    """Such names differ only by case or by Unicode composition."""
    used = {name_key("Straße.txt"), name_key("caf\u00e9.txt")}

    assert safe_name("STRASSE.TXT", "0a1b-2c", used) == "STRASSE (0a1b2c).TXT"
    assert safe_name("cafe\u0301.txt", "", used) == "caf\u00e9 (1).txt"


@given(st.lists(st.text(max_size=300), max_size=12), st.text(max_size=40))
@example(["x" * 300, "X" * 300, "x" * 300], "id")
@example(["x" * 195 + ".part" + "y" * 20, "x.part", "x.part"], "part")
@example(["\ud800", "con.", "CON", " . "], "")
def test_any_names_become_safe_and_unique(names, mark):
    """Every name is plain, short, and different from the others."""
    used: set[str] = set()
    for name in names:
        safe = safe_name(name, mark, used)

        assert safe == safe.strip(" .")
        assert 0 < len(safe.encode()) <= LONGEST_NAME_BYTES
        assert not set(safe) & set('/\\:*?"<>|\0')
        assert not {unicodedata.category(c) for c in safe} & {"Cc", "Cf", "Cs"}
        assert not safe.casefold().endswith((".part", ".part.json"))
        assert safe_name(safe) == safe
        assert name_key(safe) not in used
        used.add(name_key(safe))
