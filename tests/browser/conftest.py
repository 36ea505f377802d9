"""A real server and a real browser: Debian's Chromium, driven by playwright.

Every page is watched: a console error, an uncaught exception or a request to another host fails the test
that caused it. Set ``HAYLOFT_SCREENSHOTS`` to a folder to keep what the tests saw.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright
from skimage import data
from sklearn.datasets import load_sample_image

from served import Server

CHROMIUM = "/usr/bin/chromium"
CHROMIUM_OPTIONS = [
    "--no-sandbox",  # the tests may run as root
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}

# A busy machine is slow; what never happens still fails.
expect.set_options(timeout=30_000)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One browser for all tests here; not longer, for playwright keeps an event loop in this thread."""
    assert Path(CHROMIUM).exists(), "Debian's package chromium is missing: make test installs it as root"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with linking and renditions on."""
    server = Server(tmp_path_factory.mktemp("browser") / "data").start()
    yield server
    assert server.stop() == 0, server.log


@pytest.fixture
def empty_server(tmp_path: Path) -> Iterator[Server]:
    """A server that holds nothing yet."""
    server = Server(tmp_path / "data").start()
    yield server
    server.stop()


class Watch:
    """What went wrong on a page that nobody asserted."""

    def __init__(self, page: Page) -> None:
        self.complaints: list[str] = []
        self.expected: tuple[str, ...] = ()
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))
        page.on("request", self._request)

    def _console(self, message) -> None:
        if message.type == "error" and not any(text in message.text for text in self.expected):
            self.complaints.append(f"console: {message.text}")

    def _request(self, request) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "blob:", "data:")):
            self.complaints.append(f"another host: {request.url}")


@pytest.fixture
def new_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens watched pages; ``expected`` are console errors that the test provokes."""
    opened: list[tuple[Page, Watch]] = []

    def open_page(*, viewport=DESKTOP, expected: tuple[str, ...] = (), **options) -> Page:
        page = browser.new_page(viewport=viewport, **options)
        page.set_default_timeout(60_000)
        watch = Watch(page)
        watch.expected = expected
        opened.append((page, watch))
        return page

    yield open_page
    for page, watch in opened:
        page.close()
        assert watch.complaints == []


def keep(page: Page, name: str) -> None:
    """Save a screenshot where ``HAYLOFT_SCREENSHOTS`` says, if it does."""
    if folder := os.environ.get("HAYLOFT_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def jpeg(image: Image.Image, *, quality: int = 90) -> bytes:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def photos() -> dict[str, Image.Image]:
    """Real photos, from the samples that come with scikit-image and scikit-learn."""
    return {
        "astronaut.jpg": Image.fromarray(data.astronaut()),
        "cat.jpg": Image.fromarray(data.chelsea()),
        "coffee.jpg": Image.fromarray(data.coffee()),
        "rocket.jpg": Image.fromarray(data.rocket()),
        "temple.jpg": Image.fromarray(load_sample_image("china.jpg")),
        "dahlia.jpg": Image.fromarray(load_sample_image("flower.jpg")),
    }


def ingested(server: Server, *, seconds_max: float = 120) -> None:
    """Wait until nothing is left to ingest."""
    deadline = time.monotonic() + seconds_max
    while time.monotonic() < deadline:
        reply = server.get("/similarity/status")
        if reply.status == 200 and reply.json["pending"] == 0 and reply.json["total_indexed"] > 0:
            return
        time.sleep(0.3)
    raise AssertionError(f"ingest did not finish: {server.get('/similarity/status').body!r}\n{server.log}")
