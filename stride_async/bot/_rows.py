"""What the store can do: each operation is a function of an open connection, or makes one from its arguments.

An operation runs within a transaction and may be run again if the transaction is rolled back, so it changes nothing
but the database. `Store.run` and `Store.submit` run them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar, cast

import attrs

from stride_async._moments import NANOSECONDS
from stride_async.bot._read import Incoming
from stride_async.bot._router import Kind

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]


@attrs.frozen
class Kept:
    """A new event in the store."""

    number: int
    place: tuple[str, str]
    order: int


@attrs.frozen(kw_only=True)
class Stored:
    """An event as it is stored."""

    number: int
    kind: Kind
    module: str
    cloud_id: str
    conversation_id: str
    user_id: str
    received_at: float
    attempts: int
    body: bytes
    replies: dict[int, str]
    """Ids of the messages that were sent as replies, by their position."""


@attrs.frozen
class Pending:
    """An event that waits, as a start finds it."""

    number: int
    place: tuple[str, str]
    order: int
    begun: bool
    """Whether an attempt has begun before."""
    suspect: bool
    """Whether it was under way when the last process ended."""
    pause: float
    """Seconds for which it still waits after `TryAgain`."""


@attrs.frozen
class StoredFailure:
    """A failed event."""

    event: Stored
    error: str
    message: str
    failed_at: float


@attrs.frozen
class StoredInstallation:
    """The bot in one conversation."""

    cloud_id: str
    conversation_id: str
    user_id: str
    oauth_client_id: str | None
    version: str | None
    relay_state: str | None
    installed_at: float


@attrs.frozen
class Mark:
    """The position up to which a conversation was read: after the message `message_id` of time `ts`.

    Without an id, messages from `ts` on are still to be read. `complete` means that a look reached the end.
    """

    ts: int
    message_id: str
    complete: bool


@attrs.frozen
class Health:
    """What waits and what failed."""

    waiting: int
    oldest_received_at: float | None
    failed: int


def keep(incoming: Incoming, received_at: float, twin_seconds: float) -> Job[Kept | None]:
    """Keep a delivery; the result is None if it was kept before."""

    def job(connection: sqlite3.Connection) -> Kept | None:
        return _kept(connection, incoming, received_at, twin_seconds)

    return job


def keep_page(page: Sequence[Incoming], received_at: float, *, place: tuple[str, str], mark: Mark) -> Job[list[Kept]]:
    """Keep messages that were read, and note how far the conversation was read; the result is what is new."""

    def job(connection: sqlite3.Connection) -> list[Kept]:
        kept = [_kept(connection, incoming, received_at, 0.0) for incoming in page]
        _set_mark(connection, place, mark)
        return [each for each in kept if each is not None]

    return job


def _kept(connection: sqlite3.Connection, incoming: Incoming, received_at: float, twin_seconds: float) -> Kept | None:
    if incoming.identity is None and _is_twin(connection, incoming, received_at, twin_seconds):
        return None
    order = int(received_at * NANOSECONDS) if incoming.order is None else incoming.order
    cursor = connection.execute(
        "INSERT INTO event (kind, module, cloud_id, conversation_id, user_id, ordering, received_at, body, identity,"
        " subject, digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            incoming.kind,
            incoming.module,
            incoming.cloud_id,
            incoming.conversation_id,
            incoming.user_id,
            order,
            received_at,
            incoming.body,
            incoming.identity,
            incoming.subject,
            incoming.digest,
        ),
    )
    if not cursor.rowcount:
        return None
    if incoming.installation is not None:
        _note_installation(connection, incoming, received_at)
    assert cursor.lastrowid is not None
    return Kept(cursor.lastrowid, (incoming.cloud_id, incoming.conversation_id), order)


def _is_twin(connection: sqlite3.Connection, incoming: Incoming, received_at: float, twin_seconds: float) -> bool:
    last = connection.execute(
        "SELECT digest, received_at FROM event WHERE subject = ? ORDER BY number DESC LIMIT 1", (incoming.subject,)
    ).fetchone()
    # The clock may have been set back since.
    return last is not None and last[0] == incoming.digest and abs(received_at - last[1]) <= twin_seconds


def _note_installation(connection: sqlite3.Connection, incoming: Incoming, received_at: float) -> None:
    place = (incoming.cloud_id, incoming.conversation_id)
    connection.execute("DELETE FROM installation WHERE cloud_id = ? AND conversation_id = ?", place)
    fields = incoming.installation
    if incoming.kind == "installed" and fields is not None:
        connection.execute(
            "INSERT INTO installation VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*place, incoming.user_id, fields.oauth_client_id, fields.version, fields.relay_state, received_at),
        )


def pending(now: float) -> Job[list[Pending]]:
    """Return every waiting event. None waits longer than `TryAgain` said, even if the clock was set back meanwhile."""

    def job(connection: sqlite3.Connection) -> list[Pending]:
        rows = connection.execute(
            "SELECT number, cloud_id, conversation_id, ordering, attempts, under_way, not_before, coalesce(ended_at, ?)"
            " FROM event WHERE state = 0",
            (now,),
        )
        return [
            Pending(
                number,
                (cloud_id, conversation_id),
                order,
                bool(attempts),
                bool(under_way),
                max(0.0, not_before - max(now, postponed_at)),
            )
            for number, cloud_id, conversation_id, order, attempts, under_way, not_before, postponed_at in rows
        ]

    return job


def begin(number: int, most_attempts: int) -> Job[Stored | None]:
    """Note an attempt before it begins, and return the event; None if the event has no attempts left."""

    def job(connection: sqlite3.Connection) -> Stored | None:
        changed = connection.execute(
            "UPDATE event SET attempts = attempts + 1, under_way = 1 WHERE number = ? AND attempts < ?",
            (number, most_attempts),
        )
        return _stored(connection, number) if changed.rowcount else None

    return job


_COLUMNS = "number, kind, module, cloud_id, conversation_id, user_id, received_at, attempts, body"


def load(number: int) -> Job[Stored]:
    """Read an event."""
    return lambda connection: _stored(connection, number)


def _stored(connection: sqlite3.Connection, number: int) -> Stored:
    row = connection.execute(f"SELECT {_COLUMNS} FROM event WHERE number = ?", (number,)).fetchone()  # noqa: S608 -- constant
    replies = connection.execute(
        "SELECT position, message_id FROM reply WHERE number = ? AND position IS NOT NULL", (number,)
    )
    return _stored_of(row, dict(replies.fetchall()))


def _stored_of(row: Sequence[object], replies: dict[int, str]) -> Stored:
    number, kind, module, cloud_id, conversation_id, user_id, received_at, attempts, body = row
    return Stored(
        number=cast("int", number),
        kind=cast("Kind", kind),
        module=cast("str", module),
        cloud_id=cast("str", cloud_id),
        conversation_id=cast("str", conversation_id),
        user_id=cast("str", user_id),
        received_at=cast("float", received_at),
        attempts=cast("int", attempts),
        body=cast("bytes", body or b""),
        replies=replies,
    )


def end(number: int, ended_at: float) -> Job[None]:
    """Note that an event was handled; its body is no longer needed."""

    def job(connection: sqlite3.Connection) -> None:
        connection.execute(
            "UPDATE event SET state = 1, under_way = 0, body = NULL, ended_at = ? WHERE number = ?", (ended_at, number)
        )

    return job


def fail(number: int, ended_at: float, error: str, message: str) -> Job[None]:
    """Note that the handling of an event failed for good."""

    def job(connection: sqlite3.Connection) -> None:
        connection.execute(
            "UPDATE event SET state = 2, under_way = 0, ended_at = ?, error = ?, message = ? WHERE number = ?",
            (ended_at, error, message, number),
        )

    return job


def postpone(number: int, now: float, pause: float) -> Job[None]:
    """Note that an attempt ended and the event is to be begun again after a pause in seconds."""

    def job(connection: sqlite3.Connection) -> None:
        connection.execute(
            "UPDATE event SET under_way = 0, ended_at = ?, not_before = ? WHERE number = ?", (now, now + pause, number)
        )

    return job


def note_reply(number: int, position: int, message_id: str) -> Job[bool]:
    """Note a message as the reply of a position. The result is False if it is already noted."""

    def job(connection: sqlite3.Connection) -> bool:
        cursor = connection.execute(
            "INSERT INTO reply VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (number, position, message_id)
        )
        return bool(cursor.rowcount)

    return job


def noted(message_ids: Collection[str]) -> Job[frozenset[str]]:
    """Return which of some messages are noted as replies."""

    def job(connection: sqlite3.Connection) -> frozenset[str]:
        marks = ", ".join("?" * len(message_ids))
        rows = connection.execute(f"SELECT message_id FROM reply WHERE message_id IN ({marks})", tuple(message_ids))  # noqa: S608 -- only question marks
        return frozenset(message_id for (message_id,) in rows)

    return job


def last_reply(cloud_id: str, conversation_id: str) -> Job[str | None]:
    """Return the message that was noted last as a reply in a conversation."""

    def job(connection: sqlite3.Connection) -> str | None:
        row = connection.execute(
            "SELECT message_id FROM reply JOIN event USING (number) WHERE cloud_id = ? AND conversation_id = ?"
            " ORDER BY reply.rowid DESC LIMIT 1",
            (cloud_id, conversation_id),
        ).fetchone()
        return None if row is None else row[0]

    return job


def failures(connection: sqlite3.Connection) -> list[StoredFailure]:
    """Return every failed event, the oldest first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS}, error, message, ended_at FROM event WHERE state = 2 ORDER BY number"  # noqa: S608 -- constant
    )
    return [StoredFailure(_stored_of(row[:-3], {}), *row[-3:]) for row in rows]


