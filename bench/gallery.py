"""The gallery in a browser, over a large library: how soon first thumbs are on the screen, and its bytes.

Each view is a fresh browser context, with nothing cached, on a server without linking (nothing here asks
for it). Thumbs count once they have been decoded and painted: the time is taken in the second animation
frame after the first of them has loaded and lies in the window, counted from the start of the
navigation. Bytes are those of bodies as they crossed the wire, of everything that is not a photo.

    python bench/gallery.py [--photos N] [--views N] [--data DIRECTORY]

``--data`` keeps the library for the next run; without it, it is made in a temporary directory.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, Response, sync_playwright

CHROMIUM = "/usr/bin/chromium"
SECONDS_MAX = 1.0
PAGE_BYTES_MAX = 150_000
START_SECONDS_MAX = 60.0

FIRST_THUMBS = """
() => new Promise((resolve) => {
  const look = () => {
    const shown = [...document.querySelectorAll("#grid img")].some((one) => {
      const box = one.getBoundingClientRect();
      return one.complete && one.naturalWidth && box.bottom > 0 && box.top < innerHeight;
    });
    if (!shown) requestAnimationFrame(look);
    else requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now())));
  };
  look();
})
"""


@dataclass
class View:
    """One look at the gallery."""

    seconds: float = 0.0
    body_bytes: dict[str, int] = field(default_factory=dict)
    elsewhere: list[str] = field(default_factory=list)


@contextmanager
def serving(data: Path) -> Iterator[str]:
    """A server over a library; its address."""
    environment = {
        **os.environ,
        "HAYLOFT_DATA": str(data),
        "HAYLOFT_PORT": "0",
        "HAYLOFT_WORKERS": "1",
        "HAYLOFT_SIMILARITY__ENABLED": "false",
        "HAYLOFT_RENDITIONS__ENABLED": "false",
    }
    with tempfile.NamedTemporaryFile("w+") as log:
        command = [sys.executable, "-m", "hayloft.assembly.serve"]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            yield _address(process, Path(log.name))
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r"http://[\d.]+:\d+", log.read_text()):
            return found[0]
        time.sleep(0.05)
    raise SystemExit(f"The server did not start:\n{log.read_text()}")


def look(browser: Browser, address: str) -> View:
    """One view in a fresh context."""
    view = View()
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()

    seen: list[Response] = []
    # playwright leaves a mark on what it calls, which a list's own method does not take.
    page.on("response", lambda response: seen.append(response))
    page.goto(address, wait_until="commit")
    view.seconds = page.evaluate(FIRST_THUMBS) / 1000
    page.wait_for_load_state("networkidle")
    for response in seen:
        if not response.url.startswith(address):
            view.elsewhere.append(response.url)
        if "/photo/" not in response.url:
            view.body_bytes[response.url] = response.request.sizes()["responseBodySize"]
    context.close()
    return view


def measure(data: Path, views: int) -> list[View]:
    """Some views of the gallery; one before them, so that the server has been used."""
    with serving(data) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        look(browser, address)
        seen = [look(browser, address) for _ in range(views)]
        browser.close()
    return seen


def report(photos: int, seen: list[View]) -> None:
    """Print the figures beside their targets."""
    seconds = [view.seconds for view in seen]
    size = max(sum(view.body_bytes.values()) for view in seen)
    elsewhere = {url for view in seen for url in view.elsewhere}
    print(f"The gallery, {photos:,} photos in the library, {len(seen)} views in fresh browser contexts")
    print(
        f"  navigation to first thumbs painted   median {statistics.median(seconds):.2f} s, "
        f"{min(seconds):.2f} to {max(seconds):.2f} s (target < {SECONDS_MAX:.0f} s)"
    )
    target = PAGE_BYTES_MAX // 1000
    print(f"  a page view besides photos           {size / 1000:.1f} kB (target ≤ {target} kB)")
    print(f"  requests to other hosts              {len(elsewhere)} (target 0)")


def main() -> None:
    """Fill, look and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--views", type=int, default=5)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hayloft-gallery-") as temporary:
        data = options.data or Path(temporary) / "data"
        if not data.exists():
            fill = [sys.executable, "-m", "hayloft.testing.large_library", str(data), str(options.photos)]
            subprocess.run(fill, check=True)
        report(options.photos, measure(data, options.views))


if __name__ == "__main__":
    main()
