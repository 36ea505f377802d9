"""Which renditions a photo gets, and how big: pure arithmetic.

A photo is never enlarged. Its renditions are those whose longer side is shorter than the photo's, and one
more: the first that would not be, made at the photo's own size, so that every photo has a picture that
browsers show (upright, sRGB, a common format) whatever its original is. Larger ones would be the same
picture again and are not made; a reader that asks for one is given the largest there is
(``PhotoDetails.answering``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hayloft.config import RenditionSettings
from hayloft.types import AlternateKey

SMALLEST_FIRST: Final = (AlternateKey.THUMB, AlternateKey.SMALL, AlternateKey.MEDIUM, AlternateKey.LARGE)
"""The renditions in the order of their sizes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One rendition to be made."""

    alternate_key: AlternateKey
    width: int
    height: int


def sides(settings: RenditionSettings) -> Mapping[AlternateKey, int]:
    """The longer side of each rendition, in pixels."""
    return {
        AlternateKey.THUMB: settings.thumb,
        AlternateKey.SMALL: settings.small,
        AlternateKey.MEDIUM: settings.medium,
        AlternateKey.LARGE: settings.large,
    }


def plan(width: int, height: int, settings: RenditionSettings) -> tuple[Planned, ...]:
    """The renditions of a photo of this size, largest first."""
    planned: list[Planned] = []
    for key in SMALLEST_FIRST:
        side = sides(settings)[key]
        across, down = within(width, height, side)
        planned.append(Planned(alternate_key=key, width=across, height=down))
        if side >= max(width, height):
            break
    return tuple(reversed(planned))


def within(width: int, height: int, side: int) -> tuple[int, int]:
    """The size that a picture of this size has once its longer side has at most ``side`` pixels."""
    longer = max(width, height)
    if longer <= side:
        return width, height
    across, down = ((2 * length * side + longer) // (2 * longer) for length in (width, height))
    return max(1, across), max(1, down)
