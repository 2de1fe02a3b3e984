"""Sites with unusual names, people, times and documents are moved completely, and once."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stride_async.export.matrix import Summary, new_registration, preview
from tests.formats.odd_sites import KNOWN, MESSAGES, NAMES, ROOMS, archive_of
from tests.matrix.fake import SERVER, FakeHomeserver
from tests.matrix.moving import moved


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@hypothesis.settings(max_examples=4, phases=[hypothesis.Phase.generate])
@given(
    people=st.lists(NAMES.filter(bool), min_size=KNOWN, max_size=KNOWN),
    rooms=st.lists(ROOMS, min_size=1, max_size=4),
    messages=st.lists(MESSAGES, max_size=8),
)
def test_unusual_sites_arrive_completely(people, rooms, messages):
    """The homeserver refuses nothing, each message is there once, and a second migration sends nothing."""
    with tempfile.TemporaryDirectory() as folder:
        archive = asyncio.run(archive_of(people, rooms, messages, Path(folder) / "site"))

        first, second, homeserver = asyncio.run(_moved_twice(archive, Path(folder) / "stride.yaml"))

        events = [event for room in homeserver.rooms.values() for event in room.messages()]
        marks = [event["content"]["com.atlassian.stride"] for event in events]
        assert (0, len(messages)) == (first.failed, first.report.messages)
        assert (len(events), 0) == (first.sent, second.sent)
        assert len(events) == len({(mark["id"], mark.get("part"), mark.get("media")) for mark in marks})
        assert preview(archive) == first.report == second.report


async def _moved_twice(archive: Path, file: Path) -> tuple[Summary, Summary, FakeHomeserver]:
    registration = new_registration(file, SERVER)
    async with FakeHomeserver(registration.token) as homeserver:
        first = await moved(archive, homeserver, registration)
        homeserver.restart()
        return first, await moved(archive, homeserver, registration), homeserver
