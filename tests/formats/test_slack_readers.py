"""Programs that read Slack exports read ours: each message once, with its sender, its text and its files."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from stride_async.export import read
from stride_async.export.formats import ConvertOptions, convert
from stride_async.server import LocalServer
from tests.conftest import client_of
from tests.export.exporting import exported

PLAN = "conversations=12,messages=60,media=12,media_max=2000"

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the programs


@contextmanager
def imported(name: str) -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield pytest.importorskip(name)


@pytest.fixture
async def archive(tmp_path: Path) -> Path:
    async with LocalServer(generate=PLAN, rate_limit=None) as server, client_of(server) as client:
        await exported(client, tmp_path / "site")
    return tmp_path / "site"


@pytest.fixture
def folder(archive: Path, tmp_path: Path) -> Path:
    """Return a folder with the content of the zip file."""
    out = tmp_path / "site.zip"
    convert(archive, "slack", out, options=ConvertOptions(files="beside"))
    with ZipFile(out) as file:
        file.extractall(tmp_path / "slack")
    return tmp_path / "slack"


def message_counts(archive: Path) -> list[int]:
    """Return the number of messages of each conversation that has any, sorted."""
    site = read(archive)
    return sorted(filter(None, (sum(1 for _ in site.raw_messages(room.id)) for room in site.conversations())))


def test_slack_export_viewer_shows_every_message(archive, folder, caplog):
    """Each has a sender with a name and a text, and nothing is logged as odd."""
    with imported("slackviewer.reader") as reader, imported("slackviewer.config") as config, caplog.at_level("WARNING"):
        viewer = reader.Reader(config.Config({"archive": str(folder)}))
        rooms = {**viewer.compile_channels(), **viewer.compile_groups(), **viewer.compile_dm_messages()}
        shown = [(message.username, message.msg) for messages in rooms.values() for message in messages]

    names = {user.display_name for user in read(archive).users()}
    assert message_counts(archive) == sorted(map(len, rooms.values()))
    assert {name for name, _ in shown} <= {*names, "Local app"}
    assert all(text for _, text in shown)
    assert not any("<@U" in text or "&lt;@U" in text for _, text in shown)
    assert [] == [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_slack_to_discord_takes_every_message_and_file(archive, folder):
    """Mentions become names, the marks are Discord's, and each file is found where it lies."""
    with imported("slack_to_discord.importer") as importer:
        users = importer.slack_usermap(str(folder))
        channels = importer.slack_channelmap(str(folder))
        taken = {
            name: list(
                importer.slack_channel_messages(str(folder), name, channels, users, {}, pins, "%Y-%m-%d", "%H:%M")
            )
            for name, _, pins, _ in channels.values()
        }

    messages = [message for each in taken.values() for message in each]
    files = [file for message in messages for file in message["files"]]
    dms = sum(len(list(path.glob("*.json"))) for path in folder.glob("D*"))
    assert dms or message_counts(archive) == sorted(len(each) for each in taken.values() if each)
    assert all(message["userinfo"][0] != "[unknown]" for message in messages)
    assert not any("`@[unknown]`" in message["text"] or "<@U" in message["text"] for message in messages)
    assert 12 == len({file["filepath"] for file in files})
    assert all(Path(file["filepath"]).is_file() for file in files)


def test_slack_chat_migrator_finds_nothing_to_complain_about(archive, folder):
    """Its inspection of an export finds all messages, files and addresses."""
    with imported("slack_chat_migrator.services.export_inspector") as inspector:
        found = inspector.ExportInspector(folder)

        assert sum(message_counts(archive)) == found.get_total_message_count()
        assert 12 <= found.get_total_file_count()
        assert [] == found.get_users_without_email()
        assert [] == [issue for issue in found.get_structure_issues() if "no JSON message files" not in issue]
