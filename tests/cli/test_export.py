"""stride export, stride status and stride verify."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import pty
import re
import signal
from pathlib import Path

import pytest

from stride_async import AttemptStarted
from stride_async._cli import export_progress
from stride_async.export import ConversationDone, ConversationsFound, ConversationStarted, read
from stride_async.export._archive.files import Archive
from stride_async.server import LocalServer
from tests.cli.conftest import Run, Started


@pytest.fixture
def rooms(server: LocalServer) -> dict[str, str]:
    """Four conversations by name, one archived, one private, one direct, each with some messages."""
    made = {
        "general": server.add_conversation("general"),
        "team-red": server.add_conversation("team-red", privacy="private"),
        "team-old": server.add_conversation("team-old", archived=True),
        "Ann": server.add_conversation("Ann", type="direct"),
    }
    for room in made.values():
        server.fill(room, 80)
    return made


def show_file(server: LocalServer, room: str, data: bytes) -> str:
    """A file and a message that shows it; the file's id."""
    file = server.add_media(room, "file.bin", data)
    node = {"type": "media", "attrs": {"id": file, "collection": room, "type": "file"}}
    server.add_message(
        room,
        {"version": 1, "type": "doc", "content": [{"type": "mediaGroup", "content": [node]}]},
        ts="2018-06-02T00:00:00Z",
    )
    return file


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def names_in(folder: Path) -> set[str]:
    return {room.name for room in read(folder).conversations()}


def files_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_everything_comes_by_default(run: Run, rooms: dict[str, str], tmp_path: Path):
    """JSON lines tell what happens and end with the summary; words give the verdict first, in few lines."""
    result = await run("export", "-o", str(tmp_path / "site"))

    assert 0 == result.exit_code, result.stderr
    events = lines(result.stdout)
    assert ("RunStarted", "Summary") == (events[0]["event"], events[-1]["event"])
    assert (4, 320, 0) == tuple(events[-1][name] for name in ("conversations", "messages", "failures"))
    assert result.stderr.startswith("Complete")
    assert len(result.stderr.splitlines()) <= 15
    assert rooms.keys() == names_in(tmp_path / "site")
    assert 320 == sum(len(list(read(tmp_path / "site").messages(room))) for room in rooms.values())


