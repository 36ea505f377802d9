"""The server: whether it answers, knows the key, is the same version, and agrees about the time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from hayloft import __version__
from hayloft.cli.checks import Finding
from hayloft.client import Client, Patience, ServerUnreachable
from hayloft.errors import HayloftError, Unauthorized
from hayloft.types import SimilarityStatus

CLOCK_SECONDS_MAX: Final = 5.0


def check_server(url: str, api_key: str | None) -> Iterator[Finding]:
    """Whether a server answers, knows the key, is the same version and agrees about the time."""
    with Client(url, api_key=api_key, patience=Patience(attempts=1, connect_seconds=2)) as client:
        try:
            health = client.health()
        except ServerUnreachable:
            yield Finding(
                subject="server",
                level="note",
                text=f"none answers at {url}",
                advice="Start one with: hayloft serve, or give another address with --url.",
            )
            return
        except HayloftError as error:
            yield Finding(subject="server", level="wrong", text=error.message)
            return
        yield _version(url, health.version)
        yield _clock(health.answered_at)
        yield from _key(client)


def _version(url: str, version: str) -> Finding:
    if version in ("", __version__):
        return Finding(subject="server", level="good", text=f"{version} answers at {url}")
    return Finding(
        subject="server",
        level="note",
        text=f"{version} answers at {url}, and this is {__version__}",
        advice="Use the same version on both sides.",
    )


def _clock(server: datetime | None) -> Finding:
    if server is None:
        return Finding(subject="clock", level="note", text="the server does not tell the time")
    apart = abs((datetime.now(UTC) - server).total_seconds())
    if apart <= CLOCK_SECONDS_MAX:
        return Finding(subject="clock", level="good", text="the server's and this machine's agree")
    return Finding(
        subject="clock",
        level="note",
        text=f"the server's is {apart:.0f} s away from this machine's",
        advice="Switch on time synchronisation (timedatectl set-ntp true) on both.",
    )


def _key(client: Client) -> Iterator[Finding]:
    try:
        told = client.stats()
    except Unauthorized:
        yield Finding(
            subject="API key",
            level="wrong",
            text="the server wants one, or another one",
            advice="Give it with --api-key, or set HAYLOFT_API_KEY.",
        )
    except HayloftError as error:
        yield Finding(subject="statistics", level="wrong", text=error.message)
    else:
        yield Finding(subject="API key", level="good", text="the server takes requests from here")
        yield _embedder(told.similarity)


def _embedder(status: SimilarityStatus | None) -> Finding:
    if status is None:
        return Finding(subject="linking", level="note", text="off, or the ingest process does not answer")
    name = status.embedder or "none"
    return Finding(
        subject="embedder",
        level="good" if name.startswith("onnx/") else "note",
        text=f"{name} says which photos look alike: {status.embedder_hint}",
    )
