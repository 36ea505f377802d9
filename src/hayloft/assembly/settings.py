"""What each role of a cluster must be told, from flags, environment and file, as for one server.

The names are the same for every role, so that one environment, or one file, serves a whole cluster: what
the file says to other roles is skipped, what no role knows is refused. Secrets, and addresses that may
carry a password, are never shown, and have no flag.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, TomlConfigSettingsSource

from hayloft import limits
from hayloft.assembly.ports import url_at
from hayloft.config import (
    CacheSettings,
    GatewaySettings,
    PitchforkSettings,
    RenditionSettings,
    ServiceSettings,
    Settings,
    SimilaritySettings,
    UploadSettings,
    VolumeSettings,
)
from hayloft.errors import Conflict
from hayloft.types import StoreId
from hayloft.wire.authentication import SECRET_BYTES_MIN

DIRECTORIES: Final = ("http://127.0.0.1:8001", "http://127.0.0.1:8011")
"""Where directories are by default: those of a cluster on this machine."""


class ClusterFileSettings(ServiceSettings):
    """Settings whose file may be one for a whole cluster."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags first, then the environment, then what the file says to this role."""
        *others, file = super().settings_customise_sources(
            settings_cls, init_settings, env_settings, dotenv_settings, file_secret_settings
        )
        assert isinstance(file, TomlConfigSettingsSource)
        return (*others, _OwnPart(settings_cls, file.toml_file_path))


class MemberSettings(ClusterFileSettings):
    """What every role of a cluster must know."""

    secret: SecretStr | None = None
    """What the roles of a cluster sign requests to each other with; without one, anybody is served."""
    secret_file: Path | None = None
    """File that holds the secret; its first line is taken."""
    advertised_url: str | None = None
    """Where the other roles reach this one, if not at the address it listens on."""

    @property
    def url(self) -> str:
        """Where the other roles reach this one."""
        if self.advertised_url:
            return self.advertised_url.rstrip("/")
        return url_at(self.host, self.port)

    def key(self) -> bytes | None:
        """The secret, if there is one.

        Raises:
            Conflict: its file cannot be read, or it is too short.
        """
        if self.secret is not None:
            key = self.secret.get_secret_value().strip().encode()
        elif self.secret_file is not None:
            try:
                key = self.secret_file.read_text().partition("\n")[0].strip().encode()
            except (OSError, UnicodeDecodeError) as error:
                raise Conflict(f"The secret cannot be read: {error}.") from error
        else:
            return None
        if len(key) < SECRET_BYTES_MIN:
            raise Conflict(
                f"The secret is too short: it has to have {SECRET_BYTES_MIN} characters at least."
            )
        return key


class _OwnPart(TomlConfigSettingsSource):
    """The settings file without what is meant for other roles; what no role knows is refused."""

    def __init__(self, kind: type[BaseSettings], path: Any) -> None:
        self._own = frozenset(kind.model_fields)
        super().__init__(kind, path)

    def _read_files(self, files: Any, deep_merge: bool = False) -> dict[str, Any]:
        said = super()._read_files(files, deep_merge=deep_merge)
        foreign = _known() - self._own
        return {name: value for name, value in said.items() if name not in foreign}


class DirectoryUserSettings(MemberSettings):
    """What a role must know that asks the directory."""

    directories: tuple[str, ...] = DIRECTORIES
    """Addresses of the directories, in any order."""


class DirectoryRoleSettings(MemberSettings):
    """One directory of a cluster."""

    port: int = Field(default=8001, ge=0, le=65_535)
    """Port to listen on."""
    database_url: SecretStr
    """The database that all directories share, ``postgresql://…``."""
    broker_url: SecretStr | None = None
    """RabbitMQ, ``amqp://…``, which events go to; without one they stay in the log."""
    mode: Literal["primary", "replica"] = "primary"
    """Which of the directories takes writes first; another takes over when it is gone."""
    replication: int | None = Field(default=None, gt=0)
    """Replicas of a new volume; three, or as many as there are stores, when not given."""
    replicas_min: int | None = Field(default=None, gt=0)
    """Replicas below which uploads are refused; two, or one as long as there are fewer than three stores,
    when not given."""
    writable_volumes: int = Field(default=4, gt=0)
    """Volumes that take writes at the same time."""
    silence_seconds_max: float = Field(default=20.0, gt=0)
    """How long a store may be silent before its volumes take no more writes."""
    volume: VolumeSettings = VolumeSettings()

    @field_validator("replicas_min")
    @classmethod
    def _can_be_had(cls, replicas_min: int | None, told: ValidationInfo) -> int | None:
        replication = told.data.get("replication") or limits.REPLICATION_DEFAULT
        if replicas_min is not None and replicas_min > replication:
            raise ValueError(f"no volume has so many: new ones get {replication} replicas (replication)")
        return replicas_min


