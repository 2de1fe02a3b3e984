"""Which conversations a selection picks."""

from __future__ import annotations

import pickle
from difflib import SequenceMatcher

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stride_async.export import NothingSelected, Selection, room_in_address

NAMES = {"1": "General", "2": "team-red", "3": "team-blue", "4": "[draft] plans", "5": ""}


def picked(*selectors: str) -> list[str]:
    return [id for id, name in NAMES.items() if Selection(selectors).picks(id, name, ("group", "public"))]


@pytest.mark.parametrize(
    ("selectors", "ids"),
    [
        ((), ["1", "2", "3", "4", "5"]),
        (("2",), ["2"]),
        (("general",), ["1"]),
        (("TEAM-*",), ["2", "3"]),
        (("team-?ed",), ["2"]),
        (("team-*", "^team-red"), ["3"]),
        (("^team-*",), ["1", "4", "5"]),
        (("team-*", "^*", "team-blue"), ["3"]),
        (("[draft] *",), ["4"]),
        (("?draft] plans",), ["4"]),
        (("[d-f]*",), []),
        (("[draft] plans",), ["4"]),
        (("https://app.stride.com/site/chat/3",), ["3"]),
        (("https://applink.atlassian.com/stride/site/chat/3?a=b",), ["3"]),
        (("^https://app.stride.com/site/chat/3", "team-*", "^https://app.stride.com/site/chat/3/"), ["2"]),
        (("nothing",), []),
    ],
    ids=str,
)
def test_the_last_selector_that_matches_decides(selectors: tuple[str, ...], ids: list[str]):
    """Ids and addresses match exactly, names by pattern, ignoring case. Exclusions alone pick all the rest."""
    assert ids == picked(*selectors)


@given(st.text(min_size=1).filter(lambda name: not name.startswith("^") and "://" not in name))
def test_every_name_matches_itself(name: str):
    """This holds for one with special characters of a pattern, too."""
    assert Selection((name,)).picks("id", name, ("group",))


@pytest.mark.parametrize(
    ("kinds", "ids"),
    [
        (["direct"], ["d"]),
        (["private"], ["p"]),
        (["group"], ["g", "p"]),
        (["direct", "public"], ["d", "g"]),
        ([], ["d", "g", "p"]),
    ],
    ids=str,
)
def test_kinds_narrow_the_selection(kinds: list[str], ids: list[str]):
    """A conversation is picked if it has one of the kinds."""
    rooms = {"d": ("direct",), "g": ("group", "public"), "p": ("group", "private")}

    assert ids == [id for id, own in rooms.items() if Selection((), frozenset(kinds)).picks(id, id, own)]


@pytest.mark.parametrize(
    ("address", "room"),
    [
        ("https://app.stride.com/S/chat/R", ("S", "R")),
        ("https://app.stride.com/S/chat/R?x=1#top", ("S", "R")),
        ("https://applink.atlassian.com/stride/S/chat/R", ("S", "R")),
        (" https://app.stride.com/S/chat/R/ ", ("S", "R")),
        ("https://app.stride.com/S/chat/R/info", ("S", "R")),
        ("https://app.stride.com/S/chat/", None),
        ("https://example.com/S/chat/R", None),
        ("R", None),
    ],
)
def test_addresses_are_read(address: str, room: tuple[str, str] | None):
    """Those of the browser and deep links are addresses. Anything else is not."""
    assert room == room_in_address(address)


def test_similar_names_are_suggested_for_selectors_without_a_match():
    """Each name is suggested once, as it is written."""
    assert "General" == Selection(("genral", "generall", "team-red")).nearest(NAMES)[0]
    assert ["genral", "^gone"] == Selection(("genral", "^gone", "team-*")).unmatched(NAMES)
    assert [] == Selection(("*",)).nearest(NAMES)


def test_the_most_similar_name_comes_first():
    """Dissimilar names are not suggested, and never more than three."""
    assert ["team-blue", "team-red"] == Selection(("team-blau",)).nearest(NAMES)
    assert [] == Selection(("xyz",)).nearest(NAMES)
    assert 3 == len(Selection(("room",)).nearest({str(number): f"room {number}" for number in range(5)}))


@pytest.mark.parametrize("selector", ["6f5b-9e9c", "^6f5b-9e9c", "https://app.stride.com/site/chat/6f5b-9e9c"])
def test_a_similar_id_is_suggested(selector: str):
    """A name that is not similar is not."""
    assert ["6f5b-9e9b"] == Selection((selector,)).nearest({"6f5b-9e9b": "", "xyz": "general"})


def test_the_error_of_an_empty_selection_can_be_pickled():
    """Its message and the suggestions survive."""
    error = pickle.loads(pickle.dumps(NothingSelected("no conversation matches 'x'", ["y"])))

    assert ("no conversation matches 'x'", ["y"]) == (str(error), error.nearest)


@given(st.text(min_size=1, max_size=8), st.lists(st.text(max_size=8), max_size=6))
def test_only_similar_names_are_suggested(selector, names):
    """A suggestion contains the selector or shares half of its text, and stands among the names or ids."""
    listed = {f"{number}-id": name for number, name in enumerate(names)}
    for name in Selection((selector,)).nearest(listed):
        alike = SequenceMatcher(a=name.casefold(), b=selector.strip("^*").casefold()).ratio()
        assert name in {*names, *listed}
        assert alike >= 0.5 or selector.strip("^*").casefold() in name.casefold()
