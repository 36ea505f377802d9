"""Codes of mirrored and negated photos are the photo's own codes under a constant mask."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from copy_samples import photo
from hayloft.similarity.copies import features, spectrum


@pytest.mark.parametrize(("mirrored", "negative"), [(True, False), (False, True), (True, True)])
def test_a_guise_is_a_mask(mirrored, negative):
    grey = cv2.resize(photo("coffee"), (384, 256), interpolation=cv2.INTER_AREA)
    seen = np.ascontiguousarray(grey[:, ::-1]) if mirrored else grey
    seen = 255 - seen if negative else seen
    plain, other = features.describe(grey), features.describe(seen)
    expected = spectrum.disguise(plain.codes, mirrored=mirrored, negative=negative)
    distance = (
        spectrum.BITS - (spectrum.unpack(expected) @ spectrum.unpack(other.codes).T).max(axis=1)
    ) / 2
    assert np.median(distance) <= 1


def test_all_guises_share_word_and_signature():
    codes = features.describe(photo("astronaut")).codes
    word, signature = spectrum.words_and_signatures(codes, spectrum.guises(codes))
    for mirrored in (False, True):
        for negative in (False, True):
            seen = spectrum.disguise(codes, mirrored=mirrored, negative=negative)
            other = spectrum.words_and_signatures(seen, spectrum.guises(seen))
            np.testing.assert_array_equal(word, other[0])
            np.testing.assert_array_equal(signature, other[1])


def test_words_are_spread():
    codes = features.describe(photo("china.jpg")).codes
    words, _ = spectrum.words_and_signatures(codes, spectrum.guises(codes))
    assert len(np.unique(words)) > 0.9 * len(words)
    assert words.max() < 1 << spectrum.WORD_BITS
