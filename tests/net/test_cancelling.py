"""A caller that cancels a call."""

from __future__ import annotations

import asyncio

import pytest

from stride_async import StrideClient
from stride_async.server import LocalServer


async def test_a_cancelled_call_is_not_retried(client: StrideClient, server: LocalServer):
    """Its attempt ends without a response, as with a broken connection, but no one waits for another."""
    arrived = asyncio.Event()
    server.faults.add("GET", "/me", stall="headers", times=1, do=lambda _: arrived.set())
    call = asyncio.create_task(client.me())
    await arrived.wait()

    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    assert 1 == len([seen for seen in server.calls if seen.path == "/me"])


async def test_a_cancelled_retry_is_not_retried(client: StrideClient, server: LocalServer):
    """This also applies to an attempt that is itself a retry."""
    arrived = asyncio.Event()
    server.faults.add("GET", "/me", status=503, times=1)
    server.faults.add("GET", "/me", stall="headers", times=1, do=lambda _: arrived.set())
    call = asyncio.create_task(client.me())
    await arrived.wait()

    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    assert 2 == len([seen for seen in server.calls if seen.path == "/me"])
