"""Test `stride export`, `stride status` and `stride verify`."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import pty
import re
import signal
from pathlib import Path

import pytest

from stride_async import AttemptStarted
from stride_async._cli import export_progress
from stride_async.export import ConversationDone, ConversationsFound, ConversationStarted, Shard, read
from stride_async.export._archive.archive import Archive
from stride_async.server import LocalServer
from tests.cli.conftest import Run, Started


@pytest.fixture
def rooms(server: LocalServer) -> dict[str, str]:
    """Return the ids of four conversations by name: a public, a private, an archived and a direct one."""
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
    """Add a file and a message that shows it; return the id of the file."""
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


async def test_everything_is_exported_by_default(run: Run, rooms: dict[str, str], tmp_path: Path):
    """JSON lines report the events, and the summary is short and begins with the verdict."""
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
    ("args", "picked"),
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
async def test_selectors_select_by_id_url_name_or_pattern(
    run: Run, server: LocalServer, rooms: dict[str, str], tmp_path: Path, args: list[str], picked: list[str]
):
    """`^` excludes; a file holds one selector per line."""
    (tmp_path / "rooms.txt").write_text("general\n\n team-red \n")
    (tmp_path / "empty.txt").write_text("\n")
    files = {name.removesuffix(".txt"): str(tmp_path / name) for name in ("rooms.txt", "empty.txt")}
    known = {**rooms, "site": server.cloud_id, "file": files["rooms"], "empty": files["empty"]}

    result = await run("export", *(word.format_map(known) for word in args), "-o", str(tmp_path / "site"))

    assert 0 == result.exit_code, result.stderr
    assert set(picked) == names_in(tmp_path / "site")


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["genral"], 3, ". Did you mean 'general'"),
        (["nosuchroom"], 3, "no conversation matches 'nosuchroom' (4 available).\n"),
        (["^*"], 3, "(4 available)"),
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
        (["--shard", "4/4"], 2, "shard 4/4 does not exist: the shards of 4 are 0/4 to 3/4."),
        (["--shard", "1/1"], 2, "shard 1/1 does not exist: the shards of 1 are 0/1 only."),
        (["--shard", "1"], 2, "'1' is not a shard such as 0/4, the first of four."),
        (["--shard", "0/0"], 2, "count is 0; expected 1 or more."),
        (["--engine", "threads=2"], 2, "'threads=2' is not an engine: expected processes=N or dask=ADDRESS"),
        (["--engine", "processes=0"], 2, "count is 0; expected 1 to 1024."),
        (["--engine", "dask=10.0.0.5"], 2, "'10.0.0.5' is not the address of a scheduler"),
        (["--engine", "processes=2", "--shard", "0/2"], 2, "leave out --shard"),
        (["--shard", "0/4", "genral"], 3, ". Did you mean 'general'"),
    ],
    ids=str,
)
async def test_bad_input_is_reported_and_nothing_is_fetched(
    run: Run, rooms: dict[str, str], tmp_path: Path, args: list[str], code: int, message: str
):
    """Exit 3 means that nothing matches, exit 2 that the input is invalid."""
    result = await run("export", *args, "-o", str(tmp_path / "site"))

    assert (code, []) == (result.exit_code, [line for line in lines(result.stdout) if line["event"] != "RunStarted"])
    assert message in result.stderr


@pytest.mark.parametrize(
    ("args", "content", "code", "message"),
    [
        (["@{file}"], "", 3, "There are no selectors in {file}"),
        (["@{file}", "^team-*"], "\n \n", 3, "There are no selectors in {file}"),
        (["^@{file}"], "general\n^Ann\n", 2, "no selector in it can begin with ^, as ^Ann does"),
        (["@{file}"], "caf\udce9", 2, "not a UTF-8 text file"),
    ],
    ids=str,
)
async def test_an_empty_selector_file_does_not_select_everything(
    run: Run, rooms: dict[str, str], tmp_path: Path, args: list[str], content: str, code: int, message: str
):
    """A file that is empty by mistake must not export the whole site."""
    file = tmp_path / "rooms.txt"
    file.write_bytes(content.encode(errors="surrogateescape"))

    result = await run("export", *(word.format(file=file) for word in args), "-o", str(tmp_path / "site"))

    assert (code, "") == (result.exit_code, result.stdout)
    assert message.format(file=file) in result.stderr
    assert ["rooms.txt"] == files_in(tmp_path)


async def test_a_selector_without_a_match_is_reported_as_missing(run: Run, rooms: dict[str, str], tmp_path: Path):
    """The others are exported, with exit 5. An exclusion need not match anything."""
    result = await run("export", "general", "genral", "^no-such-*", "-o", str(tmp_path / "site"))

    assert 5 == result.exit_code
    assert "selector genral: it matches no conversation" in result.stderr
    assert "Hint: correct it, or leave it out." in result.stderr
    assert "To fetch what is missing" not in result.stderr
    assert "no-such" not in result.stderr
    assert {"general"} == names_in(tmp_path / "site")


async def test_times_are_read_in_the_given_time_zone(run: Run, server: LocalServer, tmp_path: Path):
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
async def test_files_are_selected_by_size(run: Run, server: LocalServer, tmp_path: Path, media: str, sizes: list[int]):
    """The choices are all, none, and smaller than a size."""
    room = server.add_conversation("general")
    for size in (999, 1000):
        show_file(server, room, bytes(size))

    result = await run("export", "-o", str(tmp_path / "site"), "--media", media)

    assert 0 == result.exit_code, result.stderr
    assert sizes == sorted(file.size for file in read(tmp_path / "site").media())


async def test_a_dry_run_fetches_only_the_list(run: Run, server: LocalServer, rooms: dict[str, str], tmp_path: Path):
    """It shows the conversations, the calls they take at least and the pace, and writes nothing."""
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


async def test_a_dry_run_counts_the_files_known_to_be_missing(
    run: Run, server: LocalServer, rooms: dict[str, str], tmp_path: Path
):
    """They are files excluded before, files below the new size, and with --retry-failed also those that failed."""
    folder = str(tmp_path / "site")
    files = [show_file(server, rooms["Ann"], bytes(size)) for size in (10, 1000)]

    async def calls(*args: str) -> int:
        result = await run("export", "Ann", "-o", folder, "--dry-run", *args)
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
    assert [roster + page + 1, roster + page, roster + page + 1] == one_held
    assert [roster + page, roster + page + 1] == failed


async def test_failures_are_listed_and_can_be_retried(
    run: Run, server: LocalServer, rooms: dict[str, str], tmp_path: Path
):
    """A closed room and a missing file are named, with exit 5; --retry-failed fetches them when they are back."""
    file = show_file(server, rooms["Ann"], b"x" * 100)
    folder = str(tmp_path / "site")
    server.faults.add("GET", f"*/{rooms['general']}/message", status=403, times=1)
    server.faults.add("GET", f"*/media/{file}", status=404, times=1)

    partial = await run("export", "-o", folder)
    status = await run("status", folder)
    retried = await run("export", "-o", folder, "--retry-failed")

    assert 5 == partial.exit_code
    assert partial.stderr.startswith("Partial: 2 items are missing")
    assert f"media {file} of Ann" in partial.stderr
    assert "history of general" in partial.stderr
    assert len(partial.stderr.splitlines()) <= 15
    assert "Hint: run again with --retry-failed." in partial.stderr
    assert "To fetch what is missing, run:\n  stride " in partial.stderr
    [held] = lines(status.stdout)
    assert {"history", "media"} == {failure["what"] for failure in held["failures"]}
    assert 0 == retried.exit_code, retried.stderr
    assert 0 == (await run("verify", folder)).exit_code


@pytest.mark.parametrize(
    ("fault", "suggested"),
    [({"status": 404}, True), ({"drop": "before"}, False)],
    ids=["refused for good", "not answered"],
)
async def test_only_what_was_refused_for_good_requires_an_option(
    run: Run,
    server: LocalServer,
    rooms: dict[str, str],
    tmp_path: Path,
    fault: dict[str, object],
    suggested: bool,
):
    """Any run fetches what may come later, so the summary suggests the same command again."""
    file = show_file(server, rooms["Ann"], b"x" * 100)
    server.faults.add("GET", f"*/media/{file}", **fault)

    result = await run("export", "Ann", "-o", str(tmp_path / "site"))

    assert 5 == result.exit_code, result.stderr
    [command] = re.findall(r"To fetch what is missing, run:\n  (.*)\n", result.stderr)
    assert suggested == command.endswith("--retry-failed")


async def test_many_failures_make_a_short_summary(run: Run, server: LocalServer, tmp_path: Path):
    """It says where all of them are listed, and gives each its hint if the hints differ."""
    for number in range(20):
        server.add_conversation(f"room {number}")
    server.faults.add("GET", "*/roster", status=403)

    result = await run("export", "-o", str(tmp_path / "site"), "room*", "nowhere")

    assert 5 == result.exit_code
    assert len(result.stderr.splitlines()) <= 15
    assert "selector nowhere: it matches no conversation (correct it, or leave it out)\n" in result.stderr
    assert " (run again with --retry-failed)\n" in result.stderr
    [listed] = (tmp_path / "site").glob("runs/*/failures.jsonl")
    assert str(listed) in result.stderr
    assert 21 == len(listed.read_text().splitlines())


async def test_an_export_without_any_content_is_not_called_partial(
    run: Run, server: LocalServer, rooms: dict[str, str], tmp_path: Path
):
    """Every call is refused."""
    server.faults.add("GET", "*/roster", status=403)
    server.faults.add("GET", "*/message", status=403)

    result = await run("export", "-o", str(tmp_path / "site"))

    assert 5 == result.exit_code
    assert result.stderr.startswith("Nothing was fetched: 8 items are missing.\n")


async def test_a_name_cannot_forge_the_summary(run: Run, server: LocalServer, tmp_path: Path):
    """Its line breaks and control characters do not reach the terminal."""
    room = server.add_conversation("plain\n\x1b[31mred\r\nComplete: all is here")
    server.faults.add("GET", f"*/{room}/roster", status=403)

    result = await run("export", "-o", str(tmp_path / "site"))

    assert "roster of plain \N{REPLACEMENT CHARACTER}[31mred Complete: all is here: " in result.stderr


async def test_progress_is_a_line_where_there_is_no_terminal(
    run: Run, server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It is repeated on stderr."""
    monkeypatch.setattr(export_progress, "SECONDS_BETWEEN_LINES", 0.01)
    room = server.add_conversation("general")
    server.fill(room, 300)
    server.faults.add("GET", f"*/{room}/message", delay=0.05)

    result = await run("export", "-o", str(tmp_path / "site"))

    progress = result.stderr.partition("Complete")[0].splitlines()
    assert any(
        re.fullmatch(r"0 of 1 conversations; \d+ messages; .* of 100 allowed per minute", line) for line in progress
    ), progress