class StoreRoleSettings(DirectoryUserSettings):
    """One store of a cluster."""

    port: int = Field(default=8101, ge=0, le=65_535)
    """Port to listen on."""
    store_id: str = Field(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9._-]+$")
    """The store's name, unique in the cluster, and the same as long as its disk is."""
    zone: str = Field(default="", max_length=255)
    """Rack or zone it stands in; replicas are spread over zones."""
    data: Path = Path("hayloft-store")
    """Directory that holds its volumes."""
    volume: VolumeSettings = VolumeSettings()

    @property
    def store(self) -> StoreId:
        """The store's name."""
        return StoreId(self.store_id)


class CacheRoleSettings(MemberSettings):
    """One cache of a cluster."""

    port: int = Field(default=8002, ge=0, le=65_535)
    """Port to listen on."""
    data: Path | None = None
    """Directory for what does not fit into memory; none is kept on disk without one."""
    cache: CacheSettings = CacheSettings()


class GatewayRoleSettings(GatewaySettings, DirectoryUserSettings):
    """One gateway of a cluster."""

    caches: tuple[str, ...] = ()
    """Addresses of the caches; where a photo is cached is decided by them."""
    cache_admission: Literal["writable", "all", "none"] = "writable"
    """Which photos go into the caches when clients read them: those in volumes that take writes, or all."""
    similarity_url: str | None = None
    """Address of the similarity service, which also makes renditions."""


class SimilarityRoleSettings(DirectoryUserSettings):
    """The similarity service of a cluster, which also makes renditions."""

    port: int = Field(default=8005, ge=0, le=65_535)
    """Port to listen on."""
    data: Path = Path("hayloft-similarity")
    """Directory for what it keeps outside of its database."""
    database_url: SecretStr | None = None
    """PostgreSQL with pgvector, ``postgresql://…``; files in its directory when not given."""
    broker_url: SecretStr
    """RabbitMQ, ``amqp://…``, which events come from."""
    upload: UploadSettings = UploadSettings()
    similarity: SimilaritySettings = SimilaritySettings()
    renditions: RenditionSettings = RenditionSettings()


class PitchforkRoleSettings(DirectoryUserSettings):
    """The pitchfork of a cluster."""

    port: int = Field(default=8006, ge=0, le=65_535)
    """Port to listen on."""
    pitchfork: PitchforkSettings = PitchforkSettings()


class ClusterSettings(ClusterFileSettings):
    """A whole cluster on one machine."""

    data: Path = Path("hayloft-cluster")
    """Directory that holds everything the cluster keeps."""
    host: str = "127.0.0.1"
    """Address that the gateway listens on; the other roles are reached on this machine only."""
    port: int = Field(default=8080, ge=0, le=65_535)
    """Port of the gateway; the other roles have their usual ones."""
    free_ports: bool = False
    """Whether roles take ports that are free instead of their usual ones; a port that is given stays."""
    workers: int = Field(default=1, gt=0, le=64)
    """Worker processes of the gateway."""
    stores: int | None = Field(default=None, gt=0, le=64)
    """How many stores are started; three at first, later as many as there were, when not given."""
    cache_count: int = Field(default=2, ge=0, le=64)
    """How many caches are started."""
    database_url: SecretStr | None = None
    """PostgreSQL with pgvector, ``postgresql://…``; one is started when not given."""
    broker_url: SecretStr | None = None
    """RabbitMQ, ``amqp://…``; one is started when not given."""


SETTINGS: Final[dict[str, type[MemberSettings]]] = {
    "gateway": GatewayRoleSettings,
    "directory": DirectoryRoleSettings,
    "store": StoreRoleSettings,
    "cache": CacheRoleSettings,
    "similarity": SimilarityRoleSettings,
    "pitchfork": PitchforkRoleSettings,
}
"""By the name of the role's command."""


@cache
def _known() -> frozenset[str]:
    """Every name that some role knows, or the one server that is all of them."""
    kinds: tuple[type[BaseSettings], ...] = (Settings, ClusterSettings, *SETTINGS.values())
    return frozenset(name for kind in kinds for name in kind.model_fields)
