"""What holds for every page: accessible, contained, small; and a library of 20,000 that scrolls."""

from __future__ import annotations

import subprocess
import sys

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from served import Server

from .conftest import DESKTOP, PHONE, keep

pytestmark = pytest.mark.timeout(400)

LIBRARY_PHOTOS = 20_000
PAGE_BYTES_MAX = 150_000
PAGES = ["/", "/review", "/operations", "/view?photo={photo}"]


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Server:
    path = tmp_path_factory.mktemp("large") / "data"
    # In a process of its own: playwright keeps an event loop in this one.
    fill = [sys.executable, "-m", "hayloft.testing.large_library", str(path), str(LIBRARY_PHOTOS)]
    subprocess.run(fill, check=True)
    server = Server(path, SIMILARITY__ENABLED="false", RENDITIONS__ENABLED="false").start()
    yield server
    assert server.stop() == 0, server.log


def addresses(server: Server) -> list[str]:
    photo = server.get("/photos?limit=1&order=desc").json["photos"][0]["photo_id"]
    return [server.url + page.format(photo=photo) for page in PAGES]


def test_twenty_thousand_photos_scroll_and_few_of_them_are_elements(library, new_page):
    page = new_page()
    page.goto(library.url)
    expect(page.get_by_text("20,000 photos", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="photo 19999", exact=True)).to_be_visible()
    keep(page, "large")
    height = page.evaluate("document.documentElement.scrollHeight")
    for share in (0.25, 0.5, 0.75, 1.0):
        page.evaluate("y => scrollTo(0, y)", height * share)
        page.wait_for_function(
            "() => [...document.querySelectorAll('#grid img')].some((one) => {"
            " const box = one.getBoundingClientRect();"
            " return one.naturalWidth && box.bottom > 0 && box.top < innerHeight; })"
        )
        assert page.locator("#grid a.tile").count() < 1500
    expect(page.get_by_role("link", name="photo 0", exact=True)).to_be_attached()


def test_a_page_view_is_small(library, new_page):
    page = new_page()
    sizes: dict[str, int] = {}

    def weigh(response) -> None:
        if "/photo/" not in response.url:
            sizes[response.url] = len(response.body())

    page.on("response", weigh)
    page.goto(library.url)
    expect(page.locator("#grid a.tile").first).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert sum(sizes.values()) <= PAGE_BYTES_MAX, sizes


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_no_page_keeps_anyone_out(library, new_page, scheme, viewport):
    # Linking is off on this server, and the pages say so when they are told with an error.
    page = new_page(viewport=viewport, color_scheme=scheme, expected=("503",))
    for address in addresses(library):
        page.goto(address)
        page.wait_for_load_state("networkidle")
        results = Axe().run(page)
        found = [(each["id"], each["nodes"][0]["html"]) for each in results.response["violations"]]
        assert found == [], address
        keep(page, f"page-{addresses(library).index(address)}-{scheme}-{viewport['width']}")


def test_the_policy_is_strict(library):
    for address in ("/", "/static/style.css", "/static/index.js"):
        headers = library.get(address).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_pages_are_asked_for_twice_and_sent_once(library):
    first = library.get("/static/style.css")
    again = library.get("/static/style.css", if_none_match=first.headers["etag"])
    assert (first.status, again.status, again.body) == (200, 304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "..%2fpages.py", ".hidden", "%2e%2e"])
def test_only_the_pages_files_are_served(library, name):
    assert library.get(f"/static/{name}").status == 404


def test_events_that_were_given_up_can_be_tried_again(library, new_page):
    photo = library.get("/photos?limit=1").json["photos"][0]["photo_id"]
    asked = []

    def events(route) -> None:
        # What cannot be brought about from here: a consumer that failed three times.
        consumer = route.request.url.rpartition("=")[2]
        one = {
            "photo_id": photo,
            "reason": "The decoder hung.",
            "parked_at": "2026-01-02T03:04:05.678Z",
            "due": bool(asked),
        }
        route.fulfill(json={"parked": [one] if consumer == "similarity" else []})

    def retry(route) -> None:
        asked.append(route.request.post_data_json)
        route.fulfill(json={"retried": 1})

    page = new_page()
    page.route("**/events/parked?*", events)
    page.route("**/events/parked/retry", retry)
    page.goto(library.url + "/operations")
    given_up = page.get_by_role("region", name="Given up: comparing photos")
    expect(given_up).to_contain_text("The decoder hung.")
    keep(page, "parked")
    given_up.get_by_role("button", name="Try again").click()
    expect(page.locator("#notices")).to_contain_text("1 event will be tried again.")
    expect(given_up.get_by_role("button", name="Being tried again")).to_be_disabled()
    assert asked == [{"consumer": "similarity"}]
