"""How people and programs name a photo: by its id, by its link, or by a record they hold.

Pure: text and values, no I/O. It does not know whether the photo exists.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from hayloft.client.answers import Photo
from hayloft.errors import InvalidRequest
from hayloft.types import PHOTO_ID_BITS, AlternateKey, PhotoId

RENDITIONS: Final = tuple(key.label for key in AlternateKey)

PhotoLike = int | str | Photo
"""What every method of the client accepts as a photo: an id, a link or a ``Photo``."""

_PATH: Final = re.compile(r"^(?P<prefix>.*)/photo/(?P<id>\d{1,16})(?:/(?P<cookie>[0-9a-fA-F]{16}))?/?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One photo, and what else its name told."""

    photo: PhotoId
    cookie: str | None = None
    """Known if the photo was named by its capability link."""
    server: str | None = None
    """Where the link leads, if it was one."""

    @property
    def path(self) -> str:
        """The photo's address on a server, with the cookie when it is known."""
        return f"/photo/{self.photo}" + (f"/{self.cookie}" if self.cookie else "")

    def rendition_path(self, rendition: str | None) -> str:
        """The address of one of the photo's sizes; of the original by default.

        Raises:
            InvalidRequest: there is no rendition of that name.
        """
        if rendition is not None and rendition not in RENDITIONS:
            raise InvalidRequest(f"“{rendition}” is none of: {', '.join(RENDITIONS)}.")
        return self.path if rendition in (None, "orig") else f"{self.path}/{rendition}"


def parse_reference(photo: PhotoLike) -> Reference:
    """What ``photo`` names: ``4294967297``, ``"4294967297"``, a photo's link, or a ``Photo``.

    Raises:
        InvalidRequest: it names no photo.
    """
    if isinstance(photo, Photo):
        return Reference(photo=photo.id)
    if isinstance(photo, int):
        return Reference(photo=_checked(photo))
    text = photo.strip()
    if text.isascii() and text.isdigit():
        return Reference(photo=_checked(int(text)))
    return _parse_link(text)


def _parse_link(text: str) -> Reference:
    try:
        parts = urlsplit(text)
        named = _PATH.match(parts.path)
    except ValueError:
        named = None
    if named is None or parts.scheme not in ("http", "https") or not parts.netloc:
        raise InvalidRequest(f"“{text}” is neither a photo's id nor a photo's link.")
    return Reference(
        photo=_checked(int(named["id"])),
        cookie=named["cookie"],
        server=f"{parts.scheme}://{parts.netloc}{named['prefix']}",
    )


def _checked(number: int) -> PhotoId:
    if not 0 <= number < 1 << PHOTO_ID_BITS:
        raise InvalidRequest(f"{number} is no photo's id: ids are from 0 to 2^{PHOTO_ID_BITS} - 1.")
    return PhotoId(number)