@pytest.mark.parametrize(
    ("words", "picked"),
    [
        (["general"], ["general"]),
        (["GENERAL"], ["general"]),
        (["team-*"], ["team-red", "team-old"]),
        (["team-*", "^*-old"], ["team-red"]),
        (["^team-*"], ["general", "Ann"]),
        (["{general}"], ["general"]),
        (["https://app.stride.com/{site}/chat/{general}/info"], ["general"]),
        (["https://applink.atlassian.com/stride/{site}/chat/{Ann}?x=1", "team-red"], ["Ann", "team-red"]),
        (["@{file}", "^team-red"], ["general"]),
        (["^@{file}"], ["team-old", "Ann"]),
        (["^@{empty}", "@{empty}", "Ann"], ["Ann"]),
        (["^@{empty}"], ["general", "team-red", "team-old", "Ann"]),
        (["--type", "direct"], ["Ann"]),
        (["--type", "private"], ["team-red"]),
        (["--type", "direct", "--type", "public", "^team-*"], ["Ann", "general"]),
    ],
    ids=str,
)
async def test_selectors_pick(
    run: Run, server: LocalServer, rooms: dict[str, str], tmp_path: Path, words: list[str], picked: list[str]
):
    """By id, address, name or glob; `^` leaves out; a file has a selector a line."""
    (tmp_path / "rooms.txt").write_text("general\n\n team-red \n")
    (tmp_path / "empty.txt").write_text("\n")
    files = {name.removesuffix(".txt"): str(tmp_path / name) for name in ("rooms.txt", "empty.txt")}
    known = {**rooms, "site": server.cloud_id, "file": files["rooms"], "empty": files["empty"]}

    result = await run("export", *(word.format_map(known) for word in words), "-o", str(tmp_path / "site"))

    assert 0 == result.exit_code, result.stderr
    assert set(picked) == names_in(tmp_path / "site")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["genral"], 3, ". Did you mean 'general'"),
        (["nosuchroom"], 3, "Did you mean '"),
        (["^*"], 3, "none of 4 conversations"),
        (["https://app.stride.com/elsewhere/chat/x"], 2, "belongs to site elsewhere"),
        (["@no-such-file"], 2, "no-such-file"),
        (["--since", "2018-06-01"], 2, "Write 2018-06-01T00:00:00Z, or add --tz"),
        (["--since", "yesterday"], 2, "'yesterday' is not a valid time"),
        (["--tz", "Mars/Olympus"], 2, "'Mars/Olympus' is not a time zone"),
        (["--since", "2018-06-02T00:00Z", "--until", "2018-06-01T00:00Z"], 2, "later than"),
        (["--media", "small"], 2, "not all, none or a size"),
        (["--media", "10MB"], 2, "'<10MB'"),
        (["--rescan", "a while"], 2, "30d"),
        (["--rescan", "800000d"], 2, "0 to 36525 days, or all"),
        (["--rescan", "1000000d"], 2, "0 to 36525 days, or all"),
        (["--rescan", "9999999999d"], 2, "not all or a time span"),
        (["--media", f"<{'9' * 400}"], 2, "not all, none or a size"),
        (["--concurrency", "0"], 2, "--concurrency"),
        (["--type", "secret"], 2, "--type"),
    ],
    ids=str,
)
async def test_what_cannot_be_meant_is_told(
    run: Run, rooms: dict[str, str], tmp_path: Path, words: list[str], code: int, told: str
):
    """Nothing selected is exit 3 and names what is near; nothing understood is exit 2. Nothing is fetched."""
    result = await run("export", *words, "-o", str(tmp_path / "site"))

    assert (code, []) == (result.exit_code, [line for line in lines(result.stdout) if line["event"] != "RunStarted"])
    assert told in result.stderr


@pytest.mark.parametrize(
    ("words", "content", "code", "told"),
    [
        (["@{file}"], "", 3, "There are no selectors in {file}"),
        (["@{file}", "^team-*"], "\n \n", 3, "There are no selectors in {file}"),
        (["^@{file}"], "general\n^Ann\n", 2, "no selector in it can begin with ^, as ^Ann does"),
        (["@{file}"], "caf\udce9", 2, "not a UTF-8 text file"),
    ],
    ids=str,
)
async def test_a_file_that_says_nothing_does_not_mean_everything(
    run: Run, rooms: dict[str, str], tmp_path: Path, words: list[str], content: str, code: int, told: str
):
    """A file that is empty by mistake must not export the whole site."""
    file = tmp_path / "rooms.txt"
    file.write_bytes(content.encode(errors="surrogateescape"))

    result = await run("export", *(word.format(file=file) for word in words), "-o", str(tmp_path / "site"))

    assert (code, "") == (result.exit_code, result.stdout)
    assert told.format(file=file) in result.stderr
    assert ["rooms.txt"] == files_in(tmp_path)


async def test_a_selector_that_means_nothing_is_listed_as_missing(run: Run, rooms: dict[str, str], tmp_path: Path):
    """The others are exported; exit 5. One that would leave out is allowed to find nothing."""
    result = await run("export", "general", "genral", "^no-such-*", "-o", str(tmp_path / "site"))

    assert 5 == result.exit_code
    assert "selector genral: it means no conversation" in result.stderr
    assert "Hint: correct it, or leave it out." in result.stderr
    assert "To fetch what is missing" not in result.stderr
    assert "no-such" not in result.stderr
    assert {"general"} == names_in(tmp_path / "site")


