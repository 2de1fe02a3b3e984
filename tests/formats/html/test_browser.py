"""The pages in a browser, opened from the disk. Each test opens few pages, because a browser takes seconds to start."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest

from stride_async.export.formats import convert
from stride_async.export.formats.html._words import words_in
from tests.export.exporting import exported, show_file
from tests.formats.html.browser import open_page

pytestmark = pytest.mark.slow

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108020000009077"
    "53de0000000c49444154789c63f8cfc000000301010018dd8db00000000049454e44ae426082"
)


@pytest.fixture
async def pages(server, client, tmp_path):
    """Convert a site with three rooms, and return the folder of the pages."""
    ann = server.add_user("Ann Adler")
    room = server.add_conversation("general", roster=[ann])
    server.fill(room, 450, ts="2018-03-05T10:00:00Z", sender_id=ann)
    server.add_message(room, "The quick brown fox, 東京タワー", ts="2018-04-01T10:00:00Z", sender_id=ann)
    server.add_message(room, "<img src=x onerror=alert(1)> quick", ts="2018-04-03T10:00:00Z")
    show_file(server, room, "dot.png", PNG)
    server.fill(server.add_conversation("other"), 3, ts="2018-04-02T10:00:00Z")
    await exported(client, tmp_path / "site")
    convert(tmp_path / "site", "html", tmp_path / "out")
    return tmp_path / "out"


def drive(page: Path, script: str) -> Path:
    """Return a copy of a page with a script that uses it as a person would."""
    page.with_name("drive.js").write_text(script)
    driven = page.with_name("driven.html")
    driven.write_text(page.read_text().replace("</head>", '<script src="drive.js" defer></script></head>'))
    return driven


async def test_search_finds_all_words_newest_first(pages, tmp_path):
    """Without an error, and without anything that the policy refuses. Markup in a message stays text."""
    page = open_page(tmp_path / "profile", pages / "index.html", "#q=Quick")

    assert () == page.complaints
    assert "2 messages, newest first" == page.text("status")
    assert ["<img src=x onerror=alert(1)> quick", "The quick brown fox, 東京タワー"] == page.results()
    assert 2 == page.html.count("<mark")


@pytest.mark.parametrize(
    ("query", "status", "count"),
    [
        ("messag* adler", "The newest 20 messages; there are more", 20),
        ("brown 京タワ", "1 message, newest first", 1),
        ("brown message", "No message contains all of these words.", 0),
    ],
)
async def test_search_by_beginnings_names_and_characters(pages, tmp_path, query, status, count):
    """A word that ends in * finds its continuations; the sender counts; scripts without spaces are found by parts."""
    page = open_page(tmp_path / "profile", pages / "index.html", f"#q={quote(query)}")

    assert () == page.complaints
    assert status == page.text("status")
    assert count == len(page.results())


async def test_a_day_shows_the_messages_of_all_conversations(pages, tmp_path):
    """Oldest first. A day without messages names the next one with some."""
    page = open_page(tmp_path / "profile", pages / "index.html", "#day=2018-04-02")
    empty = open_page(tmp_path / "profile", pages / "index.html", "#day=2018-03-20")

    assert () == page.complaints + empty.complaints
    assert "2 April 2018: 3 messages" == page.text("status")
    assert ["message 1", "message 2", "message 3"] == page.results()
    assert "There are no messages of 20 March 2018. The next ones are of 1 April 2018." == empty.text("status")


async def test_a_page_works_with_and_without_javascript(pages, tmp_path):
    """Without it, the search and the jump to a day are hidden, and everything else is there."""
    [first, *_] = sorted(pages.glob("c/*/2018-03-1.html"))
    page = open_page(tmp_path / "profile", first, "#d-2018-03-05")
    (pages / "assets/pages.js").unlink()  # A headless browser reports nothing if all scripts are switched off.
    plain = open_page(tmp_path / "profile", first)

    assert () == page.complaints
    assert 'data-search="">' in page.html
    assert 'data-search="" hidden="">' in plain.html
    assert 200 == page.html.count("<article") == plain.html.count("<article")


async def test_more_results_come_when_they_are_asked_for(pages, tmp_path):
    """And `j` goes from one to the next."""
    driven = drive(
        pages / "index.html",
        """
        const next = setInterval(() => {
            const count = document.querySelectorAll(".result").length;
            if (count === 20) document.getElementById("more").click();
            if (count < 40) return;
            clearInterval(next);
            for (let times = 0; times < 3; times++)
                document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "j", bubbles: true }));
            document.activeElement.dataset.focused = "yes";
        }, 20);
        """,
    )
    page = open_page(tmp_path / "profile", driven, "#q=message")

    assert () == page.complaints
    assert "The newest 40 messages; there are more" == page.text("status")
    assert 40 == len(page.results())
    assert 1 == len(re.findall(r'<a class="result"[^>]* data-focused="yes"', page.html))


async def test_a_conversation_goes_to_the_page_of_a_day(pages, tmp_path):
    """It leads to the last page that does not begin after the day."""
    [folder] = {path.parent for path in pages.glob("c/*/2018-03-1.html")}
    driven = drive(
        folder / "index.html",
        """
        document.getElementById("day").value = "2018-04-02";
        document.querySelector("form.day button").click();
        """,
    )
    page = open_page(tmp_path / "profile", driven)

    assert () == page.complaints
    assert "<title>general, April 2018" in page.html


async def test_python_and_the_browser_agree_on_words(pages, tmp_path):
    """A query is cut into the words that the index has."""
    texts = [
        "Größe & Übermaß", "ΟΔΟΣ οδός", "İstanbul", "½ ﬁn Ⅳ ²", "snake_case", "a" * 50, "हिन्दी", "ภาษาไทย",
        "한국어 검색", "東京タワー2024年", "\U00020000\U00020001", "Ångström", "don’t", "e\u0301\u200dx",
        "Привет, мир!", "ǅ ŉ", "שָׁלוֹם",
    ]  # fmt: skip
    texts += [word for text in texts for word in text.split()]
    (pages / "check.js").write_text(
        f"const found = {json.dumps(texts)}.map((text) => stride.termsOf(text).map((term) => term.word).sort());\n"
        "document.getElementById('out').textContent = JSON.stringify(found);"
    )
    (pages / "check.html").write_text(
        '<!doctype html><html data-root=""><meta charset="utf-8"><body><pre id="out"></pre>'
        '<script src="assets/pages.js"></script><script src="check.js"></script>'
    )

    page = open_page(tmp_path / "profile", pages / "check.html")

    found = json.loads(page.text("out"))
    assert len(texts) == len(found)
    for text, words in zip(texts, found, strict=True):
        indexed = words_in(text)
        # A query looks for pairs of characters; single ones are for queries of one character.
        assert set(words) <= indexed, text
        assert {word for word in indexed if len(word) > 1 or word.isascii()} <= set(words), text
