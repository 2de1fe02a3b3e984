"""Names from strangers."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stride_async._wire.names import LONGEST_NAME_BYTES, name_key, safe_name


@pytest.mark.parametrize(
    ("told", "safe"),
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
def test_a_name_is_made_plain(told, safe):
    """No path, nothing invisible, nothing reserved; the rest as it was."""
    assert safe == safe_name(told)


def test_a_long_name_keeps_its_ending():
    """Cut at the edge of a character, never inside one."""
    name = safe_name("名" * 300 + ".jpeg")

    assert name.endswith(".jpeg")
    assert LONGEST_NAME_BYTES - 3 <= len(name.encode()) <= LONGEST_NAME_BYTES


def test_names_that_some_file_systems_take_for_one_are_told_apart():
    """By case and by composition."""
    taken = {name_key("Straße.txt"), name_key("caf\u00e9.txt")}

    assert safe_name("STRASSE.TXT", "0a1b-2c", taken) == "STRASSE (0a1b2c).TXT"
    assert safe_name("cafe\u0301.txt", "", taken) == "caf\u00e9 (1).txt"


@given(st.lists(st.text(max_size=300), max_size=12), st.text(max_size=40))
@example(["x" * 300, "X" * 300, "x" * 300], "id")
@example(["x" * 195 + ".part" + "y" * 20, "x.part", "x.part"], "part")
@example(["\ud800", "con.", "CON", " . "], "")
def test_names_are_safe_and_told_apart(told, mark):
    """Whatever comes: one plain, short, unique name for each."""
    taken: set[str] = set()
    for name in told:
        safe = safe_name(name, mark, taken)

        assert safe == safe.strip(" .")
        assert 0 < len(safe.encode()) <= LONGEST_NAME_BYTES
        assert not set(safe) & set('/\\:*?"<>|\0')
        assert not {unicodedata.category(c) for c in safe} & {"Cc", "Cf", "Cs"}
        assert not safe.casefold().endswith((".part", ".part.json"))
        assert safe_name(safe) == safe
        assert name_key(safe) not in taken
        taken.add(name_key(safe))