def test_the_time_left_is_estimated_from_the_calls_per_conversation():
    """Conversations finished by an earlier run do not count; more calls than the limit allows have to wait."""
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


async def test_an_unavailable_service_ends_the_export(
    run: Run, server: LocalServer, rooms: dict[str, str], tmp_path: Path
):
    """What was fetched is kept, and the same command resumes when the service is back."""
    folder = str(tmp_path / "site")
    server.faults.add("GET", "*", status=503, after=8)

    stopped = await run("export", "-o", folder, "--concurrency", "1")
    server.faults.clear()
    resumed = await run("export", "-o", folder)

    assert 7 == stopped.exit_code
    assert re.match(
        r"Stopped\. What was fetched is kept \([1-3] of 4 conversations done\)\. To resume, run:", stopped.stderr
    )
    assert "Error: " in stopped.stderr.splitlines()[-1]
    assert 0 == resumed.exit_code
    assert resumed.stderr.startswith("Resuming the interrupted run of 20")


async def test_an_unusable_folder_is_reported_in_one_line(run: Run, rooms: dict[str, str], tmp_path: Path):
    """Running the command again would not help, so it is not suggested."""
    where = str(tmp_path / ("x" * 300) / "site")

    result = await run("export", "-o", where)

    assert 1 == len(result.stderr.splitlines())
    assert f"Cannot write the archive: {where}" in result.stderr
    assert "again" not in result.stderr


