"""``ls``, ``info``, ``get`` and ``rm``."""

from __future__ import annotations

import io
import os

import pytest

from hayloft.cli.download import safe_name


@pytest.fixture
def photos(gateway):
    return [gateway.keep(b"photo %d" % number, f"{number}.png") for number in range(60)]


def test_ls_shows_the_newest_and_says_that_there_is_more(hayloft, photos):
    ran = hayloft("ls")
    assert ran.code == 0
    assert str(photos[59].id) in ran.out
    assert str(photos[9].id) not in ran.out
    assert "50 of 60 photos" in ran.err


def test_ls_pages_through_everything(hayloft, gateway, photos, monkeypatch):
    monkeypatch.setattr("hayloft.cli.photos.PAGE", 7)
    ids = [photo.id for photo in photos]
    assert [told["photo_id"] for told in hayloft("ls", "--json").json] == ids[::-1]
    assert [told["photo_id"] for told in hayloft("ls", "--json", "--oldest", "-n", 9).json] == ids[:9]
    assert "60 photos." in hayloft("ls", "--all").err
    assert len([1 for method, path in gateway.requests if path == "/photos"]) == 9 + 2 + 9


def test_ls_filters(hayloft, gateway, photos):
    hayloft("rm", "--yes", photos[3].id)
    assert [told["photo_id"] for told in hayloft("ls", "--json", "--status", "deleted").json] == [
        photos[3].id
    ]
    assert len(hayloft("ls", "--json", "--any").json) == 60
    assert len(hayloft("ls", "--json", "--sha256", photos[5].sha256).json) == 1
    hayloft("ls", "--from", "2026-01-01", "--until", "2026-02-01T10:00:00", "--type", "image/png")
    assert hayloft("ls", "--status", "lost").code == 2


def test_ls_of_nothing_says_what_to_do(hayloft, gateway):
    ran = hayloft("ls")
    assert (ran.code, ran.out) == (0, "")
    assert "hayloft put FOLDER" in ran.err


def test_ls_shows_names_that_cannot_move_the_cursor(hayloft, gateway):
    gateway.keep(b"a", "a\x1b[2J\n[red]b.png")
    ran = hayloft("ls")
    assert "\x1b" not in ran.out
    assert "\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}[red]b.png" in ran.out


def test_info(hayloft, photos, gateway):
    assert photos[0].sha256 in hayloft("info", photos[0].id).out
    (told,) = hayloft("info", "--json", photos[0].id).json
    assert told.items() <= gateway._told(photos[0]).items()


def test_get_writes_the_photo_under_its_own_name(hayloft, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hayloft("get", photos[0].id).code == 0
    assert (tmp_path / "0.png").read_bytes() == b"photo 0"
    ran = hayloft("get", photos[0].id)
    assert ran.code == 9
    assert "--force" in ran.err
    assert hayloft("get", photos[0].id, "--force").code == 0


def test_get_into_a_folder_a_file_and_standard_output(hayloft, photos, tmp_path, monkeypatch):
    hayloft("get", photos[1].id, "-o", tmp_path)
    hayloft("get", photos[2].id, "-o", tmp_path / "two.png")
    assert (tmp_path / "1.png").read_bytes() == b"photo 1"
    assert (tmp_path / "two.png").read_bytes() == b"photo 2"
    assert sorted(os.listdir(tmp_path)) == ["1.png", "two.png"]

    class Output:
        buffer = io.BytesIO()

    with monkeypatch.context() as patch:
        patch.setattr("hayloft.cli.photos.sys.stdout", Output())
        hayloft("get", photos[3].id, "-o", "-")
    assert Output.buffer.getvalue() == b"photo 3"


def test_get_by_link_needs_no_address_and_shows_it_no_key(hayloft, gateway, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("HAYLOFT_URL", "http://127.0.0.1:9")
    link = f"{gateway.url}/photo/{photos[0].id}/{photos[0].cookie}"
    ran = hayloft("get", link, "--api-key", "secret", "-o", tmp_path / "a.png")
    assert ran.code == 0
    assert "Authorization" not in gateway.headers[-1]
    monkeypatch.setenv("HAYLOFT_URL", gateway.url)
    hayloft("get", link, "--api-key", "secret", "-f", "-o", tmp_path / "a.png")
    assert gateway.headers[-1]["Authorization"] == "Bearer secret"


def test_get_of_what_is_not_there_leaves_no_file(hayloft, gateway, tmp_path):
    ran = hayloft("get", 7, "-o", tmp_path / "a.png")
    assert (ran.code, os.listdir(tmp_path)) == (4, [])
    assert "hayloft ls" in ran.err


def test_rm_asks_unless_told_not_to(hayloft, gateway, photos, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert "Nothing was deleted" in hayloft("rm", photos[0].id).err
    assert not photos[0].deleted
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert hayloft("rm", photos[0].id, photos[1].id).code == 0
    assert photos[0].deleted
    assert photos[1].deleted


def test_rm_deletes_what_it_can(hayloft, photos):
    ran = hayloft("rm", "--yes", "--json", photos[0].id, 7, photos[1].id)
    assert ran.code == 1
    assert [told["photo_id"] for told in ran.json] == [photos[0].id, photos[1].id]
    assert hayloft("rm", "--yes", 7).code == 4


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a.png", "a.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\photos\\a.png", "a.png"),
        ("..", "photo-5"),
        ("", "photo-5"),
        (".bashrc", "bashrc"),
        ("a\nb\x1b.png", "a_b_.png"),
        ("x" * 300 + ".jpeg", "x" * 180 + ".jpeg"),
        ("日" * 100, "日" * 60),
    ],
)
def test_names_stay_in_their_folder(name, safe):
    assert safe_name(name, 5) == safe
