"""``similar``, ``links``, ``links --review``, ``groups``, ``verdict``, ``stats`` and ``version``."""

from __future__ import annotations

import io
import re
from io import StringIO

import pytest
from aiohttp import web
from rich.console import Console

from doubles.gateway import answering
from hayloft import __version__
from hayloft.cli.evidence import why_text
from hayloft.cli.output import bytes_text, count_text, table
from hayloft.types import Link, Relation


@pytest.fixture
def photos(gateway):
    return [gateway.keep(b"photo %d" % number, f"{number}.png") for number in range(4)]


def neighbours(*photos):
    """A fault that answers with these neighbours, whatever was asked."""
    told = {
        "relation": "copy",
        "score": 0.9,
        "distance": 7.0,
        "method": "pdq/1",
        "evidence": {"turned": 90},
    }

    async def fault(_double, request):
        await request.read()
        return web.json_response({"similar": [{"photo_id": photo.id, **told} for photo in photos]})

    return fault


def test_similar_to_a_stored_photo(hayloft, gateway, photos):
    gateway.faults[f"/similar/{photos[0].id}"].extend([neighbours(photos[1], photos[2])] * 2)
    ran = hayloft("similar", photos[0].id)
    assert ran.out.index("1.png") < ran.out.index("2.png")
    assert "turned 90" in ran.out
    (first, _) = hayloft("similar", photos[0].id, "--json").json
    assert (first["photo_id"], first["distance"], first["relation"]) == (photos[1].id, 7.0, "copy")


