"""The bare loop with orjson."""

from __future__ import annotations

import orjson

from benchmarks.loops import Read
from benchmarks.loops.bare import read_with
from benchmarks.site import Site


async def read(site: Site, *, bodies: bool) -> Read:
    return await read_with(orjson.loads, site, bodies=bodies)
