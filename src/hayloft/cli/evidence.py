"""Why two photos belong together, in the few words that fit into a table.

JSON output has all of the evidence, matrices too.
"""

from __future__ import annotations

from typing import Any, Final

from hayloft.cli.output import safe
from hayloft.types import Link, Neighbour

WHY_CHARACTERS_MAX: Final = 100

_SHOWN_ELSEWHERE: Final = frozenset({"from", "to", "model"})
"""Evidence that repeats the table's ids and the method's name."""


def why_text(found: Link | Neighbour) -> str:
    """Method and evidence in a few words: ``pdq/1: distance 12, quality 100``."""
    shown = ((name, value) for name, value in found.evidence.items() if _is_telling(name, value))
    words = ", ".join(f"{name.replace('_', ' ')} {_value_text(value)}" for name, value in shown)
    text = safe(f"{found.method}: {words}" if words else found.method)
    return text if len(text) <= WHY_CHARACTERS_MAX else text[: WHY_CHARACTERS_MAX - 1] + "…"


def _is_telling(name: str, value: Any) -> bool:
    return name not in _SHOWN_ELSEWHERE and isinstance(value, str | int | float)


def _value_text(value: str | float) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
