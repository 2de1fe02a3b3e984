"""`stride view` makes pages in an archive, brings them up to date and opens them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.export.exporting import exported, files_of
from tests.formats.archives import archive_of, snapshot


@pytest.fixture
async def archive(server, client, tmp_path):
    return await archive_of(server, client, tmp_path / "site")


def pages(archive: Path) -> Path:
    return archive / "derived/html"


async def test_the_pages_open_in_the_browser(run, archive, tmp_path, monkeypatch):
    """The browser gets the address of the list of conversations; nothing else in the archive changes."""
    before = snapshot(archive)
    opened = tmp_path / "opened"
    script = tmp_path / "browser.py"
    script.write_text(f"import sys, pathlib; pathlib.Path({str(opened)!r}).write_text(sys.argv[1])")

    result = await run("view", str(archive), "--json", BROWSER=f"{sys.executable} {script} %s")

    assert 0 == result.exit_code, result.stderr
    assert (pages(archive) / "index.html").as_uri() == opened.read_text()
    assert "Summary" == json.loads(result.stdout.splitlines()[-1])["event"]
    assert before.items() <= snapshot(archive).items()
    assert "not part of an archive" not in (await run("verify", str(archive))).stderr


async def test_print_writes_only_the_address(run, archive):
    """So that a script can pass it on."""
    result = await run("view", str(archive), "--print")

    assert 0 == result.exit_code, result.stderr
    assert f"{(pages(archive) / 'index.html').as_uri()}\n" == result.stdout


async def test_without_a_browser_the_address_is_shown(run, archive, monkeypatch):
    """The pages are there, so it is not an error."""
    monkeypatch.setattr("webbrowser.open", lambda address: False)

    result = await run("view", str(archive))

    assert 0 == result.exit_code
    assert f"Open this address: {(pages(archive) / 'index.html').as_uri()}" in " ".join(result.stderr.split())


async def test_new_messages_are_added(run, archive, server, client):
    """After an export, files of months without changes are left alone."""
    await run("view", str(archive), "--print")
    before = snapshot(pages(archive))
    room = json.loads((await run("list", "conversations", "--json")).stdout.splitlines()[0])["id"]
    server.add_message(room, "one more", ts="2018-09-01T10:00:00Z")
    await exported(client, archive)

    await run("view", str(archive), "--print")

    after = snapshot(pages(archive))
    assert len(after) > len(before)
    assert [name for name in before if "2018-05" in name and before[name] != after[name]] == []


async def test_pages_that_came_with_an_archive_are_made_anew(run, archive, tmp_path):
    """Someone else may have put anything into them. A report that fits does not help."""
    await run("view", str(archive), "--print")
    expected = files_of(pages(archive))
    copy = tmp_path / "copy"
    archive.rename(copy)
    [page] = pages(copy).glob("c/*/2018-05-1.html")
    page.write_text("<script>alert(1)</script>")
    report = pages(copy).with_name("html.report.json")
    report.write_bytes(report.read_bytes())

    result = await run("view", str(copy), "--print")

    assert 0 == result.exit_code, result.stderr
    assert expected == files_of(pages(copy))


async def test_a_link_out_of_the_archive_is_not_followed(run, archive, tmp_path):
    """Nothing is written to where it leads."""
    (tmp_path / "precious").mkdir()
    (archive / "derived").symlink_to(tmp_path / "precious")

    result = await run("view", str(archive), "--print")

    assert 6 == result.exit_code
    assert "derived" in result.stderr
    assert [] == list((tmp_path / "precious").iterdir())


async def test_pipes_in_an_archive_do_not_block(run, archive):
    """They are replaced, wherever they are among the pages."""
    pages(archive).mkdir(parents=True)
    for name in ("html/index.html", "html.mark", "html.report.json", "html.ids.jsonl"):
        os.mkfifo(archive / "derived" / name)

    result = await run("view", str(archive), "--print")

    assert 0 == result.exit_code, result.stderr
    assert all(path.is_file() for path in (archive / "derived").iterdir() if path != pages(archive))
    assert (pages(archive) / "index.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [(("missing",), 8, "is not an archive"), (("site", "nothing*"), 3, "no conversation matches 'nothing*'")],
)
async def test_what_cannot_be_viewed_is_refused(run, archive, tmp_path, monkeypatch, arguments, code, message):
    """The exit code says what kind of problem it is."""
    monkeypatch.chdir(tmp_path)

    result = await run("view", *arguments, "--print")

    assert code == result.exit_code
    assert message in result.stderr
