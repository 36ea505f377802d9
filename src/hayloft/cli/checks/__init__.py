"""What ``hayloft doctor`` looks at: one file a subject, one function a check, each returning findings.

Nothing is changed: the one file that is written, to time the disk, is taken away again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["good", "note", "wrong"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found."""

    subject: str
    level: Level
    text: str
    advice: str = ""
    """What to do about it; always given when it is not good."""