def test_similar_to_a_file_and_shown_in_the_browser(hayloft, gateway, photos, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("typer.launch", opened.append)
    (tmp_path / "mine.png").write_bytes(b"mine")
    gateway.faults["/similar"].append(neighbours(photos[1]))
    assert hayloft("similar", tmp_path / "mine.png", "--open").code == 0
    assert opened == [(tmp_path / "mine.png").as_uri(), gateway._told(photos[1])["url"]]


def test_similar_to_nothing(hayloft, gateway, photos):
    gateway.faults[f"/similar/{photos[0].id}"].append(neighbours())
    ran = hayloft("similar", photos[0].id)
    assert (ran.code, ran.out) == (0, "")
    assert "Nothing like it" in ran.err
    assert hayloft("similar", "what?").code == 6


def test_links(hayloft, gateway, photos):
    gateway.verdicts = {(photos[0].id, photos[1].id): None, (photos[1].id, photos[2].id): "same"}
    ran = hayloft("links")
    assert "0.png · 1.png" in ran.out
    assert "distance 12, quality 0.512" in ran.out
    assert "2 links." in ran.err
    assert len(hayloft("links", photos[0].id, "--json").json) == 1
    assert hayloft("links", photos[0].id, "--relation", "similar").out == ""
    assert "1 link shown" in hayloft("links", "-n", 1).err
    assert "No links." in hayloft("links", photos[3].id).err


def test_a_review_asks_about_what_nobody_has_decided(hayloft, gateway, photos, monkeypatch):
    gateway.verdicts = dict.fromkeys(
        [(photos[0].id, photos[1].id), (photos[0].id, photos[2].id), (photos[1].id, photos[2].id)]
    )
    gateway.verdicts[(photos[2].id, photos[3].id)] = "same"
    opened = []
    monkeypatch.setattr("typer.launch", opened.append)
    monkeypatch.setattr("sys.stdin", io.StringIO("s\no\n?\nd\n\n"))
    ran = hayloft("links", "--review")
    assert "2 pairs decided" in ran.err
    assert list(gateway.verdicts.values()) == ["same", "different", None, "same"]
    assert opened == [gateway._told(photos[0])["url"], gateway._told(photos[2])["url"]]
    monkeypatch.setattr("sys.stdin", io.StringIO("q\n"))
    assert "0 pairs decided" in hayloft("links", "--review").err


def test_groups_have_their_best_photo_first(hayloft, gateway, photos):
    one, two, three, four = (photo.id for photo in photos)
    gateway.verdicts = {(one, two): None, (two, three): "same", (three, four): "different"}
    ran = hayloft("groups")
    assert re.search(rf"^ *{three}   2\.png +3   {one} {two} *$", ran.out, re.MULTILINE)
    assert "1 group." in ran.err
    whole = {"group": one, "photos": [one, two, three], "best": three}
    assert hayloft("groups", "--json").json == [whole]
    assert hayloft("groups", one, "--json").json == [whole]
    link = gateway._told(photos[1])["url"]
    assert re.search(rf"^ *{three} .* {one} {two} *$", hayloft("groups", link).out, re.MULTILINE)
    alone = {"group": four, "photos": [four], "best": four}
    assert hayloft("groups", four, "--json").json == [alone]


def test_as_many_groups_as_asked_for(hayloft, gateway):
    photos = [gateway.keep(b"%d" % number).id for number in range(120)]
    gateway.verdicts = dict.fromkeys(zip(photos[::2], photos[1::2], strict=True))
    ran = hayloft("groups")
    assert str(photos[99]) in ran.out
    assert str(photos[101]) not in ran.out
    assert "50 groups shown; see more with --limit N or --all." in ran.err
    assert "60 groups." in hayloft("groups", "--all").err
    assert "1 group shown" in hayloft("groups", "-n", 1).err
    assert len(hayloft("groups", "--json").json) == 60
    assert len(hayloft("groups", "--json", "-n", 3).json) == 3


def test_groups_that_there_are_not(hayloft, gateway):
    ran = hayloft("groups")
    assert (ran.code, ran.out) == (0, "")
    assert "No two photos are the same." in ran.err
    assert (hayloft("groups", "--json").out, hayloft("groups", 5).code) == ("", 4)
    twins = [gateway.keep(b"twin").id for _ in range(2)]
    assert hayloft("groups", "--relation", "duplicate", "--json").json[0]["photos"] == twins
    assert hayloft("groups", "--relation", "copy", "--json").json == []
    assert hayloft("groups", "--relation", "similar").code == 6
    assert hayloft("groups", "what?").code == 6
    ran = hayloft("groups", twins[0], "--relation", "duplicate")
    assert (ran.code, ran.out) == (2, "")
    assert "a photo has one group" in ran.err


def test_a_verdict_and_taking_it_back(hayloft, gateway, photos):
    a, b = photos[0].id, photos[1].id
    assert "copy (same)" in hayloft("verdict", a, b, "same").out
    assert "copy (different)" in hayloft("verdict", a, gateway._told(photos[1])["url"], "different").out
    assert gateway.verdicts == {(a, b): "different"}
    assert hayloft("verdict", a, b, "none", "--json").json == [gateway._link(a, b)]
    assert gateway.verdicts == {(a, b): None}


def test_a_verdict_that_leaves_no_link(hayloft, gateway, photos):
    path = f"/links/{photos[0].id}/{photos[1].id}/verdict"

    async def unlinked(_double, request):
        await request.read()
        return web.json_response(None)

    gateway.faults[path].extend([unlinked] * 2)
    ran = hayloft("verdict", photos[0].id, photos[1].id, "none")
    assert (ran.code, ran.out) == (0, "")
    assert "Nothing links the two photos now." in ran.err
    assert hayloft("verdict", photos[0].id, photos[1].id, "none", "--json").out == "null\n"


def test_a_verdict_that_is_refused(hayloft, gateway, photos):
    a, b = photos[0].id, photos[1].id
    gateway.faults[f"/links/{a}/{a}/verdict"].append(answering(400, "invalid_request", "Two photos."))
    ran = hayloft("verdict", a, a, "same")
    assert (ran.code, ran.out) == (6, "")
    assert "Two photos." in ran.err
    assert hayloft("verdict", a, b, "perhaps").code == 2
    assert hayloft("verdict", a, b).code == 2
    assert hayloft("verdict", a, "what?", "same").code == 6
    assert gateway.verdicts == {}


def test_stats(hayloft, photos):
    assert "4 (28 B), 0 deleted" in hayloft("stats").out
    assert hayloft("stats", "--json").json[0]["directory"]["photos"] == 4


def test_version(hayloft, gateway):
    assert "server 9.9.9" in hayloft("version").out
    assert hayloft("--version").out == f"hayloft {__version__}\n"
    assert hayloft("version", "--json", "--url", "http://127.0.0.1:9").json[0]["server"] is None


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (123_456, "123 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (5 * 10**9, "5.0 GB"),
        (7 * 10**15, "7000.0 TB"),
    ],
)
def test_sizes(size, text):
    assert bytes_text(size) == text


def test_counts():
    assert [count_text(n, "photo") for n in (0, 1, 2000)] == ["0 photos", "1 photo", "2,000 photos"]


def test_why_is_short_and_safe():
    evidence = {"from": 1, "matched_points": 12, "share": 0.51234, "matrix": [[1, 0]]}
    evidence["said"] = "\x1b[2J" + "so " * 100
    link = Link(a=1, b=2, relation=Relation.COPY, score=0.5, method="sift/1", evidence=evidence)
    text = why_text(link)
    assert text.startswith("sift/1: matched points 12, share 0.512, said \N{REPLACEMENT CHARACTER}[2Jso so")
    assert len(text) == 100


@pytest.mark.parametrize("width", [40, 80, 120])
def test_narrow_terminals_cut_names_and_never_ids(width):
    long = "a very long name indeed, such as cameras do not give but people do.jpg"
    rows = [("9007199254740991", long, "short"), ("1", "a.jpg", "short")]
    made = table(["id", "name", "why"], rows, right=["id"], cut=["name", "why"], width=width)
    shown = StringIO()
    Console(file=shown, width=width).print(made)
    assert "9007199254740991   a very" in shown.getvalue()
    assert shown.getvalue().count("short") == 2
    assert max(len(line.rstrip()) for line in shown.getvalue().splitlines()) <= width
