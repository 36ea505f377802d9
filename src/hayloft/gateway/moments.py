"""Times as clients write them."""

from __future__ import annotations

from datetime import UTC, datetime

from hayloft.errors import InvalidRequest


def moment_ms(name: str, text: str | None) -> int | None:
    """A time as milliseconds since the Unix epoch; without an offset it is UTC.

    Raises:
        InvalidRequest: the text names no time.
    """
    if text is None:
        return None
    try:
        if text.isascii() and text.isdigit() and len(text) > 4:
            return int(text[:19])
        # A plus sign in an address means a space.
        moment = datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text)
        return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(f"{name}: {text!r} is no ISO 8601 time.", field=name) from error
