"""``verify``: what it says of what was found, and what to do about it."""

from __future__ import annotations

import json

import pytest

from hayloft.assembly.verify import Fault, Finding, Verification

WRONG = {Fault.MISSING, Fault.DAMAGED, Fault.UNDELETED}


@pytest.fixture
def verify(hayloft, tmp_path, monkeypatch):
    """Runs ``verify`` on data in which the given things are wrong."""
    (tmp_path / "format.json").write_text(json.dumps({"format": 1}))

    def run(*findings, options=()):
        async def found(_settings, *, repair, progress):
            progress(1, 2)
            repaired = [Finding(**{**finding, "repaired": repair}) for finding in findings]
            return Verification(photos=2, size_bytes=5000, needles=10, findings=repaired)

        monkeypatch.setattr("hayloft.assembly.verify.verify", found)
        return hayloft("verify", "--data", tmp_path, *options)

    return run


def wrong(fault):
    return {"fault": fault, "store": "local", "photo": 77, "detail": "It is\x1b[2J so."}


def test_whole_data(verify):
    ran = verify()
    assert (ran.code, ran.out) == (0, "")
    assert "2 photos and 10 needles checked, 5.0 kB read: everything is whole." in ran.err


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_is_told_with_what_to_do(verify, fault):
    ran = verify(wrong(fault))
    assert ran.code == (1 if fault in WRONG else 0)
    assert f"77   local   {fault}" in ran.out
    assert "\x1b" not in ran.out
    assert "backup" in ran.err or "--repair" in ran.err


def test_what_was_repaired_is_no_longer_wrong(verify):
    ran = verify(wrong(Fault.UNDELETED), options=["--repair"])
    assert ran.code == 0
    assert "undeleted, repaired" in ran.out


def test_many_findings_are_cut_in_the_table_but_not_in_json(verify):
    ran = verify(*[wrong(Fault.DAMAGED)] * 150)
    assert "… and 50 more" in ran.err
    (told,) = verify(*[wrong(Fault.DAMAGED)] * 150, options=["--json"]).json
    assert (told["sound"], len(told["findings"])) == (False, 150)
