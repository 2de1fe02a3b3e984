"""The files of the search, read as `pages.js` reads them, give what a look at every message gives."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stride_async.export.formats.html import _search
from stride_async.export.formats.html._search import (
    INDEX,
    Found,
    Head,
    Sorted,
    differences,
    found,
    kept_files,
    numbers,
    read_head,
    search_files,
)

_TEXTS = st.lists(st.lists(st.sampled_from(["alpha", "beta", "gamma", "del", "東京", "x9"]), max_size=4), max_size=60)


def message(number: int, text: str) -> Found:
    return found(
        page=f"c/{number % 3}/2018-03-1",
        anchor=f"m-{number}",
        conversation="general",
        person=f"Person {number % 5}",
        minute=25_000_000 + number,
        text=text,
    )


def value_of(content: bytes):
    """Return the value that a script hands over."""
    return json.loads(content[content.index(b",") + 1 : -3])


def postings_in(files: dict[str, bytes]) -> dict[str, list[int]]:
    """Return the numbers of the messages of every word."""
    head = value_of(files[INDEX])
    every: dict[str, list[int]] = {}
    for segment, firsts in enumerate(head["segments"]):
        for number, first in enumerate(firsts):
            lines = value_of(files[f"search/w/{segment}-{number}.js"]).split("\n")
            assert first == lines[0].split(" ")[0]
            for line in lines:
                word, found_in = line.split(" ")
                every.setdefault(word, []).extend(segment * _search.SEGMENT + one for one in numbers(found_in))
    return every


@pytest.fixture
def small_files(monkeypatch):
    """Let a few messages fill segments and files."""
    monkeypatch.setattr(_search, "TEXTS_PER_FILE", 4)
    monkeypatch.setattr(_search, "SEGMENT", 12)
    monkeypatch.setattr(_search, "_WORD_FILE_CHARACTERS", 40)


@given(st.lists(st.integers(0, 2**40)))
def test_differences_are_read_back(values):
    """Numbers that do not fall are the same after they were written as differences."""
    assert sorted(values) == numbers(differences(sorted(values)))


def test_every_word_finds_its_messages(small_files):
    """Each word has the numbers of all messages with it, in order, and each message has its text."""

    @given(_TEXTS)
    def check(texts):
        messages = [message(number, " ".join(words)) for number, words in enumerate(texts)]
        files = dict(search_files(messages, 0, Head()))

        expected: dict[str, list[int]] = {}
        for number, one in enumerate(messages):
            for word in one.words.split(" "):
                expected.setdefault(word, []).append(number)
        assert expected == postings_in(files)
        assert len(messages) == value_of(files[INDEX])["messages"]
        for number, one in enumerate(messages):
            texts_file = value_of(files[f"search/t/{number // 4}.js"])
            page, person, minute, anchor, excerpt = texts_file["rows"][number % 4]
            assert [one.page, one.conversation] == texts_file["pages"][page]
            assert (one.person, one.minute, one.anchor, one.excerpt) == (
                texts_file["people"][person], minute, anchor, excerpt
            )  # fmt: skip

    check()


def test_an_update_equals_a_new_index_and_keeps_complete_segments(small_files):
    """Whatever is added or changed from a number on, the files are those of an index that is made anew."""

    @given(_TEXTS, _TEXTS, st.integers(0, 60), st.integers(0, 60))
    def check(before, after, changed_at, given_from):
        changed_at = min(changed_at, len(before))
        given_from = min(given_from, changed_at // 12 * 12)
        old = [message(number, " ".join(words)) for number, words in enumerate(before)]
        new = old[:changed_at] + [
            message(number, " ".join(words)) for number, words in enumerate(after, start=changed_at)
        ]
        files = dict(search_files(old, 0, Head()))
        head = read_head(files[INDEX])
        assert head is not None

        kept = set(kept_files(head, given_from)) - {INDEX}
        made = dict(search_files(new[given_from:], given_from, head))

        assert kept <= files.keys()
        assert not kept & made.keys()
        assert dict(search_files(new, 0, Head())) == {name: files[name] for name in kept} | made

    check()


def test_messages_come_out_by_time():
    """Messages of all conversations are sorted by time, then by conversation and id."""
    messages = Sorted()
    messages.add(2, [((30, "a"), message(1, "late")), ((40, "b"), message(2, "last"))])
    messages.add(1, [((10, "c"), message(3, "first")), ((30, "z"), message(4, "middle"))])

    assert ["first", "middle", "late", "last"] == [one.excerpt for one in messages]
    messages.close()


def test_an_index_of_another_form_is_not_read():
    """A file that is cut off or is not ours gives no index, so that everything is made anew."""
    complete = dict(search_files([message(1, "text")], 0, Head()))[INDEX]

    assert 1 == read_head(complete).messages
    assert [None] * 3 == [read_head(content) for content in (b"", complete[:-5], b'stride.put("search/index",[1]);\n')]


def test_an_excerpt_is_one_line_and_ends_with_an_ellipsis_if_it_was_cut():
    """The search shows up to 160 characters."""
    assert "a b c" == message(1, "a\n b\tc").excerpt
    assert (160, "…") == (len(message(1, "word " * 100).excerpt), message(1, "word " * 100).excerpt[-1])
