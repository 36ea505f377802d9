"""A gateway worker process: granian's HTTP server over the embedded gateway, until told to stop.

Several workers listen on one port (``SO_REUSEPORT``); the kernel spreads the connections. Stopping closes
the port first, answers what is in flight, and only then lets go of the roles.
"""

from __future__ import annotations

import asyncio

from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from hayloft.assembly import embedded
from hayloft.assembly.child import Orders, run_child


async def main(orders: Orders, stopping: asyncio.Event) -> None:
    """Serve until ``stopping`` is set."""
    settings = orders.settings
    async with embedded.front(settings, orders.data, worker=orders.name) as front:
        server = Server(
            front,
            address=settings.host,
            port=orders.port,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            websockets=False,
            log_enabled=False,
        )
        serving = asyncio.create_task(server.serve())
        told = asyncio.create_task(stopping.wait())
        await asyncio.wait({serving, told}, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        server.stop()  # type: ignore[no-untyped-call]
        await serving


if __name__ == "__main__":
    run_child(main)
