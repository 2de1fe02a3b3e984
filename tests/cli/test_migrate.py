"""`stride migrate matrix` moves an archive to a homeserver, and says what it could not move."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from pathlib import Path

import pytest

from stride_async.export.matrix import _homeserver
from stride_async.export.matrix._homeserver import Patience
from tests.cli.conftest import on_terminal
from tests.matrix.fake import SERVER, FakeHomeserver, Fault
from tests.matrix.moving import archive_of, expected, there


@pytest.fixture
async def archive(server, client, tmp_path):
    return await archive_of(server, client, tmp_path / "site")


@pytest.fixture
async def registration(run, tmp_path):
    """Write a registration as a user does, and return its path."""
    result = await run(
        "migrate", "matrix", "--new-registration", str(tmp_path / "stride.yaml"), "--server-name", SERVER
    )
    assert (0, "") == (result.exit_code, result.stdout)
    assert f"Add it to the configuration of {SERVER}" in result.stderr
    return str(tmp_path / "stride.yaml")


@pytest.fixture
def token(registration, tmp_path):
    return json.loads((tmp_path / "stride.yaml").read_bytes())["as_token"]


@pytest.fixture
async def homeserver(token):
    async with FakeHomeserver(token) as homeserver:
        yield homeserver


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(_homeserver, "PATIENCE", Patience(attempts=3, backoff=0.0))


async def test_json_lines_report_each_room_and_end_with_the_report(run, archive, homeserver, registration, token):
    """A second run sends nothing. The token is not in the output."""
    command = ("migrate", "matrix", str(archive), "--homeserver", homeserver.url, "--registration", registration)
    first = await run(*command, "--json")
    second = await run(*command, "--json")

    started, *events, summary = map(json.loads, first.stdout.splitlines())
    assert (0, 0) == (first.exit_code, second.exit_code)
    assert {"event": "MigrationStarted", "serverName": SERVER, "conversations": 5, "messages": 16} == started
    rooms = {event["roomId"]: event["sent"] for event in events if event["event"] == "RoomDone"}
    assert set(homeserver.rooms) == set(rooms)
    assert ("Summary", 16, sum(rooms.values()), 0) == tuple(summary[k] for k in ("event", "messages", "sent", "failed"))
    assert 0 == json.loads(second.stdout.splitlines()[-1])["sent"]
    assert "5 conversations, 16 messages, 2 files" in first.stderr
    assert token not in first.output + second.output
    assert expected(archive) == there(homeserver)


async def test_a_dry_run_says_what_would_be_moved(run, archive):
    """It needs neither a homeserver nor a registration."""
    result = await run("migrate", "matrix", str(archive), "--dry-run", "--type", "public", "--json")

    assert 0 == result.exit_code
    assert 11 == json.loads(result.stdout)["messages"]
    assert "To move: 3 conversations, 11 messages, 2 files, 4 people." in result.stderr
    assert "that takes 1 second." in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "Missing argument 'ARCHIVE'"),
        (("site",), 2, "Missing option '--homeserver'"),
        (("site", "--homeserver", "http://a"), 2, "Missing option '--registration'"),
        (("site", "--homeserver", "a", "--registration", "stride.yaml"), 2, "'a' is not an http or https URL"),
        (("site", "--homeserver", "http://a", "--registration", "missing"), 2, "missing: No such file"),
        (("site", "--homeserver", "http://a", "--registration", "other"), 2, "other is not a registration that"),
        (("site", "--server-name", "b", "--dry-run"), 2, "--server-name is for --new-registration"),
        (("--new-registration", "new"), 2, "Missing option '--server-name'"),
        (("--new-registration", "new", "--server-name", "http://a"), 2, "is not the name of a homeserver"),
        (("--new-registration", "other", "--server-name", "a"), 2, "other exists: choose another name."),
        (("--new-registration", "no/new", "--server-name", "a"), 2, "Cannot write the registration: no/new: No such"),
        (("site", "--new-registration", "new", "--server-name", "a"), 2, "does not take an archive"),
        (("site", "--dry-run", "nothing*"), 3, "no conversation matches 'nothing*'"),
        (("missing", "--dry-run"), 8, "is not an archive"),
    ],
)
async def test_what_cannot_be_done_is_refused_in_one_sentence(
    run, archive, registration, tmp_path, monkeypatch, arguments, code, message
):
    """The exit code says what kind of problem it is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").write_text("id: other\n")

    result = await run("migrate", "matrix", *arguments)

    assert code == result.exit_code
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        (Fault("whoami", 401), 4, "does not accept the token of"),
        (Fault("/send/", 500, times=99), 7, "answered 500"),
        (Fault("/send/", 0, times=99), 7, "(3 attempts)"),
        (Fault("createRoom", 400, b'{"errcode":"M_UNKNOWN","error":"no"}'), 5, "1 conversation could not be moved."),
    ],
)
async def test_trouble_with_the_homeserver_has_an_exit_code(
    run, archive, homeserver, registration, fault, code, message
):
    """The message is one sentence."""
    homeserver.faults.append(fault)

    result = await run(
        "migrate", "matrix", str(archive), "--homeserver", homeserver.url, "--registration", registration
    )

    assert code == result.exit_code
    assert message in result.stderr


