"""Test that no text can control the terminal, and that every stream can show every text."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stride_async._cli
from stride_async._cli.escape import is_unsafe, json_for_terminal, printable, printable_lines
from stride_async.server import LocalServer
from tests.cli.conftest import Run, Started, on_terminal

HOSTILE = "\x1b]0;owned\x07 \x9b2J\x7f \u202egnp.exe \u2028\u200e\ttab, grüße 世界\u3000\xa0"
# All of Unicode, lone surrogates included, with the dangerous characters more often.
TEXTS = st.text(st.characters() | st.characters(categories=["Cs"]) | st.sampled_from(HOSTILE + "\r\n\t\0\udcff"))


@given(TEXTS)
def test_printable_text_has_no_unsafe_character_and_no_line_break(text: str):
    """This is true of any text, and every stream can encode the result."""
    shown = printable(text)

    assert [] == [character for character in shown if is_unsafe(character)]
    assert [] == [character for character in printable_lines(text) if is_unsafe(character) and character not in "\n\t"]
    assert shown == printable(shown)
    shown.encode()


@given(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"]) | st.sampled_from("\u200c\u200d")))
def test_safe_text_is_shown_unchanged(text: str):
    """Spaces of other scripts, joined emoji and characters that Python does not know yet are safe."""
    assert text == printable(text) == printable_lines(text)


@given(TEXTS, st.booleans())
def test_json_on_a_terminal_has_the_same_value(text: str, only_ascii: bool):
    """Unsafe characters are escaped as JSON escapes them."""
    line = json.dumps({"name": text}, ensure_ascii=False)

    shown = json_for_terminal(line, only_ascii=only_ascii)

    # JSON in ASCII cannot tell two surrogates side by side from the character that they stand for.
    assert json.loads(json.dumps({"name": text})) == json.loads(shown)
    assert [] == [character for character in shown if is_unsafe(character)]
    assert shown.isascii() or not only_ascii


def test_only_one_module_writes():
    """Text for people cannot get past the escaping. A constant is written where click and rich are missing."""
    writes = re.compile(r"\b(?:click\.(?:echo|secho)|print|sys\.std(?:out|err)\.(?:write|buffer)|Console|Text)\(")
    modules = Path(stride_async._cli.__file__).parent.glob("*.py")

    assert {"show.py", "__init__.py"} == {module.name for module in modules if writes.search(module.read_text())}


@pytest.fixture
def site(server: LocalServer) -> dict[str, str]:
    """Fill the site with hostile names and texts; return the ids of the room and the file."""
    ann = server.add_user(f"Ann {HOSTILE}", id=f"557058:{HOSTILE}", email=f"{HOSTILE}@example.com")
    room = server.add_conversation(f"room {HOSTILE}", roster=[ann])
    server.add_message(room, f"text {HOSTILE}", sender_id=ann)
    media = server.add_media(room, f"file {HOSTILE}.bin", b"data")
    node = {"type": "media", "attrs": {"id": media, "collection": room, "type": "file"}}
    content = [{"type": "mediaGroup", "content": [node]}]
    server.add_message(room, {"version": 1, "type": "doc", "content": content}, sender_id=ann)
    return {"room": room, "media": media}


COMMANDS = [
    "list conversations",
    "list users",
    "list roster {room}",
    "history {room}",
    "history HOSTILE",
    "history {room} --after 2018-HOSTILE",
    "history {room} --limit HOSTILE",
    "send {room} hello",
    "send HOSTILE hello",
    "send --user HOSTILE hello",
    "send {room} --document HOSTILE",
    "upload {room} file-HOSTILE",
    "upload {room} HOSTILE",
    "download {room} {media}",
    "download {room} {media} -o absent/HOSTILE",
    "download {room} HOSTILE",
    "export -o site-HOSTILE",
    "export HOSTILE -o site",
    "export @HOSTILE -o site",
    "export --tz HOSTILE -o site",
    "export --dry-run -o site",
    "status HOSTILE",
    "verify HOSTILE",
    "HOSTILE",
    "list HOSTILE",
]


def unsafe(shown: str) -> list[str]:
    """Return the unsafe characters of what a terminal was sent, apart from styles and line breaks."""
    return [character for character in click.unstyle(shown) if is_unsafe(character) and character not in "\r\n\t"]


@pytest.mark.parametrize("line", COMMANDS)
async def test_no_command_prints_unsafe_characters(
    run: Run, site: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
):
    """Neither what the service says nor what is on the command line reaches stderr as it is, nor a defect."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"file-{HOSTILE}").write_bytes(b"data")

    result = await run(*(word.replace("HOSTILE", HOSTILE).format_map(site) for word in line.split()))

    assert [] == unsafe(result.stderr)
    assert result.exit_code in (0, 2, 3, 8), result.stderr
    assert "This is a bug" not in result.stderr


