"""Every number of the copy pipeline, in one place, each with the measurement that chose it.

``make bench-similarity ARGS=tune`` prints what the proof says of copies and of shots in the half of the
photos that the reported figures do not use. Changing one changes what is linked: raise the version in
``pipeline.METHOD``.
"""

from __future__ import annotations

from typing import Final

# Describing --------------------------------------------------------------------------------------

WORKING_SIDE_PIXELS: Final = 384
"""Longer side that SIFT sees. 256 loses crops, 512 costs twice as much time."""

ENLARGED_SIDE_PIXELS: Final = 200
"""Longer side to which smaller pictures are enlarged."""

SIFT_CONTRAST: Final = 0.02
"""Half of OpenCV's default: fog, sky and dim photos keep enough keypoints."""

KEYPOINTS_DETECTED: Final = 600
"""Keypoints that SIFT describes, by response."""

KEYPOINTS_QUERIED: Final = 400
"""Keypoints of a query, spread over the picture."""

KEYPOINTS_KEPT: Final = 256
"""Keypoints of a photo in the index."""

KEYPOINTS_MIN: Final = 12
"""A photo with fewer is flat."""

SIDE_PIXELS_MIN: Final = 32
"""Shorter side below which a photo is tiny: an icon, many of which are nearly the same."""

BRIGHTNESS_MIN: Final = 20.0
"""Level of 255 that the brightest hundredth of a photo must reach."""

CONTRAST_MIN: Final = 12.0
"""Levels between the darkest and the brightest fiftieth of a photo."""

PAPER_LEVELS_MAX: Final = 20
PAPER_SHARE_MIN: Final = 0.5
TEXT_SIDE_PIXELS: Final = 384
INK_LEVELS_MIN: Final = 40
INK_SHARE_MIN: Final = 0.01
INK_SHARE_MAX: Final = 0.35
TEXT_GAP_SHARE: Final = 0.15
TEXT_ROWS_MIN: Final = 8
TEXT_STEP_TOLERANCE: Final = 0.15
TEXT_STEPS_EVEN_MIN: Final = 0.75
"""What a page of text is: so much of it has one level, give or take so many; looked at with this longer
side, ink differs by so many levels from the paper around it and covers so much; between rows there is so
little ink of what a full row has; there are so many rows, and so many of the steps from one to the next are
the same to within this share.
"""

PICTURE_SIDE_PIXELS: Final = 320
"""Longer side of the picture that the proof looks at."""

PICTURE_QUALITY: Final = 60
"""JPEG quality of that picture."""

# Aligning ----------------------------------------------------------------------------------------

PAIR_DISTANCE_BITS_MAX: Final = 40
"""Hamming distance, of 128 bits, up to which two keypoints may be a pair."""

AGREEING_POINTS_MIN: Final = 5
"""Points that must agree before pictures are compared at all; the proof is the pictures' to give."""

AFFINE_POINTS_MIN: Final = 8
HOMOGRAPHY_POINTS_MIN: Final = 14
"""Points below which a model with more freedom fits noise."""

POINT_TOLERANCE_LOOSE_PIXELS: Final = 10.0
POINT_TOLERANCE_PIXELS: Final = 3.0
"""Working pixels within which a point agrees, before and after the arrangement is refined."""

SCALE_RATIO_MAX: Final = 12.0
"""Growth of a side past which SIFT finds nothing anyway."""

SQUEEZE_MIN: Final = 0.08
"""Area of a transformed photo, as a share of its most stretched side squared, below which it is a line."""

DEPTH_RATIO_MAX: Final = 4.0
"""Nearest to farthest corner of a photo seen in perspective."""

# Proving -----------------------------------------------------------------------------------------

AGREEMENT_SIDE_PIXELS: Final = 160
"""Longer side at which pictures are compared as a whole; displacements need the larger picture."""

SMOOTH_SIGMA_PIXELS: Final = 1.2
"""Blur before pictures are compared: moiré and JPEG blocks vanish, edges stay."""

WINDOW_SIGMA_PIXELS: Final = 3.0
"""The neighbourhood in which correlation is taken."""

STRUCTURE_LEVELS_MIN: Final = 3.0
"""Standard deviation, of 255 levels, from which a neighbourhood shows something."""

