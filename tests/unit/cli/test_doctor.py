"""``doctor``: finds what is wrong with machine, data and server, and says what to do about it."""

from __future__ import annotations

import fcntl
import json
from collections import namedtuple
from datetime import UTC, datetime, timedelta

import pytest

from doubles.gateway import answering, threaded_gateway
from hayloft import __version__
from hayloft.cli.checks import data as data_checks
from hayloft.cli.checks import machine, server

Usage = namedtuple("Usage", "total used free")


def found(findings):
    return {finding.subject: finding for finding in findings}


@pytest.fixture
def data(tmp_path):
    (tmp_path / "format.json").write_text(json.dumps({"format": 1, "hayloft": __version__}))
    return tmp_path


def test_a_healthy_machine(hayloft, gateway, data):
    ran = hayloft("doctor", "--data", data)
    assert ran.code == 0, ran.out + ran.err
    assert "CRC-32C in hardware" in ran.out
    assert "format 1, not in use" in ran.out
    assert "on the disk after" in ran.out
    assert {told["level"] for told in hayloft("doctor", "--data", data, "--json").json} <= {"good", "note"}


def test_every_finding_that_is_not_good_says_what_to_do(monkeypatch, tmp_path, data):
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _: (64, 128))
    monkeypatch.setattr(machine.platform, "system", lambda: "Windows")
    monkeypatch.setattr("google_crc32c.implementation", "python")
    monkeypatch.setattr(data_checks.shutil, "disk_usage", lambda _: Usage(10, 10, 0))
    monkeypatch.setattr(data_checks, "_file_system_type", lambda _: "nfs4")
    monkeypatch.setattr(data_checks, "_sync_milliseconds", lambda _: [500.0, 600.0])
    findings = [*machine.check_machine(), *data_checks.check_data(data)]
    bad = {finding.subject for finding in findings if finding.level != "good"}
    assert bad == {"open files", "system", "checksum", "disk space", "file system", "disk flushes"}
    assert all(finding.advice for finding in findings if finding.level != "good")


@pytest.mark.parametrize(
    ("marker", "level", "text"),
    [
        (None, "note", "none at"),
        ('{"format": 99, "hayloft": "7.0"}', "wrong", "has format 99"),
        ("{", "wrong", "is damaged"),
    ],
)
def test_the_datas_format(tmp_path, marker, level, text):
    if marker is not None:
        (tmp_path / "format.json").write_text(marker)
    finding = found(data_checks.check_data(tmp_path))["data"]
    assert (finding.level, text in finding.text, bool(finding.advice)) == (level, True, True)


def test_data_in_use_is_told_and_left_in_use(data):
    with (data / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "in use by a server" in found(data_checks.check_data(data))["data"].text
    assert "not in use" in found(data_checks.check_data(data))["data"].text


def test_a_folder_that_does_not_exist_yet_is_checked_where_it_would_be(tmp_path):
    findings = found(data_checks.check_data(tmp_path / "a" / "b"))
    assert findings["disk flushes"].level == "good"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(data_checks.os, "access", lambda *_: False)
    assert found(data_checks.check_data(tmp_path))["data"].level == "wrong"


def test_the_server(gateway):
    findings = found(server.check_server(gateway.url, None))
    assert findings["server"].level == "note"
    assert "9.9.9" in findings["server"].text
    assert findings["clock"].level == findings["API key"].level == "good"


def test_nobody_answers(hayloft, data):
    ran = hayloft("doctor", "--data", data, "--url", "http://127.0.0.1:9")
    assert ran.code == 0
    assert "none answers at http://127.0.0.1:9" in ran.out


def test_a_server_that_wants_a_key(hayloft, data):
    with threaded_gateway(api_key="secret") as double:
        double.faults["/health"].append(answering(500, "internal_error", "Ill."))
        ran = hayloft("doctor", "--data", data, "--url", double.url)
        assert ran.code == 1


def test_clocks_that_disagree():
    assert server._clock(datetime.now(UTC) - timedelta(minutes=3)).level == "note"
    assert server._clock(None).level == "note"
