"""What the directory's requests carry: their bodies, checked and in our types."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from hayloft import limits
from hayloft.directory import wire
from hayloft.types import PHOTO_ID_BITS, EventKind, NewPhoto, PhotoId, StoreHealth

PhotoNumber = Annotated[int, Field(ge=0, lt=1 << PHOTO_ID_BITS)]
Size = Annotated[int, Field(ge=0, lt=1 << PHOTO_ID_BITS)]
Name = Annotated[str, Field(min_length=1, max_length=255)]
Position = Annotated[int, Field(ge=0, lt=1 << 63)]


class AllocateBody(BaseModel):
    """A photo to be allocated."""

    size: Size
    alt_key: str = "orig"


class PhotoBody(BaseModel):
    """A photo by its id."""

    photo_id: PhotoNumber


class LeaseBody(BaseModel):
    """Who wants how many ids."""

    holder: Name
    count: int = Field(gt=0, le=limits.LEASE_COUNT_MAX)
    avoid: list[Name] = Field(default=[], max_length=limits.LEASE_AVOID_MAX)


class NewPhotoBody(BaseModel):
    """A durable photo to be committed."""

    photo_id: PhotoNumber
    cookie: str
    size: Size
    sha256: str = ""
    media_type: str
    width: int = Field(default=0, ge=0, lt=1 << 31)
    height: int = Field(default=0, ge=0, lt=1 << 31)
    name: str = ""
    alt_key: str = "orig"
    created_at_ms: Size = 0
    idempotency_key: str | None = None

    def value(self) -> NewPhoto:
        """The same, in our types."""
        return NewPhoto(
            photo=PhotoId(self.photo_id),
            cookie=wire.cookie_from(self.cookie),
            size=self.size,
            sha256=wire.digest_from(self.sha256),
            media_type=self.media_type,
            width=self.width,
            height=self.height,
            name=self.name,
            alternate_key=wire.alternate_key_from(self.alt_key),
            created_at_ms=self.created_at_ms,
            idempotency_key=self.idempotency_key,
        )


class CommitBody(BaseModel):
    """Photos to be committed."""

    photos: list[NewPhotoBody] = Field(max_length=limits.COMMIT_BATCH_PHOTOS_MAX)


class KnownBody(BaseModel):
    """Digests to look for."""

    sha256: list[str] = Field(max_length=limits.PAGE_PHOTOS_MAX)


class DetailsBody(BaseModel):
    """What a photo's file says about it."""

    photo_id: PhotoNumber
    details: dict[str, Any]


class PhotosBody(BaseModel):
    """Photos by their ids."""

    photo_ids: list[PhotoNumber] = Field(max_length=limits.PAGE_PHOTOS_MAX)


class HeartbeatBody(BaseModel):
    """A store's account of itself, and where it is."""

    health: StoreHealth
    url: str | None = None
    zone: Name | None = None


class WritableBody(BaseModel):
    """Whether a volume takes writes."""

    logical_volume: str
    writable: bool


class FailureBody(BaseModel):
    """A replica that failed."""

    logical_volume: str
    store: Name
    reason: str = Field(max_length=4096)


class ReplicaBody(BaseModel):
    """A replica of a volume."""

    logical_volume: str
    store: Name


class ReplacementBody(BaseModel):
    """A replica that is to be made; instead of another one if that is named."""

    logical_volume: str
    old: Name | None = None
    new: Name


class EventBody(BaseModel):
    """An event to be appended."""

    kind: EventKind
    photo_id: PhotoNumber
    payload: dict[str, Any] = Field(default_factory=dict)


class PositionBody(BaseModel):
    """How far a consumer has got."""

    position: Position


class ParkBody(BaseModel):
    """An event that a consumer cannot deal with."""

    event: dict[str, Any]
    reason: str = Field(max_length=65_536)


class RetryBody(BaseModel):
    """Which parked event to deliver again; all of them if none is named."""

    position: Position | None = None
