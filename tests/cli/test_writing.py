"""Test `stride send`, `stride upload` and `stride download`."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import pty
import signal
from pathlib import Path

import pytest

from stride_async._cli.progress import Gauge
from stride_async.document import doc, paragraph
from stride_async.server import LocalServer
from tests.cli.conftest import Run, Started


async def test_send_prints_the_id_of_the_message(run: Run, server: LocalServer):
    """The text comes from the argument, or from stdin without the last line break."""
    server.add_conversation("general")

    ids = [
        (await run("send", "general", "from here")).stdout.strip(),
        json.loads((await run("send", "general", "--json", input="two\nlines\n")).stdout)["id"],
    ]

    history = [json.loads(line) for line in (await run("history", "general", "--oldest-first")).stdout.splitlines()]
    assert [(ids[0], "from here"), (ids[1], "two\nlines")] == [(one["id"], one["text"]) for one in history]


async def test_send_accepts_markdown_and_documents(run: Run, server: LocalServer, tmp_path: Path):
    """Each is sent in its own format."""
    server.add_conversation("general")
    document = tmp_path / "document.json"
    document.write_text(json.dumps(doc(paragraph("from a file")).to_json()))

    await run("send", "general", "--markdown", "some **bold** words")
    await run("send", "general", "--document", str(document))

    markdown, rich = server.calls.matching("POST", "*/message")
    assert ("text/markdown; charset=utf-8", b"some **bold** words") == (markdown.headers["Content-Type"], markdown.body)
    assert "from a file" in (await run("history", "general", "--limit", "1")).stdout
    assert b'"from a file"' in rich.body


async def test_send_reaches_a_person_by_id_or_email_address(run: Run, server: LocalServer):
    """--user makes the first argument a person."""
    ann = server.add_user("Ann", email="ann@example.com")

    codes = [(await run("send", "--user", who, "Lunch?")).exit_code for who in (ann, "ann@example.com")]

    assert [0, 0] == codes
    assert 2 == len(server.calls.matching("POST", f"*/conversation/user/{ann}/message"))


async def test_a_hyphen_stands_for_stdin(run: Run, server: LocalServer, tmp_path: Path):
    """It does so for the text and for a document; a byte order mark is not part of the text."""
    room = server.add_conversation("general")
    document = json.dumps(doc(paragraph("from a document")).to_json())
    inputs: dict[tuple[str, ...], bytes] = {
        ("-",): b"\xef\xbb\xbffrom a pipe\r\n",
        (): b"\xef\xbb\xbfwithout an argument\n",
        ("-", "--markdown"): b"from **Markdown**",
        ("--document", "-"): b"\xef\xbb\xbf" + document.encode(),
    }

    codes = [(await run("send", room, *args, input=data)).exit_code for args, data in inputs.items()]

    history = (await run("history", room, "--oldest-first")).stdout.splitlines()
    texts = [json.loads(line)["text"] for line in history]
    assert [0, 0, 0, 0] == codes
    assert ["from a pipe", "without an argument", "from Markdown", "from a document"] == texts


@pytest.mark.parametrize("args", [(), ("-",), ("--markdown",), ("--document", "-")], ids=" ".join)
async def test_stdin_that_is_not_utf_8_is_refused(run: Run, server: LocalServer, args: tuple[str, ...]):
    """One sentence says so, and nothing is sent."""
    result = await run("send", server.add_conversation("general"), *args, input=b"caf\xe9")

    assert (2, 1) == (result.exit_code, len(result.stderr.splitlines()))
    assert "is not UTF-8 text: byte 4 is 0xe9" in result.stderr
    assert 0 == len(server.calls)


async def test_a_document_that_is_nested_too_deeply_is_refused(run: Run, server: LocalServer):
    """It is not a defect of the command."""
    deep = b'{"type": "doc", "version": 1, "content": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"

    result = await run("send", server.add_conversation("general"), "--document", "-", input=deep)

    assert 2 == result.exit_code
    assert "Cannot read the message" in result.stderr


UNUSABLE = {
    "": "must not be empty",
    "{long}": "File name too long",
    "loop": "Too many levels of symbolic links",
    "file/x": "Not a directory",
    "nul\0": "null character",
    "\udcff/absent": "",
}


@pytest.mark.parametrize(
    "line",
    [
        "send general --document PATH",
        "upload general PATH",
        "download general media -o PATH",
        "export -o PATH",
        "export @PATH -o site",
        "status PATH",
        "verify PATH",
    ],
)
@pytest.mark.parametrize("path", UNUSABLE)
async def test_a_path_that_the_system_refuses_is_a_usage_error(
    run: Run, server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, path: str
):
    """This holds for every path that a command takes. The message says what is wrong with it."""
    monkeypatch.chdir(tmp_path)
    server.add_conversation("general")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()

    result = await run(*(word.replace("PATH", path.format(long="x" * 300)) for word in line.split()))

    unusable = (2, 3, 8, 0) if path.startswith("\udcff") else (2,)  # This one may be created.
    assert result.exit_code in unusable, result.stderr
    assert UNUSABLE[path] in result.stderr
    assert "This is a bug" not in result.stderr


async def test_a_file_whose_part_has_too_long_a_name_is_a_usage_error(run: Run, server: LocalServer, tmp_path: Path):
    """The name itself is not too long, but the download needs a longer one."""
    room = server.add_conversation("general")
    media = server.add_media(room, "file.bin", b"data")

    result = await run("download", room, media, "-o", str(tmp_path / ("x" * 253)))

    assert 2 == result.exit_code
    assert "File name too long" in result.stderr


@pytest.mark.parametrize("name", ["STRIDE_CLOUD_ID", "STRIDE_TOKEN", "STRIDE_BASE_URL"])
async def test_a_variable_that_is_not_utf_8_is_named(run: Run, name: str):
    """The system may give the command any bytes."""
    result = await run("list", "users", **{name: "\udcff"})

    assert (2, f"Error: {name} is not valid UTF-8.\n") == (result.exit_code, result.stderr)


@pytest.mark.parametrize("line", ["history X", "send X hi", "send general X", "send --user X hi", "download general X"])
async def test_an_argument_that_is_not_utf_8_is_refused(run: Run, server: LocalServer, line: str):
    """It could not be sent."""
    server.add_conversation("general")

    result = await run(*line.replace("X", "http://\udcff").split())

    assert 2 == result.exit_code
    assert "It is not valid UTF-8." in result.stderr
    assert 0 == len(server.calls)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["deploy"], "deploy"),
        (["--mention", "deploy"], "@Local app deploy"),
        (["--markdown", "**deploy**"], "deploy"),
        (["--document", "-"], "deploy"),
        (["-"], "deploy"),
    ],
    ids=" ".join,
)
async def test_a_person_can_speak_on_a_local_server(run: Run, server: LocalServer, args: list[str], text: str):
    """The message is by the person, optionally with a mention of the app; its id is printed."""
    ann = server.add_user("Ann Adler")
    room = server.add_conversation("general")
    stdin = json.dumps(doc(paragraph("deploy")).to_json()) if "--document" in args else "deploy\n"

    result = await run("send", "general", "--as", "ann adler", *args, input=stdin)

    [message] = [json.loads(line) for line in (await run("history", room)).stdout.splitlines()]
    assert (0, message["id"] + "\n") == (result.exit_code, result.stdout)
    assert (ann, text) == (message["sender"]["id"], message["text"])


async def test_only_a_local_server_lets_a_person_speak(run: Run, server: LocalServer):
    """Any other service has no such call."""
    room = server.add_conversation("general")
    # The local server injects no fault into this call, so its stand-in is below a path that it does not have.
    result = await run("send", room, "hi", "--as", "ann", STRIDE_BASE_URL=f"{server.url}/elsewhere", STRIDE_TOKEN="x")

    message = f"Error: --as requires a local server (`stride server`), and {server.url}/elsewhere is not one.\n"
    assert (2, message) == (result.exit_code, result.stderr)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["--as", "unknown"],
            "Nothing was sent: no person of this site has the id, email address or name 'unknown'.\n",
        ),
        (["--as", ""], "no person of this site"),
        (["--as", "ann", "--user"], "--as cannot be combined with --user"),
        (["--mention"], "--mention requires --as"),
    ],
    ids=" ".join,
)
async def test_what_cannot_be_said_as_a_person_is_refused(run: Run, server: LocalServer, args: list[str], message: str):
    """The exit code is 2, and nothing is sent."""
    room = server.add_conversation("general", roster=[server.add_user("Ann")])

    result = await run("send", room, "hi", *args)

    assert (2, "") == (result.exit_code, result.stdout)
    assert message in result.stderr
    assert 0 == server.truth().conversations[room].messages


@pytest.fixture
def documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a current folder with invalid documents."""
    (tmp_path / "broken.json").write_text('{"type": "doc"')
    (tmp_path / "unknown.json").write_text('{"type": "doc", "version": 1, "content": [{"type": "spell"}]}')
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ((), "Nothing was sent: the message is empty"),
        (("--document", "broken.json"), "Cannot read the message"),
        (("--document", "unknown.json"), "$.content[0]"),
        (("--document", "unknown.json", "text"), "--document cannot be combined"),
        (("--document", "absent.json"), "absent.json"),
    ],
)
async def test_invalid_messages_are_not_sent(
    run: Run, server: LocalServer, documents: Path, content: tuple[str, ...], message: str
):
    """The exit code is 2, and the message says where the error is."""
    server.add_conversation("general")

    result = await run("send", "general", *content, input="")

    assert (2, "") == (result.exit_code, result.stdout)
    assert message in result.stderr
    assert [] == server.calls.matching("POST", "*/message")


