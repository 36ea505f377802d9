"""Frozen settings, parsed once, from flags, environment (``HAYLOFT_…``) and a TOML file.

Precedence: flags, then environment, then the file that ``HAYLOFT_CONFIG`` names (or ``hayloft.toml``
in the working directory), then the defaults below. Nested settings are written
``HAYLOFT_UPLOAD__BYTES_MAX`` in the environment and as tables in the file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
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

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes_max: int = Field(default=limits.UPLOAD_BYTES_MAX, gt=0)
    """Largest photo, in bytes."""
    memory_bytes_max: int = Field(default=limits.UPLOAD_MEMORY_BYTES_MAX, gt=0)
    """Upload bytes in flight per worker; past it clients are asked to come back."""
    pixels_max: int = Field(default=limits.IMAGE_PIXELS_MAX, gt=0)
    """Largest width × height."""


class VolumeSettings(BaseModel):
    """How volumes are laid out. Changes apply to volumes created afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    """Whether photos are fingerprinted and linked at all."""
    processes: int = Field(default=1, gt=0)
    """Processes that decode and describe photos."""


class Settings(BaseSettings):
    """Everything that a user may change about one Hayloft server."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="HAYLOFT_", env_nested_delimiter="__"
    )

    data: Path = Path("hayloft-data")
    """Directory that holds everything Hayloft keeps."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8080, ge=0, le=65_535)
    """Port to listen on."""
    workers: int = Field(default_factory=default_workers, gt=0, le=64)
    """Gateway worker processes."""
    public_url: str | None = None
    """Where clients reach this server, if not at its own address: links are made from it."""
    api_keys: tuple[str, ...] = ()
    """Keys that clients must show; none means that everyone may do everything."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much is logged."""
    upload: UploadSettings = UploadSettings()
    volume: VolumeSettings = VolumeSettings()
    similarity: SimilaritySettings = SimilaritySettings()

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

    @property
    def volumes_writable(self) -> int:
        """Volumes that take writes at the same time."""
        return self.volume.writable_max or self.workers * limits.WRITABLE_VOLUMES_PER_WORKER
