"""Parameters that several routes share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Path, Query

from hayloft import limits
from hayloft.errors import InvalidRequest, PhotoNotFound
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


def moment_ms(name: str, text: str | None) -> int | None:
    """A time as milliseconds since the Unix epoch; without an offset it is UTC.

    Raises:
        InvalidRequest: the text names no time.
    """
    if text is None:
        return None
    try:
        if text.isascii() and text.isdigit() and len(text) > 4:
            return int(text[:19])
        # A plus sign in an address means a space.
        moment = datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text)
        return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(f"{name}: {text!r} is no ISO 8601 time.", field=name) from error
