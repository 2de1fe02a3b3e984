"""Importing the exporter: reading an archive does not load the client, and every public name is there."""

from __future__ import annotations

import pickle
import subprocess
import sys

from stride_async import export
from tests.export.exporting import exported, show_file

READ = """
import sys

from stride_async.export import read, status

archive = read(sys.argv[1])
rooms = list(archive.conversations())
messages = [message.text for room in rooms for message in archive.messages(room.id)]
bodies = []
for media in archive.media():
    with media.open() as body:
        bodies.append(body.read())
people = [user.id for user in archive.users()]
print(len(rooms), len(messages), bodies, len(people) > 0, status(sys.argv[1]).conversations)
print([name for name in ("aiohttp", "tenacity", "yarl") if name in sys.modules])
"""
NAMES = """
import pickle
import sys

import stride_async.export

before = set(dir(stride_async.export))
from stride_async.export import *

print(set(stride_async.export.__all__) - before, verify.__name__, Report.__module__)
print(hasattr(stride_async.export, "exports"), hasattr(stride_async.export, "_no_such_module"))
"""


def output_of(code: str, *args: str) -> str:
    """Run code in a fresh process, with warnings as errors."""
    python = [sys.executable, "-W", "error", "-c", code, *args]
    ran = subprocess.run(python, check=False, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


async def test_reading_an_archive_loads_no_network_library(server, client, tmp_path):
    """In a fresh process, everything in an archive can be read without aiohttp, tenacity and yarl."""
    room = server.add_conversation("room", roster=[server.add_user("Ann")])
    server.fill(room, 3)
    show_file(server, room, "a.bin", b"body")
    await exported(client, tmp_path / "site")

    assert "1 4 [b'body'] True 1\n[]\n" == output_of(READ, str(tmp_path / "site"))


def test_every_public_name_is_there_from_the_start():
    """A listing and a star import have all of them, and a wrong name is an error, although some are imported later."""
    assert "set() verify stride_async.export\nFalse False\n" == output_of(NAMES)


def test_values_of_names_that_are_imported_later_can_be_pickled():
    """Their classes are found under the public name."""
    verdict = export.Verdict(
        conversation_id="c", name="room", kind="complete", text="complete", messages=1, media=0, failed=()
    )
    error = export.NothingSelected("no conversation matches 'x'", ["y"])

    assert verdict == pickle.loads(pickle.dumps(verdict))
    assert "stride_async.export" == type(error).__module__
