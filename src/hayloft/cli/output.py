"""What commands print: tables for people, JSON lines for programs, one complaint a line.

Answers go to standard output, everything else to standard error. Names that others chose are shown with
nothing in them that could move the cursor. It knows nothing of servers.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hayloft.cli.failure import Complaint, advice_of, sentence_of
from hayloft.errors import HayloftError

_PIPE_WIDTH = 10_000
"""Into a pipe nothing is cut off: whoever reads there wants whole ids and names."""


def console() -> Console:
    """Standard output."""
    return _console(sys.stdout)


def error_console() -> Console:
    """Standard error."""
    return _console(sys.stderr)


def _console(file: Any) -> Console:
    return Console(file=file, highlight=False, width=None if file.isatty() else _PIPE_WIDTH)


def print_json(record: Any) -> None:
    """One JSON object on one line."""
    from hayloft.client.answers import to_json

    sys.stdout.write(json.dumps(to_json(record), ensure_ascii=False, default=str) + "\n")


def print_line(text: str, style: str = "") -> None:
    """One line of an answer."""
    console().print(Text(text, style=style), soft_wrap=True)


def say(text: str, style: str = "") -> None:
    """One line beside the answer, for a person."""
    error_console().print(Text(text, style=style), soft_wrap=True)


def complain(error: HayloftError | OSError | Complaint) -> None:
    """An error: what went wrong, and what to do next."""
    advice = advice_of(error)
    say(f"hayloft: {safe(sentence_of(error))}", style="red")
    if advice:
        say(f"         {advice}")


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, right: Sequence[str] = ()
) -> Table:
    """A table; the columns named in ``right`` are aligned to the right. The last column may be cut."""
    made = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        last = column == columns[-1]
        made.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=True,
            overflow="ellipsis" if last else "fold",
        )
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return made


def pairs(rows: Iterable[tuple[str, str]]) -> Table:
    """Names and values below each other."""
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        made.add_row(name, Text(value))
    return made


def safe(text: str | os.PathLike[str]) -> str:
    """Text that a terminal can be trusted with."""
    valid = os.fsencode(text).decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in valid)


def bytes_text(size: int) -> str:
    """A size for people: ``1.4 MB``, decimal as disks are sold and file managers count."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.95 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def time_text(time: datetime) -> str:
    """A time in the local zone."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def count_text(count: int, one: str, many: str = "") -> str:
    """``1 photo``, ``2,000 photos``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
