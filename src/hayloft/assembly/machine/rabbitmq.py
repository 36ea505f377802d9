"""A RabbitMQ of the cluster's own, from Debian's package: its node name, ports, port mapper, files and
password.

It listens on this machine only, and does not touch a RabbitMQ that runs as a service. Queues and messages
stay in its folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hayloft.assembly.supervisor import Command
from hayloft.errors import Conflict, RoleUnavailable

NAME: Final = "rabbitmq"
SERVER: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
USER: Final = "hayloft"

START_SECONDS_MAX: Final = 120.0
"""Erlang takes its time on a busy machine."""
_POLL_SECONDS: Final = 0.2
_GREETING: Final = b"AMQP\0\0\x09\x01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What a node listens on."""

    amqp: int
    distribution: int
    mapper: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RabbitMQ:
    """A prepared node, and how it is started: its port mapper first."""

    mapper: Command
    command: Command
    port: int
    password: str

    @property
    def url(self) -> str:
        """Where the roles find it."""
        return f"amqp://{USER}:{self.password}@127.0.0.1:{self.port}/"


def prepare(folder: Path, *, ports: Ports, password: str, output: Path) -> RabbitMQ:
    """Write the node's configuration. The password counts when the node is made; give the same ever after.

    Raises:
        Conflict: RabbitMQ is not installed.
    """
    epmd = shutil.which("epmd")
    if not SERVER.exists() or epmd is None:
        raise Conflict(
            "No broker URL is given, and there is no RabbitMQ to start: "
            "apt-get install rabbitmq-server, or set HAYLOFT_BROKER_URL."
        )
    for name in ("", "home", "mnesia", "log"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    (folder / "plugins").write_text("[].")
    configuration = folder / "rabbitmq.conf"
    configuration.touch(mode=0o600)
    configuration.write_text(f"default_user = {USER}\ndefault_pass = {password}\nloopback_users = none\n")
    environment = {
        "HOME": str(folder / "home"),
        "ERL_EPMD_PORT": str(ports.mapper),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": "hayloft@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(ports.amqp),
        "RABBITMQ_DIST_PORT": str(ports.distribution),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONFIG_FILE": str(configuration),
        # Has the start script become the server instead of waiting for it, so that signals reach it.
        "RUNNING_UNDER_SYSTEMD": "true",
    }
    return RabbitMQ(
        mapper=Command(
            name="epmd",
            arguments=(epmd, "-port", str(ports.mapper)),
            environment=environment,
            own_group=True,
            output=output,
        ),
        command=Command(
            name=NAME, arguments=(str(SERVER),), environment=environment, own_group=True, output=output
        ),
        port=ports.amqp,
        password=password,
    )


async def until_ready(rabbitmq: RabbitMQ) -> None:
    """Wait until the node speaks AMQP.

    Raises:
        RoleUnavailable: it does not in time.
    """
    deadline = asyncio.get_running_loop().time() + START_SECONDS_MAX
    while not await answers(rabbitmq.port):
        if asyncio.get_running_loop().time() > deadline:
            raise RoleUnavailable("RabbitMQ does not answer.")
        await asyncio.sleep(_POLL_SECONDS)


async def answers(port: int) -> bool:
    """Whether something on this port of this machine answers to AMQP's greeting."""
    with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
        async with asyncio.timeout(1.0):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(_GREETING)
                return bool(await reader.readexactly(1))
            finally:
                writer.close()
    return False