async def test_an_uploaded_file_can_be_downloaded(run: Run, server: LocalServer, tmp_path: Path):
    """The content, its digest and the given name are the same."""
    room = server.add_conversation("general")
    data = os.urandom(300_000)
    (tmp_path / "x1").write_bytes(data)

    up = await run("upload", "general", str(tmp_path / "x1"), "--name", "plan.bin")
    media = json.loads(up.stdout)
    down = await run("download", room, media["id"], "-o", str(tmp_path))

    assert ("plan.bin", len(data)) == (media["name"], media["size"])
    assert data == (tmp_path / "plan.bin").read_bytes()
    assert {
        "path": str(tmp_path / "plan.bin"),
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "verified": True,
    } == json.loads(down.stdout)
    assert "300.0 kB of 300.0 kB" in up.stderr


async def test_upload_can_show_the_file_in_a_message(run: Run, server: LocalServer, tmp_path: Path):
    """People see a file only in a message."""
    server.add_conversation("general")
    (tmp_path / "plan.txt").write_text("the plan")

    uploaded = json.loads((await run("upload", "general", str(tmp_path / "plan.txt"), "--send")).stdout)

    (message,) = map(json.loads, (await run("history", "general")).stdout.splitlines())
    assert uploaded["messageId"] == message["id"]
    assert uploaded["id"] in json.dumps(message["body"])