async def test_moments_are_read_in_the_zone_that_is_named(run: Run, server: LocalServer, tmp_path: Path):
    """A day in Berlin begins two hours before the day in UTC."""
    room = server.add_conversation("general")
    for ts in ("2018-06-01T21:59:00Z", "2018-06-01T22:01:00Z", "2018-06-02T22:01:00Z"):
        server.add_message(room, ts, ts=ts)
    bounds = ("--since", "2018-06-02", "--until", "2018-06-03", "--tz", "Europe/Berlin")

    result = await run("export", "-o", str(tmp_path / "site"), *bounds)

    assert 0 == result.exit_code, result.stderr
    assert ["2018-06-01T22:01:00Z"] == [message.text for message in read(tmp_path / "site").messages(room)]


@pytest.mark.parametrize(
    ("media", "sizes"), [("all", [999, 1000]), ("<1kB", [999]), ("<1KiB", [999, 1000]), ("none", [])]
)
async def test_files_by_size(run: Run, server: LocalServer, tmp_path: Path, media: str, sizes: list[int]):
    """All, none, or those smaller than that."""
    room = server.add_conversation("general")
    for size in (999, 1000):
        show_file(server, room, bytes(size))

    result = await run("export", "-o", str(tmp_path / "site"), "--media", media)

    assert 0 == result.exit_code, result.stderr
    assert sizes == sorted(file.size for file in read(tmp_path / "site").media())


async def test_a_dry_run_asks_for_the_list_alone(run: Run, server: LocalServer, rooms: dict[str, str], tmp_path: Path):
    """It says which conversations, how many calls at least and how long; nothing is written."""
    folder = tmp_path / "site"

    first = await run("export", "-o", str(folder), "--dry-run")
    asked = {call.path for call in server.calls if call.method == "GET"}
    wrote = folder.exists()
    await run("export", "-o", str(folder))
    second = await run("export", "team-*", "-o", str(folder), "--dry-run", "--rescan", "all")

    assert (0, 0, False) == (first.exit_code, second.exit_code, wrote)
    assert {f"/site/{server.cloud_id}/conversation"} == asked
    assert {(name, 0, 2, True) for name in rooms} == {
        (line["name"], line["held"], line["calls"], line["openEnded"]) for line in lines(first.stdout)
    }
    assert "100 calls per minute" in first.stderr
    assert [("team-old", 80, 3, False), ("team-red", 80, 3, False)] == sorted(
        (line["name"], line["held"], line["calls"], line["openEnded"]) for line in lines(second.stdout)
    )


async def test_a_dry_run_counts_files_that_are_known_to_be_missing(
    run: Run, server: LocalServer, rooms: dict[str, str], tmp_path: Path
):
    """Those that were not wanted before, those that are small enough now, and with --retry-failed those that failed."""
    folder = str(tmp_path / "site")
    files = [show_file(server, rooms["Ann"], bytes(size)) for size in (10, 1000)]

    async def calls(*words: str) -> int:
        result = await run("export", "Ann", "-o", folder, "--dry-run", *words)
        [line] = lines(result.stdout)
        return line["calls"]

    await run("export", "-o", folder, "--media", "none")
    none_held = [await calls(), await calls("--media", "<100B"), await calls("--media", "none")]
    await run("export", "-o", folder, "--media", "<100B")
    one_held = [await calls(), await calls("--media", "<100B"), await calls("--retry-failed")]
    server.faults.add("GET", f"*/media/{files[1]}", status=404, times=1)
    server.faults.add("GET", f"*/{rooms['Ann']}/roster", status=403, times=1)
    await run("export", "-o", folder)
    failed = [await calls(), await calls("--retry-failed")]

    roster, page = 1, 1
    assert [roster + page + 2, roster + page + 2, roster + page] == none_held
    assert [roster + page + 1, roster + page, 0] == one_held
    assert [roster + page, roster + 1] == failed


