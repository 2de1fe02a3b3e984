"""`stride convert` converts an archive and reports what it could not carry over."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from stride_async._cli.convert import _is_archived
from tests.cli.conftest import on_terminal
from tests.export.exporting import exported
from tests.formats.archives import archive_of, snapshot
from tests.pictures import screen


@pytest.fixture
async def archive(server, client, tmp_path):
    return await archive_of(server, client, tmp_path / "site")


async def test_json_lines_report_the_progress_and_end_with_the_report(run, archive, tmp_path):
    """The summary has the same content as the report next to the output."""
    result = await run("convert", "seed", str(archive), "-o", str(tmp_path / "out"), "--json")

    *steps, summary = map(json.loads, result.stdout.splitlines())
    report = json.loads((tmp_path / "out.report.json").read_bytes())
    assert 0 == result.exit_code
    assert {"ConvertProgress"} == {step["event"] for step in steps}
    assert "Summary" == summary.pop("event")
    assert report["lost"] == summary["lost"]
    assert (report["digest"], report["messages"]) == (summary["digest"], summary["messages"])
    assert "3 conversations, 127 messages, 1 file, 3 people." in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("pdf", "site", "-o", "new"), 2, "Invalid value for 'FORMAT': 'pdf' is not"),
        (("seed", "site"), 2, "Missing option '-o'"),
        (("mattermost", "site", "-o", "new", "--team", "Our Team"), 2, "team: expected 2 to 64 lower-case letters"),
        (("slack", "site", "-o", "new", "--team", "us"), 2, "--team is an option of the format mattermost."),
        (("seed", "site", "-o", "new", "--files-base-url", "http://x/"), 2, "is an option of the format slack."),
        (("seed", "site", "-o", "other"), 2, "not written by a conversion to seed. To replace it, use --force."),
        (("seed", "site", "-o", "site/new"), 2, "is in the archive, which a conversion does not change.\n"),
        (("seed", "site", "-o", "."), 2, "contains the archive.\n"),
        (("seed", "site", "nothing*", "-o", "new"), 3, "no conversation matches 'nothing*'"),
        (("seed", "site", "general", "genral", "-o", "new"), 3, "no conversation matches 'genral' (3 available)."),
        (("seed", "site", "--type", "direct", "-o", "new"), 3, "no conversation matches of type direct"),
        (("seed", "other", "-o", "new"), 8, "is not an archive"),
        (("seed", "missing", "-o", "new"), 8, "is not an archive"),
    ],
)
async def test_what_cannot_be_done_is_refused_in_one_sentence(
    run, archive, tmp_path, monkeypatch, arguments, code, message
):
    """The exit code says what kind of problem it is, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    before = snapshot(tmp_path)

    result = await run("convert", *arguments)

    assert code == result.exit_code
    assert message in result.stderr
    assert before == snapshot(tmp_path)


async def test_progress_is_also_reported_within_a_conversation(run, archive, tmp_path):
    """A conversion by month completes all conversations at its end; its messages are reported before."""
    result = await run("convert", "parquet", str(archive), "-o", str(tmp_path / "out"))

    lines = [json.loads(line) for line in result.stdout.splitlines()]
    counts = [(line["conversations"], line["messages"]) for line in lines if line["event"] == "ConvertProgress"]
    assert any(0 < messages < 127 for _, messages in counts)
    assert (3, 127) == counts[-1]
    assert sorted(set(counts)) == counts


async def test_an_interrupted_conversion_leaves_nothing(start, archive, tmp_path):
    """Ctrl-C ends it with one line, unless it has just ended by itself."""
    process = await start("convert", "parquet", str(archive), "-o", str(tmp_path / "out"))
    await process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, messages = await process.communicate()

    assert b"Traceback" not in messages
    if process.returncode != 0:
        assert 130 == process.returncode
        assert messages.endswith(b"Interrupted.\n")
        assert ["site"] == [path.name for path in tmp_path.iterdir()]


async def test_losses_are_a_short_table_on_a_terminal(start, server, client, tmp_path):
    """It has at most fifteen lines. Examples are in the report."""
    room = server.add_conversation("general")
    server.fill(room, 3, sender_id="557058:who")
    await exported(client, tmp_path / "site")

    code, shown = await on_terminal(start, "convert", "sqlite", str(tmp_path / "site"), "-o", str(tmp_path / "out"))

    lines = screen(shown)
    assert 0 == code
    assert any(line.split() == ["person", "without", "a", "profile", "1"] for line in lines)
    assert "557058:who" in (tmp_path / "out.report.json").read_text()
    assert "1 conversation, 3 messages, 0 files, 1 person." in " ".join(shown.split())
    assert len(lines) <= 15


async def test_a_damaged_archive_is_refused(run, archive, tmp_path):
    """The message names the file and the command that lists all damage."""
    [segment] = archive.rglob("sealed/2018-05/r*.zst")
    segment.unlink()

    result = await run("convert", "seed", str(archive), "-o", str(tmp_path / "out"))

    assert 6 == result.exit_code
    assert f"{segment.name} is missing. Run `stride verify {archive}`" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("archive", "file", "is_archived"),
    [
        (Path("site"), "site/archive.json", True),
        (Path("site"), "site/derived/html/index.html", False),
        (Path("site"), ".out.tmp-0", False),
        (Path("site"), None, False),
        ("s3://bucket/site", "out", False),
    ],
)
def test_an_error_of_the_disk_is_told_by_its_file(archive, file, is_archived):
    """It is about reading the archive or about writing the output."""
    assert is_archived == _is_archived(file, archive)
