"""``serve``: a flag for every setting, in the right order of precedence, with errors that name the flag."""

from __future__ import annotations

from pathlib import Path

import pytest

from hayloft.cli.failure import Complaint
from hayloft.cli.setting_flags import flags, settings_from
from hayloft.config import Settings


@pytest.fixture(autouse=True)
def _nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_every_setting_has_a_flag_that_is_explained(hayloft):
    shown = hayloft("serve", "--help").out
    for flag in flags():
        assert flag.option in shown
        assert flag.field.description, flag.key
    assert {flag.path[0] for flag in flags()} == set(Settings.model_fields)


def test_flags_win_over_the_environment_and_that_over_the_file(monkeypatch):
    Path("hayloft.toml").write_text(
        'port = 1\nhost = "a"\nworkers = 1\n[upload]\nbytes_max = 1\npixels_max = 1\n'
    )
    monkeypatch.setenv("HAYLOFT_PORT", "2")
    monkeypatch.setenv("HAYLOFT_WORKERS", "2")
    monkeypatch.setenv("HAYLOFT_UPLOAD__BYTES_MAX", "2")
    settings = settings_from({"port": 3, "upload_memory_bytes_max": 3}, Settings)
    assert (settings.port, settings.workers, settings.host) == (3, 2, "a")
    assert settings.upload.model_dump() == {"bytes_max": 2, "memory_bytes_max": 3, "pixels_max": 1}


def test_flags_reach_the_server(hayloft, monkeypatch):
    served = []
    monkeypatch.setattr("hayloft.assembly.serve.serve", served.append)
    ran = hayloft(
        *["serve", "--data", "d", "-p", 0, "-w", 3, "--api-keys", "one", "--api-keys", "two"],
        *["--no-similarity-enabled", "--log-level", "debug", "--volume-writable-max", 2],
    )
    assert ran.code == 0, ran.err
    (settings,) = served
    assert (settings.data, settings.port, settings.workers) == (Path("d"), 0, 3)
    assert settings.api_keys == ("one", "two")
    assert not settings.similarity.enabled
    assert (settings.log_level, settings.volume.writable_max) == ("debug", 2)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"port": 70_000}, "--port (HAYLOFT_PORT)"),
        ({"upload_bytes_max": 0}, "--upload-bytes-max (HAYLOFT_UPLOAD__BYTES_MAX)"),
    ],
)
def test_a_wrong_value_is_named_by_its_flag(given, named):
    with pytest.raises(Complaint) as raised:
        settings_from(given, Settings)
    assert raised.value.message.startswith(named)


def test_a_wrong_value_in_the_environment_and_a_broken_file(hayloft, monkeypatch):
    monkeypatch.setenv("HAYLOFT_PORT", "many")
    ran = hayloft("serve")
    assert (ran.code, "--port (HAYLOFT_PORT): input should be a valid integer" in ran.err) == (2, True)
    monkeypatch.delenv("HAYLOFT_PORT")
    monkeypatch.setenv("HAYLOFT_API_KEYS", "not json")
    assert "api_keys" in hayloft("serve").err
    monkeypatch.delenv("HAYLOFT_API_KEYS")
    Path("hayloft.toml").write_text("port = \n")
    ran = hayloft("serve")
    assert (ran.code, "The settings cannot be read" in ran.err) == (2, True)
    Path("hayloft.toml").write_text("prot = 1\n")
    assert "prot" in hayloft("serve").err


def test_a_misspelt_variable_is_named_with_what_is_meant(hayloft, monkeypatch):
    monkeypatch.setattr("hayloft.assembly.serve.serve", lambda _settings: 0)
    monkeypatch.setenv("HAYLOFT_WOKERS", "2")
    monkeypatch.setenv("HAYLOFT_PUBLIC_URI", "http://example.org")
    monkeypatch.setenv("HAYLOFT_SOMETHING_ELSE", "1")
    monkeypatch.setenv("HAYLOFT_SIMILARITY__ENABLED", "false")
    monkeypatch.setenv("hayloft_port", "0")
    ran = hayloft("serve")
    assert ran.code == 0
    assert "HAYLOFT_WOKERS is set, but there is no such setting. Set HAYLOFT_WORKERS instead" in ran.err
    assert "Set HAYLOFT_PUBLIC_URL instead" in ran.err
    assert "HAYLOFT_SOMETHING_ELSE is set, but there is no such setting. Take it away" in ran.err
    assert len(ran.err.splitlines()) == 3
    told = hayloft("doctor", "--json").json
    assert len([one for one in told if one["subject"] == "environment"]) == 3