async def test_an_existing_file_is_overwritten_only_with_force(run: Run, server: LocalServer, tmp_path: Path):
    """The exit code is 2 without it."""
    room = server.add_conversation("general")
    media = server.add_media(room, "plan.txt", b"new")
    target = tmp_path / "plan.txt"
    target.write_text("old")

    refused = await run("download", room, media, "-o", str(target))
    kept = target.read_text()
    replaced = await run("download", room, media, "-o", str(target), "--force")

    assert (2, "old") == (refused.exit_code, kept)
    assert "--force" in refused.stderr
    assert (0, "new") == (replaced.exit_code, target.read_text())


async def test_a_missing_folder_is_reported(run: Run, server: LocalServer, tmp_path: Path):
    """The folder is named and not created."""
    room = server.add_conversation("general")
    media = server.add_media(room, "plan.txt", b"new")

    result = await run("download", room, media, "-o", str(tmp_path / "absent" / "plan.txt"))

    assert 2 == result.exit_code
    assert str(tmp_path / "absent") in result.stderr
    assert not (tmp_path / "absent").exists()


async def test_a_file_name_that_is_not_utf_8_is_refused(run: Run, server: LocalServer, tmp_path: Path):
    """--name gives the file a name that can be sent."""
    server.add_conversation("general")
    file = os.fsencode(tmp_path) + b"/\xff.bin"
    try:
        os.close(os.open(file, os.O_CREAT))
    except OSError:
        pytest.skip("the file system does not accept such a name")

    refused = await run("upload", "general", os.fsdecode(file))
    named = await run("upload", "general", os.fsdecode(file), "--name", "plan.bin")

    assert 2 == refused.exit_code
    assert "--name" in refused.stderr
    assert (0, "plan.bin") == (named.exit_code, json.loads(named.stdout)["name"])


