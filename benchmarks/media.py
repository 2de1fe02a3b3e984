"""P8 to P10: measure transfers of 1 GiB next to handwritten aiohttp, their memory, and the cost of resuming."""

from __future__ import annotations

import asyncio
import hashlib
import random
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from benchmarks.sides import Benchmark, Finding, compared, in_fresh_process, taking_turns
from benchmarks.site import Site, served
from stride_async import ClientCredentials, Settings, StrideClient
from stride_async.server import Choices, LocalServer

SIZE = 1 << 30
MEBIBYTE = 1 << 20
REPETITIONS = 3
CUTS = 20


def findings() -> Iterator[Finding]:
    """Measure a download, an upload, the memory of both, and an interrupted download.

    They need free disk of about four times the size of the body.
    """
    rate = {"ours": "stride_async", "peer": "aiohttp", "unit": "MiB/s", "at_least": True}
    with tempfile.TemporaryDirectory(prefix="stride-bench-") as folder:
        source = Path(folder) / "source.bin"
        digest = _written(source)
        with served(conversations=1, messages=1, db=Path(folder) / "site.db", upload_bytes=2 * SIZE) as site:
            media_id = str(_run("aiohttp_up", site, source, "")["result"])
            extra: dict[str, list[float]] = {}
            down = taking_turns(
                {
                    "stride_async": _rate("stride_down", site, Path(folder) / "a.bin", media_id, extra, digest),
                    "aiohttp": _rate("aiohttp_down", site, Path(folder) / "b.bin", media_id, extra, digest),
                },
                REPETITIONS,
            )
            yield compared(down, name="P8", question="download 1 GiB to a file", goal=1.2, **rate)
            up = taking_turns(
                {
                    "stride_async": _rate("stride_up", site, source, "", extra),
                    "aiohttp": _rate("aiohttp_up", site, source, "", extra),
                },
                REPETITIONS,
            )
            yield compared(up, name="P9", question="upload 1 GiB from a file", goal=1.1, **rate)
        ours = [max(pair) for pair in zip(extra["stride_down"], extra["stride_up"], strict=True)]
        yield _against("P10", "extra peak memory, 1 GiB up and down", "MiB", ours, 8.0)
        lost = asyncio.run(_healed(source, digest, Path(folder)))
    yield _against("healing", f"1 GiB cut at {CUTS} places: fetched twice", "MiB", [lost / MEBIBYTE], float(CUTS))


def _against(name: str, question: str, unit: str, figures: list[float], most: float) -> Finding:
    return Finding(
        name=name,
        question=question,
        unit=unit,
        ours=statistics.median(figures),
        peer=most,
        peer_name="at most",
        goal=1.0,
        samples={"ours": figures},
    )


def _written(path: Path) -> str:
    """Write bytes without repetition and return their digest."""
    digest, chance = hashlib.sha256(), random.Random(7)
    with path.open("wb") as file:
        for _ in range(SIZE // MEBIBYTE):
            block = chance.randbytes(MEBIBYTE)
            file.write(block)
            digest.update(block)
    return digest.hexdigest()


def _rate(
    side: str, site: Site, path: Path, media_id: str, extra: dict[str, list[float]], digest: str | None = None
) -> Callable[[], float]:
    def measure() -> float:
        result = _run(side, site, path, media_id)
        if digest is not None and result["result"] != digest:
            raise AssertionError(f"{side} returned different bytes")
        if digest is None:
            asyncio.run(_forget(site, str(result["result"])))
        extra.setdefault(side, []).append(float(result["extra_mebibytes"]))
        return SIZE / MEBIBYTE / float(result["seconds"])

    return measure


def _run(side: str, site: Site, path: Path, media_id: str) -> dict[str, object]:
    request = {"side": side, "site": attrs.asdict(site), "path": str(path), "media_id": media_id}
    result: dict[str, object] = in_fresh_process("benchmarks.transfer", request)
    return result


async def _forget(site: Site, media_id: str) -> None:
    credentials = ClientCredentials(site.client_id, site.client_secret)
    async with StrideClient(credentials, cloud_id=site.cloud_id, settings=Settings(base_url=site.url)) as client:
        await client.conversation(site.rooms[0]).delete_media(media_id)


async def _healed(source: Path, digest: str, folder: Path) -> int:
    """Return how many bytes were sent more than once when the body broke off at random places."""
    chance = random.Random(11)
    async with LocalServer(db=folder / "healing.db", rate_limit=None, choices=Choices(upload_bytes=2 * SIZE)) as server:
        settings = Settings(base_url=server.url, calls_per_minute=None, backoff=0.0)
        credentials = ClientCredentials(server.client_id, server.client_secret)
        async with StrideClient(credentials, cloud_id=server.cloud_id, settings=settings) as client:
            room = client.conversation(server.add_conversation("files"))
            media_id = (await room.upload(source)).id
            bodies = f"*/media/{media_id}"
            cuts = [chance.randrange(1, SIZE // CUTS) for _ in range(CUTS)]
            for cut in cuts:
                server.faults.add("GET", bodies, cut_after=cut, times=1)
            got = await room.download(media_id, folder / "healed.bin")
        starts = [
            int((call.headers.get("Range") or "bytes=0-")[len("bytes=") : -1])
            for call in server.calls.matching("GET", bodies)
        ]
    if got.sha256 != digest or len(starts) != CUTS + 1:
        raise AssertionError("the resumed body differs, or was not cut as often as intended")
    return sum(cut - (after - before) for cut, before, after in zip(cuts, starts, starts[1:], strict=False))


BENCHMARKS = (Benchmark(("P8", "P9", "P10", "healing"), findings),)