LOOK_AGAIN_SHARE_MIN: Final = 0.33
"""Share that must agree in the pictures as they are, for blurring one or drawing it to be worth the time.
What sketches share with their photos lies well above it, what strangers do below.
"""

CORRELATION_MIN: Final = 0.5
"""Correlation from which a neighbourhood agrees."""

PIECE_SHARE_MIN: Final = 0.2
"""Size, against the largest piece that agrees, from which another piece counts as well."""

COMMON_PIXELS_MIN: Final = 100
"""Pixels of the small pictures that must be comparable."""

EDGE_WINDOW_PIXELS: Final = 15
EDGE_PIXELS_MIN: Final = 6
EDGE_CORRELATION_MIN: Final = 0.7
EDGE_LEVELS_MIN: Final = 1.5
EDGE_STEP_MAX: Final = 0.7
EDGE_STEP_LEVELS_MAX: Final = 3.0
BEYOND_SHARE_MIN: Final = 0.15
"""Pixels along an edge that are correlated together, and that must be seen at all; how alike, with how
much contrast, and how little of a step against that contrast, makes a scene go on; the step where there
is no contrast, and the share of what lies beyond that must show something for that to count.
"""

PARALLAX_SMOOTH_SIGMA_PIXELS: Final = 0.7
PARALLAX_NOISE_LEVELS: Final = 7.0
PARALLAX_STRUCTURE_MIN: Final = 0.001
"""Blur before displacements are taken; contrast, in levels, below which structure counts less and less;
least structure (per normalised contrast) of a neighbourhood that a displacement is taken of.
"""

EXPLAINED_BY_CHANCE: Final = 0.05
EXPLAINED_A_BLUR_PIXEL: Final = 0.025
SHARED_MIN: Final = 0.2
DRIFT_PIXELS_MIN: Final = 0.08
"""Share of a difference between pictures that displacements explain if it is noise, and how much more for
every pixel by which a picture was blurred, which makes noise coarser; correlation between neighbours from
which a displacement counts in full; drift up to which a plane is merely not fitted to the last digit.
"""

PARALLAX_LOSS_PIXELS: Final = 0.05
"""Drift beyond that at which it is another shot.

The benchmark's ``tune`` prints copies and shots at this bound and at others. The shots that need it most
are few: it was chosen on the fifty pairs that agreed best at a glance among all photos, of both halves.
"""

SAME_PART_SHARE_MIN: Final = 0.5
"""Overlap (intersection over union) of the parts of a query that two photos are found in, from which they
are found in the same part.
"""

HIDDEN_SCORE_MIN: Final = 0.25
HIDDEN_CLOSENESS_MIN: Final = 0.94
"""Score, and closeness of what agrees, between two photos found in the same part of a query, from which
they may be one exposure, a part of each hidden by something else; the shots of a shelf agree less closely.
"""

CONTINUES_LOSS: Final = 0.025
"""Share of the edges that the scene may cross on both sides; at this share it is another shot.

Disguises lie at 0.00, collages included (95th percentile); overlapping frames at 0.02 and more.
"""

WHOLE_SHARE_MIN: Final = 0.76
PART_SHARE_MAX: Final = 0.66
CONTAINER_SHARE_MAX: Final = 0.42
"""Share of what a photo shows within the outline of what agrees, from which it lies in the other as a
whole, and up to which a part of it is missing there; below the last one it is a collage or a screen
with the other in it, not a part of it.
"""

CONTENT_SIDE_SHARE: Final = 0.4
CONTENT_DIFFERS_MIN: Final = 0.5
"""Side of a square, against the root of the area of what agrees, and the share of it that must differ (what
agrees in it is subtracted) for two photos in one frame. What copies under stickers, large letters and logos
lose stays below; ``ARGS=overlays`` prints which strangers do, too.
"""

MINOR_SHARE_MAX: Final = 0.5
LAID_SHARE_MIN: Final = 0.4
AROUND_DIFFERS_MIN: Final = 0.3
"""Share of both photos up to which what agrees is a minor part, share of both that must lie on the other,
and share of what is to be seen there that must differ, for two photos that share a logo or a headline.
Copies agree over more of one photo; ``ARGS=overlays`` prints which strangers do, too.
"""

