"""Original file names: made harmless on the way in, quoted on the way out. Pure."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote

from hayloft import limits

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that turn the direction of text (a name must look like what it is)."""
_UNQUOTABLE: Final = re.compile(r"[^ !#-\[\]-~]")
"""What may not stand in a quoted string as it is: not ASCII, or a quote or backslash."""
_EXTENDED: Final = re.compile(r"filename\*\s*=\s*utf-8''([^;\s]+)", re.IGNORECASE)
_PLAIN: Final = re.compile(r'filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))', re.IGNORECASE)


def clean(name: str) -> str:
    """The last component of a name, without control characters, cut to ``limits.NAME_BYTES_MAX``."""
    last = re.split(r"[/\\]", name)[-1]
    encoded = _CONTROL.sub("", last).strip().encode("utf-8", "ignore")[: limits.NAME_BYTES_MAX]
    kept = encoded.decode("utf-8", "ignore")
    return "" if kept in (".", "..") else kept


def from_disposition(header: str) -> str:
    """The file name in a ``Content-Disposition`` field (RFC 6266), cleaned; empty if there is none."""
    if extended := _EXTENDED.search(header):
        return clean(unquote(extended[1], errors="replace"))
    if plain := _PLAIN.search(header):
        return clean(re.sub(r"\\(.)", r"\1", plain[1]) if plain[1] is not None else plain[2])
    return ""


def to_disposition(name: str) -> str:
    """``inline`` with the name, in ASCII and, where that loses something, in UTF-8 too (RFC 8187)."""
    if not name:
        return "inline"
    ascii_name = _UNQUOTABLE.sub("_", name)
    plain = f'inline; filename="{ascii_name}"'
    return plain if ascii_name == name else f"{plain}; filename*=UTF-8''{quote(name, safe='')}"
