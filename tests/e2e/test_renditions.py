"""Renditions, details and IIIF pictures from the real server, as a client gets them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from iiif_validator import validator
from PIL import Image, ImageDraw

import rendition_samples as samples
from hayloft.wire.serving import free_port

START_SECONDS_MAX = 60.0
DONE_SECONDS_MAX = 60.0


@dataclass
class Server:
    """A running server and a client's session."""

    url: str
    session: aiohttp.ClientSession

    async def upload(self, data: bytes, name: str = "a photo.jpg") -> dict[str, Any]:
        form = aiohttp.FormData()
        form.add_field("file", data, filename=name)
        async with self.session.post(f"{self.url}/upload", data=form) as response:
            assert response.status == 201, await response.text()
            told: dict[str, Any] = await response.json()
            return told

    async def get(self, path: str, **options: Any) -> tuple[int, Any, bytes]:
        address = path if path.startswith("http") else self.url + path
        async with self.session.get(address, **options) as response:
            return response.status, response.headers, await response.read()

    async def picture(self, path: str, **options: Any) -> Image.Image:
        status, _, body = await self.get(path, **options)
        assert status == 200, body
        return samples.opened(body)

    async def info(self, photo: int, **options: Any) -> dict[str, Any]:
        async with self.session.get(f"{self.url}/photo/{photo}/info", **options) as response:
            told: dict[str, Any] = await response.json()
            return told

    async def details(self, photo: int, **options: Any) -> dict[str, Any]:
        """A photo's details, once ingest has got there."""
        deadline = time.monotonic() + DONE_SECONDS_MAX
        while time.monotonic() < deadline:
            if details := (await self.info(photo, **options)).get("details"):
                return dict(details)
            await asyncio.sleep(0.05)
        raise AssertionError("ingest did not get there")


