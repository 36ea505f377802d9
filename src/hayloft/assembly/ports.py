"""Ports that servers listen on: one that its workers share, and the address that leads to it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from hayloft.config import ServiceSettings
from hayloft.errors import Conflict


@contextmanager
def reserved_port(settings: ServiceSettings) -> Iterator[int]:
    """The port to listen on, kept from others until the context closes.

    Workers share it (SO_REUSEPORT), and so would a stranger's server: the first bind, without sharing,
    finds out whether there is one.

    Raises:
        Conflict: something listens there already, or the address is not this machine's.
    """
    try:
        port = probed(settings.host, settings.port)
        with socket.socket(_family(settings.host)) as reservation:
            reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            reservation.bind((settings.host, port))
            yield port
    except OSError as error:
        raise Conflict(
            f"Cannot listen on {settings.host} port {settings.port}: {error.strerror or error}. "
            "Give another one with --port."
        ) from error


def probed(host: str, port: int) -> int:
    """The port, or a free one for 0, once it was bound without sharing it.

    Raises:
        OSError: something listens there already, or the address is not this machine's.
    """
    with socket.socket(_family(host)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        return int(probe.getsockname()[1])


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def url_at(host: str, port: int) -> str:
    """The address at which what listens there is reached from this machine."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"
