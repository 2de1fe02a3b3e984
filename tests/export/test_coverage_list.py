"""Every operation and field of the service is exported, or left out for a stated reason."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest

from stride_async import Account, Conversation, Email, Media, Module, PersonName, Photo, Site, User
from stride_async.export import read
from stride_async.server import LocalServer
from tests import test_operations
from tests.conftest import client_of
from tests.export.coverage_lists import FIELDS, FIELDS_LEFT_OUT, OPERATIONS, OPERATIONS_LEFT_OUT
from tests.export.exporting import exported

PROTOCOL = (Path(__file__).parents[2] / "docs/protocol.md").read_text()
MODELS = {
    "4.1": [Conversation],
    "4.7": [User, PersonName, Email, Photo],
    "4.8": [Account],
    "4.9": [Media],
    "4.10": [Site],
    "4.11": [Module],
}
IDS_OF_THE_SAMPLES = {"V", "C"}


def sections() -> dict[str, str]:
    """Return the sections of the protocol page on objects, by number."""
    parts = re.split(r"^### (4\.\d+) .*$", PROTOCOL, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (re.split(r"^## ", part, flags=re.MULTILINE)[0] for part in parts[2::2]), strict=True))


def fields_in(section: str) -> set[str]:
    """Return the names in the samples and field tables of a section."""
    text = sections()[section]
    samples = "".join(re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    if not samples:
        samples = " ".join(re.findall(r"`(\{.*?\})`", text))
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", text, re.MULTILINE)
    found = set(re.findall(r'"(\w+)":', samples)) | {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    return found - IDS_OF_THE_SAMPLES


def test_every_operation_is_exported_or_left_out():
    """Each is in one of the two lists."""
    assert set(test_operations.OPERATIONS.values()) == OPERATIONS.keys() | OPERATIONS_LEFT_OUT.keys()
    assert set() == OPERATIONS.keys() & OPERATIONS_LEFT_OUT.keys()


@pytest.mark.parametrize("section", sections())
def test_every_field_is_exported_or_left_out(section: str):
    """The names of the protocol page and of the models are listed, and no others."""
    declared = {*FIELDS.get(section, ()), *FIELDS_LEFT_OUT.get(section, {})}
    documented = fields_in(section)
    modelled = {field.name for model in MODELS.get(section, []) for field in attrs.fields(model)} - {"extra"}

    assert documented <= declared
    assert set() == {name for name in modelled if name not in declared and camel(name) not in declared}
    assert declared <= documented | modelled | {camel(name) for name in modelled}
    assert set() == {*FIELDS.get(section, ())} & FIELDS_LEFT_OUT.get(section, {}).keys()


def camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda match: match[1].upper(), name)


async def test_an_export_uses_exactly_the_listed_operations(tmp_path):
    """The site has something of every kind."""
    plan = "conversations=12,messages=40,media=2,seed=5"
    async with LocalServer(generate=plan, rate_limit=None) as server, client_of(server) as client:
        await exported(client, tmp_path / "site")

        used = {test_operations.OPERATIONS[test_operations.operation_of(call)] for call in server.calls}

    assert OPERATIONS.keys() == used


async def test_conversations_and_profiles_are_read_back_as_the_service_gives_them(tmp_path):
    """Unknown fields are included."""
    plan = "conversations=12,messages=40,seed=5"
    async with LocalServer(generate=plan, rate_limit=None) as server, client_of(server) as client:
        await exported(client, tmp_path / "site")
        listed = {room.id: room async for room in client.conversations(include_archived=True)}
        archive = read(tmp_path / "site")
        people = {user.id: user for user in archive.users()}
        told = {id: await client.user(id).profile() for id in people}

    assert listed == {room.id: room for room in archive.conversations()}
    assert told == people
    assert len(people) > 5
