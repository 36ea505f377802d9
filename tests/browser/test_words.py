"""Search by words on the gallery page: there where the server's model knows words, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from model_samples import COLOURS, picture_of, save_colours
from served import Server

from .conftest import ingested


@pytest.fixture
def knowing(tmp_path: Path) -> Iterator[Server]:
    """A server whose model knows the names of colours, with a photo of each."""
    model = save_colours(tmp_path / "colours.onnx")
    server = Server(tmp_path / "data", SIMILARITY__EMBEDDER=f"onnx:{model}").start()
    for name in COLOURS:
        server.upload(picture_of(name), name=f"{name}.jpg")
    ingested(server)
    yield server
    assert server.stop() == 0, server.log


def test_words_find_photos_where_the_model_knows_them(knowing, new_page):
    page = new_page()
    page.goto(knowing.url)
    field = page.get_by_role("searchbox", name="Search by words")
    for name in ("green", "blue"):
        field.fill(f"a {name} wall")
        field.press("Enter")
        results = page.get_by_role("region", name="Search results")
        expect(results.get_by_role("heading")).to_have_text(f"Photos of a {name} wall")
        expect(results.locator("a.tile").first).to_have_attribute("aria-label", f"{name}.jpg")
    results.get_by_role("button", name="Back to all photos").click()
    expect(page.locator("#grid a.tile").first).to_be_visible()


def test_there_is_no_such_field_where_it_knows_none(server, new_page):
    page = new_page()
    page.goto(server.url)
    expect(page.get_by_role("button", name="Search by picture")).to_be_visible()
    expect(page.get_by_role("searchbox", name="Search by words")).to_be_hidden()
