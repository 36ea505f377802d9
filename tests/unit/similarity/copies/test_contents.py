"""Two photos in one frame are two photos; a sticker on one makes no other photo of it."""

from __future__ import annotations

import numpy as np
import pytest

from hayloft.similarity.copies import contents, overlay


@pytest.mark.parametrize(("hole", "other"), [(70, True), (24, False)])
def test_what_differs_within_counts_by_its_size(hole, other):
    grey = np.full((120, 160), 128, np.uint8)
    laid, _ = overlay.lay(grey, grey, np.eye(3))
    everywhere = np.ones(grey.shape, np.bool_)
    agrees = everywhere.copy()
    agrees[25 : 25 + hole, 40 : 40 + hole] = False
    assert contents.differ(laid, agrees, everywhere, everywhere) is other
