"""Sites with unusual names, people, times and documents: what is written satisfies the rules of the importers too."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stride_async.export import read
from stride_async.export.formats import convert
from tests.formats import rules_mattermost, rules_slack
from tests.formats.odd_sites import KNOWN, MESSAGES, NAMES, ROOMS, archive_of

RULES = {"slack": rules_slack, "mattermost": rules_mattermost}


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.parametrize("format", RULES)
@hypothesis.settings(max_examples=6, phases=[hypothesis.Phase.generate])
@given(
    people=st.lists(NAMES.filter(bool), min_size=KNOWN, max_size=KNOWN),
    rooms=st.lists(ROOMS, min_size=1, max_size=4),
    messages=st.lists(MESSAGES, max_size=8),
)
def test_unusual_sites_satisfy_every_rule(format, people, rooms, messages):
    """No message is lost on the way, and the file is taken as it is."""
    with tempfile.TemporaryDirectory() as folder:
        archive = asyncio.run(archive_of(people, rooms, messages, Path(folder) / "site"))
        out = Path(folder) / "out.zip"
        report = convert(archive, format, out)

        assert [] == RULES[format].violations(out)
        assert len(messages) == report.messages
        assert len(list(read(archive).conversations())) == report.conversations