@pytest.mark.parametrize("file", ["absent.txt", ".", os.devnull])
async def test_only_regular_files_can_be_uploaded(run: Run, server: LocalServer, file: str):
    """Missing files, folders and devices are refused."""
    server.add_conversation("general")

    result = await run("upload", "general", file)

    assert 2 == result.exit_code
    assert file in result.stderr


@pytest.mark.parametrize(
    ("name", "safe"),
    [("../../etc/passwd", "passwd"), ("a\x1b[2J\u202egpj.exe", "a_[2J_gpj.exe"), ("COM¹.txt", "_COM¹.txt")],
)
async def test_the_name_of_a_download_is_made_safe(run: Run, server: LocalServer, tmp_path: Path, name: str, safe: str):
    """It is never a path, hidden, or reserved for a device."""
    room = server.add_conversation("general")

    result = await run("download", room, server.add_media(room, name, b"x"), "-o", str(tmp_path))

    assert str(tmp_path / safe) == json.loads(result.stdout)["path"]
    assert [safe] == names_in(tmp_path)


def test_the_rate_counts_only_what_this_run_did():
    """Bytes that an earlier run downloaded do not make this one look fast."""
    gauge = Gauge("film", total=1_000, in_bytes=True, done=600, before=500)

    assert ("50 bytes/s", "about 0:09 left") == (gauge.rate(2.0), gauge.time_left(2.0))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_an_interrupted_download_keeps_its_bytes(start: Started, server: LocalServer, tmp_path: Path):
    """Ctrl-C is exit 130, and the next run resumes after the bytes that are kept."""
    room = server.add_conversation("general")
    data = os.urandom(4_000_000)
    media = server.add_media(room, "film.bin", data)
    server.faults.add("GET", f"*/media/{media}", stall="body", cut_after=3_000_000, times=1)
    ours, theirs = pty.openpty()
    args = ("download", room, media, "-o", str(tmp_path / "film.bin"))

    process = await start(*args, stderr=theirs)
    os.close(theirs)
    with os.fdopen(ours, "rb", buffering=0) as screen:
        shown = b""
        while b"3.0 MB of 4.0 MB" not in shown:
            shown += await asyncio.to_thread(screen.read, 65_536)
        process.send_signal(signal.SIGINT)
        await process.communicate()
        # Everything it printed at its end is waiting in the terminal.
        shown = os.read(screen.fileno(), 65_536)
    kept = (tmp_path / "film.bin.part").stat().st_size
    again = await start(*args)
    _, stderr = await again.communicate()

    assert 130 == process.returncode
    assert b"The first 3,000,000 bytes are kept." in shown
    assert b"film.bin.part\r\n" in shown
    assert b"Interrupted." in shown
    assert 0 < kept < len(data)
    assert (0, data) == (again.returncode, (tmp_path / "film.bin").read_bytes()), stderr
    assert f"bytes={kept}-" == server.calls.matching("GET", f"*/media/{media}")[-1].headers["Range"]
