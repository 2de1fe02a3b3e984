"""The logs of an object store: numbered objects, read back in order."""

from __future__ import annotations

import threading

import pytest

from stride_async.export import StoreUnavailable
from stride_async.export._archive import object_log
from stride_async.export._archive.files import Folder
from stride_async.export._archive.layout import CALLS, FAILURES, log_number, log_part
from stride_async.export._archive.logs import RunLog
from stride_async.export._archive.object_log import ObjectLog


def test_lines_are_put_together_when_they_are_flushed():
    """Each flush puts one piece, and none without a line."""
    put: list[bytes] = []
    with ObjectLog(put.append) as log:
        log.write(b"one\n")
        log.write(b"two\n")
        log.flush()
        log.flush()
        log.write(b"three\n")

    assert [b"one\ntwo\n", b"three\n"] == put


def test_lines_are_put_in_time_without_another_write(monkeypatch):
    """The thread does it when the time is over."""
    monkeypatch.setattr(object_log, "LONGEST_HELD", 0.0)
    arrived = threading.Event()
    log = ObjectLog(lambda _: arrived.set())

    log.write(b"one\n")

    assert arrived.wait(30)
    log.close()


def test_a_store_that_refuses_is_reported_by_the_next_write(monkeypatch):
    """What was written is kept, and put when the store is back."""
    monkeypatch.setattr(object_log, "LONGEST_HELD", 3600.0)
    put: list[bytes] = []
    is_away = True

    def put_if_possible(data: bytes) -> None:
        if is_away:
            raise StoreUnavailable("away")
        put.append(data)

    log = ObjectLog(put_if_possible)
    log.write(b"one\n")
    log._flush_in_time()

    with pytest.raises(StoreUnavailable):
        log.write(b"two\n")
    is_away = False
    log.close()
    assert [b"one\n"] == put


def test_a_log_is_read_from_a_file_and_from_numbered_ones(tmp_path):
    """An archive that was copied from a store may have been continued in a folder."""
    folder = Folder(tmp_path)
    folder.create("runs/r/calls.log", b"first\n")
    for number in (2, 10, 1):
        folder.create(log_part("runs/r/calls.log", number), b"%d\n" % number)
    folder.create("runs/r/failures-000001.jsonl", b"{}\n")

    log = RunLog(folder, "r", CALLS)

    assert b"first\n1\n2\n10\n" == log.read()
    assert b"2\n10\n" == log.read_end(100, 2)
    assert log.age() is not None
    assert b"{}\n" == RunLog(folder, "r", FAILURES).read()
    assert None is RunLog(folder, "other", CALLS).age()


@pytest.mark.parametrize(
    "name", ["calls.log", "calls-1.log", "calls-00000x.log", "calls-000001.jsonl", "xcalls-000001.log"]
)
def test_other_names_are_not_numbers_of_a_log(name):
    """A folder may hold anything."""
    assert None is log_number(name, CALLS)
