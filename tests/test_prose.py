"""Phrases that must not come back into documentation, docstrings, comments and messages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# The files and folders that are checked. The sample sentences of the local server are data, and part of its sites.
CHECKED = (
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "noxfile.py"),
    *("docs", "benchmarks", "examples", "stride_async", "tests"),
)
SAMPLES = ROOT / "stride_async/server/_sample_text.py"

# What must not be written, as regular expressions, and what to write instead.
PHRASES = {
    r"(?:is|are|was|were|be|been|never|not) told|told otherwise": "is reported, by default",
    r"(?:is|are|was|were) meant\b(?! (?:to|for|as)\b)": "matches",
    r"(?:spoken|speaks|speak) of": "is referenced",
    r"(?:go|goes|going|gone|went) on (?:with|where|from|behind)": "is resumed, continues",
    r"sent again": "is retried",
    r"be had": "could not be fetched, is unavailable",
    r"whoever|somebody|anybody|everybody|nobody": "the caller, another process, anyone, everyone, no one",
    r"(?<![\"|])(?<!--files )beside": "next to, in addition to",
    r"lanes?": "slot",
    r"left undone": "unfinished",
    r"torso": "incomplete archive",
    r"(?:is|are|arrives?|only|when|not) whole": "is complete",
    r"(?<!there )(?:is|are|was|were) no (?!longer\b|more\b|one\b)[a-z]+": "is not a …",
}


def wrong_phrases(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield the line, the phrase and the suggestion for each phrase of a text, even if a line break splits it."""
    words = [(word, line) for line, row in enumerate(text.splitlines(), 1) for word in row.lstrip(" #:").split()]
    joined = " ".join(word for word, _ in words)
    for pattern, suggestion in PHRASES.items():
        for match in re.finditer(rf"\b(?:{pattern})\b", joined, re.IGNORECASE):
            yield words[joined.count(" ", 0, match.start())][1], match[0], suggestion


def test_prose_is_plain():
    """No checked file contains a phrase of the list."""
    paths = [
        path for name in CHECKED for path in ([ROOT / name] if "." in name else sorted((ROOT / name).rglob("*.*")))
    ]
    found = [
        f"{path.relative_to(ROOT)}:{line}: {phrase!r}; write: {suggestion}"
        for path in paths
        if path.suffix in {".md", ".py"} and path not in {Path(__file__), SAMPLES}
        for line, phrase, suggestion in wrong_phrases(path.read_text())
    ]

    if found:
        pytest.fail("\n".join(found), pytrace=False)


def test_phrase_is_found_across_lines():
    """A phrase that is split by a line break of a comment is found, with the line on which it begins."""
    text = "# The archive is\n# no archive. There is no file, and it is no longer used."

    assert [(1, "is no archive")] == [(line, phrase) for line, phrase, _ in wrong_phrases(text)]
