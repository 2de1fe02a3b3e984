"""The bare loop with the standard library's json."""

from __future__ import annotations

import json

from benchmarks.loops import Read
from benchmarks.loops.bare import read_with
from benchmarks.site import Site


async def read(site: Site, *, bodies: bool) -> Read:
    return await read_with(json.loads, site, bodies=bodies)
