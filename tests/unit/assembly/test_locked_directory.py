"""A directory belongs to one kind, one name and one process at a time."""

from __future__ import annotations

import json

import pytest

from hayloft.assembly.data_directory import DataDirectory
from hayloft.assembly.locked_directory import LockedDirectory
from hayloft.assembly.machine.home import ClusterHome
from hayloft.errors import AlreadyServed, Conflict, FormatTooNew


def store(path, name="s1"):
    return LockedDirectory(path, kind="store", name=name)


def test_it_is_made_marked_and_used_again(tmp_path):
    for _ in range(2):
        with store(tmp_path / "d").lock():
            store(tmp_path / "d").check_format()
    assert json.loads((tmp_path / "d" / "format.json").read_text())["name"] == "s1"


@pytest.mark.parametrize(
    "other",
    [
        lambda path: store(path, "s2"),
        lambda path: LockedDirectory(path, kind="similarity"),
        DataDirectory,
        ClusterHome,
    ],
)
def test_it_is_refused_to_others(tmp_path, other):
    store(tmp_path).check_format()
    with pytest.raises(Conflict, match="belongs to store s1"):
        other(tmp_path).check_format()


def test_a_servers_directory_is_refused_to_a_store(tmp_path):
    (tmp_path / "format.json").write_text('{"format": 1, "hayloft": "0.1.0"}')
    DataDirectory(tmp_path).check_format()
    with pytest.raises(Conflict, match="belongs to server"):
        store(tmp_path).check_format()


@pytest.mark.parametrize("marker", ["", "[]", "{}", '{"format": "x"}'])
def test_a_damaged_marker_is_told(tmp_path, marker):
    (tmp_path / "format.json").write_text(marker)
    with pytest.raises(Conflict, match="damaged"):
        store(tmp_path).check_format()


def test_a_newer_format_is_refused(tmp_path):
    (tmp_path / "format.json").write_text('{"format": 99, "kind": "store", "name": "s1"}')
    with pytest.raises(FormatTooNew):
        store(tmp_path).check_format()


def test_only_one_holds_it_and_others_see_who(tmp_path):
    assert store(tmp_path).holder() is None
    with store(tmp_path).lock():
        assert store(tmp_path).holder() is not None
        with pytest.raises(AlreadyServed), store(tmp_path).lock():
            pass
    assert store(tmp_path).holder() is None


def test_strangers_are_left_alone_but_for_where_disks_are_mounted(tmp_path):
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "stores").mkdir()
    with ClusterHome(tmp_path).lock():
        pass
    with pytest.raises(Conflict, match="stores"), store(tmp_path).lock():
        pass


def test_a_clusters_secret_is_made_once_for_its_owner_alone(tmp_path):
    home = ClusterHome(tmp_path / "c")
    with home.lock():
        home.prepare()
        secret = home.secret_file.read_bytes()
        home.prepare()
    assert home.secret_file.read_bytes() == secret
    assert home.secret_file.stat().st_mode & 0o777 == 0o600
    assert home.path.stat().st_mode & 0o777 == 0o700
    assert home.derived("one") == home.derived("one") != home.derived("other")
    assert secret.decode().strip() not in home.derived("one")