async def test_a_damaged_archive_has_an_exit_code_of_its_own(run, archive, homeserver, registration):
    """The message names the file and says how to list all damage."""
    [body] = [path for path in (archive / "media").rglob("*") if path.is_file()]
    body.chmod(0o644)
    body.write_bytes(b"BODY")

    result = await run(
        "migrate", "matrix", str(archive), "--homeserver", homeserver.url, "--registration", registration
    )

    assert 6 == result.exit_code
    assert f"{body.name} is not what was committed: its digest differs. Run `stride verify " in result.stderr


async def test_a_second_migration_at_the_same_time_is_refused(run, start, archive, homeserver, registration):
    """The first one is not disturbed, and an export into the archive cannot run either."""
    command = ("migrate", "matrix", str(archive), "--homeserver", homeserver.url, "--registration", registration)
    homeserver.stalled = re.compile("/send/")
    first = await start(*command)
    await homeserver.stalls.wait()

    second = await run(*command)
    export = await run("export", "-o", str(archive))

    assert (8, 8) == (second.exit_code, export.exit_code)
    assert f"another migration of {archive} is running" in second.stderr
    first.kill()
    await first.communicate()
    homeserver.stalled = None
    assert 0 == (await run(*command)).exit_code
    assert expected(archive) == there(homeserver)


@pytest.mark.parametrize(("stalled", "times"), [("whoami", 1), ("/send/", 1), ("/send/", 2)])
async def test_ctrl_c_ends_a_migration_that_waits(run, start, archive, homeserver, registration, stalled, times):
    """It ends at once, also when it is pressed twice, and the next migration continues."""
    command = ("migrate", "matrix", str(archive), "--homeserver", homeserver.url, "--registration", registration)
    homeserver.stalled = re.compile(stalled)
    process = await start(*command)
    await homeserver.stalls.wait()

    for _ in range(times):
        process.send_signal(signal.SIGINT)
    _, messages = await process.communicate()

    assert process.returncode in {130, -signal.SIGINT}
    assert b"Traceback" not in messages
    homeserver.stalled = None
    assert 0 == (await run(*command)).exit_code
    assert expected(archive) == there(homeserver)


async def test_the_token_is_nowhere_but_in_the_registration(start, archive, homeserver, registration, token):
    """It is not in the command line, the environment, the messages or the archive."""
    command = ("migrate", "matrix", str(archive), "--homeserver", homeserver.url, "--registration", registration)
    homeserver.stalled = re.compile("/send/")
    process = await start(*command, "--verbose")
    await homeserver.stalls.wait()
    shown = [Path(f"/proc/{process.pid}/{name}") for name in ("cmdline", "environ")]
    seen = [path.read_bytes() for path in shown if path.exists()]
    homeserver.stalled = None
    process.send_signal(signal.SIGINT)
    seen += await process.communicate()
    process = await start(*command, "--verbose", "--json")
    seen += await process.communicate()

    assert 0 == process.returncode
    seen += [path.read_bytes() for path in archive.rglob("*") if path.is_file()]
    assert not any(token.encode() in each for each in seen)


async def test_a_wait_is_shown_with_its_reason(run, archive, homeserver, registration):
    """Otherwise a homeserver that is being restarted looks like a command that does nothing."""
    homeserver.faults.append(Fault("/send/", 429, b'{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":1100}'))

    result = await run(
        "migrate", "matrix", str(archive), "--homeserver", homeserver.url, "--registration", registration
    )

    assert 0 == result.exit_code
    assert re.search(r"Waiting 1 s: PUT \S+ is throttled\.", result.stderr)


async def test_a_registration_that_others_can_read_is_warned_about(run, archive, homeserver, registration, tmp_path):
    """The migration runs."""
    (tmp_path / "stride.yaml").chmod(0o644)

    result = await run(
        "migrate", "matrix", str(archive), "--homeserver", homeserver.url, "--registration", registration
    )

    assert 0 == result.exit_code
    assert f"Warning: Other users of this machine can read {registration}. Run: chmod 600" in result.stderr


async def test_a_process_that_is_killed_is_continued_by_the_next(start, archive, homeserver, registration):
    """Nothing is doubled and nothing is missing after two kills, with a restart of the homeserver after each."""
    command = ("migrate", "matrix", str(archive), "--homeserver", homeserver.url, "--registration", registration)
    for count, signalled in ((40, signal.SIGKILL), (40, signal.SIGKILL), (30, signal.SIGINT)):
        reached = asyncio.Event()
        last = len(homeserver.calls) + count
        homeserver.after_call = lambda number, last=last, reached=reached: number == last and reached.set()
        process = await start(*command)
        ended = asyncio.create_task(process.wait())
        await asyncio.wait({asyncio.create_task(reached.wait()), ended}, return_when=asyncio.FIRST_COMPLETED)
        assert reached.is_set()
        if not ended.done():
            process.send_signal(signalled)
        _, messages = await process.communicate()
        assert process.returncode in {-signal.SIGKILL, 130, 0}
        assert b"Traceback" not in messages
        homeserver.restart()

    homeserver.after_call = lambda _: None
    process = await start(*command)
    await process.communicate()

    assert 0 == process.returncode
    assert expected(archive) == there(homeserver)


async def test_losses_are_a_short_table_on_a_terminal(start, archive, homeserver, registration):
    """The examples are in the archive."""
    command = ("migrate", "matrix", str(archive), "--homeserver", homeserver.url, "--registration", registration)

    code, shown = await on_terminal(start, *command)

    assert 0 == code
    assert any(line.split() == ["message", "split", "1"] for line in shown.splitlines())
    assert "derived/matrix.report.json." in "".join(shown.split())
