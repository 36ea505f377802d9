"""What roles of a cluster are told: the same names everywhere, secrets that nobody sees."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from hayloft.assembly.settings import (
    SETTINGS,
    CacheRoleSettings,
    ClusterSettings,
    DirectoryRoleSettings,
    GatewayRoleSettings,
    StoreRoleSettings,
)
from hayloft.cli.setting_flags import flags
from hayloft.errors import Conflict

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def _nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", [ClusterSettings, *SETTINGS.values()], ids=lambda kind: kind.__name__)
def test_every_setting_is_explained(kind):
    for flag in flags(kind):
        assert flag.field.description, flag.key


def test_one_file_serves_all_roles_and_only_what_no_role_knows_is_refused():
    Path("hayloft.toml").write_text(
        f'secret = "{SECRET}"\ncaches = ["http://c"]\nstore_id = "s9"\n[cache]\nttl_seconds = 5\n'
        "[upload]\nbytes_max = 7\n"
    )
    assert CacheRoleSettings().cache.ttl_seconds == 5
    assert StoreRoleSettings().store_id == "s9"
    gateway = GatewayRoleSettings()
    assert (gateway.caches, gateway.upload.bytes_max) == (("http://c",), 7)
    Path("hayloft.toml").write_text("store_idd = 's9'\n")
    with pytest.raises(ValidationError, match="store_idd"):
        CacheRoleSettings()


def test_secrets_and_passwords_are_not_shown():
    settings = DirectoryRoleSettings(
        secret=SECRET, database_url="postgresql://u:hunter2@h/d", broker_url="amqp://u:hunter3@h"
    )
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert SECRET not in shown
        assert "hunter" not in shown
    for kind in SETTINGS.values():
        secret = {flag.key for flag in flags(kind) if flag.is_secret}
        assert secret >= {"secret"}
        assert not {name for name in kind.model_fields if name.endswith("_url")} & {"secret"}


def test_the_secret_may_stand_in_a_file(tmp_path):
    (tmp_path / "secret").write_text(SECRET + "\nand more\n")
    assert CacheRoleSettings(secret_file=tmp_path / "secret").key() == SECRET.encode()
    assert CacheRoleSettings().key() is None
    assert CacheRoleSettings(secret=SECRET + "\n").key() == SECRET.encode()


@pytest.mark.parametrize(
    ("replication", "replicas_min", "is_refused"),
    [(None, None, False), (None, 3, False), (None, 4, True), (2, 2, False), (2, 3, True), (5, 4, False)],
)
def test_no_more_replicas_can_be_demanded_than_volumes_get(replication, replicas_min, is_refused):
    given = {"database_url": "postgresql://h/d", "replication": replication, "replicas_min": replicas_min}
    if not is_refused:
        assert DirectoryRoleSettings(**given).replicas_min == replicas_min
        return
    with pytest.raises(ValidationError, match=f"new ones get {replication or 3} replicas"):
        DirectoryRoleSettings(**given)


@pytest.mark.parametrize("content", [None, "", "short"])
def test_a_secret_that_is_none_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "secret").write_text(content)
    with pytest.raises(Conflict):
        CacheRoleSettings(secret_file=tmp_path / "secret").key()


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({"host": "10.0.0.1", "port": 5}, "http://10.0.0.1:5"),
        ({"host": "0.0.0.0", "port": 5}, "http://127.0.0.1:5"),
        ({"host": "::1", "port": 5}, "http://[::1]:5"),
        ({"advertised_url": "http://store.example/"}, "http://store.example"),
    ],
)
def test_others_are_told_an_address_that_reaches_it(given, url):
    assert CacheRoleSettings(**given).url == url


@pytest.mark.parametrize("name", ["", "a/b", "a b", "ä", "x" * 300])
def test_a_store_has_a_sensible_name(name):
    with pytest.raises(ValidationError):
        StoreRoleSettings(store_id=name)
