"""Which renditions are made: never enlarged, and always one that any browser shows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hayloft.config import RenditionSettings
from hayloft.renditions.plan import plan
from hayloft.types import AlternateKey, PhotoDetails, RenditionSize

SETTINGS = RenditionSettings()
SIDES = st.integers(1, 65_535)


def keys(width: int, height: int) -> list[str]:
    return [planned.alternate_key.label for planned in plan(width, height, SETTINGS)]


def test_a_big_photo_gets_all_four_largest_first() -> None:
    assert keys(4000, 3000) == ["large", "medium", "small", "thumb"]


def test_a_photo_between_two_sizes_gets_one_of_its_own_size() -> None:
    assert keys(800, 600) == ["medium", "small", "thumb"]
    assert keys(600, 800) == ["medium", "small", "thumb"]


@pytest.mark.parametrize(("side", "count"), [(1, 1), (256, 1), (257, 2), (1024, 3), (1025, 4), (2048, 4)])
def test_the_borders(side: int, count: int) -> None:
    assert len(plan(side, 1, SETTINGS)) == count


@given(SIDES, SIDES)
def test_nothing_is_enlarged_and_proportions_are_kept(width: int, height: int) -> None:
    first, *others = plan(width, height, SETTINGS)
    assert max(first.width, first.height) == min(max(width, height), SETTINGS.large)
    assert all(max(one.width, one.height) < max(width, height) for one in others)
    for one in (first, *others):
        share = max(one.width, one.height) / max(width, height)
        assert abs(one.width - max(1, width * share)) <= 0.5
        assert abs(one.height - max(1, height * share)) <= 0.5


def test_what_answers_for_a_rendition_that_was_not_needed() -> None:
    medium, thumb = (
        RenditionSize(alternate_key=key, width=1, height=1)
        for key in (AlternateKey.MEDIUM, AlternateKey.THUMB)
    )
    both = PhotoDetails(renditions=(medium, thumb))
    assert both.answering(AlternateKey.LARGE) is both.answering(AlternateKey.MEDIUM) is medium
    assert both.answering(AlternateKey.SMALL) is both.answering(AlternateKey.THUMB) is thumb
    assert PhotoDetails(renditions=(medium,)).answering(AlternateKey.SMALL) is medium
    assert PhotoDetails(failure="no image").answering(AlternateKey.THUMB) is None


def test_sizes_must_grow() -> None:
    with pytest.raises(ValidationError, match="must grow"):
        RenditionSettings(thumb=600)
