"""The lease of an object store, on a clock that the test moves."""

from __future__ import annotations

import pytest

from stride_async.export import ArchiveBusy, ArchiveError, StoreRefused, StoreUnavailable
from stride_async.export._archive import object_lease
from stride_async.export._archive.object_lease import EXPIRES, LeaseHeld, ObjectLease


class Store:
    """One object with versions."""

    def __init__(self) -> None:
        self.data: bytes | None = None
        self.version = 0
        self.error: ArchiveError | None = None
        self.seconds_since_put = 0.0

    def age(self, path: str) -> float | None:
        return self.seconds_since_put

    def read_version(self, path: str) -> tuple[bytes, str] | None:
        return (self.data, str(self.version)) if self.data is not None else None

    def put_version(self, path: str, data: bytes, version: str | None) -> str | None:
        if self.error is not None:
            raise self.error
        if version != (str(self.version) if self.data is not None else None):
            return None
        self.data, self.version = data, self.version + 1
        return str(self.version)


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lease(store, clock, monkeypatch):
    """Return a function that makes the lease of another process; it is renewed only by the test."""
    monkeypatch.setattr(object_lease, "RENEWED_EVERY", 3600.0)
    made: list[ObjectLease] = []

    def make() -> ObjectLease:
        made.append(ObjectLease(store, "runs/lease", "s3://bucket/site", clock=clock))
        return made[-1]

    yield make
    store.error = None
    for each in made:
        each.release()


def test_a_lease_that_was_given_back_is_free_at_once(lease):
    """The next process does not wait, and nothing of the logs is missing."""
    first, second = lease(), lease()

    assert first.take()
    assert not second.take()
    first.release()

    assert 0.0 == second.free()
    assert second.take()
    assert not second.had_expired


def test_a_lease_expires_when_it_was_watched_for_its_time(lease, clock):
    """The clocks of two machines are not compared: the time counts from the first look."""
    dead, heir = lease(), lease()
    dead.take()
    clock.now += 10_000

    waited = 0.0
    while wait := heir.free():
        clock.now += wait
        waited += wait

    assert EXPIRES == waited
    assert heir.had_expired
    assert heir.take()


def test_a_lease_that_is_renewed_meanwhile_is_held(lease, clock):
    """Its holder is working, so there is nothing to wait for."""
    holder, other = lease(), lease()
    holder.take()
    clock.now += other.free()
    holder.renew()

    with pytest.raises(LeaseHeld):
        other.free()


@pytest.fixture
def heir(lease, clock):
    """Return the lease of a process that has taken it over from one that was killed."""
    dead, heir = lease(), lease()
    dead.take()
    heir.free()
    clock.now += EXPIRES
    heir.free()
    heir.take()
    return heir


@pytest.mark.parametrize(("seconds", "is_known"), [(0.0, True), (59.0, True), (61.0, False)])
def test_that_a_holder_was_killed_is_known_for_a_minute(lease, heir, store, seconds, is_known):
    """Everyone who looks at the lease learns it, also after another process has had it for a moment."""
    later = lease()
    heir.release()
    store.seconds_since_put = seconds

    later.free()

    assert later.had_expired is is_known
    assert later.take()


def test_a_run_that_lasted_for_a_minute_leaves_nothing_unknown(lease, heir, clock):
    """The calls of the one that was killed do not count any more."""
    later = lease()
    clock.now += 61
    heir.release()

    later.free()

    assert not later.had_expired


def test_of_two_that_wait_for_a_dead_lease_one_gets_it(lease, clock):
    """The other one learns it, whatever the order of their requests."""
    dead, first, second = lease(), lease(), lease()
    dead.take()
    for each in (first, second):
        each.free()
    clock.now += EXPIRES

    assert 0.0 == first.free()
    assert first.take()
    with pytest.raises(LeaseHeld):
        second.free()
    assert not second.take()


def test_a_holder_that_was_taken_over_learns_it_at_its_next_renewal(lease, clock):
    """It stops, and does not give back what another process has."""
    stalled, heir = lease(), lease()
    stalled.take()
    heir.free()
    clock.now += EXPIRES
    heir.free()
    heir.take()

    stalled.require_held()
    stalled.renew()

    with pytest.raises(ArchiveBusy, match="taken over"):
        stalled.require_held()
    stalled.release()
    assert not heir.is_free()


def test_a_renewal_that_fails_is_tried_again(lease, store, caplog):
    """A store that is away for a moment does not end the run."""
    holder = lease()
    holder.take()
    store.error = StoreUnavailable("away")
    holder.renew()
    holder.require_held()
    store.error = None
    holder.renew()

    holder.require_held()
    assert "could not be renewed" in caplog.text


def test_a_renewal_that_is_refused_ends_the_run(lease, store):
    """The lease would expire while the run goes on. Once the store accepts it again, the run may."""
    holder = lease()
    holder.take()
    store.error = StoreRefused("403")
    holder.renew()

    with pytest.raises(StoreRefused):
        holder.require_held()
    store.error = None
    holder.renew()
    holder.require_held()


@pytest.mark.parametrize("content", [b"", b"\n", b'{"holder": "", "renewals": 0}'])
def test_the_lease_of_a_copied_folder_is_free(lease, store, content):
    """A file that was locked in a folder has no holder in a store."""
    store.data = content

    assert 0.0 == lease().free()
    assert lease().take()


@pytest.mark.parametrize(
    "content", [b"[]", b"{", b'{"holder": "abc"}', b'{"holder": null}', b"\xff", b"[" * 100_000, b'{"a": ' * 100_000]
)
def test_any_other_content_may_have_a_holder(lease, store, content):
    """It is watched like one that is held."""
    store.data = content

    assert lease().free() > 0
    assert not lease().take()
