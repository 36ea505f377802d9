"""What became of many files: counted while they are uploaded, told at the end.

The summary says everything a person needs to decide what to do next: what is new, what was there, what
failed and why, and whether running the command again would help.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hayloft.cli.failure import ExitCode, exit_code_of
from hayloft.cli.output import bytes_text, complain, count_text, print_json, print_line, safe, say
from hayloft.client.folders import Outcome
from hayloft.errors import HayloftError
from hayloft.types import PhotoId

if TYPE_CHECKING:
    from hayloft.client import PutResult

SHOWN_MAX: Final = 10
"""Photos and failures told one by one; past it only their number, so that the summary stays in sight."""


class Tally:
    """Counts results and prints them: each one as JSON at once, or a summary at the end."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._counts: Counter[Outcome] = Counter()
        self._shown: list[PutResult] = []
        self._failures: list[PutResult] = []
        self._bytes_uploaded = 0
        self.photos: dict[Path, PhotoId] = {}
        """The photo that holds each file's bytes now."""
        self.files_found = 0
        self.hidden_skipped = 0
        self.interrupted = False
        self.error: HayloftError | None = None
        """What ended the run before its time."""

    @property
    def done(self) -> int:
        """Files dealt with so far."""
        return self._counts.total()

    @property
    def exit_code(self) -> ExitCode:
        """What the program's exit code has to say."""
        if self.interrupted:
            return ExitCode.INTERRUPTED
        if self.error is not None:
            return exit_code_of(self.error)
        return ExitCode.PARTLY if self._failures else ExitCode.OK

    def count(self, result: PutResult) -> None:
        """One more file is done."""
        self._counts[result.outcome] += 1
        if result.outcome is Outcome.UPLOADED:
            self._bytes_uploaded += result.size
        if result.photo is not None:
            self.photos[result.path] = result.photo
        if result.outcome is Outcome.FAILED:
            self._failures.append(result)
        elif result.photo is not None and len(self._shown) <= SHOWN_MAX:
            self._shown.append(result)
        if self._as_json:
            print_json(_as_document(result))

    def summarise(self) -> None:
        """Tell it all."""
        if not self._as_json:
            self._tell_photos()
        self._tell_failures()
        self._tell_counts()
        if self.error is not None:
            complain(self.error)
        if self.interrupted or self.error is not None:
            say("Nothing is lost: run the same command again to go on where it stopped.")

    def _tell_photos(self) -> None:
        if len(self._shown) > SHOWN_MAX:
            return
        for result in self._shown:
            where = result.uploaded.url if result.uploaded else "already there"
            print_line(f"{result.photo}  {safe(result.path.name)}  {where}")

    def _tell_failures(self) -> None:
        for result in self._failures[:SHOWN_MAX]:
            say(f"{safe(result.path)}: {safe(result.reason)}", style="red")
        if len(self._failures) > SHOWN_MAX:
            say(f"… and {len(self._failures) - SHOWN_MAX:,} more; --json lists every file.", style="red")

    def _tell_counts(self) -> None:
        counts = self._counts
        parts = [
            f"{count_text(counts[Outcome.UPLOADED], 'photo')} uploaded ({bytes_text(self._bytes_uploaded)})"
        ]
        if counts[Outcome.PRESENT]:
            parts.append(f"{counts[Outcome.PRESENT]:,} already there")
        if counts[Outcome.DUPLICATE]:
            parts.append(f"{counts[Outcome.DUPLICATE]:,} with the same bytes as another file")
        if counts[Outcome.FAILED]:
            parts.append(f"{counts[Outcome.FAILED]:,} failed")
        if self.hidden_skipped:
            parts.append(f"{self.hidden_skipped:,} hidden left out")
        if self.done < self.files_found:
            parts.append(f"{self.files_found - self.done:,} found but not dealt with")
        say(", ".join(parts) + ".", style="bold")


def _as_document(result: PutResult) -> dict[str, Any]:
    document: dict[str, Any] = {
        "path": safe(result.path),
        "outcome": str(result.outcome),
        "size": result.size,
        "photo_id": result.photo,
    }
    if result.uploaded is not None:
        document |= {"url": result.uploaded.url, "sha256": result.uploaded.sha256}
        document |= {"duplicate_of": result.uploaded.duplicate_of}
    if result.same_as is not None:
        document["same_as"] = safe(result.same_as)
    if result.error is not None:
        code = result.error.code if isinstance(result.error, HayloftError) else "unreadable"
        document["error"] = {"code": code, "message": result.reason}
    return document
