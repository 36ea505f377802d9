"""Frozen settings, parsed once, from flags, environment (``HAYLOFT_…``) and a TOML file.

Precedence: flags, then environment, then the file that ``HAYLOFT_CONFIG`` names (or ``hayloft.toml``
in the working directory), then the defaults below. Nested settings are written
``HAYLOFT_UPLOAD__BYTES_MAX`` in the environment and as tables in the file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from hayloft import limits


def default_workers() -> int:
    """The cores this process may use, at most ``limits.WORKERS_MAX_DEFAULT``."""
    return min(len(os.sched_getaffinity(0)), limits.WORKERS_MAX_DEFAULT)


class UploadSettings(BaseModel):
    """What the gateway accepts."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    bytes_max: int = Field(default=limits.UPLOAD_BYTES_MAX, gt=0)
    """Largest photo, in bytes."""
    memory_bytes_max: int = Field(default=limits.UPLOAD_MEMORY_BYTES_MAX, gt=0)
    """Upload bytes in flight per worker; past it clients are asked to come back."""
    pixels_max: int = Field(default=limits.IMAGE_PIXELS_MAX, gt=0)
    """Largest width × height."""


class VolumeSettings(BaseModel):
    """How volumes are laid out. Changes apply to volumes created afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    size_bytes_max: int = Field(
        default=limits.VOLUME_SIZE_BYTES_MAX, gt=0, le=limits.VOLUME_SIZE_BYTES_LIMIT
    )
    """Size at which a volume is sealed, in bytes."""
    free_space_reserve_bytes: int = Field(default=limits.FREE_SPACE_RESERVE_BYTES, ge=0)
    """Free disk space below which uploads are refused, in bytes."""
    writable_max: int | None = Field(default=None, gt=0)
    """Volumes that take writes at the same time; one for each worker when not given."""


class SimilaritySettings(BaseModel):
    """How photos are linked."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    enabled: bool = True
    """Whether photos are fingerprinted and linked at all."""
    processes: int = Field(default=1, gt=0)
    """Processes that decode and describe photos."""
    embedder: str | None = None
    """What says which photos look alike: ``builtin``, the name of a model that was added, ``onnx:PATH`` of
    another one, or ``none``. When not given, it is what ``hayloft models use`` chose; at first
    ``builtin``."""
    embedder_threads: int = Field(default=1, gt=0)
    """Threads that a model runs on."""


class RenditionSettings(BaseModel):
    """Which smaller sizes photos get, and what is shown of where they were taken."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    enabled: bool = True
    """Whether renditions are made at all."""
    thumb: int = Field(default=256, gt=0)
    """Longer side of the rendition ``thumb``, in pixels."""
    small: int = Field(default=512, gt=0)
    """Longer side of ``small``."""
    medium: int = Field(default=1024, gt=0)
    """Longer side of ``medium``."""
    large: int = Field(default=2048, gt=0, le=limits.RENDITION_SIDE_PIXELS_MAX)
    """Longer side of ``large``."""
    format: Literal["webp", "jpeg"] = "webp"
    """What renditions are stored as; the other one is made when asked for."""
    webp_quality: int = Field(default=80, ge=1, le=100)
    """WebP quality, 1 to 100."""
    webp_effort: int = Field(default=2, ge=0, le=6)
    """Work spent on smaller WebP files, 0 to 6: 4 takes 1.7 × the time of 2 for 2 % smaller files."""
    jpeg_quality: int = Field(default=82, ge=1, le=100)
    """JPEG quality, 1 to 100."""
    processes: int = Field(default=1, gt=0)
    """Processes that decode photos and make renditions and pictures to order."""
    strip_gps: bool = False
    """Whether positions are taken out of what is served without an API key, the original included."""
    picture_side_max: int = Field(default=4096, gt=0, le=limits.RENDITION_SIDE_PIXELS_MAX)
    """Longer side of a picture made to order (IIIF), in pixels."""
    picture_pixels_max: int = Field(default=limits.PICTURE_PIXELS_MAX, gt=0)
    """Width × height of a picture made to order."""

    @model_validator(mode="after")
    def _sizes_grow(self) -> Self:
        if not self.thumb < self.small < self.medium < self.large:
            raise ValueError("renditions must grow: thumb < small < medium < large")
        return self


class PitchforkSettings(BaseModel):
    """How closely replicas are watched, and how hard they are mended."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    check_seconds: float = Field(default=2.0, gt=0)
    """How often stores are checked, and failed replicas tried."""
    failures_max: int = Field(default=4, gt=0)
    """Checks in a row that a store may leave unanswered before its volumes take no writes."""
    compare_seconds: float = Field(default=3600.0, gt=0)
    """How often all replicas of every volume are compared, and read again from the medium."""
    scrub_bytes_per_second: int = Field(default=8 * limits.MIB, ge=0)
    """How fast all replicas are read again from the medium, one after the other, to find bytes that have
    changed; 0 for never."""
    copy_bytes_per_second: int = Field(default=128 * limits.MIB, ge=0)
    """How fast needles are copied between stores; 0 for as fast as possible."""
    repairs_at_once: int = Field(default=2, gt=0)
    """Volumes that are mended at the same time."""
    replication: int | None = Field(default=None, gt=0)
    """Replicas that every volume should have; as many as that which has most, when not given."""
    gone_seconds: float = Field(default=3600.0, gt=0)
    """How long a store may be away before its volumes get replicas on others."""
    sweep_seconds: float = Field(default=3600.0, gt=0)
    """How often stores are searched for what no photo needs."""
    grace_seconds: float = Field(default=86_400.0, gt=0)
    """How old an upload that was never committed must be to be swept away; far longer than any upload."""
    compact_dead_share: float = Field(default=0.3, gt=0, lt=1)
    """Share of deleted and replaced bytes in a volume at which it is compacted."""
    compact_dead_bytes_min: int = Field(default=64 * limits.MIB, ge=0)
    """Deleted and replaced bytes below which compacting is not worth it."""


