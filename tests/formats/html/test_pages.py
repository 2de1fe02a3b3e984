"""The pages of an archive: what they hold, how they are brought up to date, and what a hostile archive does to them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from random import Random

import pytest

from stride_async.document import doc, link, paragraph
from stride_async.export._archive.archive import Archive
from stride_async.export.formats import convert
from stride_async.export.formats.html import _search, _write
from tests.export.exporting import exported, files_of, show_file
from tests.formats.archives import archive_of, fill_site, snapshot

PNG = b"\x89PNG\r\n\x1a\n" + bytes(60)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; base-uri 'none'; "
    "form-action 'none'"
)


def pages_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("c/*/*.html") if path.name != "index.html")


def text_of(folder: Path) -> str:
    """Return all pages with messages as one text."""
    return "\n".join(path.read_text() for path in pages_of(folder))


def fresh(archive: Path, folder: Path) -> dict[str, bytes]:
    """Return the files of pages that are made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    convert(archive, "html", folder / "fresh")
    return files_of(folder / "fresh")


@pytest.fixture
def small_segments(monkeypatch):
    """Let a few messages fill a segment of the search."""
    monkeypatch.setattr(_search, "TEXTS_PER_FILE", 10)
    monkeypatch.setattr(_search, "SEGMENT", 40)
    monkeypatch.setattr(_write, "SEGMENT", 40)


async def test_every_page_has_the_policy_and_loads_nothing_from_elsewhere(server, client, tmp_path):
    """No page has a script or style of its own, and all it loads lies next to it."""
    archive = await archive_of(server, client, tmp_path / "site")
    convert(archive, "html", tmp_path / "out")

    pages = list((tmp_path / "out").rglob("*.html"))
    assert len(pages) == 1 + 3 + 5
    for page in pages:
        html = page.read_text()
        assert f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">' in html
        assert not re.search(r"<style|<script[^>]*>[^<]|\sstyle=|\son\w+=|<iframe|<object|<embed", html)
        for reference in re.findall(r'<(?:link|script|img|video|audio)[^>]* (?:src|href)="([^"]*)"', html):
            assert (page.parent / reference).resolve().is_relative_to(tmp_path / "out")
            assert (page.parent / reference).is_file()
        assert (1, 1) == (html.count("<h1"), html.count("<main"))


async def test_a_month_is_cut_into_pages_that_link_to_each_other(server, client, tmp_path):
    """A page has up to 200 messages; each message and each day can be linked to."""
    room = server.add_conversation("general")
    ids = server.fill(room, 450, ts="2018-03-05T23:57:00Z")
    await exported(client, tmp_path / "site")
    convert(tmp_path / "site", "html", tmp_path / "out")

    pages = pages_of(tmp_path / "out")
    assert ["2018-03-1.html", "2018-03-2.html", "2018-03-3.html"] == [page.name for page in pages]
    assert [200, 200, 50] == [page.read_text().count("<article") for page in pages]
    links = [re.findall(r'rel="(prev|next)" href="([^"]*)"', page.read_text())[:2] for page in pages]
    assert [("next", "2018-03-2.html")] * 2 == links[0]
    assert [("prev", "2018-03-1.html"), ("next", "2018-03-3.html")] == links[1]
    assert f'id="m-{ids[0]}"' in pages[0].read_text()
    assert 'id="d-2018-03-05"' in pages[0].read_text()
    assert 'id="d-2018-03-06"' in pages[1].read_text()


async def test_the_bar_of_a_month_is_as_long_as_it_has_messages(server, client, tmp_path):
    """The month with the most messages has the full width, and no other one is rounded to a coarse step."""
    room = server.add_conversation("general")
    for month, count in ((1, 49), (2, 60), (3, 400), (4, 1)):
        server.fill(room, count, ts=f"2018-{month:02}-05T00:00:00Z")
    await exported(client, tmp_path / "site")
    convert(tmp_path / "site", "html", tmp_path / "out")

    [page] = (tmp_path / "out/c").glob("*/index.html")
    months = re.findall(r'<svg class="level" width="([^"]*)"', page.read_text())

    assert ["0.2%", "12.2%", "15.0%", "100.0%"] == sorted(months, key=lambda width: float(width[:-1]))


async def test_pages_stay_below_their_size_and_a_huge_message_is_cut(server, client, tmp_path):
    """A page has up to 300 kB. A message over 200 kB begins there, and its text is in a file of its own."""
    room = server.add_conversation("general")
    huge = "<&> " * 60_000
    for number in range(20):
        server.add_message(room, f"{number} " + "long " * 8_000, ts=f"2018-03-05T10:{number:02}:00Z")
    server.add_message(room, huge, ts="2018-03-05T11:00:00Z")
    await exported(client, tmp_path / "site")
    convert(tmp_path / "site", "html", tmp_path / "out")

    assert len(pages_of(tmp_path / "out")) == 3
    assert all(page.stat().st_size <= 300_000 for page in pages_of(tmp_path / "out"))
    [path] = re.findall(r'href="../../(x/\w+\.txt)"', text_of(tmp_path / "out"))
    assert huge.strip() == (tmp_path / "out" / path).read_text("utf-8-sig").strip()


