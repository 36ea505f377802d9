"""What every child process of ``serve`` does first and last: its orders, its signals, its end.

The supervisor hands a child its orders in one environment variable and its lock by inheritance. A child
leaves Ctrl-C to the supervisor and stops in an orderly way on SIGTERM, which it also gets when the
supervisor dies.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Self

import uvloop

from hayloft.assembly.data_directory import DataDirectory
from hayloft.assembly.logs import configure_logs
from hayloft.config import Settings

ORDERS: Final = "HAYLOFT_CHILD_ORDERS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a child process needs to know."""

    settings: Settings
    port: int
    """The port that is listened on, the settings' 0 resolved."""
    name: str

    @property
    def data(self) -> DataDirectory:
        """The data directory, already locked and prepared."""
        return DataDirectory(self.settings.data)

    def to_environment(self) -> str:
        """As text, for the environment of the child."""
        return json.dumps(
            {
                "settings": self.settings.model_dump(mode="json"),
                "port": self.port,
                "name": self.name,
            }
        )

    @classmethod
    def from_environment(cls) -> Self:
        """The orders of this process."""
        given = json.loads(os.environ.pop(ORDERS))
        return cls(**{**given, "settings": Settings(**given["settings"])})


Main = Callable[[Orders, asyncio.Event], Coroutine[Any, Any, None]]
"""A child's work: runs until the event is set, then finishes what is in flight and returns."""


def run_child(main: Main) -> None:
    """Be a child process of ``serve``: carry out ``main`` with this process's orders."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orders = Orders.from_environment()
    configure_logs(orders.settings.log_level, process=orders.name)
    uvloop.run(_until_told(main, orders))


async def _until_told(main: Main, orders: Orders) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await main(orders, stopping)
