"""Test that the pictures of the documentation show what the command shows now."""

import struct

import pytest

from tests.formats.html.browser import installed_browser
from tests.pictures import PAGES, PICTURES, TERMINALS, screen, words


@pytest.mark.slow
@pytest.mark.parametrize("name", TERMINALS)
def test_a_picture_of_a_terminal_has_the_words_of_a_new_run(name):
    """If this fails, `python -m tests.pictures` makes the pictures anew."""
    assert words(TERMINALS[name]()) == words((PICTURES / name).read_text())


@pytest.mark.slow
@pytest.mark.skipif(installed_browser() is None, reason="no Chromium is installed: see CONTRIBUTING.md")
@pytest.mark.parametrize("name", PAGES)
def test_a_picture_of_a_page_has_the_size_of_a_new_one(name):
    """The pictures are compared by their size only, since fonts differ between machines."""
    made, kept = PAGES[name](), (PICTURES / name).read_bytes()

    assert b"\x89PNG" == made[:4]
    assert struct.unpack(">II", made[16:24]) == struct.unpack(">II", kept[16:24])


def test_pictures_are_small_and_load_nothing():
    """A page that shows all of them stays quick, and works offline."""
    pictures = sorted(PICTURES.iterdir())

    assert sorted({*TERMINALS, *PAGES}) == [picture.name for picture in pictures]
    assert all(picture.stat().st_size < 100_000 for picture in pictures)
    assert all(b"url(http" not in picture.read_bytes() for picture in pictures)


def test_a_screen_shows_what_is_left_after_progress_was_drawn():
    """Lines that were drawn anew are shown once, and lines below them stay."""
    drawn = "start\r\n10 %\r\nleft\r\x1b[2K\x1b[1A\x1b[2K\x1b[32m20 %\x1b[0m\r\nless\r\x1b[2K\x1b[1A\x1b[2Kdone\r\n"

    assert ["start", "done"] == screen(drawn)