@contextmanager
def serving(data: Path, **settings: str) -> Iterator[str]:
    """A server process; yields its address."""
    port = free_port()
    environment = {**os.environ, "HAYLOFT_DATA": str(data), "HAYLOFT_PORT": str(port), **settings}
    environment |= {"HAYLOFT_WORKERS": "1", "HAYLOFT_SIMILARITY__ENABLED": "false"}
    process = subprocess.Popen(
        [sys.executable, "-m", "hayloft", "serve"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(url, process)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended while starting"
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/ready", timeout=5):
            return
        time.sleep(0.1)
    raise AssertionError("the server did not start")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("renditions") / "data") as url:
        yield url


@pytest.fixture
async def server(address: str) -> AsyncIterator[Server]:
    async with aiohttp.ClientSession() as session:
        yield Server(address, session)


async def test_a_photos_sizes_details_and_end(server: Server) -> None:
    exif = samples.exif_block()
    exif[0x0112] = 6
    turned = samples.quadrants(2400, 1600).transpose(Image.Transpose.ROTATE_90)
    data = samples.saved(turned, "JPEG", quality=92, exif=exif.tobytes())
    kept = await server.upload(data, "garden.jpg")
    photo, link = kept["photo_id"], kept["url"]

    # On demand, whether or not ingest has got there.
    thumb = await server.picture(f"{link}/thumb")
    assert (thumb.size, thumb.format) == ((256, 171), "WEBP")
    assert samples.looks_like_quadrants(thumb, most=25)

    details = await server.details(photo)
    assert (details["width"], details["height"]) == (2400, 1600)
    assert details["taken_at"] == "2024-05-17T18:42:03.250+02:00"
    assert details["camera_model"] == "Canon EOS R5"
    assert details["position"]["latitude"] == pytest.approx(52.52)
    assert 15 <= len(base64.b64decode(details["placeholder"])) <= 25
    assert [one["rendition"] for one in details["renditions"]] == ["large", "medium", "small", "thumb"]
    for one in details["renditions"]:
        image = await server.picture(one["url"])
        assert image.size == (one["width"], one["height"])
        assert "exif" not in image.info

    by_size = await server.picture(f"{link}?size=small")
    assert by_size.size == (512, 341)
    assert (await server.picture(f"/photo/{photo}/medium")).size == (1024, 683)
    assert (await server.picture(f"/photo/{photo}?size=thumb&format=jpg")).format == "JPEG"
    assert (await server.get(f"{link}?size=orig"))[2] == data

    status, headers, body = await server.get(f"{link}/large")
    assert headers["cache-control"] == "public, max-age=31536000, immutable"
    assert headers["content-type"] == "image/webp"
    assert headers["content-disposition"].endswith('"garden.webp"')
    tag = headers["etag"]
    assert (await server.get(f"{link}/large", headers={"If-None-Match": tag}))[0] == 304
    assert (await server.get(f"{link}/large?format=jpg", headers={"If-None-Match": tag}))[0] == 200
    status, headers, part = await server.get(f"{link}/large", headers={"Range": "bytes=10-19"})
    assert (status, part) == (206, body[10:20])
    async with server.session.head(f"{link}/large") as response:
        assert response.headers["content-length"] == str(len(body))

    listed = await server.session.get(f"{server.url}/photos?details=true")
    assert details in [one["details"] for one in (await listed.json())["photos"]]

    wrong = link[:-1] + ("0" if link[-1] != "0" else "1")
    for path in (
        f"{wrong}/thumb",
        f"/photo/{photo + 1}/thumb",
        f"/iiif/3/{photo}-{'0' * 16}",
    ):
        assert (await server.get(path))[0] == 404, path
    assert (await server.get(f"{link}?size=huge"))[0] == 400
    assert (await server.get(f"{link}/huge"))[0] == 400
    assert (await server.get(f"{link}/thumb?format=bmp"))[0] == 400

    async with server.session.delete(f"{server.url}/photo/{photo}") as response:
        assert response.status == 200
    for path in (
        f"{link}/thumb",
        f"{link}/large",
        f"/iiif/3/{photo}/full/max/0/default.jpg",
        f"/iiif/3/{photo}/info.json",
    ):
        assert (await server.get(path))[0] == 410, path
    assert (await server.get(f"{link}/large", headers={"If-None-Match": tag}))[0] == 410
    assert (await server.info(photo))["details"] is None


async def test_kinds_of_files(server: Server) -> None:
    files = {
        "heic": samples.saved(samples.quadrants(), "HEIF"),
        "avif": samples.saved(samples.quadrants(), "AVIF"),
        "gif": samples.animation("GIF"),
        "webp": samples.animation("WEBP"),
        "png": samples.sixteen_bit_colour(),
    }
    for ending, data in files.items():
        kept = await server.upload(data, f"a.{ending}")
        thumb = await server.picture(f"{kept['url']}/thumb")
        assert samples.looks_like_quadrants(thumb, most=25), ending
        assert getattr(thumb, "n_frames", 1) == 1
        assert (await server.get(kept["url"]))[2] == data
        large = await server.picture(f"{kept['url']}/large")
        assert large.size == (320, 200), "never enlarged"


async def test_what_cannot_be_decoded_says_so(server: Server) -> None:
    data = bytearray(samples.saved(samples.photo(), "PNG"))
    data[60:90] = bytes(30)  # The first image data, in a file whose frame is whole.
    kept = await server.upload(bytes(data), "damaged.png")
    status, _, body = await server.get(f"{kept['url']}/thumb")
    details = await server.details(kept["photo_id"])
    if details["failure"]:
        assert (status, details["renditions"]) == (415, [])
        assert b"unsupported_media_type" in body
    else:
        assert status == 200


async def test_keys_and_positions(tmp_path: Path) -> None:
    data = samples.saved(samples.photo(), "JPEG", exif=samples.exif_block().tobytes())
    key = {"X-API-Key": "secret"}
    settings = {"HAYLOFT_RENDITIONS__STRIP_GPS": "true", "HAYLOFT_API_KEYS": '["secret"]'}
    with serving(tmp_path / "data", **settings) as url:
        await _check_keys_and_positions(url, data, key)


async def _check_keys_and_positions(url: str, data: bytes, key: dict[str, str]) -> None:
    async with aiohttp.ClientSession() as session:
        server = Server(url, session)
        form = aiohttp.FormData()
        form.add_field("file", data, filename="a.jpg")
        async with server.session.post(f"{server.url}/upload", data=form, headers=key) as response:
            kept = await response.json()
        photo, link = kept["photo_id"], kept["url"]
        for path in (f"/photo/{photo}/thumb", f"/iiif/3/{photo}/info.json", f"/photo/{photo}/info"):
            assert (await server.get(path))[0] == 401
            assert (await server.get(path, headers=key))[0] == 200
        identifier = f"{photo}-{kept['cookie']}"
        for path in (f"{link}/thumb", f"/iiif/3/{identifier}/info.json"):
            assert (await server.get(path))[0] == 200
        assert (await server.picture(f"/iiif/3/{identifier}/full/99,/0/default.png")).width == 99
        private = await server.get(f"/photo/{photo}/thumb", headers=key)
        assert private[1]["cache-control"].startswith("private")

        assert (await server.details(photo, headers=key))["position"] is not None
        _, _, public = await server.get(link)
        assert len(public) == len(data)
        assert 0x8825 in samples.opened(data).getexif()
        assert 0x8825 not in samples.opened(public).getexif()
        assert (await server.get(f"/photo/{photo}", headers=key))[2] == data
        part = await server.get(link, headers={"Range": "bytes=0-4095"})
        assert part[2] == public[:4096]


def squares() -> bytes:
    """The validator's own image: 10 × 10 squares of colours that it knows."""
    image = Image.new("RGB", (1000, 1000))
    draw = ImageDraw.Draw(image)
    for x, column in enumerate(validator.ValidationInfo().colorInfo):
        for y, colour in enumerate(column):
            draw.rectangle((100 * x, 100 * y, 100 * x + 99, 100 * y + 99), fill=colour)
    return samples.saved(image, "PNG")


LEVEL = 2
VALIDATIONS = sorted(
    name
    for name, told in validator.TestSuite(validator.ValidationInfo()).list_tests("3.0").items()
    if int(told["level"]) <= LEVEL
)


async def test_the_official_validator_passes_at_level_2(server: Server) -> None:
    kept = await server.upload(squares(), "squares.png")
    identifiers = (str(kept["photo_id"]), f"{kept['photo_id']}-{kept['cookie']}")
    for identifier in identifiers:
        failed = await asyncio.to_thread(lambda one=identifier: list(_validate(server.url, one)))
        assert failed == []
    assert len(VALIDATIONS) >= 30


def _validate(url: str, identifier: str) -> Iterator[tuple[str, str]]:
    host = url.removeprefix("http://")
    for name in VALIDATIONS:
        result = validator.ImageAPI(identifier, host, "iiif/3", "http", "", "3.0", debug=False)
        with contextlib.redirect_stdout(io.StringIO()):
            validator.TestSuite(validator.ValidationInfo()).run_test(name, result)
        if result.exception:
            yield name, str(result.exception)


async def test_iiif_headers(server: Server) -> None:
    kept = await server.upload(samples.saved(samples.quadrants(), "JPEG"))
    base = f"{server.url}/iiif/3/{kept['photo_id']}"
    status, headers, _ = await server.get(f"{base}/0,0,320,200/160,/0.0/color.jpg")
    assert status == 200
    assert f'<{base}/full/160,100/0/default.jpg>;rel="canonical"' in headers["link"]
    assert headers["access-control-allow-origin"] == "*"
    again = await server.get(
        f"{base}/0,0,320,200/160,/0.0/color.jpg", headers={"If-None-Match": headers["etag"]}
    )
    assert again[0] == 304
    status, headers, _ = await server.get(f"{base}/full/9999,/0/default.jpg")
    assert (status, headers["access-control-allow-origin"]) == (400, "*")
    async with server.session.options(f"{base}/info.json") as response:
        assert response.status == 204
    async with server.session.post(f"{base}/info.json") as response:
        assert response.status == 405
    async with server.session.get(base, allow_redirects=False) as response:
        assert (response.status, response.headers["location"]) == (303, f"{base}/info.json")
