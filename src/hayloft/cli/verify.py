"""``hayloft verify``: reads everything that is kept and says whether it is whole."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