async def test_a_closed_pipe_does_not_end_the_export(start: Started, server: LocalServer, tmp_path: Path):
    """The archive is complete, as after `stride export --json … | head -1`, and the summary is on stderr."""
    room = server.add_conversation("general")
    server.fill(room, 1500)
    folder = tmp_path / "site"
    reading, writing = os.pipe()

    process = await start("export", "--json", "-o", str(folder), stdout=writing)
    os.close(writing)
    first = await asyncio.to_thread(os.read, reading, 10)
    os.close(reading)
    _, stderr = await asyncio.wait_for(process.communicate(), 20)

    assert (b'{"event":"', 0) == (first, process.returncode)
    assert stderr.startswith(b"Complete")
    assert 1500 == len(list(read(folder).messages(room)))


async def test_ctrl_c_before_the_list_reports_no_count(start: Started, server: LocalServer, tmp_path: Path):
    """The number of conversations is not known yet."""
    server.add_conversation("general")
    asked = asyncio.Event()
    server.faults.add("GET", "/site/*/conversation", stall="headers", do=lambda _: asked.set())

    process = await start("export", "-o", str(tmp_path / "site"))
    await asyncio.wait_for(asked.wait(), 20)
    process.send_signal(signal.SIGINT)
    _, stderr = await asyncio.wait_for(process.communicate(), 20)

    assert 130 == process.returncode
    assert "Interrupted before the first conversation. To start again, run:\n  stride export" in stderr.decode()


