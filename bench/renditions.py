"""All four renditions of a 12-megapixel JPEG, per core: Hayloft next to bare libvips doing the same.

Bare libvips is the fastest way found with nothing else around it: one decode shrunk on load, each size from
the next larger one, encoded with the same settings, in this process. Hayloft's figure is for a whole photo
through the sandbox: the same and EXIF, the placeholder, limits and both pipes, in both processes. Time is
processor time, which is what "per core" means and what other programs disturb least; the figure that counts
is the ratio.

    python bench/renditions.py [--rounds N] [PHOTO ...]
"""

from __future__ import annotations

import argparse
import asyncio
import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from hayloft.config import RenditionSettings
from hayloft.renditions import decode, frames
from hayloft.renditions.made import Made
from hayloft.sandbox import Sandbox

# As it is set there: one core, no cache.
pyvips = vars(decode)["pyvips"]

TARGET_RATIO = 0.9
SIDES = (2048, 1024, 512, 256)
PIXELS_MAX = 10**9


def sample() -> bytes:
    """A 4000 × 3000 JPEG with the detail of a real photo: packaged ones, tiled and mirrored."""
    from sklearn.datasets import load_sample_images

    china, flower = (np.asarray(image) for image in load_sample_images().images)
    row = np.concatenate([china, flower[:, ::-1], china[:, ::-1], flower], axis=1)
    block = np.concatenate([row, row[::-1]], axis=0)
    tiled = np.tile(block, (4, 2, 1))[:3000, :4000]
    buffer = io.BytesIO()
    Image.fromarray(tiled).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def bare(data: bytes, settings: RenditionSettings) -> list[int]:
    """What libvips needs for the pictures alone."""
    image = pyvips.Image.thumbnail_buffer(data, SIDES[0], height=SIDES[0], size="down").copy_memory()
    sizes = []
    for side in SIDES:
        if side != SIDES[0]:
            image = image.thumbnail_image(side, height=side, size="down").copy_memory()
        sizes.append(len(_saved(image, settings)))
    return sizes


def bare_apart(data: bytes, settings: RenditionSettings) -> list[int]:
    """The usual way: each size by itself from the file."""
    return [
        len(
            _saved(pyvips.Image.thumbnail_buffer(data, side, height=side, size="down"), settings),
        )
        for side in SIDES
    ]


def _saved(image: Any, settings: RenditionSettings) -> bytes:
    if settings.format == "webp":
        return bytes(
            image.webpsave_buffer(Q=settings.webp_quality, effort=settings.webp_effort, keep="none")
        )
    return bytes(image.jpegsave_buffer(Q=settings.jpeg_quality, optimize_coding=True, keep="none"))


async def measure(data: bytes, settings: RenditionSettings, rounds: int) -> dict[str, float]:
    """Processor seconds for one photo each way, the decoder process's and this one's together.

    Rounds alternate, so that whatever else the machine does falls on all.
    """
    sandbox = Sandbox("hayloft.renditions.jobs:answer", processes=1)
    head = frames.encode_making(settings, PIXELS_MAX)
    seconds = {"hayloft": 0.0, "bare": 0.0, "apart": 0.0}
    try:
        made = frames.decode_made(await sandbox.run(head, data))
        _check(made, bare(data, settings))
        decoder = psutil.Process(sandbox.pids[0])
        for _ in range(rounds):
            start = time.process_time() + _used_by(decoder)
            frames.decode_made(await sandbox.run(head, data))
            seconds["hayloft"] += time.process_time() + _used_by(decoder) - start
            for name, way in (("bare", bare), ("apart", bare_apart)):
                start = time.process_time()
                way(data, settings)
                seconds[name] += time.process_time() - start
    finally:
        await sandbox.close()
    return {name: value / rounds for name, value in seconds.items()}


def _used_by(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _check(made: Made, sizes: list[int]) -> None:
    """Both must have made the same pictures, or the ratio means nothing."""
    ours = [len(one.data) for one in made.renditions]
    if any(abs(a - b) > 0.02 * b for a, b in zip(ours, sizes, strict=True)):
        raise SystemExit(f"Not the same work: {ours} against {sizes} bytes.")


def report(title: str, data: bytes, seconds: dict[str, float], rounds: int) -> None:
    """Print one table."""
    print(f"{title}, {len(data) / 1e6:.1f} MB, mean of {rounds} rounds, processor time")
    for name, label in (
        ("hayloft", "Hayloft, whole photo through the sandbox"),
        ("bare", "bare libvips, each size from the next larger"),
        ("apart", "bare libvips, each size from the file"),
    ):
        print(f"  {label:46} {1000 * seconds[name]:7.0f} ms  {1 / seconds[name]:5.2f} photos/s per core")
    ratio = seconds["bare"] / seconds["hayloft"]
    print(f"  rate against bare libvips: {ratio:.2f} × (target ≥ {TARGET_RATIO})")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("photos", nargs="*", type=Path)
    options = parser.parse_args()
    photos = [(str(path.name), path.read_bytes()) for path in options.photos] or [("4000 × 3000", sample())]
    for name, data in photos:
        for form in ("webp", "jpeg"):
            settings = RenditionSettings(format=form)
            seconds = asyncio.run(measure(data, settings, options.rounds))
            report(f"{name} to {form}", data, seconds, options.rounds)


if __name__ == "__main__":
    main()
