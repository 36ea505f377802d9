"""How the command line fails: exit codes, and errors as one clear sentence with what to do next.

The only place that turns errors into text and codes. A person never sees a traceback for anything that
is not a mistake in Hayloft itself.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from hayloft import errors
from hayloft.errors import HayloftError


class ExitCode(IntEnum):
    """What the exit code says; docs/CLI.md is made from here."""

    def __new__(cls, value: int, text: str) -> ExitCode:
        """A code with its text."""
        code = int.__new__(cls, value)
        code._value_ = value
        code.text = text
        return code

    text: str
    """What it says, for the reference."""

    OK = 0, "Everything was done."
    PARTLY = 1, "Some of it failed or something is wrong; the output says what. The rest was done."
    USAGE = 2, "The command was not understood."
    UNREACHABLE = 3, "No server answers at the address."
    NOT_FOUND = 4, "There is no such photo, or it was deleted."
    UNAUTHORIZED = 5, "The server wants an API key, or another one."
    REFUSED = 6, "The server refuses the request: not a photo, too big, contradictory."
    UNAVAILABLE = 7, "The server cannot do it now: overloaded, stopping, or out of space."
    BROKEN = 8, "Stored bytes are damaged, the data directory cannot be used, or the server failed."
    LOCAL = 9, "A file or folder on this machine cannot be read or written."
    INTERRUPTED = 130, "Interrupted by Ctrl-C."


_CODES: Final[tuple[tuple[type[HayloftError], ExitCode], ...]] = (
    (errors.Unauthorized, ExitCode.UNAUTHORIZED),
    (errors.NotFound, ExitCode.NOT_FOUND),
    (errors.Gone, ExitCode.NOT_FOUND),
    (errors.Invalid, ExitCode.REFUSED),
    (errors.LimitExceeded, ExitCode.REFUSED),
    (errors.Unavailable, ExitCode.UNAVAILABLE),
    (errors.Full, ExitCode.UNAVAILABLE),
)

_ADVICE: Final[dict[str, str]] = {
    "unauthorized": "Give the server's key with --api-key, or set HAYLOFT_API_KEY.",
    "photo_deleted": "Deleted photos never come back; list the others with: hayloft ls",
    "photo_not_found": "List the photos that are there with: hayloft ls",
    "not_found": "Is the address that of a Hayloft server? Give another one with --url.",
    "model_not_found": "The models that are there: hayloft models list",
    "search_not_configured": "Use a model with a text encoder: hayloft models add, hayloft models use",
    "overloaded": "Try again in a moment, or with fewer at a time: --parallel 1",
    "replicas_failed": "Look at the stores with: hayloft stats",
    "role_unavailable": "Try again in a moment; the server's log says which part does not answer.",
    "shutting_down": "Start the server again with: hayloft serve",
    "storage_full": "Make room on the server's disk; photos that are there can still be read.",
    "needle_corrupt": "Check all of the data with: hayloft verify",
    "volume_corrupt": "Check all of the data with: hayloft verify",
    "internal_error": "The server's log says more.",
    "format_too_new": "Use a newer Hayloft, or another --data folder.",
    "already_served": "Stop that server first, or use another --data folder.",
}

UNREACHABLE_ADVICE: Final = "Start one with: hayloft serve, or give another address with --url."


class Complaint(Exception):
    """Something the command line itself has to complain about."""

    def __init__(self, message: str, *, advice: str = "", code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.code = code


def exit_code_of(error: HayloftError | OSError | Complaint) -> ExitCode:
    """The exit code that stands for an error."""
    if isinstance(error, Complaint):
        return error.code
    if isinstance(error, OSError):
        return ExitCode.LOCAL
    if _is_unreachable(error):
        return ExitCode.UNREACHABLE
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.BROKEN)


def sentence_of(error: HayloftError | OSError | Complaint) -> str:
    """What went wrong, in one sentence."""
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}."
    return error.message


def advice_of(error: HayloftError | OSError | Complaint) -> str:
    """What to do next; empty when there is nothing to say."""
    if isinstance(error, Complaint):
        return error.advice
    if isinstance(error, OSError):
        return ""
    return UNREACHABLE_ADVICE if _is_unreachable(error) else _ADVICE.get(error.code, "")


def _is_unreachable(error: HayloftError) -> bool:
    # Imported here: only a program that holds the client can have met this error.
    from hayloft.client.transport import ServerUnreachable

    return isinstance(error, ServerUnreachable)
