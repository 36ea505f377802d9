"""PDQ: near for a photo's disguises, the right orientation named, far for other photos."""

import numpy as np
import pytest

from hayloft.similarity import thresholds
from hayloft.similarity.decode import Picture, decode
from hayloft.similarity.describing import decode_description, describe, encode_description
from hayloft.similarity.fingerprint import ORIENTATIONS, hashes_of, pdq
from similarity_samples import DISGUISES, NAMES, pixels, sample

SEEN_AS = {
    "rotated_90": "rotate_270",
    "rotated_180": "rotate_180",
    "mirrored": "flip_left_right",
    "mirrored_and_turned": "transpose",
}


def distances(one: bytes, other: bytes) -> list[int]:
    """From each orientation of ``one`` to ``other`` as it is."""
    turned, upright = hashes_of(pdq(decode(one))), hashes_of(pdq(decode(other)))[0]
    return [int(np.bitwise_count(each ^ upright).sum()) for each in turned]


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("name", NAMES)
def test_a_disguise_is_near_in_the_orientation_that_undoes_it(name: str, disguise: str) -> None:
    found = distances(DISGUISES[disguise](pixels(name)), sample(name))
    assert min(found) <= thresholds.PDQ_DISTANCE_BITS_MAX
    assert ORIENTATIONS[int(np.argmin(found))] == SEEN_AS.get(disguise, "identity")


def test_different_photos_are_far() -> None:
    for i, one in enumerate(NAMES):
        for other in NAMES[i + 1 :]:
            assert min(distances(sample(one), sample(other))) > 2 * thresholds.PDQ_DISTANCE_BITS_MAX


def test_flat_and_tiny_photos_have_no_quality() -> None:
    flat = Picture(rgb=np.full((300, 400, 3), 200, np.uint8), width=400, height=300)
    assert pdq(flat).quality < thresholds.PDQ_QUALITY_MIN
    tiny = Picture(rgb=np.zeros((16, 300, 3), np.uint8), width=300, height=16)
    assert pdq(tiny).quality == 0.0


def test_a_description_survives_the_pipe() -> None:
    description = describe(sample("coffee.png"))
    assert decode_description(encode_description(description)) == description
