"""Copies are found in every guise, strangers and other shots of a scene never."""

from __future__ import annotations

import functools
import json

import cv2
import numpy as np
import pytest

from copy_samples import DISGUISES, NAMES, again, collage, crop, framed, photo, watermarked
from hayloft.similarity.copies import pipeline, storage
from hayloft.similarity.copies.record import RecordDamaged


@functools.cache
def described(name: str) -> bytes:
    return pipeline.describe(photo(name))


def copies_of(grey, among=NAMES):
    copies, records = indexed({i: described(name) for i, name in enumerate(among)})
    return copies.find(pipeline.describe(grey), lambda ids: {i: records[i] for i in ids})


def indexed(described_photos):
    copies = pipeline.Copies()
    for i, data in described_photos.items():
        copies.add(i, data)
    return copies, {i: pipeline.stored(data) for i, data in described_photos.items()}


def together(a, b):
    return pipeline.compare(pipeline.describe(a), pipeline.describe(b))


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "china.jpg"])
def test_a_disguised_photo_is_found_and_nothing_else(name, disguise):
    found = copies_of(DISGUISES[disguise](photo(name)))
    assert [NAMES[copy.photo] for copy in found] == [name]
    assert found[0].score >= 0.5


def test_every_photo_of_a_collage_is_found():
    others = [photo(name) for name in ("coffee", "chelsea", "china.jpg")]
    found = copies_of(collage(photo("astronaut"), others))
    assert {NAMES[copy.photo] for copy in found} == {"astronaut", "coffee", "chelsea", "china.jpg"}


def test_evidence_says_how_and_where():
    grey = photo("coffee")
    part = np.ascontiguousarray(crop(grey, 0.25, 0.25, 0.75, 0.75)[:, ::-1])
    (copy,) = copies_of(part)
    evidence = json.loads(json.dumps(copy.evidence()))
    assert evidence["mirrored"]
    assert not evidence["negative"]
    assert abs(evidence["rotation_degrees"]) < 1
    # The crop's left edge is the right edge of the photo's middle half.
    corner = np.array(evidence["matrix"]) @ (0, 0, 1)
    np.testing.assert_allclose(corner[:2] / corner[2], (0.75, 0.25), atol=0.02)
    mine, theirs = evidence["shares"]
    assert mine > 0.8
    assert 0.15 < theirs < 0.3
    xs, ys = np.array(evidence["regions"][1]).T
    assert 0.2 < xs.min() < xs.max() < 0.8
    assert 0.2 < ys.min() < ys.max() < 0.8


def test_two_eyes_see_the_same_scene_but_not_the_same_photo():
    assert together(photo("motorcycle_left"), photo("motorcycle_right")) is None


@pytest.mark.parametrize("name", ["astronaut", "coffee", "china.jpg", "hubble_deep_field"])
def test_a_shared_watermark_makes_no_copy(name):
    assert together(watermarked(photo("chelsea")), watermarked(photo(name))) is None


@pytest.mark.parametrize("name", ["astronaut", "coffee", "china.jpg"])
def test_a_shared_screen_makes_no_copy(name):
    assert together(framed(photo("chelsea")), framed(photo(name))) is None


def test_a_watermarked_photo_is_still_a_copy_of_itself():
    assert together(watermarked(photo("chelsea")), photo("chelsea")) is not None


@pytest.mark.parametrize("name", ["china.jpg", "astronaut", "coffee"])
def test_frames_that_go_on_beyond_each_other_are_no_copies(name):
    """Neighbours in a flight: the common area agrees to the pixel, and the scene crosses both edges."""
    grey = photo(name)
    assert together(crop(grey, 0, 0, 1, 0.72), crop(grey, 0, 0.28, 1, 1)) is None


def test_a_frame_in_which_things_moved_is_no_copy():
    grey = photo("china.jpg")
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]].astype(np.float32)
    sway = 9 * np.sin(x / 45) * np.cos(y / 38)
    moved = cv2.remap(grey, x + sway, y + 9 * np.sin(y / 41 + 1) * np.cos(x / 52), cv2.INTER_LINEAR)
    assert together(crop(grey, 0, 0, 1, 0.95), crop(moved, 0.02, 0.06, 1, 1)) is None


def found_among(query, *stored):
    copies, records = indexed({i: pipeline.describe(grey) for i, grey in enumerate(stored)})
    found = copies.find(pipeline.describe(query), lambda ids: {i: records[i] for i in ids})
    return {copy.photo for copy in found}


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_of_two_shots_a_thumbnail_is_a_copy_of_its_own(name):
    """It shows too little to tell them apart; they themselves do not."""
    shot, other = photo(name), again(photo(name), depth_share=0.01)
    thumbnail = cv2.resize(shot, None, fx=0.16, fy=0.16, interpolation=cv2.INTER_AREA)
    assert found_among(thumbnail, other) == {0}
    assert found_among(thumbnail, shot, other) == {0}


