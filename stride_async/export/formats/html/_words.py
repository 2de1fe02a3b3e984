"""The words of a text, as the search of the pages knows them. Pure.

A word is a run of letters and digits, without accents and in lower case. Scripts that write words without spaces have
no such runs, so each character and each pair of neighbors counts as a word. `assets/pages.js` reads a query by the
same rules; the two must agree.
"""

from __future__ import annotations

import re
import unicodedata

LONGEST_WORD = 32
"""Characters of a word that count. Longer ones are mostly digests and encoded data."""

_ASCII_WORD = re.compile("[a-z0-9]+")
_WORD = re.compile(r"[^\W_]+")
# Thai, Lao, Myanmar, Khmer, kana, CJK ideographs.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")
_SCRIPTS = re.compile(f"[{_UNSPACED}]+|[^{_UNSPACED}]+")


class _Marks(dict[int, int | None]):
    """The table for `str.translate` that removes combining marks. It is filled as characters occur."""

    def __missing__(self, code: int) -> int | None:
        kept = None if unicodedata.category(chr(code)).startswith("M") else code
        self[code] = kept
        return kept


_MARKS = _Marks()
_FINAL_SIGMA = {ord("\N{GREEK SMALL LETTER FINAL SIGMA}"): "\N{GREEK SMALL LETTER SIGMA}"}


def words_in(text: str) -> set[str]:
    """Return the words of a text, each once."""
    if text.isascii():
        words = set(_ASCII_WORD.findall(text.lower()))
    else:
        words = set(_WORD.findall(plain(text)))
        for word in [word for word in words if not word.isascii() and _IS_UNSPACED.search(word)]:
            words.remove(word)
            for run in _SCRIPTS.findall(word):
                words.update(_pieces(run) if _IS_UNSPACED.match(run) else (run,))
    for word in [word for word in words if len(word) > LONGEST_WORD]:
        words.remove(word)
        words.add(word[:LONGEST_WORD])
    return words


def plain(text: str) -> str:
    """Return a text in lower case and without accents, with compatible characters made equal."""
    return (
        unicodedata.normalize("NFKD", text)
        .translate(_MARKS)
        .lower()
        .replace("\N{GREEK SMALL LETTER FINAL SIGMA}", "\N{GREEK SMALL LETTER SIGMA}")
    )


def _pieces(run: str) -> set[str]:
    return {*run, *(run[start : start + 2] for start in range(len(run) - 1))}
