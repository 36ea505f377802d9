"""Every threshold of linking, in one place, each with the measurement that chose it.

Changing one changes what is linked from then on; methods carry a version in their name, so that links
made under other thresholds can be told apart and made again.
"""

from __future__ import annotations

from typing import Final

PDQ_DISTANCE_BITS_MAX: Final = 31
"""Hamming distance, of 256 bits, up to which two PDQ hashes are one photo.

Among 668 photos of flowers, groceries and drone flights (219,453 pairs, the best of eight orientations)
the nearest two different ones, shot one after the other, are 36 apart, the next pair 60. JPEG quality 8 and
30, a quarter of the size, 64 pixels wide, grey, blurred, turned or mirrored stay within 18 at the 95th
percentile, posterised within 30; crops to 80 % of the area lie at about 100, and are not for PDQ to find
(``make bench-similarity PHOTOS=FOLDER ARGS="hashes --queries 60"``; bench/results/similarity-hashes.txt).
"""

PDQ_QUALITY_MIN: Final = 50.0
"""PDQ's own measure of how much there is to hash, 0 to 100. Flat and nearly flat photos fall below: 0.7 %
of the same 668."""

PDQ_SIDE_PIXELS_MIN: Final = 32
"""A photo's shorter side. Icons below have little of their own, and many of them are nearly the same."""

BUILTIN_ALIKE_SCORE_MIN: Final = 0.90
"""Cosine from which two photos get a ``similar`` link by colour and texture alone.

Of the pairs above it among 400 groceries (40 products) 94 % show the same product, at 0.85 61 %; among
250 flowers there is one pair above 0.90, and five of the six above 0.88 are of one kind
(``make bench-vectors ARGS="--photos FOLDER"``).
"""

MODEL_ALIKE_SCORE_MIN: Final = 0.85
"""The same for a trained model whose sidecar says nothing else: for MobileNet v1, 95 % of the pairs of
groceries and all of the 16 of flowers above it are of one kind, at 0.80 60 % and 92 %; for MobileNet v2,
91 % and all of 6 (the same command, with ``--model``)."""

ALIKE_LINKS_MAX: Final = 8
"""``similar`` links that one photo brings with it. What else is near is found when somebody asks."""
