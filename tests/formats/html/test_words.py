"""The words of a text, as the search of the pages knows them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stride_async.export.formats.html._words import LONGEST_WORD, words_in


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The build, the TESTS!", {"the", "build", "tests"}),
        ("Café naïve Größe", {"cafe", "naive", "große"}),
        ("snake_case https://example.com/a-1", {"snake", "case", "https", "example", "com", "a", "1"}),
        ("Οδός ΟΔΟΣ", {"οδοσ"}),
        ("½ ﬁn Ⅳ", {"1", "2", "fin", "iv"}),
        ("x" * 100, {"x" * LONGEST_WORD}),
        ("東京タワー2024", {"東", "京", "タ", "ワ", "ー", "東京", "京タ", "タワ", "ワー", "2024"}),
        ("हिन्दी", {"हनद"}),
        ("... --- !", set()),
    ],
)
def test_words_are_runs_of_letters_and_digits_in_lower_case_without_accents(text, words):
    """Characters of scripts without spaces count alone and in pairs; long words are cut."""
    assert words == words_in(text)


@given(st.text())
def test_words_of_any_text_are_found_by_themselves(text):
    """A word that is found in a text is found when it is searched for."""
    for word in words_in(text):
        assert word in words_in(word)
        assert 0 < len(word) <= LONGEST_WORD
        assert " " not in word
        assert "\n" not in word


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_words_of_ascii_text_follow_the_rules_of_all_texts(text):
    """The shortcut for ASCII gives the same words."""
    assert words_in(f"{text} é") == words_in(text) | {"e"}
