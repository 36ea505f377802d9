"""Settling duplicates: the suggestion, the removal, the words that stick."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from .conftest import ingested, jpeg, keep, photos

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def twice(empty_server):
    """A server that holds one photo in three guises, and another one twice."""
    cat, temple = photos()["cat.jpg"], photos()["temple.jpg"]
    files = {
        "cat.jpg": jpeg(cat),
        "cat-half.jpg": jpeg(cat.resize((cat.width // 2, cat.height // 2))),
        "cat-rough.jpg": jpeg(cat, quality=25),
        "temple.jpg": jpeg(temple),
        "temple-again.jpg": jpeg(temple),
    }
    ids = {}
    for name, content in files.items():
        ids[name] = empty_server.upload(content, name=name).json["photo_id"]
    ingested(empty_server)
    return empty_server, ids


def choose(group, name: str, label: str) -> None:
    group.get_by_role("radiogroup", name=f"What to do with {name}").get_by_text(label).click()


def test_groups_are_settled_as_chosen(twice, new_page):
    server, ids = twice
    page = new_page()
    page.goto(server.url + "/review")
    cats = page.get_by_role("article", name="Group of 3 photos")
    temples = page.get_by_role("article", name="Group of 2 photos")
    expect(cats).to_be_visible()
    expect(temples).to_be_visible()
    expect(cats.locator(".member.keep")).to_contain_text("cat.jpg")
    keep(page, "review")
    choose(temples, "temple-again.jpg", "Not the same")
    choose(temples, "temple.jpg", "Keep")
    temples.get_by_role("button", name="Apply", exact=True).click()
    expect(page.get_by_text("Noted.")).to_be_visible()
    cats.get_by_role("button", name="Apply", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_text("2 photos removed.")).to_be_visible()
    status = {name: server.get(f"/photo/{photo}").status for name, photo in ids.items()}
    assert status == {
        "cat.jpg": 200,
        "cat-half.jpg": 410,
        "cat-rough.jpg": 410,
        "temple.jpg": 200,
        "temple-again.jpg": 200,
    }
    ingested(server)
    page.goto(server.url + "/review")
    expect(page.get_by_role("heading", name="Nothing to settle")).to_be_visible()


def test_a_group_never_loses_all_its_photos(twice, new_page):
    server, ids = twice
    page = new_page()
    page.goto(server.url + "/review")
    temples = page.get_by_role("article", name="Group of 2 photos")
    for name in ("temple.jpg", "temple-again.jpg"):
        choose(temples, name, "Remove")
    temples.get_by_role("button", name="Apply", exact=True).click()
    expect(page.locator("#notices")).to_contain_text("would lose all its photos")
    assert server.get(f"/photo/{ids['temple.jpg']}").status == 200


def test_more_groups_are_shown_when_asked_for(twice, new_page):
    server, _ids = twice
    page = new_page()
    page.route(
        "**/gallery/groups?limit=20*",
        lambda route: route.continue_(url=route.request.url.replace("=20", "=1")),
    )
    page.goto(server.url + "/review")
    groups = page.locator("article.group")
    expect(groups).to_have_count(1)
    page.get_by_role("button", name="Show more groups").click()
    expect(groups).to_have_count(2)
    expect(page.get_by_role("button", name="Show more groups")).to_be_hidden()
