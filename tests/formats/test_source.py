"""What every format reads: conversations in order, and people who all have a name."""

from __future__ import annotations

import json
import shutil
from contextlib import aclosing

import pytest

from stride_async.export import ExportOptions, NothingSelected, PagesFetched, Selection, export
from stride_async.export._archive.archive import Archive
from stride_async.export.formats._report import Tally
from stride_async.export.formats._source import Source
from tests.export.exporting import exported

EVERYTHING = Selection()


@pytest.fixture
def source_of(tmp_path):
    """Return a function that opens the archive, with its tally."""

    def open_source(selection=EVERYTHING):
        tally = Tally()
        return Source(Archive.open(tmp_path / "site"), selection, tally), tally

    return open_source


async def test_conversations_come_oldest_first(server, client, tmp_path, source_of):
    """Each can also be found by its id."""
    ids = [server.add_conversation(name) for name in ("zebra", "ape", "mole")]
    await exported(client, tmp_path / "site")

    source, _ = source_of()

    rooms = list(source.rooms())
    assert sorted(rooms, key=lambda room: (room.conversation.created, room.id)) == rooms
    assert set(ids) == {room.id for room in rooms}
    assert rooms == [source.room(room.id) for room in rooms]


async def test_everyone_has_a_name_and_an_address(server, client, tmp_path, source_of):
    """Someone without a profile is named by the id and is not active; the labels of equal names differ."""
    anns = [server.add_user("Ann Adler", email=f"ann{number}@example.invalid") for number in (1, 2)]
    room = server.add_conversation("general", roster=anns)
    server.fill(room, 2, sender_id="557058:who")
    await exported(client, tmp_path / "site")

    source, tally = source_of()

    unknown = source.people["557058:who"]
    assert ("557058:who", "557058:who", False, False) == (unknown.name, unknown.label, unknown.active, unknown.is_known)
    assert unknown.email.endswith("@unknown.invalid")
    labels = {source.people[id].label for id in anns}
    assert {"Ann Adler"} == {source.people[id].name for id in anns}
    assert 2 == len(labels)
    assert all(label.startswith("Ann Adler (") for label in labels)
    assert sorted([*anns, "557058:who"]) == [person.id for person in source.people]
    assert "557058:new" == source.people["557058:new"].id
    assert [("person without a profile", 2)] == [(loss.kind, loss.count) for loss in tally.losses()]


async def test_a_malformed_conversation_keeps_what_can_be_read(server, client, tmp_path, source_of):
    """It is counted, and its messages are carried over."""
    room = server.add_conversation("general")
    server.fill(room, 2)
    listed = {"values": [{"id": room, "name": "general", "topic": 7, "created": "yesterday"}], "size": 1}
    server.faults.add("GET", "*/conversation", body=json.dumps(listed).encode(), times=1)
    await exported(client, tmp_path / "site")

    source, tally = source_of()

    [found] = source.rooms()
    assert ("general", "", None) == (found.conversation.name, found.conversation.topic, found.conversation.created)
    assert 2 == len(list(found.messages()))
    assert "undecodable conversation" in {loss.kind for loss in tally.losses()}


@pytest.mark.parametrize(
    ("selectors", "found"),
    [
        (("gen*",), ["general"]),
        (("gen*", "^nothing"), ["general"]),
        (("gen*", "^general"), "no conversation matches 'gen.' '.general'"),
        (("gen*", "nothing"), "no conversation matches 'nothing' .2 available"),
    ],
)
async def test_every_selector_means_something(server, client, tmp_path, source_of, selectors, found):
    """One that matches no conversation may be misspelled. An exclusion may match nothing."""
    server.add_conversation("general")
    server.add_conversation("other")
    await exported(client, tmp_path / "site")

    if isinstance(found, str):
        with pytest.raises(NothingSelected, match=found):
            source_of(Selection(selectors))
    else:
        source, _ = source_of(Selection(selectors))
        assert found == [room.conversation.name for room in source.rooms()]


async def test_an_archive_without_conversations_has_none_to_select(server, client, tmp_path, source_of):
    """Without a selection, it is a site without conversations."""
    server.add_conversation("general")
    await exported(client, tmp_path / "site")
    shutil.rmtree(tmp_path / "site/data/conversations")

    with pytest.raises(NothingSelected, match="the archive has no conversations"):
        source_of(Selection(("general",)))
    source, _ = source_of()
    assert [] == list(source.rooms())


async def test_an_unfinished_archive_is_carried_over(server, client, tmp_path, source_of):
    """What is held counts as unfinished, with the verdict that `verify` gives."""
    room = server.add_conversation("general")
    server.fill(room, 3000)
    async with aclosing(export(client, tmp_path / "site", ExportOptions())) as events:
        async for event in events:
            if isinstance(event, PagesFetched):
                break

    source, tally = source_of()

    [found] = source.rooms()
    assert {"unsealed"} == {month.month for month in found.months}
    assert found.rows == len(list(found.messages())) > 0
    assert found.verdict.startswith("complete up to")
    assert ("conversation unfinished", 1, (room,)) in [
        (loss.kind, loss.count, loss.examples) for loss in tally.losses()
    ]


def test_a_loss_has_one_of_the_fixed_kinds():
    """A writer cannot invent words."""
    tally = Tally()
    for number in range(8):
        tally.lose("node without equivalent: panel", f"m{number}")

    assert [("node without equivalent: panel", 8, 5)] == [(n.kind, n.count, len(n.examples)) for n in tally.losses()]
    with pytest.raises(ValueError, match="not a kind of loss"):
        tally.lose("bad luck", "m1")