@pytest.mark.parametrize("line", ["list conversations", "list users", "history {room}", "upload {room} {file}"])
@pytest.mark.parametrize("form", ["table", "json"])
async def test_a_terminal_gets_no_unsafe_characters(
    start: Started, site: dict[str, str], tmp_path: Path, line: str, form: str
):
    """Neither from a table nor from JSON, which keeps its value."""
    file = tmp_path / f"file-{HOSTILE}"
    file.write_bytes(b"data")
    args = [word.format(**site, file=file) for word in line.split()]

    code, shown = await on_terminal(start, *args, *(["--json"] if form == "json" else []))

    assert 0 == code
    assert [] == unsafe(shown)
    if form == "json":
        values = json.loads(click.unstyle(shown.splitlines()[-1])).values()
        assert any(HOSTILE in str(value) for value in values)


async def test_an_id_from_the_service_cannot_control_the_terminal(run: Run, server: LocalServer):
    """Even an id may hold anything."""
    room = server.add_conversation("general")
    body = json.dumps({"id": HOSTILE}).encode()
    server.faults.add("POST", "*/message", status=201, body=body, headers={"Content-Type": "application/json"})

    result = await run("send", room, "hi")

    assert (0, printable(HOSTILE) + "\n", "") == (result.exit_code, result.stdout, result.stderr)


@pytest.mark.parametrize(
    ("line", "encoding"),
    [
        ("list conversations", "ascii:strict"),
        ("history {room}", "ascii:strict"),
        ("history {room}", "latin-1"),
        ("list users --json", "ascii:strict"),
        ("export -o site", "latin-1"),
    ],
)
async def test_a_terminal_that_is_not_utf_8_shows_replacement_characters(
    start: Started,
    environment: dict[str, str],
    site: dict[str, str],
    tmp_path: Path,
    encoding: str,
    line: str,
):
    """The command succeeds as on any other."""
    variables = dict(os.environ) | environment | {"PYTHONIOENCODING": encoding, "NO_COLOR": "1", "TERM": "xterm"}

    code, shown = await on_terminal(
        start, *line.format_map(site).split(), env=variables, cwd=tmp_path, encoding=encoding.removesuffix(":strict")
    )

    assert 0 == code, shown
    assert "export" in line or "?" in shown or "\\u4e16" in shown


async def test_an_argument_is_understood_whatever_the_locale(
    start: Started, environment: dict[str, str], server: LocalServer
):
    """A name in UTF-8 is found although Python takes the arguments for ASCII."""
    room = server.add_conversation("grüße")
    variables = environment | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    process = await start("send", "grüße", "世界", env=dict(os.environ) | variables)
    _, stderr = await process.communicate()

    assert (0, b"") == (process.returncode, stderr)
    [sent] = server.calls.matching("POST", f"*/{room}/message")
    assert "世界".encode() in sent.body


@pytest.mark.parametrize(
    "args", [("send", "世界", "x"), ("history", "\udcff"), ("upload", "\udcff", "\udcfe")], ids=ascii
)
async def test_errors_can_be_written_to_a_stderr_that_is_not_utf_8(
    start: Started, environment: dict[str, str], args: tuple[str, ...]
):
    """They are one sentence, not a defect."""
    variables = dict(os.environ) | environment | {"PYTHONIOENCODING": "ascii"}

    process = await start(*args, env=variables)
    _, stderr = await process.communicate()

    assert process.returncode in (2, 3)
    assert b"This is a bug" not in stderr
    assert stderr.isascii()


@pytest.mark.parametrize(
    ("line", "code", "closed"),
    [
        *(("export -o new", 5, closed) for closed in ("stdout", "stderr", "both")),
        *(("verify {archive}", 6, closed) for closed in ("stdout", "both")),
        ("status {archive}", 0, "stdout"),
    ],
)
async def test_a_closed_pipe_does_not_end_work_on_archives(
    start: Started, server: LocalServer, run: Run, tmp_path: Path, line: str, code: int, closed: str
):
    """The exit code is what it would have been, and the work is done."""
    ann = server.add_user("Ann")
    server.fill(server.add_conversation("general", roster=[ann]), 100)
    server.add_conversation("closed")
    archive = tmp_path / "site"
    assert 0 == (await run("export", "general", "-o", str(archive))).exit_code
    next(archive.glob("data/conversations/*/sealed/*/*")).unlink()
    [room] = [one for one, facts in server.truth().conversations.items() if facts.messages == 0]
    server.faults.add("GET", f"*/conversation/{room}/roster", status=403)
    reading, writing = os.pipe()
    os.close(reading)
    streams = dict.fromkeys(["stdout", "stderr"] if closed == "both" else [closed], writing)

    process = await start(*line.format(archive=archive).split(), **streams, cwd=tmp_path)
    os.close(writing)
    await asyncio.wait_for(process.communicate(), 60)

    assert code == process.returncode
    if "export" in line:
        assert 0 == (await run("verify", str(tmp_path / "new"))).exit_code
