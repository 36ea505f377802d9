"""``compact`` and ``rebuild``: what they say of what was done. That it is done, tests/e2e shows."""

from __future__ import annotations

import json

import pytest

from hayloft.assembly.compact import Compaction
from hayloft.assembly.rebuild import Outcome
from hayloft.errors import StorageFull
from hayloft.types import CompactionReport, VolumeId


@pytest.fixture
def data(tmp_path):
    (tmp_path / "format.json").write_text(json.dumps({"format": 1}))
    return tmp_path


def answer(monkeypatch, place, outcome):
    async def done(*_given, progress, **_options):
        progress(1, 2)
        return outcome

    monkeypatch.setattr(place, done)


def test_compaction_tells_what_it_won_and_what_it_could_not_do(hayloft, data, monkeypatch):
    report = CompactionReport(
        volume=VolumeId(3), size_bytes_before=5_000_000, size_bytes_after=2_000_000, needles=7
    )
    failure = (VolumeId(4), StorageFull("The disk has no room."))
    outcome = Compaction(volumes=5, reports=(report,), failures=(failure,))
    answer(monkeypatch, "hayloft.assembly.compact.compact", outcome)
    ran = hayloft("compact", "--data", data)
    assert ran.code == 1
    assert "lv-3" in ran.out
    assert "lv-4: The disk has no room." in ran.err
    assert "1 of 5 volumes compacted, 3.0 MB given back." in ran.err


def test_a_rebuild_tells_what_came_back_and_what_to_do_next(hayloft, data, monkeypatch):
    outcome = Outcome(photos=2000, deleted=1, volumes=1, damaged_stretches=0, kept=data / "old")
    answer(monkeypatch, "hayloft.assembly.rebuild.rebuild", outcome)
    ran = hayloft("rebuild", "--data", data)
    assert ran.code == 0
    assert "2,000 photos are back from 1 volume; 1 deleted photo is known as deleted." in ran.err
    assert str(data / "old") in ran.err
    assert "hayloft verify" in ran.err


def test_damage_is_no_success(hayloft, data, monkeypatch):
    outcome = Outcome(photos=1, deleted=0, volumes=1, damaged_stretches=2, kept=None)
    answer(monkeypatch, "hayloft.assembly.rebuild.rebuild", outcome)
    ran = hayloft("rebuild", "--data", data)
    assert ran.code == 1
    assert "2 damaged stretches" in ran.err


def test_a_directory_that_is_there_is_not_touched(hayloft, data):
    (data / "directory.sqlite").write_bytes(b"")
    ran = hayloft("rebuild", "--data", data)
    assert ran.code == 6
    assert "--replace" in ran.err
