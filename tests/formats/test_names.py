"""Names and ids for other systems are safe, unique and stable."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stride_async.export.formats._names import Ids, Slugs, safe_name, stable_id
from stride_async.export.formats._times import MILLISECOND, RisingTimes

NAMES = st.text() | st.sampled_from(["general", "General", "gänéral", "", "---", "con", "NUL.txt", "..", "a" * 300])


@given(st.lists(NAMES, max_size=20), st.integers(22, 80))
def test_slugs_are_unique_valid_and_short(names, longest):
    """They have letters, digits and single hyphens, and begin with no hyphen."""
    slugs = Slugs(longest, reserved=frozenset({"all"}))

    taken = [slugs.take(name, f"id {number}") for number, name in enumerate(names)]

    assert len(set(taken)) == len(names)
    assert [] == [slug for slug in taken if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug) or len(slug) > longest]
    assert "all" not in taken


def test_the_first_to_ask_keeps_the_clean_name():
    """Later ones get a suffix that depends on their id alone."""
    slugs = Slugs(60)

    taken = [slugs.take("Café Müller!", id) for id in ("old", "new")]

    assert ["cafe-muller", "cafe-muller-11507a0e"] == taken


@given(NAMES)
def test_file_names_are_accepted_by_any_file_system(name):
    """A safe name stays as it is."""
    safe = safe_name(name)

    assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,79}", safe)
    assert not re.fullmatch(r"(CON|PRN|AUX|NUL|(COM|LPT)[1-9])", safe.partition(".")[0].upper())
    assert not safe.endswith(".")
    assert safe == safe_name(safe)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("plan.txt", "plan.txt"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("Übersicht 2018.PDF", "Ubersicht_2018.PDF"),
        ("con.txt", "_con.txt"),
        ("写真.jpg", "file.jpg"),
        ("." * 9, "file"),
    ],
)
def test_file_names_keep_what_they_can(name, safe):
    """That includes the extension."""
    assert safe == safe_name(name)


def test_ids_depend_on_the_original_alone():
    """They have 80 bits of its digest; one id for two things is an error."""
    ids = Ids()
    id = ids.add("user", "ann", stable_id("U", "ann"))

    assert re.fullmatch(r"U[A-Z2-7]{16}", id)
    assert id == ids.add("user", "ann", stable_id("U", "ann"))
    assert [("user", "ann", id)] == list(ids)
    with pytest.raises(ValueError, match="two of kind user"):
        ids.add("user", "bob", id)


@given(st.lists(st.integers(-(2**62), 2**62)).map(sorted))
def test_times_rise_strictly(times):
    """A message is moved only if its own time is taken, and then to the next one."""
    rising = RisingTimes(MILLISECOND)

    given_times = [(rising.next(ts), rising.moved) for ts in times]

    assert given_times == sorted(set(given_times))
    assert all(moved or time == ts // MILLISECOND for (time, moved), ts in zip(given_times, times, strict=True))
    assert all(time >= ts // MILLISECOND for (time, _), ts in zip(given_times, times, strict=True))