def retry(number: int) -> Job[Kept | None]:
    """Queue a failed event again with all its attempts; None if there is no such failure.

    The replies of the failed handling stay noted, but without a position: the handler may reply differently now.
    """

    def job(connection: sqlite3.Connection) -> Kept | None:
        row = connection.execute(
            "UPDATE event SET state = 0, attempts = 0, not_before = 0, ended_at = NULL, error = NULL, message = NULL"
            " WHERE number = ? AND state = 2 RETURNING cloud_id, conversation_id, ordering",
            (number,),
        ).fetchone()
        if row is None:
            return None
        connection.execute("UPDATE reply SET position = NULL WHERE number = ?", (number,))
        return Kept(number, (row[0], row[1]), row[2])

    return job


def health(connection: sqlite3.Connection) -> Health:
    """Return how many events wait or are under way, and how many failed."""
    waiting, oldest = connection.execute("SELECT count(*), min(received_at) FROM event WHERE state = 0").fetchone()
    (failed,) = connection.execute("SELECT count(*) FROM event WHERE state = 2").fetchone()
    return Health(waiting, oldest, failed)


def forget(before: float) -> Job[None]:
    """Delete the events that ended before a moment."""

    def job(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM event WHERE state != 0 AND ended_at < ?", (before,))

    return job


def installations(cloud_id: str | None) -> Job[list[StoredInstallation]]:
    """Return the installations, of one site or of all."""

    def job(connection: sqlite3.Connection) -> list[StoredInstallation]:
        rows = connection.execute(
            "SELECT * FROM installation WHERE :id IS NULL OR cloud_id = :id ORDER BY installed_at", {"id": cloud_id}
        )
        return [StoredInstallation(*row) for row in rows]

    return job


def account_id(connection: sqlite3.Connection) -> str | None:
    """Return the app's own account, if it was asked for before."""
    row = connection.execute("SELECT account_id FROM account").fetchone()
    return None if row is None else row[0]


def set_account_id(account_id: str) -> Job[None]:
    """Note the app's own account."""

    def job(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM account")
        connection.execute("INSERT INTO account VALUES (?)", (account_id,))

    return job


def marks(cloud_id: str) -> Job[dict[str, Mark]]:
    """Return how far each conversation of a site was read."""

    def job(connection: sqlite3.Connection) -> dict[str, Mark]:
        rows = connection.execute(
            "SELECT conversation_id, ts, message_id, complete FROM bookmark WHERE cloud_id = ?", (cloud_id,)
        )
        return {room: Mark(ts, message_id, bool(complete)) for room, ts, message_id, complete in rows}

    return job


def set_mark(place: tuple[str, str], mark: Mark) -> Job[None]:
    """Note how far a conversation was read."""
    return lambda connection: _set_mark(connection, place, mark)


def _set_mark(connection: sqlite3.Connection, place: tuple[str, str], mark: Mark) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO bookmark VALUES (?, ?, ?, ?, ?)", (*place, mark.ts, mark.message_id, mark.complete)
    )


def advance_marks(now_ns: int, overlap_ns: int) -> Job[list[str]]:
    """Move each mark to shortly before the latest accepted message, at a start, and return the known sites.

    While the bot ran, deliveries were accepted, so only the overlap has to be read again. An installation counts as a
    message, since what was said before it was not for the bot. A mark is not moved if its last look did not reach the
    end: the messages that it had not read yet would be lost.
    """

    def job(connection: sqlite3.Connection) -> list[str]:
        accepted = connection.execute(
            # A message is not later than its acceptance, whatever its own time is.
            "SELECT cloud_id, conversation_id, max(min(ordering, CAST(received_at * ? AS INTEGER))) FROM event"
            " WHERE identity IS NOT NULL OR kind = 'installed' GROUP BY 1, 2",
            (NANOSECONDS,),
        ).fetchall()
        known = {
            (cloud_id, room): Mark(ts, message_id, bool(complete))
            for cloud_id, room, ts, message_id, complete in connection.execute("SELECT * FROM bookmark")
        }
        for cloud_id, room, latest in accepted:
            mark = known.get((cloud_id, room))
            start = min(latest, now_ns) - overlap_ns
            if mark is None or (mark.complete and mark.ts < start):
                known[cloud_id, room] = Mark(start, "", False)
        for place, mark in known.items():
            _set_mark(connection, place, attrs.evolve(mark, complete=False))
        sites = connection.execute("SELECT cloud_id FROM installation UNION SELECT cloud_id FROM event")
        return sorted({*(place[0] for place in known), *(cloud_id for (cloud_id,) in sites)})

    return job
