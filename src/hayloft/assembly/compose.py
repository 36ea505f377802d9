"""docker-compose.yml, made from the table of roles: one image for all of them, official ones beside it.

Nothing has a default password: what must be secret is a variable that has to be given. Every part says
itself whether it is healthy, and starts when what it needs does.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

from hayloft import limits
from hayloft.assembly.topology import (
    EVERYWHERE,
    POSTGRES,
    RABBITMQ,
    READY_PATH,
    Instance,
    Surroundings,
    instances,
    told,
)

POSTGRES_IMAGE: Final = "pgvector/pgvector:0.8.1-pg18"
RABBITMQ_IMAGE: Final = "rabbitmq:4"
IMAGE: Final = "hayloft:${HAYLOFT_VERSION:-latest}"
DATA: Final = "/data"

_SECRET: Final = "${HAYLOFT_SECRET:?make one with: openssl rand -hex 32}"  # noqa: S105 - a variable
_POSTGRES_PASSWORD: Final = "${POSTGRES_PASSWORD:?letters and digits}"  # noqa: S105
_RABBITMQ_PASSWORD: Final = "${RABBITMQ_PASSWORD:?letters and digits}"  # noqa: S105

HEAD: Final = """# A whole cluster in containers: docker compose up --build --wait
# Made from the table of roles by: hayloft cluster compose > docker-compose.yml
#
# It takes three variables, in the environment or in a file .env beside this one: HAYLOFT_SECRET,
# POSTGRES_PASSWORD and RABBITMQ_PASSWORD. Only the gateway's port is open to the outside.
"""


def compose_yaml() -> str:
    """The file's text."""
    text: str = yaml.dump(compose(), Dumper=_Plain, sort_keys=False, width=1000, default_flow_style=False)
    return HEAD + text


def compose() -> dict[str, Any]:
    """The file's contents."""
    members = instances()
    around = Surroundings(
        members=members,
        url_of=lambda member: f"http://{member.name}:{member.port}",
        database_url=f"postgresql://hayloft:{_POSTGRES_PASSWORD}@{POSTGRES}:5432/hayloft",
        broker_url=f"amqp://hayloft:{_RABBITMQ_PASSWORD}@{RABBITMQ}:5672/",
        host=EVERYWHERE,
    )
    services = {POSTGRES: _postgres(), RABBITMQ: _rabbitmq()}
    services |= {member.name: _service(member, around) for member in members}
    kept = [member.name for member in members if member.role.keeps]
    return {
        "name": "hayloft",
        "services": services,
        "volumes": dict.fromkeys((POSTGRES, RABBITMQ, *kept)),
    }


def _postgres() -> dict[str, Any]:
    return {
        "image": POSTGRES_IMAGE,
        "environment": {
            "POSTGRES_USER": "hayloft",
            "POSTGRES_DB": "hayloft",
            "POSTGRES_PASSWORD": _POSTGRES_PASSWORD,
        },
        "volumes": [f"{POSTGRES}:/var/lib/postgresql"],
        "healthcheck": _check("CMD-SHELL", "pg_isready --username hayloft --dbname hayloft"),
        "stop_signal": "SIGINT",
        "restart": "unless-stopped",
    }


def _rabbitmq() -> dict[str, Any]:
    return {
        "image": RABBITMQ_IMAGE,
        "hostname": RABBITMQ,  # its queues are kept under the host's name
        "environment": {
            "RABBITMQ_DEFAULT_USER": "hayloft",
            "RABBITMQ_DEFAULT_PASS": _RABBITMQ_PASSWORD,
        },
        "volumes": [f"{RABBITMQ}:/var/lib/rabbitmq"],
        "healthcheck": _check("CMD", "rabbitmq-diagnostics", "--quiet", "check_port_connectivity"),
        "restart": "unless-stopped",
    }


def _service(member: Instance, around: Surroundings) -> dict[str, Any]:
    role = member.role
    service: dict[str, Any] = {
        "image": IMAGE,
        "build": ".",
        "command": [role.command],
        "environment": {"HAYLOFT_SECRET": _SECRET, **told(member, around)},
    }
    if role.keeps:
        service["environment"]["HAYLOFT_DATA"] = f"{DATA}/{member.name}"
        service["volumes"] = [f"{member.name}:{DATA}"]
    if role.command == "directory":
        # Said, so that it holds before all stores have registered, too.
        service["environment"]["HAYLOFT_REPLICAS_MIN"] = (
            f"${{HAYLOFT_REPLICAS_MIN:-{limits.REPLICAS_MIN_DEFAULT}}}"
        )
    if role.command == "gateway":
        service["environment"]["HAYLOFT_API_KEYS"] = "${HAYLOFT_API_KEYS:-[]}"
        service["environment"]["HAYLOFT_PUBLIC_URL"] = "${HAYLOFT_PUBLIC_URL:-}"
        service["ports"] = [f"${{HAYLOFT_PUBLISH:-127.0.0.1:{member.port}}}:{member.port}"]
    url = f"http://127.0.0.1:{member.port}{READY_PATH}"
    return service | {
        "depends_on": _needed(member, around),
        "healthcheck": _check("CMD", "curl", "--fail", "--silent", "--output", "/dev/null", url),
        "stop_grace_period": "40s",
        "restart": "unless-stopped",
    }


def _needed(member: Instance, around: Surroundings) -> dict[str, Any]:
    """What is started before: backends when they are healthy, roles at once, because all of them wait."""
    needs = member.role.needs
    backends = {name: {"condition": "service_healthy"} for name in (POSTGRES, RABBITMQ) if name in needs}
    roles = {
        other.name: {"condition": "service_started"}
        for other in around.members
        if other.role.command in needs
    }
    return backends | roles


def _check(*test: str) -> dict[str, Any]:
    return {"test": list(test), "interval": "5s", "timeout": "5s", "retries": 12, "start_period": "60s"}


class _Plain(yaml.SafeDumper):  # type: ignore[misc]  # the package has no types
    """Without anchors, and with nothing where there is nothing to say."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


_Plain.add_representer(type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", ""))
