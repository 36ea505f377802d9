"""Uploading whole folders: recursive, parallel, resumable.

Files are hashed here, the server is asked which contents it has already, and only the rest travels. So a
run that was interrupted, at any moment and in any way, is finished by running it again. One bad file
never stops the others; an error that would meet every file stops the run. Each content is uploaded once,
however often it lies in the folder, so that the outcome does not depend on interruptions.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from hayloft import errors
from hayloft.client.answers import Photo, UploadedPhoto
from hayloft.client.sources import Progress, digest_file
from hayloft.client.transport import ServerUnreachable
from hayloft.client.walking import Found
from hayloft.errors import HayloftError
from hayloft.types import PhotoId, PhotoStatus

PARALLEL: Final = 4
"""Uploads in flight: a server shares one disk flush among them, and more gain little."""

BATCH_MIN: Final = 8
BATCH_MAX: Final = 512
"""Files hashed before the server is asked about them: few at first, so that uploading begins soon."""

FATAL: Final = (
    ServerUnreachable,
    errors.Unauthorized,
    errors.StorageFull,
    errors.ShuttingDown,
    errors.RouteNotFound,
)
"""Errors that the next file would meet as well."""


class Outcome(StrEnum):
    """What became of one file."""

    UPLOADED = "uploaded"
    PRESENT = "present"
    """The server had these bytes already."""
    DUPLICATE = "duplicate"
    """Another file of this run has the same bytes."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PutResult:
    """One file that is done with."""

    path: Path
    outcome: Outcome
    size: int = 0
    """Bytes of the file."""
    photo: PhotoId | None = None
    """The photo that holds its bytes now, if any."""
    uploaded: UploadedPhoto | None = None
    same_as: Path | None = None
    """The file that was uploaded in this one's place, if it is a duplicate."""
    error: HayloftError | OSError | None = None

    @property
    def reason(self) -> str:
        """Why it failed, in a few words."""
        if isinstance(self.error, OSError):
            return self.error.strerror or str(self.error)
        return self.error.message if self.error else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A file that was hashed."""

    found: Found
    size: int
    digest: bytes


class Uploader(Protocol):
    """What uploading a folder takes of a client."""

    async def put(
        self,
        photo: Path,
        *,
        name: str | None,
        idempotency_key: str | None = None,
        created_at: datetime | None = None,
        on_progress: Progress | None = None,
    ) -> UploadedPhoto:
        """Upload one file."""
        ...

    async def known(self, digests: Iterable[str | bytes]) -> dict[str, PhotoId]:
        """The photos that have these contents already, by SHA-256."""
        ...

    async def info(self, photo: PhotoId) -> Photo:
        """What is known about a photo."""
        ...


class FolderUpload:
    """One run over many files, such as a ``Walk``: a context, and inside it an iterator of results.

    ``files_found`` and ``bytes_found`` grow while the files are still being found (``walked`` says when
    that is over), and ``bytes_done`` while they are dealt with, for a progress display: ``on_progress`` is
    called when that has changed. ``stop`` ends the run early and in good order. With ``again``, contents
    that the server has already are uploaded nevertheless.
    """

    def __init__(
        self,
        client: Uploader,
        files: Iterable[Found],
        *,
        parallel: int = PARALLEL,
        again: bool = False,
    ) -> None:
        self._client = client
        self._files = iter(files)
        self._parallel = parallel
        self._again = again
        self.on_progress: Callable[[], None] = lambda: None
        self._bytes_settled = 0
        self._bytes_in_flight: dict[Path, int] = {}
        self._seen: dict[bytes, Path] = {}
        self._candidates: asyncio.Queue[_Candidate | None] = asyncio.Queue(BATCH_MAX)
        self._results: asyncio.Queue[PutResult | BaseException | None] = asyncio.Queue(BATCH_MAX)
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self.files_found = 0
        self.bytes_found = 0
        self.walked = False

    @property
    def bytes_done(self) -> int:
        """Bytes of files that are done with, and those of the others that are on their way."""
        return self._bytes_settled + sum(self._bytes_in_flight.values())

    async def __aenter__(self) -> Self:
        """Start."""
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cancel what is still in flight; running again takes it up."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def stop(self) -> None:
        """Begin no more files; the iteration ends when those in flight are done."""
        self._stopping = True

    def __aiter__(self) -> AsyncIterator[PutResult]:
        """Results, as files are done with."""
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[PutResult]:
        while (result := await self._results.get()) is not None:
            if isinstance(result, BaseException):
                raise result
            yield result

    async def _run(self) -> None:
        """Hash and upload at the same time; the last result is None, or the error that ended the run."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._hash())
                for _ in range(self._parallel):
                    group.create_task(self._upload())
        except BaseExceptionGroup as failures:
            await self._results.put(_first(failures))
        else:
            await self._results.put(None)

    async def _hash(self) -> None:
        size = BATCH_MIN
        while not self._stopping and (batch := await asyncio.to_thread(self._next_batch, size)):
            await self._check(batch)
            size = min(size * 2, BATCH_MAX)
        self.walked = True
        for _ in range(self._parallel):
            await self._candidates.put(None)

    def _next_batch(self, size: int) -> list[Found]:
        batch = list(islice(self._files, size))
        self.files_found += len(batch)
        self.bytes_found += sum(found.size for found in batch)
        return batch

    async def _check(self, batch: list[Found]) -> None:
        """Sort a batch of files into those to upload and those that need not be."""
        hashed = await asyncio.gather(*(self._candidate(found) for found in batch))
        fresh = [candidate for candidate in hashed if candidate and not await self._is_twin(candidate)]
        asked = [candidate.digest for candidate in fresh if self._may_be_there(candidate)]
        known = await self._client.known(asked) if asked else {}
        for candidate in fresh:
            photo = known.get(candidate.digest.hex()) if self._may_be_there(candidate) else None
            if photo is None:
                await self._candidates.put(candidate)
            else:
                await self._tell(candidate, Outcome.PRESENT, photo=photo)

    def _may_be_there(self, candidate: _Candidate) -> bool:
        return not self._again and candidate.found.idempotency_key is None

    async def _candidate(self, found: Found) -> _Candidate | None:
        try:
            if found.error is not None:
                raise found.error
            digest, size = await asyncio.to_thread(digest_file, found.path)
            if found.sha256 is not None and digest.hex() != found.sha256:
                raise errors.InvalidRequest("The file is not what it was: its SHA-256 is another one.")
        except (HayloftError, OSError) as error:
            await self._fail(found, error)
            return None
        return _Candidate(found=found, size=size, digest=digest)

    async def _is_twin(self, candidate: _Candidate) -> bool:
        if candidate.found.idempotency_key is not None:
            return False
        first = self._seen.get(candidate.digest)
        if first is None:
            self._seen[candidate.digest] = candidate.found.path
            return False
        await self._tell(candidate, Outcome.DUPLICATE, same_as=first)
        return True

    async def _upload(self) -> None:
        while (candidate := await self._candidates.get()) is not None:
            if not self._stopping:
                await self._put(candidate)

    async def _put(self, candidate: _Candidate) -> None:
        try:
            photo = await self._put_once(candidate.found)
        except FATAL:
            raise
        except (HayloftError, OSError) as error:
            await self._fail(candidate.found, error)
        else:
            outcome = Outcome.PRESENT if photo.repeated else Outcome.UPLOADED
            await self._tell(candidate, outcome, photo=photo.id, uploaded=photo)

    async def _put_once(self, found: Found) -> UploadedPhoto:
        photo = await self._send(found, found.idempotency_key)
        if not (photo.repeated and found.idempotency_key):
            return photo
        if (await self._client.info(photo.id)).status is PhotoStatus.ACTIVE:
            return photo
        # The photo that this key once made was deleted since: only a key of its own brings it back.
        return await self._send(found, None)

    async def _send(self, found: Found, key: str | None) -> UploadedPhoto:
        def on_progress(sent: int) -> None:
            self._bytes_in_flight[found.path] = sent
            self.on_progress()

        return await self._client.put(
            found.path,
            name=found.name,
            idempotency_key=key,
            created_at=found.created_at,
            on_progress=on_progress,
        )

    async def _tell(
        self,
        candidate: _Candidate,
        outcome: Outcome,
        *,
        photo: PhotoId | None = None,
        uploaded: UploadedPhoto | None = None,
        same_as: Path | None = None,
    ) -> None:
        await self._settle(
            PutResult(
                path=candidate.found.path,
                size=candidate.size,
                outcome=outcome,
                photo=photo,
                uploaded=uploaded,
                same_as=same_as,
            )
        )

    async def _fail(self, found: Found, error: HayloftError | OSError) -> None:
        await self._settle(PutResult(path=found.path, size=found.size, outcome=Outcome.FAILED, error=error))

    async def _settle(self, result: PutResult) -> None:
        self._bytes_in_flight.pop(result.path, None)
        self._bytes_settled += result.size
        self.on_progress()
        await self._results.put(result)


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    error = failures.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
