"""Test `stride status` and `stride verify` on archives that are damaged or incomplete."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path

import click
import pytest

from stride_async.server import LocalServer
from tests.cli.conftest import Run, Started, on_terminal
from tests.export.exporting import show_file


@pytest.fixture
async def archive(run: Run, server: LocalServer, tmp_path: Path) -> Path:
    """Export a room with a message, and export it again after more messages."""
    room = server.add_conversation("general", roster=[server.add_user("Ann")])
    server.fill(room, 80)
    for _ in range(2):
        assert 0 == (await run("export", "-o", str(tmp_path / "the site"))).exit_code
        server.fill(room, 5, ts="2018-08-01T00:00:00Z")
    return tmp_path / "the site"


def files(archive: Path, pattern: str) -> list[Path]:
    return sorted(archive.glob(pattern))


REMEDIES = {
    "data/conversations/*/sealed/*/*": "stride export --rescan all -o {archive}",
    "data/conversations/*/commit/*": "move the folder of their conversation out of the archive",
    "runs/*/heads.json": "move the folder of the run out of runs/",
}


@pytest.mark.parametrize("part", REMEDIES)
async def test_verify_names_the_remedy(run: Run, archive: Path, part: str):
    """The remedy stands on a line before the final error."""
    file = files(archive, part)[-1]
    file.write_bytes(file.read_bytes()[:-5])

    result = await run("verify", str(archive))

    *_, remedy, last = result.stderr.splitlines()
    assert 6 == result.exit_code
    assert REMEDIES[part].format(archive=shlex.quote(str(archive))) in remedy
    assert file.relative_to(archive).as_posix() in last


async def test_verify_keeps_paths_in_one_piece(start: Started, environment: dict[str, str], archive: Path):
    """On a terminal that is narrower than a path, the path can still be copied."""
    file = files(archive, "data/conversations/*/sealed/*/*")[-1]
    file.write_bytes(file.read_bytes()[:-5])
    variables = dict(os.environ) | environment | {"COLUMNS": "80", "TERM": "xterm"}

    code, shown = await on_terminal(start, "verify", str(archive), env=variables)

    assert 6 == code
    assert f"FILE     {file.relative_to(archive).as_posix()}" in click.unstyle(shown).splitlines()


async def test_verify_says_what_lists_the_missing_items(run: Run, server: LocalServer, tmp_path: Path):
    """The list has those of every run, not only of the last one, which may have been about other conversations."""
    room, archive = server.add_conversation("general"), str(tmp_path / "site")
    server.add_conversation("other")
    file = show_file(server, room, "a.bin", b"a")
    server.faults.add("GET", f"*/media/{file}", status=404)
    codes = [(await run("export", *selectors, "-o", archive)).exit_code for selectors in ([], ["other"])]

    verified, listed = await run("verify", archive), await run("status", archive)

    assert [5, 0] == codes
    assert "1 item could not be fetched. `stride status` lists what is missing." in verified.stderr.splitlines()
    assert [file] == [failure["id"] for failure in json.loads(listed.stdout)["failures"]]


async def test_verify_gives_the_remedy_in_json(run: Run, archive: Path):
    """Each finding has its remedy as a field."""
    profiles = files(archive, "data/users/sealed/*")[-1]
    profiles.unlink()

    result = await run("verify", str(archive))

    [found] = [line for line in map(json.loads, result.stdout.splitlines()) if "path" in line]
    assert (profiles.relative_to(archive).as_posix(), "rescan") == (found["path"], found["remedy"])


async def test_a_damaged_list_of_failures_is_reported(run: Run, server: LocalServer, archive: Path):
    """Verify reports how many are missing from the list; status reads them from the commits."""
    server.faults.add("GET", "*/roster", status=403)
    assert 5 == (await run("export", "-o", str(archive))).exit_code
    [listed] = files(archive, "runs/*/failures.jsonl")
    listed.write_bytes(listed.read_bytes()[:20])

    status, verified = await run("status", str(archive)), await run("verify", str(archive))

    assert (0, ["roster"]) == (status.exit_code, [each["what"] for each in json.loads(status.stdout)["failures"]])
    assert 0 == verified.exit_code, verified.stderr
    assert "failures.jsonl lists 0 of 1" in verified.stderr


async def test_status_shows_what_no_run_has_mended(run: Run, server: LocalServer, archive: Path):
    """Also what the last run did not try, until another run fetches it."""
    other = server.add_conversation("other")
    refused = server.faults.add("GET", f"*/{other}/roster", status=403)
    assert 5 == (await run("export", "-o", str(archive))).exit_code
    assert 0 == (await run("export", "general", "-o", str(archive))).exit_code

    missing = json.loads((await run("status", str(archive))).stdout)["failures"]
    refused.remove()
    assert 0 == (await run("export", "-o", str(archive))).exit_code
    mended = json.loads((await run("status", str(archive))).stdout)["failures"]

    assert [(other, "roster", "run again with --retry-failed")] == [
        (each["conversationId"], each["what"], each["hint"]) for each in missing
    ]
    assert [] == mended


async def test_verify_ends_with_what_is_intact(run: Run, archive: Path):
    """The last line is the result, with what was checked."""
    result = await run("verify", str(archive))

    held = json.loads((await run("status", str(archive))).stdout)
    counts = f"{held['conversations']} conversation, {held['messages']} messages and {held['media']} file"
    assert 0 == result.exit_code
    assert f"Everything in the archive is intact: {counts}" in result.stderr.splitlines()[-1]


async def test_foreign_files_are_named_but_are_not_damage(run: Run, archive: Path):
    """Neither command fails because of them."""
    [commits] = files(archive, "data/conversations/*/commit")
    (commits / "00000001 (1).json").write_bytes(b"{}")

    status, verified = await run("status", str(archive)), await run("verify", str(archive))

    assert (0, 0) == (status.exit_code, verified.exit_code), verified.stderr
    assert "commit/00000001 (1).json" in verified.stderr


async def test_status_and_verify_report_an_interrupted_export(run: Run, server: LocalServer, archive: Path):
    """Verify exits with 6 and names the command that resumes; status says that the run did not finish."""
    server.add_conversation("new")
    server.faults.add("GET", "*/roster", status=401)
    assert 4 == (await run("export", "-o", str(archive), "--rescan", "all")).exit_code

    status, verified = await run("status", str(archive)), await run("verify", str(archive))

    held = json.loads(status.stdout)
    assert (False, {"complete": 1, "unknown": 1}) == (held["finished"], held["verdicts"])
    assert {"general": "complete", "new": "unknown: its messages were not read"} == {
        line["name"]: line["text"] for line in map(json.loads, verified.stdout.splitlines()) if "name" in line
    }
    assert 6 == verified.exit_code
    assert verified.stderr.endswith(
        f"\nError: The archive is unfinished. To complete it, run:\n  stride export -o {shlex.quote(str(archive))}\n"
    )


async def test_verify_says_once_that_an_archive_is_unfinished(
    run: Run, start: Started, server: LocalServer, environment: dict[str, str], archive: Path
):
    """What is unfinished stands under a heading of its own, not under that of damage."""
    server.add_conversation("new")
    server.faults.add("GET", "*/roster", status=401, times=10)
    assert 4 == (await run("export", "-o", str(archive), "--rescan", "all")).exit_code
    variables = dict(os.environ) | environment | {"NO_COLOR": "1", "COLUMNS": "200", "TERM": "xterm"}

    code, shown = await on_terminal(start, "verify", str(archive), env=variables)

    text = click.unstyle(shown)
    assert (6, 1, 1) == (code, text.count("did not finish"), text.count("stride export -o"))
    assert ["UNFINISHED"] == re.findall("UNFINISHED|PROBLEM|WRONG", text)
    assert "run the export again" not in text


async def test_verify_reports_damage_before_what_is_unfinished(run: Run, server: LocalServer, archive: Path):
    """The error names the damaged file."""
    server.add_conversation("new")
    server.faults.add("GET", "*/roster", status=401, times=10)
    assert 4 == (await run("export", "-o", str(archive), "--rescan", "all")).exit_code
    file = files(archive, "data/users/sealed/*")[-1]
    file.unlink()

    result = await run("verify", str(archive))

    assert 6 == result.exit_code
    assert f"Error: {file.relative_to(archive).as_posix()} " in result.stderr
    assert "To complete what is unfinished" in result.stderr


async def test_status_shows_a_digest_on_one_line(start: Started, run: Run, archive: Path):
    """It fits on a terminal of 80 columns, below its name."""
    variables = dict(os.environ) | {"NO_COLOR": "1", "COLUMNS": "80", "TERM": "xterm"}

    code, shown = await on_terminal(start, "status", str(archive), env=variables)

    held = json.loads((await run("status", str(archive))).stdout)
    assert 0 == code
    assert f"  {held['contentDigest']}" in click.unstyle(shown).splitlines()
