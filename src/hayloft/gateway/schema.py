"""The JSON of the gateway's API as types: what OpenAPI shows, and what requests are checked against."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from hayloft import limits
from hayloft.types import PhotoStatus, Relation, Verdict

Sha256 = str


class Error(BaseModel):
    """Every error's body; more facts may stand beside these."""

    model_config = ConfigDict(extra="allow")

    code: str
    message: str
    request_id: str


class UploadedPhoto(BaseModel):
    """A photo that was kept."""

    photo_id: int
    cookie: str
    url: str
    logical_volume: str
    alt_key: str
    size: int
    media_type: str
    width: int
    height: int
    sha256: Sha256
    name: str
    created_at: str
    duplicate_of: int | None
    repeated: bool


class RefusedFile(BaseModel):
    """A file of several that was not kept."""

    name: str
    error: dict[str, Any]


class UploadedPhotos(BaseModel):
    """The answer to an upload of several files, in their order."""

    photos: list[UploadedPhoto | RefusedFile]


class DeletedPhoto(BaseModel):
    """A photo that is deleted; replicas that did not answer are deleted later."""

    status: Literal["deleted"]
    photo_id: int
    failed_replicas: list[str]


class PhotoInfo(BaseModel):
    """A photo as the directory knows it."""

    photo_id: int
    cookie: str
    url: str
    status: PhotoStatus
    logical_volume: str
    alt_key: str
    replicas: list[str]
    size: int
    media_type: str
    width: int
    height: int
    sha256: Sha256
    name: str
    created_at: str
    details: Details | None = None
    """Null until the photo has been looked at, and in listings that did not ask for them."""


class Position(BaseModel):
    """Where a photo was taken: degrees north and east, metres above the sea."""

    latitude: float
    longitude: float
    altitude_m: float | None


class RenditionInfo(BaseModel):
    """One of a photo's stored sizes."""

    rendition: str
    width: int
    height: int
    url: str


class Details(BaseModel):
    """What a photo's file says about it; empty text and null mean that it does not say."""

    width: int
    """Once upright."""
    height: int
    frames: int
    taken_at: str
    camera_make: str
    camera_model: str
    lens: str
    exposure_seconds: float | None
    f_number: float | None
    iso: int | None
    focal_length_mm: float | None
    focal_length_35mm: int | None
    position: Position | None
    placeholder: str
    """ThumbHash, in base64."""
    renditions: list[RenditionInfo]
    failure: str
    """Why the photo could not be decoded; empty if it could."""


class PhotoList(BaseModel):
    """One page of photos."""

    photos: list[PhotoInfo]
    next_cursor: str | None
    total: int


class KnownQuestion(BaseModel):
    """Digests to be looked up."""

    sha256: list[str] = Field(max_length=limits.PAGE_PHOTOS_MAX)


class KnownAnswer(BaseModel):
    """The oldest active photo for each digest that is here."""

    known: dict[str, int]


class LinkFields(BaseModel):
    """What is said of two photos, and why."""

    relation: Relation
    score: float
    method: str
    evidence: dict[str, Any]
    verdict: Verdict | None
    created_at: str


class PhotoLink(LinkFields):
    """A link as seen from one of its photos."""

    photo_id: int


class PhotoLinks(BaseModel):
    """All links of one photo, best first."""

    photo_id: int
    links: list[PhotoLink]


class LinkInfo(LinkFields):
    """A link with both its photos."""

    a: int
    b: int


class LinkList(BaseModel):
    """One page of links."""

    links: list[LinkInfo]
    next_cursor: str | None
    total: int


class GroupInfo(BaseModel):
    """Photos that are the same photo."""

    group: int
    """The smallest id of its photos."""
    photos: list[int]
    best: int
    """The one to keep if only one were kept."""


class GroupList(BaseModel):
    """One page of groups."""

    groups: list[GroupInfo]
    next_cursor: str | None
    total: int


class VerdictInfo(BaseModel):
    """What a person said of a pair."""

    a: int
    b: int
    verdict: Verdict
    created_at: str


class VerdictList(BaseModel):
    """One page of verdicts."""

    verdicts: list[VerdictInfo]
    next_cursor: str | None


class VerdictQuestion(BaseModel):
    """A person's word on a pair; null takes it back."""

    verdict: Verdict | None


class SimilarPhoto(BaseModel):
    """A photo near the one asked about."""

    photo_id: int
    distance: float
    score: float
    relation: Relation
    method: str
    evidence: dict[str, Any]


class SimilarPhotos(BaseModel):
    """The nearest photos, nearest first."""

    similar: list[SimilarPhoto]


class SimilarToPhoto(SimilarPhotos):
    """The photos nearest to one that is stored."""

    photo_id: int


class FoundPhotos(BaseModel):
    """Photos that words describe, best first."""

    query: str
    photos: list[SimilarPhoto]


class SimilarityState(BaseModel):
    """How far linking has got."""

    trained: bool
    total_indexed: int
    undecodable: int
    parked: int
    position: int
    pending: int
    photos_per_second: float
    seconds_left: float | None
    """What is pending at the recent rate."""
    embedder: str
    """What says which photos are alike; empty if nothing does."""
    embedded: int
    """Photos that have been seen by that embedder."""
    embedder_hint: str
    """What it is, and how to get a better one."""
    takes_words: bool
    """Whether photos can be searched by words."""
    rebuilding: float | None
    """How far a rebuild of the indexes is, 0 to 1."""


class Statistics(BaseModel):
    """Totals of every part; similarity is null where photos are not linked or it does not answer."""

    directory: dict[str, Any]
    stores: list[dict[str, Any]]
    similarity: SimilarityState | None


class ParkedInfo(BaseModel):
    """An event that a consumer could not deal with."""

    position: int
    kind: str
    photo_id: int
    reason: str
    times: int
    """How often it has been set aside."""
    parked_at: str
    due: bool
    """Whether another try has been asked for."""


class ParkedList(BaseModel):
    """A consumer's parked events, oldest first."""

    parked: list[ParkedInfo]


class RetryQuestion(BaseModel):
    """Which parked events to deliver once more: one, or all of a consumer's."""

    consumer: str = Field(max_length=64)
    position: int | None = Field(default=None, ge=0, lt=1 << 53)


class Retried(BaseModel):
    """How many events will be delivered once more."""

    retried: int


class Health(BaseModel):
    """This process is alive."""

    status: Literal["ok"]
    service: Literal["gateway"]
    version: str
    trained: bool
    total_indexed: int
    embedder: str
    """What says which photos are alike; empty if nothing does, or it cannot be asked."""
    embedder_hint: str
    """What it is, and how to get a better one."""
    uploads_refused: str
    """Why no upload can be taken now; empty if they can."""


class Ready(BaseModel):
    """This server can take uploads and reads."""

    status: Literal["ready"]
