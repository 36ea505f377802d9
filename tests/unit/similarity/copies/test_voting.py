"""The index against counting by hand, through adding, merging and removing."""

from __future__ import annotations

import numpy as np
import pytest

from hayloft.similarity.copies import record, spectrum, thresholds
from hayloft.similarity.copies.features import Description
from hayloft.similarity.copies.segment import Entries, Segment, merge, merge_segments
from hayloft.similarity.copies.voting import VotingIndex


def invented(seed: int, count: int = 60) -> Description:
    rng = np.random.default_rng(seed)
    return Description(
        width=384,
        height=256,
        positions=rng.uniform(0, 250, (count, 2)).astype(np.float32),
        sizes=rng.uniform(2, 30, count).astype(np.float32),
        angles=rng.uniform(0, 360, count).astype(np.float32),
        codes=rng.integers(0, 256, (count, spectrum.CODE_BYTES)).astype(np.uint8),
        doubtful=np.tile(np.arange(spectrum.PROBED_BITS, dtype=np.uint8), (count, 1)),
        picture_jpeg=b"",
    )


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(thresholds, "FRESH_PHOTOS_MAX", 4)
    monkeypatch.setattr(thresholds, "MERGE_ENTRIES_AT_ONCE", 500)


@pytest.mark.usefixtures("small_batches")
def test_every_photo_is_its_own_best_candidate_while_the_index_grows():
    index = VotingIndex()
    for photo in range(60):
        index.add(photo * 1000, invented(photo))
        assert index.candidates(invented(photo // 2), limit=1)[0].photo == photo // 2 * 1000
    assert len(index) == 60
    assert len(index._segments) < 8


@pytest.mark.usefixtures("small_batches")
def test_removed_photos_get_no_votes_before_and_after_merges():
    index = VotingIndex()
    for photo in range(30):
        index.add(photo, invented(photo))
    for photo in range(0, 30, 2):
        index.remove(photo)
    for later in range(100, 160):
        index.add(later, invented(later))
    for photo in range(30):
        named = [candidate.photo for candidate in index.candidates(invented(photo), limit=5)]
        assert (photo in named) == (photo % 2 == 1)
    assert index.size_bytes < 18 * 60 * 80


def test_votes_that_disagree_in_rotation_do_not_add_up():
    index, photo = VotingIndex(), invented(1)
    index.add(1, photo)
    scattered = np.random.default_rng(2).uniform(0, 360, len(photo)).astype(np.float32)
    (straight,) = index.candidates(photo, limit=1)
    turned = record.decode(record.encode(photo, doubts=True))
    turned.angles[:] = (turned.angles + 90) % 360
    (rotated,) = index.candidates(turned, limit=1)
    turned.angles[:] = scattered
    (random,) = index.candidates(turned, limit=1)
    assert rotated.votes > 0.8 * straight.votes
    assert random.votes < 0.4 * straight.votes


def test_a_large_segment_answers_as_a_small_one(monkeypatch):
    rng = np.random.default_rng(3)
    n = 4000
    words = np.sort(rng.integers(0, 50, n).astype(np.uint32))
    entries = Entries(
        words,
        rng.integers(0, 1 << 63, n).astype(np.uint64),
        np.arange(n, dtype=np.uint32) << 2,
        np.zeros(n, np.uint16),
    )
    small = Segment.of(entries)
    monkeypatch.setattr("hayloft.similarity.copies.segment._TABLE_ENTRIES_MIN", 1)
    monkeypatch.setattr("hayloft.similarity.copies.segment._ENTRIES_AT_ONCE", 70)
    large = Segment.of(entries)
    assert small.table is None
    assert large.words is None
    asked = np.array([0, 7, 49, 50, (1 << 20) - 1], np.uint32)
    signatures = entries.signatures[[0, 600, 3999, 5, 6]]
    answers = []
    for segment in (small, large):
        starts, ends = segment.lists(asked)
        hits = list(segment.near(starts, ends, signatures, 20))
        answers.append(
            sorted(
                (int(p), int(d), int(o))
                for h in hits
                for p, d, o in zip(h.probes, h.distances, h.owners, strict=True)
            )
        )
    by_hand = sorted(
        (i, int(np.bitwise_count(s ^ e)), int(o))
        for i, (word, s) in enumerate(zip(asked, signatures, strict=True))
        for e, o in zip(entries.signatures[words == word], entries.owners[words == word], strict=True)
        if np.bitwise_count(s ^ e) <= 20
    )
    assert answers[0] == answers[1] == by_hand
    assert by_hand


def test_merging_in_pieces_is_merging_at_once():
    rng = np.random.default_rng(4)
    alive = rng.uniform(size=100) < 0.7

    def part():
        n = 500
        return Entries(
            rng.integers(0, 1 << 20, n).astype(np.uint32),
            rng.integers(0, 1 << 63, n).astype(np.uint64),
            (rng.integers(0, 100, n) << 2).astype(np.uint32),
            np.zeros(n, np.uint16),
        )

    everyone = np.ones(100, np.bool_)
    segments = [Segment.of(merge([part()], everyone)) for _ in range(3)]
    whole, pieces = (merge_segments(segments, alive, pieces=p).entries() for p in (1, 7))
    for left, right in zip(whole, pieces, strict=True):
        np.testing.assert_array_equal(left, right)
    assert (np.diff(whole.words.astype(np.int64)) >= 0).all()
    assert alive[whole.owners >> 2].all()


def test_a_query_with_too_many_entries_compares_rare_words_first(monkeypatch):
    common = invented(1, count=40)
    rare = invented(2, count=8)
    query = Description(
        **{name: getattr(common, name) for name in ("width", "height", "picture_jpeg")},
        **{
            name: np.concatenate([getattr(common, name), getattr(rare, name)])
            for name in ("positions", "sizes", "angles", "codes", "doubtful")
        },
    )
    index = VotingIndex()
    for photo in range(50):
        index.add(photo, common)
    index.add(50, rare)
    monkeypatch.setattr(thresholds, "ENTRIES_COMPARED_MAX", 100)
    assert [candidate.photo for candidate in index.candidates(query, limit=1)] == [50]
    monkeypatch.setattr(thresholds, "ENTRIES_COMPARED_MAX", 0)
    assert index.candidates(query, limit=1) == []
