"""Hot reads while photos are being ingested: what making renditions and links costs those who only look.

One server, as it comes, on as many workers as it starts by itself. In every round the same hot photos are
read twice: with nothing left to be done, and while a queue of 12-megapixel photos, just uploaded, is
decoded, fingerprinted and linked; which of the two comes first turns round. The queue is longer than the
round, which is checked, and what it held is deleted afterwards, so that all rounds do the same work. The
uploads themselves are over when the reading begins.
"""

from __future__ import annotations

import io
import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from measure import collection, contenders, fill, load, machine
from measure.bench import Bench, rate
from measure.collection import Collection, target_list
from measure.contenders import Contender
from measure.load import LoadError, Reads, Sample
from measure.photos import KIB
from measure.result import PartResult, Target, interleave, ratio_verdict, ratios

TARGET = Target(bound=2.0, side="at most")
PHOTO_KIB = 64
READ_PHOTOS = 2000
INGESTED_PER_SECOND_MAX = 8
"""Photos of 12 megapixels that two cores ingest in a second, generously."""
IDLE_SECONDS_MAX = 300.0
IDLE_CHECK_SECONDS = 0.5
IDLE_SHARE_MAX = 0.1
CONNECTIONS = {"busy": load.CONNECTIONS, "calm": 2}
"""As many clients as the other parts have, and so few that a read seldom waits for another: then nearly all
of the 99th percentile is waiting for a core, which the kernel may leave to whoever has it for a tick."""

QUIET, INGESTING = "with nothing to ingest", "during ingest"


def run(bench: Bench) -> PartResult:
    """Measure both loads."""
    work = bench.directory("ingest")
    photos = Collection(name="hot", root=work, serials=range(READ_PHOTOS), size=PHOTO_KIB * KIB)
    bench.say(f"storing {READ_PHOTOS} photos of {PHOTO_KIB} KB")
    targets = fill.fill(work / "data", [(photos.serials, photos.size)])
    reads = target_list(work / "photos.txt", targets, size_mean=photos.size)
    queue = _queue(bench)
    measurements, verdicts = [], []
    with contenders.hayloft(work / "data", workers=None) as server:
        collection.check(photos, server, targets)
        collection.warm(work / "data")
        for load_name, connections in CONNECTIONS.items():
            samples = interleave(
                {
                    QUIET: partial(_quiet, bench, server, reads, connections),
                    INGESTING: partial(_ingesting, bench, server, reads, connections, queue),
                },
                rounds=bench.rounds,
                progress=bench.say,
            )
            what = f"hot reads, {connections} connections"
            measurements += [rate(what, name, samples[name]) for name in samples]
            slower = ratios(*([one.p99_ms for one in samples[name]] for name in (INGESTING, QUIET)))
            verdicts.append(
                ratio_verdict(
                    f"{what}: p99 during ingest / without",
                    slower,
                    how=f"{load_name}: 64 KB, in the page cache; 12-megapixel photos being ingested",
                    target=TARGET,
                )
            )
    bench.remove(work)
    return PartResult(
        part="ingest",
        title="Reads during ingest",
        measurements=tuple(measurements),
        verdicts=tuple(verdicts),
    )


def _quiet(bench: Bench, server: Contender, reads: Reads, connections: int) -> Sample:
    _wait_until_idle(server)
    return load.run(server.url, server.pid, seconds=bench.seconds, reads=reads, connections=connections)


def _ingesting(
    bench: Bench, server: Contender, reads: Reads, connections: int, queue: Sequence[bytes]
) -> Sample:
    _wait_until_idle(server)
    ids = [_upload(server, photo) for photo in queue]
    try:
        sample = load.run(
            server.url, server.pid, seconds=bench.seconds, reads=reads, connections=connections
        )
        if not _pending(server):
            raise LoadError("everything was ingested before the round was over: a longer queue is needed")
    finally:
        for photo in ids:
            _request(server, "DELETE", f"/photo/{photo}")
    return sample


def _wait_until_idle(server: Contender) -> None:
    deadline = time.monotonic() + IDLE_SECONDS_MAX
    while _pending(server) or _is_working(server):
        if time.monotonic() > deadline:
            raise LoadError("ingest does not come to an end")


def _is_working(server: Contender) -> bool:
    """Whether any of its processes does anything now: a photo is not pending while it is worked on."""
    before = machine.cpu_seconds(server.pid)
    time.sleep(IDLE_CHECK_SECONDS)
    return machine.cpu_seconds_since(server.pid, before) > IDLE_SHARE_MAX * IDLE_CHECK_SECONDS


def _pending(server: Contender) -> bool:
    """Whether anything waits to be ingested, or for ingest to have started."""
    try:
        return bool(_request(server, "GET", "/similarity/status")["pending"])
    except urllib.error.HTTPError:
        return True


def _upload(server: Contender, photo: bytes) -> int:
    return int(_request(server, "POST", "/upload", photo)["photo_id"])


def _request(server: Contender, method: str, path: str, body: bytes | None = None) -> Any:
    headers = {"Content-Type": "image/jpeg"} if body else {}
    request = urllib.request.Request(server.url + path, data=body, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def _queue(bench: Bench) -> list[bytes]:
    """Photos that take longer to ingest than a round lasts: those given, over again, or made ones."""
    count = INGESTED_PER_SECOND_MAX * bench.seconds
    given = sorted(path for path in (bench.photos or Path()).rglob("*") if _is_photo(path))
    if bench.photos is not None:
        if not given:
            raise LoadError(f"no JPEG files below {bench.photos}")
        return [given[number % len(given)].read_bytes() for number in range(count)]
    bench.say(f"making {count} photos of 12 megapixels")
    return [_made(number) for number in range(count)]


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in (".jpg", ".jpeg")


def _made(seed: int) -> bytes:
    """A 4000 × 3000 JPEG that resembles no other: clouds of every size, with sharp figures on them."""
    generator = np.random.default_rng(seed)
    picture = Image.new("RGB", (4000, 3000))
    for share, side in ((0.5, 4), (0.4, 16), (0.35, 64), (0.3, 250), (0.2, 1000), (0.1, 2500)):
        cells = generator.integers(0, 256, (side * 3 // 4, side, 3), dtype=np.uint8)
        clouds = Image.fromarray(cells).resize(picture.size, Image.Resampling.BICUBIC)
        picture = Image.blend(picture, clouds, share)
    draw, places = ImageDraw.Draw(picture), random.Random(seed)
    for _ in range(300):
        x, y, size = places.randrange(4000), places.randrange(3000), places.randrange(20, 400)
        colour = tuple(places.randrange(256) for _ in range(3))
        draw.regular_polygon((x, y, size), places.randrange(3, 8), places.randrange(360), fill=colour)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