async def test_fail_fast_ends_at_the_first_failure(
    run: Run, server: LocalServer, rooms: dict[str, str], tmp_path: Path
):
    """The message and the exit code are those of the failure."""
    server.faults.add("GET", f"*/{rooms['general']}/message", status=403)

    result = await run("export", "-o", str(tmp_path / "site"), "--fail-fast")

    assert 4 == result.exit_code
    assert "answered 403" in result.stderr


async def test_a_folder_that_is_not_an_archive_stays_unchanged(run: Run, rooms: dict[str, str], tmp_path: Path):
    """Each command exits with 8."""
    (tmp_path / "notes.txt").write_text("mine")

    results = [
        await run("export", "-o", str(tmp_path)),
        await run("export", "-o", str(tmp_path), "--dry-run"),
        await run("status", str(tmp_path)),
        await run("verify", str(tmp_path)),
    ]

    assert [8] * 4 == [result.exit_code for result in results]
    assert all("not an archive" in result.stderr for result in results)
    assert ["notes.txt"] == files_in(tmp_path)


async def test_an_archive_that_is_in_use_or_too_new_is_exit_8(run: Run, rooms: dict[str, str], tmp_path: Path):
    """The message says which of the two it is."""
    folder = tmp_path / "site"
    assert 0 == (await run("export", "-o", str(folder))).exit_code
    other = Archive.open(folder)
    other.acquire_lease()

    busy = await run("export", "-o", str(folder))
    other.release()
    head = json.loads((folder / "archive.json").read_bytes())
    (folder / "archive.json").write_text(json.dumps({**head, "format": 99}))
    newer = await run("export", "-o", str(folder))

    assert (8, 8) == (busy.exit_code, newer.exit_code)
    assert "another export or a conversion is working on" in busy.stderr
    assert "format 99" in newer.stderr


async def test_shards_export_the_site_together(run: Run, rooms: dict[str, str], tmp_path: Path):
    """One without conversations is complete. An export that would share conversations with one of them is exit 8."""
    folder = str(tmp_path / "site")

    results = [await run("export", "-o", folder, "--shard", f"{index}/8") for index in range(8)]
    whole = await run("export", "-o", folder)
    other = Archive.open(folder)
    other.acquire_lease(Shard(0, 8))
    busy = [await run("export", "-o", folder, *part) for part in (("--shard", "0/7"), ())]
    other.release()

    assert {0} == {result.exit_code for result in (*results, whole)}, [result.stderr for result in results]
    counts = [lines(result.stdout)[-1]["conversations"] for result in results]
    for index, result in enumerate(results):
        digest = lines(result.stdout)[-1]["contentDigest"]
        assert f"Content digest of shard {index}/8 {digest}" in result.stderr.splitlines()
    digest = lines(whole.stdout)[-1]["contentDigest"]
    assert f"Content digest {digest}" in whole.stderr.splitlines()
    assert digest == lines((await run("status", folder)).stdout)[0]["contentDigest"]
    assert (4, True) == (sum(counts), 0 in counts)
    assert 0 == lines(whole.stdout)[-1]["new"]
    assert [(8, "")] * 2 == [(each.exit_code, each.stdout) for each in busy]
    for each, refused in zip(busy, ("shard 0/7", "an export of all shards"), strict=True):
        assert f"an export of shard 0/8 is working on {folder}, and {refused} cannot run at the same time" in (
            " ".join(each.stderr.split())
        )