async def test_an_update_equals_new_pages_and_leaves_the_rest_alone(server, client, tmp_path, small_segments):
    """New, edited and deleted messages, new files, names and rooms: the result is that of a first conversion."""
    rooms = await fill_site(server)
    archive, out = tmp_path / "site", tmp_path / "out"
    await exported(client, archive)
    convert(archive, "html", out)
    first = snapshot(out)

    [edited, *_, deleted] = server.fill(rooms[0], 30, ts="2018-08-01T10:00:00Z")
    await exported(client, archive)
    convert(archive, "html", out)
    assert fresh(archive, tmp_path / "a") == files_of(out)
    second = snapshot(out)
    kept = {name for name in first if name in second and first[name] == second[name]}
    assert any("2018-05" in name for name in kept)
    assert "search/w/0-0.js" in kept
    assert "search/t/0.js" in kept

    server.edit_message(rooms[0], edited, "quite different")
    server.delete_message(rooms[0], deleted)
    show_file(server, rooms[0], "picture.png", PNG)
    server.fill(server.add_conversation("a new room"), 12, ts="2018-06-11T10:00:00Z")
    await exported(client, archive, rescan="all")
    convert(archive, "html", out)
    assert fresh(archive, tmp_path / "b") == files_of(out)
    assert "quite different" in text_of(out)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_any_updates_equal_new_pages(server, client, tmp_path, small_segments, seed):
    """Whatever changes on the site between two exports, in any order."""
    random = Random(seed)
    rooms = await fill_site(server)
    messages = {room: server.fill(room, 25, ts="2018-06-10T10:00:00Z") for room in rooms}
    archive, out = tmp_path / "site", tmp_path / "out"

    def change() -> None:
        room = random.choice(rooms)
        match random.randrange(7):
            case 0 | 1:
                month = random.choice(["2018-05", "2018-08", "2018-09"])
                messages[room] += server.fill(
                    room, random.randrange(1, 60), ts=f"{month}-{random.randrange(1, 29):02}T10:00:00Z"
                )
            case 2 if messages[room]:
                server.edit_message(room, random.choice(messages[room]), f"edited {random.random()}")
            case 3 if messages[room]:
                server.delete_message(room, messages[room].pop(random.randrange(len(messages[room]))))
            case 4:
                show_file(server, room, f"{random.random()}.png", PNG)
            case 5:
                someone = server.add_user("Ann Adler", email=f"ann{random.random()}@example.invalid")
                messages[room].append(
                    server.add_message(room, "my name is taken", sender_id=someone, ts="2018-06-15T10:00:00Z")
                )
            case _:
                rooms.append(server.add_conversation(f"room {random.random()}"))
                messages[rooms[-1]] = server.fill(rooms[-1], 7, ts="2018-07-03T10:00:00Z")

    for number in range(6):
        await exported(client, archive, rescan="all")
        convert(archive, "html", out)
        assert fresh(archive, tmp_path / f"fresh-{number}") == files_of(out)
        for _ in range(random.randrange(1, 5)):
            change()


async def test_an_update_without_changes_reads_no_messages(server, client, tmp_path, monkeypatch):
    """It costs the commits of each conversation, and the digests of its files."""
    archive = await archive_of(server, client, tmp_path / "site")
    convert(archive, "html", tmp_path / "out")
    before = snapshot(tmp_path / "out")
    monkeypatch.delattr(Archive, "messages")

    convert(archive, "html", tmp_path / "out")

    assert before == snapshot(tmp_path / "out")


async def test_an_update_that_was_interrupted_is_finished_by_the_next_one(server, client, tmp_path, small_segments):
    """Wherever the first one stopped, the result is that of a first conversion."""
    rooms = await fill_site(server)
    archive, before = tmp_path / "site", tmp_path / "before"
    await exported(client, archive)
    convert(archive, "html", before / "out")
    server.fill(rooms[0], 30, ts="2018-08-01T10:00:00Z")
    server.add_message(rooms[1], "one more", ts="2018-08-02T10:00:00Z")
    await exported(client, archive)
    expected = fresh(archive, tmp_path / "fresh")

    interrupted = 0
    for stop_after in (1, 2, 4, 6, 9):
        shutil.copytree(before, tmp_path / f"try-{stop_after}")
        out = tmp_path / f"try-{stop_after}/out"
        steps = iter(range(stop_after))

        def stop(_: object, steps=steps) -> None:
            if next(steps, None) is None:
                raise KeyboardInterrupt

        try:
            convert(archive, "html", out, progress=stop)
        except KeyboardInterrupt:
            interrupted += 1
        convert(archive, "html", out)
        assert expected == files_of(out)
    assert interrupted >= 3