async def test_what_is_missing_is_listed_and_can_be_had_later(
    run: Run, server: LocalServer, rooms: dict[str, str], tmp_path: Path
):
    """A closed room and a file that is gone: exit 5, both named; with --retry-failed, exit 0 when they are back."""
    file = show_file(server, rooms["Ann"], b"x" * 100)
    folder = str(tmp_path / "site")
    server.faults.add("GET", f"*/{rooms['general']}/message", status=403, times=1)
    server.faults.add("GET", f"*/media/{file}", status=404, times=1)

    partial = await run("export", "-o", folder)
    told = await run("status", folder)
    mended = await run("export", "-o", folder, "--retry-failed")

    assert 5 == partial.exit_code
    assert partial.stderr.startswith("Partial: 2 items are missing")
    assert f"media {file} of Ann" in partial.stderr
    assert "history of general" in partial.stderr
    assert len(partial.stderr.splitlines()) <= 15
    assert "Hint: run again with --retry-failed." in partial.stderr
    assert "To fetch what is missing, run:\n  stride " in partial.stderr
    [held] = lines(told.stdout)
    assert {"history", "media"} == {failure["what"] for failure in held["failures"]}
    assert 0 == mended.exit_code, mended.stderr
    assert 0 == (await run("verify", folder)).exit_code


async def test_many_failures_stay_few_lines(run: Run, server: LocalServer, tmp_path: Path):
    """The summary says where the rest is listed, and behind each what to do where that differs."""
    for number in range(20):
        server.add_conversation(f"room {number}")
    server.faults.add("GET", "*/roster", status=403)

    result = await run("export", "-o", str(tmp_path / "site"), "room*", "nowhere")

    assert 5 == result.exit_code
    assert len(result.stderr.splitlines()) <= 15
    assert "selector nowhere: it means no conversation (correct it, or leave it out)\n" in result.stderr
    assert " (run again with --retry-failed)\n" in result.stderr
    [listed] = (tmp_path / "site").glob("runs/*/failures.jsonl")
    assert str(listed) in result.stderr
    assert 21 == len(listed.read_text().splitlines())


async def test_nothing_at_all_is_not_called_a_part(
    run: Run, server: LocalServer, rooms: dict[str, str], tmp_path: Path
):
    """Where every call is refused, nothing else is here."""
    server.faults.add("GET", "*/roster", status=403)
    server.faults.add("GET", "*/message", status=403)

    result = await run("export", "-o", str(tmp_path / "site"))

    assert 5 == result.exit_code
    assert result.stderr.startswith("Nothing was fetched: 8 items are missing.\n")


async def test_a_name_is_never_more_than_one_line(run: Run, server: LocalServer, tmp_path: Path):
    """Nor does it reach the terminal's controls: whoever names a room must not write the summary."""
    room = server.add_conversation("plain\n\x1b[31mred\r\nComplete: all is here")
    server.faults.add("GET", f"*/{room}/roster", status=403)

    result = await run("export", "-o", str(tmp_path / "site"))

    assert "roster of plain \N{REPLACEMENT CHARACTER}[31mred Complete: all is here: " in result.stderr