async def test_a_full_disk_is_reported_in_one_line(
    run: Run, rooms: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The message says how to resume, and the same command later completes the archive."""
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
    resumed = await run("export", "-o", str(folder))

    assert 1 == stopped.exit_code
    assert "No space left on device" in stopped.stderr
    assert "run the same command again" in stopped.stderr
    assert 1 == len(stopped.stderr.splitlines())
    assert 0 == resumed.exit_code
    assert 0 == (await run("verify", str(folder))).exit_code


async def test_ctrl_c_keeps_what_was_fetched(start: Started, run: Run, server: LocalServer, tmp_path: Path):
    """The same command resumes, and fetches at most one page again."""
    room = server.add_conversation("general")
    server.fill(room, 1500)
    server.faults.add("GET", f"*/{room}/message", delay=0.05)
    folder = tmp_path / "site"

    process = await start("export", "-o", str(folder))
    for _ in range(6):
        while json.loads(await process.stdout.readline())["event"] != "PagesFetched":
            pass
    process.send_signal(signal.SIGINT)
    _, stderr = await asyncio.wait_for(process.communicate(), 20)
    server.faults.clear()
    asked = [call.query for call in server.calls.matching("GET", f"*/{room}/message")]
    again = await run("export", "-o", str(folder))

    assert 130 == process.returncode
    assert f"stride export -o {folder}" in stderr.decode()
    assert 0 == again.exit_code
    assert re.match(r"Resuming the interrupted run of 20\d\d-\d\d-\d\d \d\d:\d\d UTC\.\n", again.stderr)
    later = [call.query for call in server.calls.matching("GET", f"*/{room}/message")][len(asked) :]
    assert len([query for query in later if query in asked]) <= 1
    assert 1500 == len(list(read(folder).messages(room)))
    assert 0 == (await run("verify", str(folder))).exit_code


async def test_a_second_ctrl_c_ends_the_export_at_once(start: Started, run: Run, server: LocalServer, tmp_path: Path):
    """The archive can still be resumed."""
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


async def test_a_terminal_shows_a_progress_bar_and_no_json(start: Started, server: LocalServer, tmp_path: Path):
    """The calls shown never exceed those allowed, and the summary stays on the screen."""
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


async def test_messages_during_the_progress_display_stay(start: Started, server: LocalServer, tmp_path: Path):
    """They are printed above the display, which is erased when it ends."""
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


def read_until(terminal: int, text: bytes) -> None:
    """Read what a process shows until it shows this text."""
    shown = b""
    while text not in shown:
        shown += os.read(terminal, 65_536)


def read_all(terminal: int) -> str:
    """Read what a process shows until it ends."""
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 65_536)
        except OSError:  # Linux: the other side is closed.
            return shown.decode()
        if not piece:
            return shown.decode()
        shown += piece


async def test_status_gives_counts(run: Run, rooms: dict[str, str], tmp_path: Path):
    """They are one JSON object."""
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


async def test_verify_gives_a_verdict_for_each_conversation(run: Run, rooms: dict[str, str], tmp_path: Path):
    """An intact archive is exit 0, with or without a comparison with the service."""
    await run("export", "-o", str(tmp_path / "site"))

    alone = await run("verify", str(tmp_path / "site"))
    against = await run("verify", str(tmp_path / "site"), "--against", "--sample", "5")

    assert (0, 0) == (alone.exit_code, against.exit_code), against.stderr
    assert {(name, "complete", 80) for name in rooms} == {
        (line["name"], line["text"], line["messages"]) for line in lines(alone.stdout)
    }
    assert "deleted before" in alone.stderr
    assert "Compared 5 pages" in against.stderr


async def test_verify_names_the_damaged_file(run: Run, rooms: dict[str, str], tmp_path: Path):
    """The file is in a JSON line and in the final message; the exit code is 6."""
    await run("export", "-o", str(tmp_path / "site"))
    [segment, *_] = sorted((tmp_path / "site").glob("data/conversations/*/sealed/*/*"))
    segment.write_bytes(segment.read_bytes()[:-5])

    result = await run("verify", str(tmp_path / "site"))

    name = segment.relative_to(tmp_path / "site").as_posix()
    assert 6 == result.exit_code
    assert [name] == [line["path"] for line in lines(result.stdout) if "path" in line]
    assert name in result.stderr.splitlines()[-1]


async def test_a_file_system_without_locks_is_warned_of_once(run: Run, rooms, tmp_path: Path, monkeypatch):
    """The warning goes to stderr, and the exit code is that of any export."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(fcntl, "flock", refuse)

    result = await run("export", "-o", str(tmp_path / "site"))

    assert 0 == result.exit_code, result.stderr
    assert 1 == result.stderr.count("Warning: The file system offers no locks")
    assert 1 == [event["event"] for event in lines(result.stdout)].count("Unprotected")
