"""Decoding in confined processes: real ones, with hostile photos and short limits."""

import asyncio
import io
import os
import signal

import numpy as np
import pytest
from PIL import Image

from hayloft.errors import UnsupportedMedia
from hayloft.sandbox import Bounds, JobFailed
from hayloft.similarity.decoder_pool import DecoderPool
from hayloft.similarity.describing import describe
from hayloft.similarity.views import ViewPlan
from similarity_samples import pixels, sample


@pytest.fixture
async def pool():
    opened = DecoderPool(processes=1)
    yield opened
    await opened.close()


async def test_a_process_describes_as_this_one_does(pool) -> None:
    assert await pool.describe(sample("coffee.png")) == describe(sample("coffee.png"))
    view = ViewPlan(side=32)
    described = await pool.describe(sample("coffee.png"), view=view)
    assert described.view == describe(sample("coffee.png"), view=view).view
    assert "builtin/1" not in [one.method for one in described.fingerprints]


async def test_what_cannot_be_decoded_is_an_answer_and_the_process_goes_on(pool) -> None:
    await pool.describe(sample("rocket.jpg"))
    before = pool.pids
    with pytest.raises(UnsupportedMedia, match="cannot be decoded"):
        await pool.describe(b"junk")
    await pool.describe(sample("rocket.jpg"))
    assert pool.pids == before


async def test_a_photo_that_needs_too_much_memory_costs_only_its_limit() -> None:
    large = io.BytesIO()
    Image.fromarray(np.zeros((9000, 9000, 3), np.uint8)).save(large, "PNG")
    pool = DecoderPool(processes=1, bounds=Bounds(memory_bytes=100 << 20))
    with pytest.raises(UnsupportedMedia, match="memory"):
        await pool.describe(large.getvalue())
    await pool.describe(sample("rocket.jpg"))
    await pool.close()


async def test_a_process_that_dies_fails_its_photo_and_is_replaced(pool) -> None:
    await pool.describe(sample("rocket.jpg"))
    (pid,) = pool.pids
    os.kill(pid, signal.SIGSTOP)
    task = asyncio.create_task(pool.describe(sample("coffee.png")))
    await asyncio.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(JobFailed):
        await task
    await pool.describe(sample("coffee.png"))
    assert pool.pids != (pid,)


async def test_strips_of_any_shape_are_described(pool) -> None:
    for shape in ((1, 3000), (3000, 1), (2, 2)):
        out = io.BytesIO()
        Image.fromarray(np.resize(pixels("coffee.png"), (*shape, 3))).save(out, "PNG")
        description = await pool.describe(out.getvalue(), view=ViewPlan(side=224, margin=1.14))
        assert (description.height, description.width) == shape
        assert all(one.quality == 0 for one in description.fingerprints)
