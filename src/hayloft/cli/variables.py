"""Variables of the environment that look like settings and are none: misspelt, most likely.

Nothing would ever read such a variable, so whoever set it would wait in vain for what it was to change.
Processes of one cluster share an environment: a variable that any of Hayloft's commands reads is known.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pydantic import BaseModel

PREFIX: Final = "HAYLOFT_"
LIKENESS_MIN: Final = 0.75
"""How alike a name must be to be suggested: one or two letters in a word."""

OTHERS: Final = frozenset(
    f"{PREFIX}{name}"
    for name in ("URL", "API_KEY", "CONFIG", "CHILD_ORDERS", "GATEWAY_WORKER", "PUBLISH", "VERSION")
)
"""Variables that are no settings: the client's, the way to the file, and those of Hayloft's own processes
and of the compose file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A variable that nothing reads."""

    name: str
    meant: str | None
    """The setting with the nearest name, if one is near."""

    @property
    def text(self) -> str:
        """What is wrong, in one sentence."""
        return f"{self.name} is set, but there is no such setting."

    @property
    def advice(self) -> str:
        """What to do about it."""
        if self.meant is not None:
            return f"Set {self.meant} instead, if that is what is meant."
        return "Take it away; all settings are listed by: hayloft serve --help"


def unread(environment: Mapping[str, str] = os.environ) -> Iterator[Unread]:
    """The variables with our prefix that no command reads."""
    # Names are compared as pydantic does: their case does not matter.
    for name in sorted(environment):
        spelled = name.upper()
        if spelled.startswith(PREFIX) and spelled not in _known():
            nearest = difflib.get_close_matches(spelled, sorted(_known()), 1, LIKENESS_MIN)
            yield Unread(name=name, meant=nearest[0] if nearest else None)


@cache
def _known() -> frozenset[str]:
    from hayloft.assembly.settings import SETTINGS, ClusterSettings
    from hayloft.cli.setting_flags import flags
    from hayloft.config import Settings

    kinds: list[type[BaseModel]] = [Settings, ClusterSettings, *SETTINGS.values()]
    names = {flag.variable for kind in kinds for flag in flags(kind)}
    groups = {f"{PREFIX}{field.upper()}" for kind in kinds for field in kind.model_fields}
    return frozenset(names | groups | OTHERS)
