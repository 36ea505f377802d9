"""``hayloft cluster up``: all roles of a cluster as processes of one machine, kept running until Ctrl-C.

PostgreSQL and RabbitMQ come first, unless addresses of others are given; then all roles at once, because
each of them waits for what it needs. Whatever dies is started again. Stopping goes the other way round:
gateways first, the databases last, so that nothing in flight is cut off. Should this process be killed,
the others stop by themselves.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from itertools import groupby
from typing import Any, Final
from urllib.parse import urlsplit

import structlog

from hayloft import limits
from hayloft.assembly.logs import configure_logs
from hayloft.assembly.machine import postgres, rabbitmq
from hayloft.assembly.machine.home import ClusterHome
from hayloft.assembly.machine.watching import Observation, Part, ending, observe
from hayloft.assembly.ports import probed, url_at
from hayloft.assembly.settings import ClusterSettings
from hayloft.assembly.supervisor import Child, Command, python, stop, told_to_stop
from hayloft.assembly.topology import Instance, Surroundings, instances, told
from hayloft.errors import Conflict
from hayloft.wire.serving import free_port

OBSERVE_SECONDS: Final = 1.0
OBSERVE_SECONDS_STOPPING: Final = 0.2
"""Most of it takes a moment."""
STORES_AT_FIRST: Final = 3
INNER_HOST: Final = "127.0.0.1"
BACKEND_STOP_SECONDS_MAX: Final = 30.0
ROLE_STOP_SECONDS_MAX: Final = limits.SHUTDOWN_SECONDS_MAX + 10.0
"""What is in flight has its time, and then closing what is open."""

Show = Callable[[list[Observation]], None]
"""Called every second with how all parts are, and more often while they are being stopped."""

_log = structlog.get_logger(__name__)


def up(settings: ClusterSettings, show: Show) -> int:
    """Run a cluster until told to stop; returns the process's exit code.

    Raises:
        AlreadyServed: it runs already.
        Conflict: its directory is something else's, a port is taken, or PostgreSQL or RabbitMQ is missing.
        FormatTooNew: a newer Hayloft wrote its directory.
        RoleUnavailable: PostgreSQL does not start.
    """
    home = ClusterHome(settings.data)
    with home.lock():
        home.prepare()
        with home.log_of("cluster").open("a") as log:
            configure_logs(settings.log_level, process="cluster", output=log)
            asyncio.run(Cluster(settings, home).run(show))
    return 0


class Cluster:
    """The processes of one cluster."""

    def __init__(self, settings: ClusterSettings, home: ClusterHome) -> None:
        self._settings = settings
        self._home = home
        self._backends: list[Child] = []
        self._roles: list[tuple[Instance, Child]] = []
        self._outside: list[Part] = []
        self._addresses: dict[str, str] = {}

    async def run(self, show: Show) -> None:
        """Start everything, watch it, stop it in order when told to."""
        stopping, now = told_to_stop(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        try:
            await self._start()
            await _until(stopping, self._watch(show))
        finally:
            await self._stop(show, now)

    # Starting ------------------------------------------------------------------------------------

    async def _start(self) -> None:
        members = self._members()
        for member in members:
            _check_free(member, self._host_of(member))
        broker_url = self._broker()
        database_url = await self._database()
        self._home.write_environment(
            {"HAYLOFT_DATABASE_URL": database_url, "HAYLOFT_BROKER_URL": broker_url}
        )
        around = Surroundings(
            members=members,
            url_of=lambda member: url_at(self._host_of(member), member.port),
            database_url=database_url,
            broker_url=broker_url,
        )
        for member in members:
            child = Child(self._command(member, around))
            self._roles.append((member, child))
            self._addresses[member.name] = around.url_of(member)
            child.start()

    def _members(self) -> tuple[Instance, ...]:
        settings = self._settings
        stores = settings.stores or max(STORES_AT_FIRST, self._home.store_count())
        if stores < self._home.store_count():
            raise Conflict(
                f"{self._home.stores} holds the photos of {self._home.store_count()} stores; "
                f"with {stores} some could not be read."
            )
        usual = instances({"store": stores, "cache": settings.cache_count})
        return tuple(_at(member, self._port_of(member)) for member in usual)

    def _port_of(self, member: Instance) -> int:
        """The gateway's is the one that was asked for, even where all others take what is free."""
        settings = self._settings
        is_gateway = member.role.command == "gateway"
        if settings.free_ports and not (is_gateway and "port" in settings.model_fields_set):
            return free_port(self._host_of(member))
        return settings.port if is_gateway else member.port

    def _host_of(self, member: Instance) -> str:
        """What a role listens on: only the gateway is anybody else's business."""
        return self._settings.host if member.role.command == "gateway" else INNER_HOST

    async def _database(self) -> str:
        """The database's address, once it answers if it is the cluster's own."""
        given = self._settings.database_url
        if given is not None:
            self._use(postgres.NAME, given.get_secret_value())
            return given.get_secret_value()
        prepared = await asyncio.to_thread(
            postgres.prepare, self._home.postgres, output=self._home.log_of(postgres.NAME)
        )
        self._keep(prepared.command, str(prepared.sockets))
        await postgres.until_ready(prepared)
        return prepared.url

    def _broker(self) -> str:
        given = self._settings.broker_url
        if given is not None:
            self._use(rabbitmq.NAME, given.get_secret_value())
            return given.get_secret_value()
        prepared = rabbitmq.prepare(
            self._home.rabbitmq,
            ports=rabbitmq.Ports(amqp=free_port(), distribution=free_port(), mapper=free_port()),
            password=self._home.derived(rabbitmq.NAME),
            output=self._home.log_of(rabbitmq.NAME),
        )
        self._keep(prepared.mapper, f"127.0.0.1:{prepared.mapper.environment['ERL_EPMD_PORT']}")
        self._keep(prepared.command, f"127.0.0.1:{prepared.port}")
        return prepared.url

    def _use(self, name: str, url: str) -> None:
        """Something outside of this cluster; its password is not shown."""
        place = urlsplit(url)
        host = place.hostname or "local"
        address = f"{host}:{place.port}" if place.port else host
        self._outside.append(
            Part(
                name=name,
                command=name,
                address=address,
                pid=None,
                started_at_ms=0,
                restarts=0,
                own=False,
            )
        )

    def _keep(self, command: Command, address: str) -> None:
        child = Child(command)
        self._backends.append(child)
        self._addresses[command.name] = address
        child.start()

    def _command(self, member: Instance, around: Surroundings) -> Command:
        environment = {**told(member, around), "HAYLOFT_HOST": self._host_of(member)}
        if "HAYLOFT_SECRET" not in os.environ:
            environment["HAYLOFT_SECRET_FILE"] = str(self._home.secret_file)
        environment["TMPDIR"] = str(self._home.run)  # cleared at the next start, however this one ends
        environment["HAYLOFT_LOG_LEVEL"] = self._settings.log_level
        environment["HAYLOFT_WORKERS"] = str(self._settings.workers)
        if (folder := self._folder(member)) is not None:
            environment["HAYLOFT_DATA"] = folder
        return Command(
            name=member.name,
            arguments=(*python("hayloft"), member.role.command),
            environment=environment,
            own_group=True,
            output=self._home.log_of(member.name),
        )

    def _folder(self, member: Instance) -> str | None:
        folders = {"store": self._home.stores, "cache": self._home.caches}
        if member.role.command in folders:
            return str(folders[member.role.command] / member.name)
        return str(self._home.similarity) if member.role.keeps else None

    # Watching ------------------------------------------------------------------------------------

    async def _watch(self, show: Show) -> None:
        while True:
            show(await self._observe())
            await asyncio.sleep(OBSERVE_SECONDS)

    async def _observe(self) -> list[Observation]:
        parts = self._parts()
        self._home.write_state(
            {"pid": os.getpid(), "gateway": self._gateway(), "parts": [part.to_json() for part in parts]}
        )
        return await observe(parts)

    def _gateway(self) -> str:
        return next(self._addresses[m.name] for m, _ in self._roles if m.role.command == "gateway")

    def _parts(self) -> list[Part]:
        own = [(child.command.name, child.command.name, child) for child in self._backends]
        own += [(member.name, member.role.command, child) for member, child in self._roles]
        return self._outside + [
            Part(
                name=name,
                command=command,
                address=self._addresses[name],
                pid=child.pid,
                started_at_ms=child.started_at_ms,
                restarts=child.restarts,
            )
            for name, command, child in own
        ]

    # Stopping ------------------------------------------------------------------------------------

    async def _stop(self, show: Show, now: asyncio.Event) -> None:
        """Stop everything, and show what is still running meanwhile."""
        if not self._backends and not self._roles:
            return
        showing = asyncio.create_task(self._show_stopping(show))
        try:
            await self._stop_in_order(now)
        finally:
            showing.cancel()
            # Whatever there is to be shown on, the processes are stopped first.
            await asyncio.gather(showing, return_exceptions=True)
        self._home.state_file.unlink(missing_ok=True)
        self._home.environment_file.unlink(missing_ok=True)
        show(self._stopping())

    async def _show_stopping(self, show: Show) -> None:
        while True:
            show(self._stopping())
            await asyncio.sleep(OBSERVE_SECONDS_STOPPING)

    def _stopping(self) -> list[Observation]:
        """The processes that are the cluster's to stop."""
        children = [*self._backends, *(child for _member, child in self._roles)]
        told = {child.command.name for child in children if child.is_stopping}
        return [ending(part, told=part.name in told) for part in self._parts() if part.own]

    async def _stop_in_order(self, now: asyncio.Event) -> None:
        """Roles by their order, then the backends, last started first."""
        ordered = sorted(self._roles, key=lambda pair: pair[0].role.stop_order)
        for _order, group in groupby(ordered, key=lambda pair: pair[0].role.stop_order):
            children = [child for _member, child in group]
            await stop(children, seconds_max=ROLE_STOP_SECONDS_MAX, now=now)
        for child in reversed(self._backends):
            await stop([child], seconds_max=BACKEND_STOP_SECONDS_MAX, now=now)


def _check_free(member: Instance, host: str) -> None:
    try:
        probed(host, member.port)
    except OSError as error:
        raise Conflict(
            f"{member.name} cannot listen on {host} port {member.port}: {error.strerror or error}. "
            "Give --free-ports to have all roles take ports that are free."
        ) from error


def _at(member: Instance, port: int) -> Instance:
    return Instance(role=member.role, name=member.name, number=member.number, port=port)


async def _until(event: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Work until the event, or until the work fails: what it waits for does not hold the event up."""
    working, waiting = asyncio.create_task(work), asyncio.create_task(event.wait())
    await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if working.done():
        await working
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
