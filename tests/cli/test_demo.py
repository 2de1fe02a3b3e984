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
    rows = {row["what"].strip(): row for row in map(json.loads, result.stdout.splitlines())}
    assert all(row["ok"] and row["expected"] == row["got"] for row in rows.values())
    assert (5, 122) == (rows["conversations"]["got"], rows["messages"]["got"])
    assert 2 <= rows["files"]["got"]
    assert "complete" == rows["archive verdict"]["got"]
    assert "stride server --generate conversations=4,messages=30,seed=7" in result.stderr


def test_the_demo_removes_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its temporary folders are gone when it ends."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    result = CliRunner().invoke(stride, SMALL)

    assert 0 == result.exit_code, result.stderr
    assert [] == list(tmp_path.iterdir())


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
