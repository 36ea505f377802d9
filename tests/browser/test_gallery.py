"""What someone does with the gallery: upload, look, search, share, delete; what they see when it fails."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from served import Server

from .conftest import PHONE, ingested, jpeg, keep, photos

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos as files."""
    folder = tmp_path_factory.mktemp("photos")
    for name, image in photos().items():
        (folder / name).write_bytes(jpeg(image))
    return folder


@pytest.fixture(scope="module")
def library(server: Server, folder: Path) -> Server:
    """The server, holding the photos and a small mirrored copy of one, all ingested."""
    for path in sorted(folder.iterdir()):
        assert server.upload(path.read_bytes(), name=path.name).status == 201
    cat = photos()["cat.jpg"]
    copy = cat.resize((cat.width // 2, cat.height // 2))
    assert server.upload(jpeg(copy, quality=60), name="cat-small.jpg").status == 201
    ingested(server)
    return server


def tiles(page: Page):
    return page.locator("#grid a.tile")


def open_photo(page: Page, server: Server, name: str) -> None:
    page.goto(server.url)
    page.get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)


def test_a_new_library_says_what_to_do_and_takes_a_folder(empty_server, folder, new_page):
    page = new_page()
    page.goto(empty_server.url)
    expect(page.get_by_role("heading", name="No photos yet")).to_be_visible()
    keep(page, "empty")
    with page.expect_file_chooser() as chosen:
        page.get_by_role("button", name="Choose photos").click()
    chosen.value.set_files(sorted(folder.iterdir()))
    expect(page.locator("#uploads strong")).to_have_text("6 photos stored")
    expect(tiles(page)).to_have_count(6)
    expect(page.get_by_text("6 photos", exact=True)).to_be_visible()
    # The same again: nothing is stored twice without saying so.
    with page.expect_file_chooser() as chosen:
        page.get_by_role("button", name="Add photos").click()
    chosen.value.set_files([folder / "cat.jpg"])
    expect(page.locator("#uploads")).to_contain_text("already here")
    keep(page, "uploaded")


def test_an_upload_that_fails_says_why_and_can_be_retried(empty_server, tmp_path, new_page):
    page = new_page(expected=("415", "422"))
    text = tmp_path / "notes.jpg"
    text.write_text("not a picture at all")
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(jpeg(photos()["rocket.jpg"])[:5000])
    page.goto(empty_server.url)
    with page.expect_file_chooser() as chosen:
        page.get_by_role("button", name="Add photos").click()
    chosen.value.set_files([text, cut])
    uploads = page.locator("#uploads")
    expect(uploads.locator("strong")).to_have_text("0 photos stored, 2 failed")
    expect(uploads).to_contain_text("not a picture that Hayloft keeps")
    expect(uploads).to_contain_text("ends too early")
    keep(page, "upload-failed")
    uploads.get_by_role("button", name="Retry").first.click()
    expect(uploads.locator("strong")).to_have_text("0 photos stored, 2 failed")


def test_a_thumb_covers_its_placeholder(library, new_page):
    page = new_page()
    page.goto(library.url)
    tile = page.get_by_role("link", name="rocket.jpg", exact=True)
    expect(tile.locator(".place")).to_be_attached()
    expect(tile.locator("img")).to_have_class("here")
    on_top = tile.evaluate("""tile => {
        const box = tile.getBoundingClientRect();
        return document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2).tagName;
    }""")
    assert on_top == "IMG"
    page.wait_for_timeout(400)
    keep(page, "grid")


def test_a_thumb_that_comes_late_is_asked_for_again(library, new_page):
    page = new_page(expected=("503",))
    refused = []

    def refuse(route) -> None:
        refused.append(route.request.url)
        route.fulfill(status=503, body="busy")

    page.route("**/thumb", refuse)  # the second time, the address says that it is asked again
    page.goto(library.url)
    expect(page.get_by_role("link", name="rocket.jpg", exact=True).locator("img")).to_have_class("here")
    assert refused


def test_the_keyboard_walks_the_grid_and_the_photos(library, new_page):
    page = new_page()
    page.goto(library.url)
    expect(tiles(page).first).to_be_visible()
    names = tiles(page).evaluate_all("all => all.map((one) => one.title)")
    page.keyboard.press("ArrowRight")
    expect(tiles(page).first).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(tiles(page).nth(1)).to_be_focused()
    keep(page, "keyboard")
    page.keyboard.press("Enter")
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text(names[1])
    expect(page.get_by_role("button", name="Older photo")).to_be_enabled()
    page.keyboard.press("ArrowRight")
    expect(heading).to_have_text(names[2])
    expect(page.get_by_role("button", name="Newer photo")).to_be_enabled()
    page.keyboard.press("ArrowLeft")
    expect(heading).to_have_text(names[1])
    expect(page.get_by_role("button", name="Newer photo")).to_be_enabled()
    page.keyboard.press("ArrowLeft")
    expect(heading).to_have_text(names[0])
    expect(page.get_by_role("button", name="Newer photo")).to_be_disabled()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(tiles(page).first).to_be_visible()


def test_a_picture_can_be_dropped_to_store_it_or_to_search_with_it(library, folder, new_page):
    page = new_page()
    page.goto(library.url)
    expect(tiles(page).first).to_be_visible()
    drop(page, "Search", folder / "dahlia.jpg")
    results = page.get_by_role("region", name="Search results")
    expect(results.locator("a.tile").first).to_have_attribute("aria-label", "dahlia.jpg")
    page.keyboard.press("Escape")
    expect(results).to_be_hidden()
    drop(page, "Store", folder / "dahlia.jpg")
    expect(page.locator("#uploads")).to_contain_text("already here")


def drop(page: Page, zone: str, path: Path) -> None:
    """What the browser does when someone drags a file over the page and lets go of it on a zone."""
    transfer = page.evaluate_handle(
        """([name, content]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([Uint8Array.from(content)], name, { type: "image/jpeg" }));
            return transfer;
        }""",
        [path.name, list(path.read_bytes())],
    )
    page.dispatch_event("body", "dragenter", {"dataTransfer": transfer})
    target = page.locator(".zone", has_text=zone).first
    expect(target).to_be_visible()
    keep(page, f"drop-{zone.lower()}")
    page.dispatch_event(f".zone:has-text('{zone}')", "drop", {"dataTransfer": transfer})
    expect(target).to_be_hidden()


def test_a_photo_that_cannot_be_decoded_is_a_clear_tile(library, new_page):
    page = new_page(expected=("415", "422"))
    name = "broken.webp"
    assert library.upload(undecodable(), name=name, media_type="image/webp").status == 201
    photo = library.get("/photos?limit=1&order=desc").json["photos"][0]["photo_id"]
    wait_for_details(library, photo)
    page.goto(library.url)
    tile = page.get_by_role("link", name=f"{name}, cannot be shown")
    expect(tile).to_contain_text("Cannot be shown")
    expect(tile.locator("img")).to_have_count(0)
    tile.click()
    expect(page.get_by_text("This photo cannot be shown.")).to_be_visible()
    keep(page, "undecodable")
    library.delete(f"/photo/{photo}")


def undecodable() -> bytes:
    """A WebP whose header is right, and whose pixels are not there."""
    buffer = io.BytesIO()
    Image.new("RGB", (640, 480)).save(buffer, "WEBP", lossless=True)
    header = buffer.getvalue()[:26]
    return header + b"\xff" * (buffer.tell() - len(header))


def wait_for_details(server: Server, photo: int) -> None:
    deadline = time.monotonic() + 90
    while not (server.get(f"/photo/{photo}/info").json.get("details") or {}).get("failure"):
        assert time.monotonic() < deadline, server.get(f"/photo/{photo}/info").body
        time.sleep(0.2)


def test_a_photo_has_facts_zoom_and_a_link_to_share(library, new_page):
    page = new_page(permissions=["clipboard-read", "clipboard-write"])
    open_photo(page, library, "rocket.jpg")
    expect(page.locator("dl.facts")).to_contain_text("640 × 427 pixels")
    image = page.locator(".stage img")
    page.keyboard.press("+")
    page.keyboard.press("+")
    expect(image).to_have_class("zoomed")
    page.keyboard.press("0")
    expect(image).not_to_have_class("zoomed")
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator("#notices")).to_contain_text("on the clipboard")
    link = page.evaluate("navigator.clipboard.readText()")
    assert library.get(library.path_of(link)).status == 200
    keep(page, "photo")


