"""Work on an archive is done in threads, so that the event loop is free for calls, also if each file takes a second."""

from __future__ import annotations

import os
import sys
import threading

from stride_async.export import estimate, verify
from tests.export.exporting import exported, show_file

WATCHED = {"open", "os.link", "os.listdir", "os.remove", "os.rename", "os.scandir"}

_folder: str | None = None
_touched: list[tuple[str, str, bool]] = []


def _note(event: str, args: tuple[object, ...]) -> None:
    if _folder is not None and event in WATCHED and isinstance(args[0], str | os.PathLike):
        path = os.fspath(args[0])
        if path.startswith(_folder):
            _touched.append((event, path, threading.current_thread() is threading.main_thread()))


sys.addaudithook(_note)


async def test_no_file_of_an_archive_is_touched_in_the_event_loop(server, client, tmp_path, monkeypatch):
    """This holds for an export, an update, a verification that compares a sample, and an estimate."""
    room = server.add_conversation("room", roster=[server.add_user("Ann")])
    server.fill(room, 30)
    show_file(server, room, "a.txt", b"body")
    monkeypatch.setitem(globals(), "_folder", str(tmp_path / "archive"))
    _touched.clear()

    await exported(client, tmp_path / "archive")
    await exported(client, tmp_path / "archive")
    await verify(tmp_path / "archive", against=client)
    await estimate(client, tmp_path / "archive")

    assert _touched
    # A download opens its own part file, which is local, also for an archive in an object store.
    assert [] == [(event, path) for event, path, in_loop in _touched if in_loop and "/media/part/" not in path]
