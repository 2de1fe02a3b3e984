"""A homeserver that accepts a registration, and a migration that does not wait before it repeats a call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stride_async.export.matrix import Registration, _homeserver, new_registration
from stride_async.export.matrix._homeserver import Patience
from tests.matrix.fake import SERVER, FakeHomeserver
from tests.matrix.moving import archive_of


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_homeserver, "PATIENCE", Patience(backoff=0.0))


@pytest.fixture
def registration(tmp_path: Path) -> Registration:
    return new_registration(tmp_path / "stride.yaml", SERVER)


@pytest.fixture
async def homeserver(registration: Registration) -> AsyncIterator[FakeHomeserver]:
    async with FakeHomeserver(registration.token) as homeserver:
        yield homeserver


@pytest.fixture
async def archive(server, client, tmp_path) -> Path:
    return await archive_of(server, client, tmp_path / "site")
