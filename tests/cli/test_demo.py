"""Test `stride demo`: all of it, and its exit code when something differs."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner

from stride_async._cli.main import stride
from stride_async.server import LocalServer, Truth

SMALL = ["demo", "--rooms", "4", "--messages", "120"]


def test_the_archive_matches_the_server():
    """Each row has equal values; the totals are those requested plus what the demo adds."""
    result = CliRunner().invoke(stride, SMALL)

    assert 0 == result.exit_code, result.stderr
    rows = {row["what"]: row for row in map(json.loads, result.stdout.splitlines())}
    assert all(row["ok"] and row["expected"] == row["got"] for row in rows.values())
    assert (5, 122) == (rows["conversations"]["got"], rows["messages"]["got"])
    assert 2 <= rows["files"]["got"]
    assert "complete" == rows["archive verdict"]["got"]
    assert "stride server --generate conversations=4,messages=30,seed=7" in result.stderr


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the demo write its files into a folder of the test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_demo_leaves_the_archive_and_its_pages(temporary: Path):
    """It says where they are, and how to open them; other files are gone when it ends."""
    result = CliRunner().invoke(stride, SMALL)

    assert 0 == result.exit_code, result.stderr
    [folder] = temporary.iterdir()
    assert [folder / "site"] == list(folder.iterdir())
    assert (folder / "site/derived/html/index.html").as_uri() in result.stderr
    assert f"stride view {folder}/site" == result.stderr.rstrip().splitlines()[-1].strip()


def test_a_demo_that_fails_leaves_nothing(temporary: Path, monkeypatch: pytest.MonkeyPatch):
    """What it wrote before the error is removed."""

    def fails(server: LocalServer) -> Truth:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LocalServer, "truth", fails)

    result = CliRunner().invoke(stride, SMALL)

    assert 1 == result.exit_code
    assert [] == list(temporary.iterdir())


def test_a_demo_without_messages_succeeds():
    """The smallest site is a single empty conversation."""
    result = CliRunner().invoke(stride, ["demo", "--rooms", "1", "--messages", "0"])

    assert 0 == result.exit_code, result.stderr


def test_a_difference_is_exit_6(monkeypatch: pytest.MonkeyPatch):
    """One missing message shows in the rows about messages, and in no other."""
    whole = LocalServer.truth

    def lies(server: LocalServer) -> Truth:
        truth = whole(server)
        first, *_ = truth.conversations.values()
        changed = attrs.evolve(first, messages=first.messages + 1, sha256="0" * 64)
        return attrs.evolve(truth, conversations={**truth.conversations, first.id: changed})

    monkeypatch.setattr(LocalServer, "truth", lies)

    result = CliRunner().invoke(stride, SMALL)

    assert 6 == result.exit_code
    wrong = [row["what"] for row in map(json.loads, result.stdout.splitlines()) if not row["ok"]]
    assert ["messages", "messages, sha256"] == wrong