def test_what_belongs_together_is_shown_with_its_evidence(library, new_page):
    page = new_page()
    open_photo(page, library, "cat.jpg")
    same = page.get_by_role("region", name="Same photo")
    expect(same).to_contain_text("cat-small.jpg")
    same.get_by_role("button").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("figure img")).to_have_count(2)
    page.wait_for_function(
        "[...document.querySelectorAll('dialog img')].every((one) => one.naturalWidth > 0)"
    )
    keep(page, "evidence")
    dialog.get_by_role("button", name="Different photos").click()
    expect(page.locator("#notices")).to_contain_text("will not be grouped again")
    # The verdict sticks: the pair's dialog shows it after a reload.
    page.reload()
    page.get_by_role("button", name="cat-small.jpg").first.click()
    expect(dialog.get_by_role("button", name="Different photos")).to_have_attribute("aria-pressed", "true")
    dialog.get_by_role("button", name="Take the verdict back").click()
    expect(page.locator("#notices")).to_contain_text("taken back")


def test_searching_by_a_picture_finds_the_stored_one(library, folder, tmp_path, new_page):
    page = new_page()
    example = tmp_path / "example.jpg"
    temple = photos()["temple.jpg"]
    example.write_bytes(jpeg(temple.crop((40, 30, 560, 400)), quality=70))
    page.goto(library.url)
    with page.expect_file_chooser() as chosen:
        page.get_by_role("button", name="Search by picture").click()
    chosen.value.set_files(example)
    results = page.get_by_role("region", name="Search results")
    first = results.locator("a.tile").first
    expect(first).to_have_attribute("aria-label", "temple.jpg")
    keep(page, "search")
    results.get_by_role("button", name="Back to all photos").click()
    expect(tiles(page).first).to_be_visible()