async def test_a_line_tells_how_far_it_is_where_there_is_no_terminal(
    run: Run, server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Every so often, on stderr."""
    monkeypatch.setattr(export_progress, "SECONDS_BETWEEN_LINES", 0.01)
    room = server.add_conversation("general")
    server.fill(room, 300)
    server.faults.add("GET", f"*/{room}/message", delay=0.05)

    result = await run("export", "-o", str(tmp_path / "site"))

    told = result.stderr.partition("Complete")[0].splitlines()
    assert any(
        re.fullmatch(r"0 of 1 conversations; \d+ messages; .* of 100 allowed per minute", line) for line in told
    ), told


def test_the_time_left_is_known_from_conversations_that_took_calls():
    """Those a run that goes on had done already say nothing; those that need more than a minute's calls must wait."""
    progress = export_progress.ExportProgress(100, 2)

    def work(id: str, calls: int) -> None:
        progress.on_export_event(ConversationStarted(id, id))
        for number in range(calls):
            progress.on_client_event(AttemptStarted(number, "GET", f"/site/s/conversation/{id}/message", 1))

    def end(id: str) -> float | None:
        progress.on_export_event(ConversationDone(id, id, 0, 0, 0, 0, 0))
        return progress.seconds_left()

    progress.on_export_event(ConversationsFound(6))
    work("held", 0)
    after_held = end("held")
    work("short", 2)
    after_short = end("short")
    work("long", 598)
    under_way = progress.seconds_left()
    after_long = end("long")

    minutes_to_wait_for_600, minutes_to_wait_for_300 = 5, 2
    assert after_held is None
    assert 0 < after_short < 60
    assert minutes_to_wait_for_600 * 60 * 4 / 2 == under_way
    assert minutes_to_wait_for_300 * 60 * 3 / 2 == after_long


async def test_a_service_that_goes_away_ends_it_with_what_came(
    run: Run, server: LocalServer, rooms: dict[str, str], tmp_path: Path
):
    """Exit 7, what came is kept, and how to go on; the same command does when the service is back."""
    folder = str(tmp_path / "site")
    server.faults.add("GET", "*", status=503, after=8)

    stopped = await run("export", "-o", folder, "--concurrency", "1")
    server.faults.clear()
    gone_on = await run("export", "-o", folder)

    assert 7 == stopped.exit_code
    assert re.match(
        r"Stopped\. What was fetched is kept \([1-3] of 4 conversations done\)\. To resume, run:", stopped.stderr
    )
    assert "Error: " in stopped.stderr.splitlines()[-1]
    assert 0 == gone_on.exit_code
    assert gone_on.stderr.startswith("Resuming the interrupted run of 20")


async def test_a_place_where_nothing_can_be_written_is_said_so(run: Run, rooms: dict[str, str], tmp_path: Path):
    """One sentence; to run it again would not help."""
    where = str(tmp_path / ("x" * 300) / "site")

    result = await run("export", "-o", where)

    assert 1 == len(result.stderr.splitlines())
    assert f"Cannot write the archive: {where}" in result.stderr
    assert "again" not in result.stderr


async def test_who_reads_only_the_first_line_ends_it_in_silence(start: Started, server: LocalServer, tmp_path: Path):
    """As in `stride export --json … | head -1`; what came is kept."""
    room = server.add_conversation("general")
    server.fill(room, 1500)
    folder = tmp_path / "site"
    reading, writing = os.pipe()

    process = await start("export", "--json", "-o", str(folder), stdout=writing)
    os.close(writing)
    first = await asyncio.to_thread(os.read, reading, 10)
    os.close(reading)
    _, told = await asyncio.wait_for(process.communicate(), 20)

    assert (b'{"event":"', 0, b"") == (first, process.returncode, told)
    assert (folder / "archive.json").exists()


async def test_ctrl_c_before_anything_is_listed_does_not_count(start: Started, server: LocalServer, tmp_path: Path):
    """There is nothing yet of which so many could be done."""
    server.add_conversation("general")
    asked = asyncio.Event()
    server.faults.add("GET", "/site/*/conversation", stall="headers", do=lambda _: asked.set())

    process = await start("export", "-o", str(tmp_path / "site"))
    await asyncio.wait_for(asked.wait(), 20)
    process.send_signal(signal.SIGINT)
    _, told = await asyncio.wait_for(process.communicate(), 20)

    assert 130 == process.returncode
    assert "Interrupted before the first conversation. To start again, run:\n  stride export" in told.decode()


async def test_fail_fast_ends_at_the_first_failure(
    run: Run, server: LocalServer, rooms: dict[str, str], tmp_path: Path
):
    """With the sentence and the exit code of that failure."""
    server.faults.add("GET", f"*/{rooms['general']}/message", status=403)

    result = await run("export", "-o", str(tmp_path / "site"), "--fail-fast")

    assert 4 == result.exit_code
    assert "answered 403" in result.stderr


async def test_a_folder_that_is_no_archive_is_untouched(run: Run, rooms: dict[str, str], tmp_path: Path):
    """Exit 8, for each of the commands."""
    (tmp_path / "notes.txt").write_text("mine")

    results = [
        await run("export", "-o", str(tmp_path)),
        await run("export", "-o", str(tmp_path), "--dry-run"),
        await run("status", str(tmp_path)),
        await run("verify", str(tmp_path)),
    ]

    assert [8] * 4 == [result.exit_code for result in results]
    assert all("no archive" in result.stderr for result in results)
    assert ["notes.txt"] == files_in(tmp_path)


async def test_an_archive_that_is_in_use_or_newer_is_exit_8(run: Run, rooms: dict[str, str], tmp_path: Path):
    """Each says which it is."""
    folder = tmp_path / "site"
    assert 0 == (await run("export", "-o", str(folder))).exit_code
    other = Archive.open(folder)
    other.hold()

    busy = await run("export", "-o", str(folder))
    other.release()
    head = json.loads((folder / "archive.json").read_bytes())
    (folder / "archive.json").write_text(json.dumps({**head, "format": 99}))
    newer = await run("export", "-o", str(folder))

    assert (8, 8) == (busy.exit_code, newer.exit_code)
    assert "another export works on" in busy.stderr
    assert "format 99" in newer.stderr


async def test_a_full_disk_is_one_sentence(
    run: Run, rooms: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It says what is wrong and how to go on; the same command later completes the archive."""
    folder, link = tmp_path / "site", os.link
    left = [6]

    def full(file: Path, name: Path) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), file)
        link(file, name)

    monkeypatch.setattr(os, "link", full)
    stopped = await run("export", "-o", str(folder))
    monkeypatch.undo()
    gone_on = await run("export", "-o", str(folder))

    assert 1 == stopped.exit_code
    assert "No space left on device" in stopped.stderr
    assert "run the same command again" in stopped.stderr
    assert 1 == len(stopped.stderr.splitlines())
    assert 0 == gone_on.exit_code
    assert 0 == (await run("verify", str(folder))).exit_code


async def test_ctrl_c_keeps_what_came(start: Started, run: Run, server: LocalServer, tmp_path: Path):
    """Exit 130 and how to go on; the same command does, and nothing that came is fetched again."""
    room = server.add_conversation("general")
    server.fill(room, 1500)
    server.faults.add("GET", f"*/{room}/message", delay=0.05)
    folder = tmp_path / "site"

    process = await start("export", "-o", str(folder))
    for _ in range(6):
        while json.loads(await process.stdout.readline())["event"] != "PagesFetched":
            pass
    process.send_signal(signal.SIGINT)
    _, told = await asyncio.wait_for(process.communicate(), 20)
    server.faults.clear()
    asked = [call.query for call in server.calls.matching("GET", f"*/{room}/message")]
    again = await run("export", "-o", str(folder))

    assert 130 == process.returncode
    assert f"stride export -o {folder}" in told.decode()
    assert 0 == again.exit_code
    assert re.match(r"Resuming the interrupted run of 20\d\d-\d\d-\d\d \d\d:\d\d UTC\.\n", again.stderr)
    later = [call.query for call in server.calls.matching("GET", f"*/{room}/message")][len(asked) :]
    assert len([query for query in later if query in asked]) <= 1
    assert 1500 == len(list(read(folder).messages(room)))
    assert 0 == (await run("verify", str(folder))).exit_code


async def test_a_second_ctrl_c_ends_it_at_once(start: Started, run: Run, server: LocalServer, tmp_path: Path):
    """However it ends then, the archive can be gone on with."""
    room = server.add_conversation("general")
    server.fill(room, 1500)
    server.faults.add("GET", f"*/{room}/message", delay=0.05)
    folder = tmp_path / "site"

    process = await start("export", "-o", str(folder))
    while json.loads(await process.stdout.readline())["event"] != "PagesFetched":
        pass
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    await asyncio.wait_for(process.communicate(), 20)
    server.faults.clear()

    assert process.returncode in (130, -signal.SIGINT)
    assert 0 == (await run("export", "-o", str(folder))).exit_code
    assert 0 == (await run("verify", str(folder))).exit_code


async def test_on_a_terminal_there_is_a_bar_and_no_json(start: Started, server: LocalServer, tmp_path: Path):
    """Counts move while it works, and calls stay within what is told to be allowed; the summary stays."""
    room = server.add_conversation("gen\neral")
    server.fill(room, 1500)
    server.faults.add("GET", f"*/{room}/message", delay=0.03)
    ours, theirs = pty.openpty()

    process = await start("export", "-o", str(tmp_path / "site"), stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = await asyncio.to_thread(read_all, ours)
    os.close(ours)

    assert 0 == await process.wait()
    assert "0 of 1 conversations" in shown
    calls = re.findall(r"calls/s, (\d+) of (\d+) allowed per minute", " ".join(shown.split()))
    assert calls
    assert all(int(made) <= int(allowed) == 100 for made, allowed in calls)
    assert "gen eral · " in shown
    assert "Complete" in shown
    assert '"event"' not in shown


async def test_what_is_said_beside_the_bar_stays(start: Started, server: LocalServer, tmp_path: Path):
    """Words come above the display, which is wiped away line by line when it ends."""
    room = server.add_conversation("general")
    server.fill(room, 1500)
    server.faults.add("GET", f"*/{room}/message", stall="headers", after=3)
    ours, theirs = pty.openpty()

    process = await start("export", "-o", str(tmp_path / "site"), stdout=theirs, stderr=theirs)
    os.close(theirs)
    await asyncio.to_thread(read_until, ours, b"225 messages")
    process.send_signal(signal.SIGINT)
    shown = await asyncio.to_thread(read_all, ours)
    os.close(ours)

    assert 130 == await process.wait()
    wiped_line = r"\x1b\[2K"
    assert re.search(wiped_line + r"\s*Stopping, and keeping what was fetched.", shown), shown
    assert re.search(wiped_line + r"\s*Interrupted. What was fetched is kept", shown), shown


def read_until(terminal: int, words: bytes) -> None:
    """Read what a process shows until it shows these words."""
    shown = b""
    while words not in shown:
        shown += os.read(terminal, 65_536)


def read_all(terminal: int) -> str:
    """What a process shows until it ends."""
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 65_536)
        except OSError:  # Linux: nobody has the other side open any more.
            return shown.decode()
        if not piece:
            return shown.decode()
        shown += piece


async def test_status_tells_numbers(run: Run, rooms: dict[str, str], tmp_path: Path):
    """One JSON object."""
    await run("export", "-o", str(tmp_path / "site"))

    result = await run("status", str(tmp_path / "site"))

    [held] = lines(result.stdout)
    assert (0, 4, 320, {"complete": 4}, True) == (
        result.exit_code,
        held["conversations"],
        held["messages"],
        held["verdicts"],
        held["finished"],
    )


async def test_verify_gives_a_verdict_a_conversation(run: Run, rooms: dict[str, str], tmp_path: Path):
    """Exit 0 for a sound archive, also when the service is asked for a sample; what cannot be known is said."""
    await run("export", "-o", str(tmp_path / "site"))

    alone = await run("verify", str(tmp_path / "site"))
    against = await run("verify", str(tmp_path / "site"), "--against", "--sample", "5")

    assert (0, 0) == (alone.exit_code, against.exit_code), against.stderr
    assert {(name, "complete", 80) for name in rooms} == {
        (line["name"], line["text"], line["messages"]) for line in lines(alone.stdout)
    }
    assert "deleted before" in alone.stderr
    assert "Compared 5 pages" in against.stderr


async def test_verify_names_what_is_damaged(run: Run, rooms: dict[str, str], tmp_path: Path):
    """Exit 6; the file is on a line of its own and in the last sentence."""
    await run("export", "-o", str(tmp_path / "site"))
    [segment, *_] = sorted((tmp_path / "site").glob("data/conversations/*/sealed/*/*"))
    segment.write_bytes(segment.read_bytes()[:-5])

    result = await run("verify", str(tmp_path / "site"))

    name = segment.relative_to(tmp_path / "site").as_posix()
    assert 6 == result.exit_code
    assert [name] == [line["path"] for line in lines(result.stdout) if "path" in line]
    assert name in result.stderr.splitlines()[-1]
