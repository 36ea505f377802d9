"""What is made of a photo: encoded pictures and details. Values only; nothing here decodes anything."""

from __future__ import annotations

from dataclasses import dataclass

from hayloft.types import AlternateKey, PhotoDetails


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """One encoded size of a photo."""

    alternate_key: AlternateKey
    media_type: str
    data: bytes
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Everything that one decode of a photo gave."""

    details: PhotoDetails
    renditions: tuple[Rendition, ...]
    """Largest first, as in the details."""