class CacheSettings(BaseModel):
    """What one cache keeps, and for how long."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    memory_bytes_max: int = Field(default=limits.CACHE_MEMORY_BYTES_MAX, gt=0)
    """Bytes kept in memory."""
    memory_items_max: int = Field(default=limits.CACHE_ITEMS_MAX, gt=0)
    """Renditions kept in memory."""
    disk_bytes_max: int = Field(default=limits.CACHE_DISK_BYTES_MAX, ge=0)
    """Bytes kept on disk once they had to leave memory; 0 for none."""
    disk_items_max: int = Field(default=limits.CACHE_ITEMS_MAX, gt=0)
    """Renditions kept on disk."""
    ttl_seconds: float = Field(default=limits.CACHE_TTL_SECONDS, gt=0)
    """How long a rendition is kept after it was last read."""
    sweep_seconds: float = Field(default=30.0, gt=0)
    """How often what has expired is cleared away."""


class ServiceSettings(BaseSettings):
    """What any server must know of itself, and where settings come from."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,  # they are the help of the commands
        env_prefix="HAYLOFT_",
        env_nested_delimiter="__",
    )

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8080, ge=0, le=65_535)
    """Port to listen on."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much is logged."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags first, then the environment, then the file."""
        path = Path(os.environ.get("HAYLOFT_CONFIG", "hayloft.toml"))
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, path))


class GatewaySettings(ServiceSettings):
    """What a gateway must know, whatever is behind it."""

    workers: int = Field(default_factory=default_workers, gt=0, le=64)
    """Gateway worker processes."""
    public_url: str | None = None
    """Where clients reach this server, if not at its own address: links are made from it."""
    api_keys: tuple[str, ...] = ()
    """Keys that clients must show; none means that everyone may do everything."""
    upload: UploadSettings = UploadSettings()
    renditions: RenditionSettings = RenditionSettings()


class Settings(GatewaySettings):
    """Everything that a user may change about one Hayloft server with everything in it."""

    data: Path = Path("hayloft-data")
    """Directory that holds everything Hayloft keeps."""
    uncommitted_seconds: float = Field(default=86_400.0, ge=0)
    """How long what is left of an interrupted upload is kept; 0 for ever. Far longer than any upload."""
    volume: VolumeSettings = VolumeSettings()
    similarity: SimilaritySettings = SimilaritySettings()

    @property
    def volumes_writable(self) -> int:
        """Volumes that take writes at the same time."""
        return self.volume.writable_max or self.workers * limits.WRITABLE_VOLUMES_PER_WORKER
