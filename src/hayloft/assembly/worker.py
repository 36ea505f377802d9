"""A gateway worker process: an HTTP server over the embedded gateway, until told to stop.

Several workers listen on one port; the kernel spreads the connections. Stopping closes the port first,
answers what is in flight, and only then lets go of the roles.
"""

from __future__ import annotations

import asyncio

from hayloft.assembly import embedded
from hayloft.assembly.child import Orders, run_child
from hayloft.gateway.protocol import photo_protocol
from hayloft.wire.serving import AppServer


async def main(orders: Orders, stopping: asyncio.Event) -> None:
    """Serve until ``stopping`` is set."""
    settings = orders.settings
    async with (
        embedded.front(settings, orders.data, worker=orders.name) as front,
        AppServer(front, host=settings.host, port=orders.port, shared=True, protocol=photo_protocol(front)),
    ):
        await stopping.wait()


if __name__ == "__main__":
    run_child(main)
