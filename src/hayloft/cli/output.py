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
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hayloft.cli.failure import Complaint, advice_of, sentence_of
from hayloft.errors import HayloftError

_PIPE_WIDTH = 10_000
"""Into a pipe nothing is cut off: whoever reads there wants whole ids and names."""

_CUT_WIDTH = 8
"""What is left at least of a column that gives way."""

_BETWEEN_COLUMNS = 3


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
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[str] = (),
    cut: Sequence[str] = (),
    width: int | None = None,
) -> Table:
    """A table; the columns in ``right`` are aligned to the right, those in ``cut`` give way on a narrow
    terminal (``width`` characters, by default that of standard output). The others are never shortened:
    half an id is worth nothing.
    """
    cells = [list(row) for row in rows]
    wanted = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    given = _widths(wanted, [column in cut for column in columns], width or console().width)
    made = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column, characters in zip(columns, given, strict=True):
        justify: Literal["left", "right"] = "right" if column in right else "left"
        made.add_column(column, justify=justify, no_wrap=True, overflow="ellipsis", width=characters)
    for row in cells:
        made.add_row(*(Text(cell) for cell in row))
    return made


def _widths(wanted: list[int], may_be_cut: list[bool], width: int) -> list[int]:
    """Widths that fit: what the uncut columns leave is shared out, the narrowest served first."""
    left = width - _BETWEEN_COLUMNS * len(wanted)
    left -= sum(characters for characters, cut in zip(wanted, may_be_cut, strict=True) if not cut)
    given = list(wanted)
    pending = sorted((number for number, cut in enumerate(may_be_cut) if cut), key=wanted.__getitem__)
    while pending:
        share = max(left // len(pending), _CUT_WIDTH)
        number = pending.pop(0)
        given[number] = min(wanted[number], share)
        left -= given[number]
    return given


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