def partly_hidden(grey, seed):
    """A tenth of it under scattered squares."""
    rng = np.random.default_rng(seed)
    grey, side = grey.copy(), min(grey.shape) // 9
    rows, columns = (length // side for length in grey.shape)
    for place in rng.permutation(rows * columns)[: round(rows * columns * 0.1)]:
        y, x = side * (place // columns), side * (place % columns)
        grey[y + 2 : y + side - 2, x + 2 : x + side - 2] = rng.integers(0, 256)
    return grey


@pytest.mark.parametrize("name", ["chelsea", "coffee", "china.jpg"])
def test_two_copies_are_found_that_are_hardly_each_others(name):
    """What hides a part of one and a part of the other is no proof of two shots."""
    one, other = (partly_hidden(photo(name), seed) for seed in (1, 2))
    assert pipeline.compare(pipeline.describe(one), pipeline.describe(other)) is None
    assert found_among(photo(name), one, other) == {0, 1}


def test_flat_dark_and_tiny_photos_link_to_nothing():
    rng = np.random.default_rng(1)
    flat = np.full((300, 400), 128, np.uint8)
    dark = rng.integers(0, 8, (300, 400)).astype(np.uint8)
    tiny = photo("astronaut")[:24, :24].copy()
    gradient = np.tile(np.linspace(90, 160, 400).astype(np.uint8), (300, 1))
    for grey in (flat, dark, tiny, gradient):
        data = pipeline.describe(grey)
        assert pipeline.keypoints(data) == 0
        copies = pipeline.Copies()
        assert not copies.add(1, data)
        assert len(copies) == 0
        assert copies.find(data, dict.fromkeys) == []


def test_describing_and_finding_are_deterministic():
    grey = DISGUISES["crop"](photo("coffee"))
    assert pipeline.describe(grey) == pipeline.describe(grey)
    first, second = copies_of(grey), copies_of(grey)
    assert [copy.evidence() for copy in first] == [copy.evidence() for copy in second]


def test_a_removed_photo_is_not_found_and_can_come_back():
    copies, records = indexed({7: described("coffee"), 8: described("rocket")})

    def found():
        return [
            copy.photo
            for copy in copies.find(described("coffee"), lambda ids: {i: records[i] for i in ids})
        ]

    assert found() == [7]
    assert copies.remove(7)
    assert not copies.remove(7)
    assert found() == []
    assert 7 not in copies
    copies.add(7, described("coffee"))
    copies.add(7, described("coffee"))
    assert found() == [7]
    assert len(copies) == 2


def test_a_photo_is_not_its_own_copy():
    copies, records = indexed({7: described("coffee")})
    assert copies.find(described("coffee"), lambda ids: {i: records[i] for i in ids}, exclude=7) == []


def test_a_candidate_without_a_record_is_passed_over():
    copies, _ = indexed({7: described("coffee")})
    assert copies.find(described("coffee"), lambda _: {}) == []


def test_an_index_is_the_same_after_saving_and_opening(tmp_path):
    copies, records = indexed({i << 33: described(name) for i, name in enumerate(NAMES)})
    copies.remove(0)
    copies.save(tmp_path)
    copies.add(5, described("rocket"))
    opened = pipeline.Copies.open(tmp_path)
    assert set(opened) == {i << 33 for i in range(1, len(NAMES))}
    query = pipeline.describe(DISGUISES["crop"](photo("coffee")))
    (found,) = opened.find(query, lambda ids: {i: records[i] for i in ids})
    assert found.photo == NAMES.index("coffee") << 33
    # What is added to an opened index, and saved again, leaves nothing old behind.
    opened.add(5, described("astronaut"))
    opened.remove(NAMES.index("coffee") << 33)
    opened.save(tmp_path)
    again = pipeline.Copies.open(tmp_path)
    assert 5 in again
    assert again.find(query, lambda ids: {i: records[i] for i in ids if i in records}) == []
    names = {path.name.split(".")[0] for path in tmp_path.glob("*.npy")}
    assert len(names) <= 1 + len(again._index._segments)


def test_a_damaged_index_is_refused(tmp_path):
    with pytest.raises(storage.IndexUnreadable):
        pipeline.Copies.open(tmp_path)
    copies, _ = indexed({1: described("coffee")})
    copies.save(tmp_path)
    next(tmp_path.glob("*.signatures.npy")).write_bytes(b"torn")
    with pytest.raises(storage.IndexUnreadable):
        pipeline.Copies.open(tmp_path)


def test_bytes_that_are_no_description_are_refused():
    data = described("coffee")
    for damaged in (b"", b"x", data[:-1], b"\x09" + data[1:]):
        with pytest.raises(RecordDamaged):
            pipeline.Copies().add(1, damaged)
