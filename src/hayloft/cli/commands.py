"""How commands are added to the program, so that their help reads alike."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import typer


def add(app: typer.Typer, name: str, function: Callable[..., Any], *, hidden: bool = False) -> None:
    """Add a command whose help is its docstring, with the lines of each paragraph joined."""
    app.command(name, help=paragraphs(inspect.getdoc(function) or ""), hidden=hidden)(function)


def paragraphs(text: str) -> str:
    """Text whose lines break only between paragraphs, because the terminal's width decides the rest."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
