"""An archive to convert."""

from __future__ import annotations

from pathlib import Path

import pytest

from stride_async import StrideClient
from stride_async.server import LocalServer
from tests.formats.archives import archive_of


@pytest.fixture
async def archive(server: LocalServer, client: StrideClient, tmp_path: Path) -> Path:
    """Return the archive of a site with three rooms, people, mentions, links and a file, over three months."""
    return await archive_of(server, client, tmp_path / "site")
