"""The roles of a cluster: what there is, how many of it, where it listens, what it needs, what it is told.

The one table that ``hayloft cluster up``, ``hayloft cluster status`` and docker-compose.yml are made from.
It knows names, ports and settings, and starts nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

POSTGRES: Final = "postgres"
RABBITMQ: Final = "rabbitmq"

HEALTH_PATH: Final = "/health"
READY_PATH: Final = "/ready"

EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - what a container listens on; its network is the cluster's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """One kind of process."""

    command: str
    """``hayloft <command>`` starts it."""
    name: str
    """Its name in a cluster; with a number where there may be several."""
    port: int
    """Of the first."""
    step: int = 1
    """From one's port to the next one's."""
    count: int = 1
    numbered: bool = False
    needs: tuple[str, ...] = ()
    """Commands of the roles, and names of the backends, that it cannot do its work without."""
    keeps: bool = False
    """Whether it has a directory of its own on disk."""
    stop_order: int
    """Those with the lowest number are stopped first."""


ROLES: Final = (
    Role(
        command="directory",
        name="directory",
        port=8001,
        step=10,
        count=2,
        numbered=True,
        needs=(POSTGRES, RABBITMQ),
        stop_order=3,
    ),
    Role(
        command="store",
        name="s",
        port=8101,
        count=3,
        numbered=True,
        needs=("directory",),
        keeps=True,
        stop_order=2,
    ),
    Role(
        command="cache", name="cache", port=8002, step=10, count=2, numbered=True, keeps=True, stop_order=2
    ),
    Role(
        command="similarity",
        name="similarity",
        port=8005,
        needs=(POSTGRES, RABBITMQ, "directory", "store"),
        keeps=True,
        stop_order=1,
    ),
    Role(
        command="pitchfork",
        name="pitchfork",
        port=8006,
        needs=("directory", "store"),
        stop_order=1,
    ),
    Role(
        command="gateway",
        name="gateway",
        port=8080,
        needs=("directory", "store", "cache", "similarity"),
        stop_order=0,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One process of a cluster."""

    role: Role
    name: str
    number: int
    """From 1."""
    port: int


def instances(counts: Mapping[str, int] | None = None) -> tuple[Instance, ...]:
    """All processes, in the order of starting; ``counts`` says how many by command, where it is not one's
    usual number."""
    return tuple(_instances(counts or {}))


def _instances(counts: Mapping[str, int]) -> Iterator[Instance]:
    for role in ROLES:
        for number in range(1, counts.get(role.command, role.count) + 1):
            if not role.numbered:
                name = role.name
            else:
                name = f"{role.name}{number}" if role.command == "store" else f"{role.name}-{number}"
            yield Instance(role=role, name=name, number=number, port=role.port + role.step * (number - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where the parts of a cluster find each other."""

    members: tuple[Instance, ...]
    url_of: Callable[[Instance], str]
    """The address at which others reach one."""
    database_url: str
    broker_url: str
    host: str = "127.0.0.1"
    """What they listen on."""

    def urls(self, command: str) -> list[str]:
        """The addresses of all that have this role."""
        return [self.url_of(member) for member in self.members if member.role.command == command]


def told(instance: Instance, around: Surroundings) -> dict[str, str]:
    """The environment that makes a process this member of a cluster, but for the secret and its disk."""
    environment = {
        "HAYLOFT_HOST": around.host,
        "HAYLOFT_PORT": str(instance.port),
        "HAYLOFT_ADVERTISED_URL": around.url_of(instance),
    }
    command = instance.role.command
    if "directory" in instance.role.needs:
        environment["HAYLOFT_DIRECTORIES"] = json.dumps(around.urls("directory"))
    if POSTGRES in instance.role.needs:
        environment["HAYLOFT_DATABASE_URL"] = around.database_url
    if RABBITMQ in instance.role.needs:
        environment["HAYLOFT_BROKER_URL"] = around.broker_url
    if command == "directory":
        environment["HAYLOFT_MODE"] = "primary" if instance.number == 1 else "replica"
    if command == "store":
        environment["HAYLOFT_STORE_ID"] = instance.name
    if command == "gateway":
        environment["HAYLOFT_CACHES"] = json.dumps(around.urls("cache"))
        environment["HAYLOFT_SIMILARITY_URL"] = around.urls("similarity")[0]
    return environment