INSET_DEPTH_PIXELS_MIN: Final = 4.0
INSET_LINE_LEVELS_MIN: Final = 3.0
INSET_LINE_PIXELS: Final = 10
INSET_SIDE_DRAWN_MIN: Final = 0.7
INSET_SIDE_SEEN_MIN: Final = 0.6
INSET_SIDES_SEEN_MIN: Final = 3
INSET_SHARE_MIN: Final = 0.08
INSET_AGREES_MAX: Final = 0.6
"""A picture set into both: pixels from the middle of a place where they differ to the nearest that does
not; levels from pixel to pixel across its border, pixels over which that is one line, the share of each
side that is drawn by such lines in one picture, and in the other, and on how many sides there; its share of
what agrees as a whole; and how much of what it shows agrees in a copy. ``ARGS=tune`` prints how many
strangers this alone stops, and how many copies under stickers, texts and logos it loses.
"""

TEXTURE_SIGMA_PIXELS: Final = (1.2, 5.0)
TEXTURE_WINDOW_PIXELS: Final = 11
TEXTURE_LEVELS_MIN: Final = 0.8
TEXTURE_SIDE_PIXELS: Final = 15
TEXTURE_SHARE_MIN: Final = 0.02
TEXTURE_CORRELATION_MIN: Final = 0.28
"""Blurs between which texture lies, in pixels of the picture that is kept; window of its correlation; least
standard deviation, of 255 levels, that is texture and not a trace of compression; square that must show it
throughout, wider than the halo that a window makes of a border; share of what the pictures have in common
that must show it; and median correlation from which it is the same. Bare fields under one overlay lie
below, copies saved at quality 8 or with noise on them above.
"""

CLOSENESS_LOSS: Final = {"plain": 0.12, "blurred": 0.12, "lines": 0.25}
UNBROKEN_LOSS: Final = 0.35
POINTS_ENOUGH: Final = 12
POINTS_WEIGHT: Final = 1.2
SHARE_ENOUGH: Final = 0.6
SHARE_WEIGHT: Final = 1.5
"""What a copy may lose of each (see ``Agreement.score``); a loss of 1 in all is the limit."""

SCORE_MIN: Final = 0.5
"""Least score of a copy."""

# Voting ------------------------------------------------------------------------------------------

SIGNATURE_DISTANCE_BITS_MAX: Final = 18
"""Hamming distance, of 64 bits, up to which an entry votes: 95 % of true pairs, 1 in 1,000 others."""

VOTE_DISTANCE_SIGMA_BITS: Final = 11.0
"""A vote at this distance weighs 1/e of one at distance 0."""

VOTES_MIN: Final = 0.05
"""Votes below which a photo is no candidate: strangers reach 0.3 at best in half of all queries."""

LIST_ENTRIES_MAX: Final = 40_000
"""A list longer than this is of a keypoint that is everywhere, and says nothing."""

ENTRIES_COMPARED_MAX: Final = 2_000_000
"""Entries that one query may compare, words that are likely for their length first: bounds its time.

At a million photos these are a part of what the words of a query list. With half or a quarter of them
everyday disguises are found as surely, and fewer of the crops to a tenth, grid cells and sketches.
"""

DOUBT_LIKELIHOOD: Final = 0.77
"""How often bits were doubted rightly is this over the square of the sum of their places, counted from 2.

Measured (``tune``): 0.18 for the most doubtful bit alone, 0.05 for the first two, 0.02 for the fifth, 0.001
for all five; 1 is no doubt at all.
"""

FRESH_PHOTOS_MAX: Final = 32
"""Photos that are added before they are sorted."""

MERGE_RATIO: Final = 3
"""A segment is merged with the one before it unless that is this much larger."""

MERGE_ENTRIES_AT_ONCE: Final = 8_000_000
"""Entries sorted at once in a merge: 112 MB, and as much again for the result."""

VOTES_SHARE_MIN: Final = 0.02
"""Votes, against the best candidate's, below which a candidate is not verified."""

CANDIDATES_VERIFIED: Final = 16
"""Photos with most votes that are aligned and compared."""