def test_deleting_asks_first_and_then_is_final(library, new_page):
    page = new_page()
    doomed = library.upload(jpeg(photos()["coffee.jpg"].rotate(3)), name="doomed.jpg").json
    open_photo(page, library, "doomed.jpg")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert library.get(f"/photo/{doomed['photo_id']}").status == 200
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.wait_for_url(library.url + "/")
    assert library.get(f"/photo/{doomed['photo_id']}").status == 410
    page.goto(f"{library.url}/view?photo={doomed['photo_id']}")
    expect(page.get_by_text("This photo was deleted.")).to_be_visible()


@pytest.mark.parametrize("address", ["/view?photo=nonsense", "/view?photo=123456"])
def test_an_address_of_no_photo_says_so(library, new_page, address):
    page = new_page(expected=("404",))
    page.goto(library.url + address)
    expect(page.get_by_role("heading", name="Nothing to see")).to_be_visible()


def test_the_gallery_on_a_phone(library, new_page):
    page = new_page(viewport=PHONE, device_scale_factor=2, has_touch=True)
    page.goto(library.url)
    expect(tiles(page).first).to_be_visible()
    overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert overflow <= 0
    page.wait_for_timeout(500)
    keep(page, "phone")
    tiles(page).first.click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    keep(page, "phone-photo")


def test_keys_are_asked_for_and_remembered(tmp_path, folder, new_page):
    server = Server(tmp_path / "data", API_KEYS='["open sesame"]').start()
    try:
        page = new_page(expected=("401",))
        page.goto(server.url)
        dialog = page.get_by_role("dialog", name="API key")
        dialog.get_by_label("This server asks for an API key.").fill("open barley")
        dialog.get_by_role("button", name="Continue").click()
        dialog.get_by_label("The server does not accept this API key.").fill("open sesame")
        dialog.get_by_role("button", name="Continue").click()
        expect(page.get_by_role("heading", name="No photos yet")).to_be_visible()
        with page.expect_file_chooser() as chosen:
            page.get_by_role("button", name="Choose photos").click()
        chosen.value.set_files(folder / "cat.jpg")
        expect(tiles(page)).to_have_count(1)
        page.goto("about:blank")  # or it would go on asking a server that is gone
    finally:
        server.stop()


def test_a_folder_is_dropped_on_the_page(empty_server, tmp_path, new_page):
    nested = tmp_path / "trip" / "second day"
    nested.mkdir(parents=True)
    (tmp_path / "trip" / "cat.jpg").write_bytes(jpeg(photos()["cat.jpg"]))
    (nested / "rocket.jpg").write_bytes(jpeg(photos()["rocket.jpg"]))
    (nested / ".hidden.jpg").write_bytes(jpeg(photos()["coffee.jpg"]))
    page = new_page()
    page.goto(empty_server.url)
    expect(page.get_by_role("heading", name="No photos yet")).to_be_visible()
    protocol = page.context.new_cdp_session(page)
    drag = {"items": [], "files": [str(tmp_path / "trip")], "dragOperationsMask": 1}
    for kind, y in (("dragEnter", 300), ("dragOver", 300)):
        protocol.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": y, "data": drag})
    store = page.locator(".zone", has_text="Photos, or folders of them")
    expect(store).to_be_visible()
    box = store.bounding_box()
    there = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2, "data": drag}
    for kind in ("dragOver", "drop"):
        protocol.send("Input.dispatchDragEvent", {"type": kind, **there})
    expect(page.locator("#uploads strong")).to_have_text("2 photos stored")
    expect(store).to_be_hidden()
    assert {one["name"] for one in empty_server.get("/photos").json["photos"]} == {"cat.jpg", "rocket.jpg"}


def test_two_fingers_zoom_a_photo(library, new_page):
    page = new_page(viewport=PHONE, has_touch=True)
    open_photo(page, library, "rocket.jpg")
    image = page.locator(".stage img")
    box = image.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    protocol = page.context.new_cdp_session(page)
    for kind, apart in (("touchStart", 20), ("touchMove", 40), ("touchMove", 80), ("touchEnd", None)):
        fingers = [] if apart is None else [{"x": x - apart, "y": y}, {"x": x + apart, "y": y}]
        protocol.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})
    expect(image).to_have_class("zoomed")
    assert image.bounding_box()["width"] > 2 * box["width"]
