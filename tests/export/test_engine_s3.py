"""An export in workers into an object store."""

from __future__ import annotations

import pytest

from stride_async.export import Summary, status, verify
from tests.export.exporting import fresh_digest
from tests.export.test_engine import cluster, environment, events_of, rooms

__all__ = ["cluster", "environment", "rooms"]  # fixtures


@pytest.mark.slow
async def test_workers_export_into_an_object_store(server, client, cluster, rooms, bucket, tmp_path):
    """Each of them reads the credentials for the store from its own environment, and all write to the same place."""
    archive = f"s3://{bucket}/site"

    first = await events_of(client, archive, cluster)
    second = await events_of(client, archive, cluster)

    assert isinstance(first[-1], Summary)
    assert isinstance(second[-1], Summary)
    assert (9, 0, 0) == (first[-1].conversations, first[-1].failures, second[-1].new)
    assert await fresh_digest(server, tmp_path / "b") == first[-1].content_digest == second[-1].content_digest
    assert status(archive).finished
    assert (await verify(archive)).ok
