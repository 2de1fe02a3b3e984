"""The memory of a page that was read is used for the next one."""

import asyncio
import os
import platform
import subprocess
import sys

import pytest

from tests.conftest import variables_of

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back that early")

PAGES, PAGE = 60, 75

# Prints how often the system had to find memory for the process, during the second of two readings.
READER = """
import asyncio, os, resource, sys
from stride_async import Settings, StrideClient

async def read(room):
    settings = Settings(base_url=os.environ["STRIDE_BASE_URL"], calls_per_minute=None)
    async with StrideClient.from_env(settings=settings) as client:
        history = client.conversation(room).history().pages
        async for page in history():
            pass
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        async for page in history():
            pass
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

asyncio.run(read(sys.argv[1]))
"""


async def test_memory_of_pages_is_used_again(server):
    """A socket is read into blocks of 256 KiB, and glibc would give each of them back to the system."""
    room = server.add_conversation("Talk")
    server.fill(room, PAGES * PAGE)
    # Dask sets one of the variables that configure glibc for all processes that begin after its own.
    usual = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    environment = {**usual, **variables_of(server)}

    command = (sys.executable, "-c", READER, room)
    done = await asyncio.to_thread(subprocess.run, command, env=environment, stdout=subprocess.PIPE, check=True)

    assert int(done.stdout) < PAGES
