"""How each part of a cluster is: its process, whether it answers, and what it says of itself.

Asks ``/health`` (alive, and what there is to say) and ``/ready`` (able to work), neither of which needs the
secret. Knows nothing of who keeps the processes running.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final, Self

import aiohttp

from hayloft.assembly.topology import HEALTH_PATH, READY_PATH

ANSWER_SECONDS_MAX: Final = 2.5
"""A little more than a role takes at most to say that it is not ready."""


class Condition(StrEnum):
    """How one part is."""

    READY = "ready"
    NOT_READY = "not ready"
    """It answers, and says that it cannot do its work."""
    SILENT = "silent"
    """Its process is there and does not answer: starting, stopped, or hanging."""
    GONE = "gone"
    """There is no process."""
    RUNNING = "running"
    """The cluster is being stopped, and its turn has not come."""
    STOPPING = "stopping"
    """It was told to stop, and finishes what is in flight."""
    STOPPED = "stopped"
    """It was told to stop, and has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One process of a cluster, or something outside that it uses."""

    name: str
    command: str
    address: str
    """Its URL for a role; for people otherwise."""
    pid: int | None
    started_at_ms: int
    restarts: int
    own: bool = True
    """Whether it is the cluster's to start and stop."""

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """From what ``to_json`` made."""
        return cls(**told)

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """How a part was when it was asked."""

    part: Part
    condition: Condition
    says: str
    """What it says of itself, or of why it is not ready."""

    @property
    def uptime_seconds(self) -> float:
        """For how long its process has been there; 0 if there is none."""
        return max(0.0, time.time() - self.part.started_at_ms / 1000) if self.part.pid else 0.0

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {
            **self.part.to_json(),
            "state": self.condition.value,
            "uptime_seconds": round(self.uptime_seconds, 1),
            "says": self.says,
        }


async def observe(parts: Sequence[Part]) -> list[Observation]:
    """Ask all parts that are HTTP services; the others are what their process is."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        return list(await asyncio.gather(*(_observe(session, part) for part in parts)))


def ending(part: Part, *, told: bool) -> Observation:
    """How a part is while the cluster stops, by its process alone; ``told`` says that its turn has come."""
    running = Condition.STOPPING if told else Condition.RUNNING
    return Observation(part=part, condition=Condition.STOPPED if part.pid is None else running, says="")


async def _observe(session: aiohttp.ClientSession, part: Part) -> Observation:
    if not part.address.startswith("http"):
        if not part.own:
            return Observation(part=part, condition=Condition.READY, says="started by others")
        there = part.pid is not None and is_running(part.pid)
        return Observation(part=part, condition=Condition.READY if there else Condition.GONE, says="")
    if part.pid is None or not is_running(part.pid):
        return Observation(part=part, condition=Condition.GONE, says="")
    health, ready = await asyncio.gather(
        _ask(session, part.address + HEALTH_PATH), _ask(session, part.address + READY_PATH)
    )
    if ready is None and health is None:
        return Observation(part=part, condition=Condition.SILENT, says="")
    if ready is None or ready[0] != 200:
        reason = str(ready[1].get("message", "")) if ready else "It does not say whether it is ready."
        return Observation(part=part, condition=Condition.NOT_READY, says=reason)
    said = health[1] if health is not None else {}
    return Observation(part=part, condition=Condition.READY, says=summary(part.command, said))


async def _ask(session: aiohttp.ClientSession, url: str) -> tuple[int, dict[str, Any]] | None:
    with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError, ValueError):
        async with session.get(url) as answer:
            told = await answer.json()
            return answer.status, told if isinstance(told, dict) else {}
    return None


def summary(command: str, health: Mapping[str, Any]) -> str:
    """A role's ``/health`` in a few words."""
    match command:
        case "directory":
            refused = health.get("uploads_refused")
            return f"{health.get('mode', '')}{f', uploads refused: {refused}' if refused else ''}"
        case "store":
            volumes = health.get("volumes")
            if not isinstance(volumes, Mapping):
                return ""
            return f"{sum(volumes.values())} needles in {len(volumes)} volumes"
        case "cache":
            return f"{health.get('items', 0)} renditions"
        case "similarity":
            return f"{health.get('total_indexed', 0)} photos fingerprinted"
        case "pitchfork":
            failed = int(health.get("replicas_failed", 0))
            return f"{failed} replicas to mend" if failed else "all replicas are whole"
    return ""


def is_running(pid: int) -> bool:
    """Whether there is such a process, stopped ones included."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
