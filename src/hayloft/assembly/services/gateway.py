"""``hayloft gateway``: what clients talk to, over the other roles of its cluster.

One worker serves in this process. Several are processes of their own, which run the same command line
again, listen on one port, and are started again when they end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from typing import Final

from hayloft import limits
from hayloft.assembly import cluster
from hayloft.assembly.logs import configure_logs
from hayloft.assembly.ports import reserved_port
from hayloft.assembly.service import run
from hayloft.assembly.settings import GatewayRoleSettings
from hayloft.assembly.supervisor import Child, Command, python, stop, told_to_stop
from hayloft.gateway.protocol import photo_protocol
from hayloft.wire.serving import AppServer

WORKER: Final = "HAYLOFT_GATEWAY_WORKER"
"""Tells a worker process its number and its port: ``2:8080``."""


def main(settings: GatewayRoleSettings) -> int:
    """Serve until told to stop; returns the process's exit code.

    Raises:
        Conflict: the port is taken.
    """
    if WORKER in os.environ:
        number, _, given = os.environ[WORKER].partition(":")
        settings = settings.model_copy(update={"port": int(given)})
        return run(_worker, settings, name=f"gateway {number}", interruptible=False)
    with reserved_port(settings) as port:
        if settings.workers == 1:
            return run(_worker, settings.model_copy(update={"port": port}), name="gateway")
        configure_logs(settings.log_level, process="gateway")
        with tempfile.TemporaryDirectory(prefix="hayloft-metrics-") as metrics:
            asyncio.run(_supervise(settings, port, metrics))
    return 0


async def _worker(settings: GatewayRoleSettings, stopping: asyncio.Event) -> None:
    name = f"{settings.url}/{os.environ.get(WORKER, '1').partition(':')[0]}"
    async with (
        cluster.front(settings, worker=name) as front,
        AppServer(
            front, host=settings.host, port=settings.port, shared=True, protocol=photo_protocol(front)
        ),
    ):
        await stopping.wait()


async def _supervise(settings: GatewayRoleSettings, port: int, metrics: str) -> None:
    stopping, now = told_to_stop(signal.SIGINT, signal.SIGTERM)
    workers = [
        Child(
            Command(
                name=f"gateway {number}",
                arguments=(*python("hayloft"), *sys.argv[1:]),
                environment={WORKER: f"{number}:{port}", "PROMETHEUS_MULTIPROC_DIR": metrics},
            )
        )
        for number in range(1, settings.workers + 1)
    ]
    for worker in workers:
        worker.start()
    await stopping.wait()
    await stop(workers, seconds_max=limits.SHUTDOWN_SECONDS_MAX, now=now)
