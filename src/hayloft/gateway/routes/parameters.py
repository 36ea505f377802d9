"""Parameters that several routes share."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from hayloft import limits
from hayloft.errors import PhotoNotFound
from hayloft.types import PHOTO_ID_BITS, PhotoId

PHOTO_ID_MAX = (1 << PHOTO_ID_BITS) - 1

PathId = Annotated[str, Path(description="A photo's id.", json_schema_extra={"type": "integer"})]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before.", max_length=1024)]
Limit = Annotated[int, Query(ge=1, le=limits.PAGE_PHOTOS_MAX, description="Entries in one page.")]
Neighbours = Annotated[int, Query(ge=1, le=limits.NEIGHBOURS_MAX, description="How many.")]
ScoreMin = Annotated[float, Query(ge=0, le=1, description="Leave out what scores less.")]
Words = Annotated[str, Query(min_length=1, max_length=1000, description="What to look for.")]
Moment = Annotated[str | None, Query(description="ISO 8601, or milliseconds since 1970.", max_length=64)]


def photo_of(text: str) -> PhotoId:
    """The photo that a path names.

    Raises:
        PhotoNotFound: no photo can have that id.
    """
    if text.isascii() and text.isdigit() and len(text) <= len(str(PHOTO_ID_MAX)):
        number = int(text)
        if number <= PHOTO_ID_MAX:
            return PhotoId(number)
    raise PhotoNotFound(f"No photo has the id {text[:32]!r}.")