async def test_a_file_that_was_removed_comes_back(server, client, tmp_path):
    """Also a foreign file goes away."""
    archive, out = await archive_of(server, client, tmp_path / "site"), tmp_path / "out"
    convert(archive, "html", out)
    expected = files_of(out)
    for name in ("search/t/0.js", "search/w/0-0.js", "search/index.js", "parts.json", str(pages_of(out)[0])):
        (out / name).unlink()
        (out / "search/t/99.js").write_text("foreign")

        convert(archive, "html", out)

        assert expected == files_of(out)


async def test_files_are_displayed_by_their_content(server, client, tmp_path):
    """A picture is displayed whatever its name says; SVG and HTML are downloads without a telling name."""
    room = server.add_conversation("general")
    for name, data in (
        ("a.bin", PNG),
        ("evil.png", b"<svg onload=alert(1)>"),
        ("page.html", b"<script>alert(1)</script>"),
    ):
        show_file(server, room, name, data)
    gone = {"type": "media", "attrs": {"type": "file", "id": "gone", "collection": room}}
    server.add_message(
        room,
        {"version": 1, "type": "doc", "content": [{"type": "mediaGroup", "content": [gone]}]},
        ts=1530000000 * 10**9,
    )
    await exported(client, tmp_path / "site")
    report = convert(tmp_path / "site", "html", tmp_path / "out")

    html = text_of(tmp_path / "out")
    assert 1 == len(re.findall(r'<img src="../../m/\w{64}\.png" alt="a.bin" loading="lazy">', html))
    assert 2 == len(re.findall(r'<a class="file" href="../../m/\w{64}\.bin" download>', html))
    assert "not in this archive" in html
    assert {"file not held": 1, "file not shown inline": 2} == {loss.kind: loss.count for loss in report.lost}
    assert {".png", ".bin"} == {path.suffix for path in (tmp_path / "out/m").iterdir()}


async def test_names_and_texts_of_a_hostile_site_stay_text(server, client, tmp_path):
    """Markup is escaped, direction controls in names become visible, and ids become harmless anchors."""
    evil = '"><script>alert(1)</script>\u202e'
    mallory = server.add_user(evil, email="mallory@example.invalid")
    room = server.add_conversation(evil, roster=[mallory])
    server.add_message(room, evil, sender_id=mallory, id="x\" onclick='alert(1)", ts="2018-03-01T10:00:00Z")
    show_file(server, room, evil, b"body")
    await exported(client, tmp_path / "site")
    convert(tmp_path / "site", "html", tmp_path / "out")

    for path in (tmp_path / "out").rglob("*.html"):
        html = path.read_text()
        assert "<script>" not in html
        assert not re.search(r"<[^>]* onclick=", html)
    html = text_of(tmp_path / "out")
    assert "&gt;&lt;script&gt;alert(1)&lt;/script&gt;[U+202E]" in html
    assert 'id="m-' in html
    texts = (tmp_path / "out/search/t/0.js").read_text()
    row = json.loads(texts[texts.index(",") + 1 : -3])["rows"][0]
    assert re.fullmatch(r"m-[0-9a-f]{16}", row[3])


async def test_links_that_are_not_safe_are_counted(server, client, tmp_path):
    """The page shows them as text."""
    room = server.add_conversation("general")
    targets = ("javascript:alert(1)", "data:text/html,x", "https://example.invalid/")
    server.add_message(room, doc(paragraph(*(link("here", target) for target in targets))).to_json())
    await exported(client, tmp_path / "site")

    report = convert(tmp_path / "site", "html", tmp_path / "out")

    assert [("link left out", 2)] == [(loss.kind, loss.count) for loss in report.lost if "link" in loss.kind]
    assert 1 == text_of(tmp_path / "out").count(">here</a>")


async def test_elements_that_cannot_be_decoded_are_pages_too(server, client, tmp_path):
    """Their text is shown if it is readable, they are found, and they are counted."""
    room = server.add_conversation("general")
    server.fill(room, 3)
    page = await client.request("GET", f"/site/{client.cloud_id}/conversation/{room}/message")
    page["messages"][0]["sender"] = 7
    page["messages"][1] |= {"ts": "yesterday", "text": "without a time"}
    server.faults.add("GET", f"*/{room}/message", body=json.dumps(page), times=1)
    await exported(client, tmp_path / "site")
    report = convert(tmp_path / "site", "html", tmp_path / "out")

    html = text_of(tmp_path / "out")
    assert 3 == html.count("<article")
    assert 2 == html.count("cannot be decoded")
    assert "Unknown time" in html
    assert ("message carried as its text", 2) in [(loss.kind, loss.count) for loss in report.lost]
    assert "without a time" in (tmp_path / "out/search/t/0.js").read_text()
