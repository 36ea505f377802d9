"""``AsyncClient``: every endpoint of the gateway as a method, for programs with an event loop.

Uploads carry an idempotency key, so that a retry after a lost answer makes no second photo, and what the
server says it stored is compared with what was sent. All methods raise errors of ``hayloft.errors``;
``ServerUnreachable`` (a ``RoleUnavailable``) when there is no answer. Safe for many tasks at once.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Final, Self, TypeVar

from hayloft import errors
from hayloft.client import answers
from hayloft.client.answers import Deletion, Health, Page, Photo, Statistics, UploadedPhoto
from hayloft.client.folders import PARALLEL, FolderUpload, PutResult
from hayloft.client.reading import PhotoStream
from hayloft.client.reference import PhotoLike, parse_reference
from hayloft.client.sources import PhotoSource, Progress, Source, media_type_of, source_of
from hayloft.client.transport import Patience, Transport
from hayloft.client.walking import Walk
from hayloft.types import (
    GivenVerdict,
    Link,
    Neighbour,
    ParkedEvent,
    PhotoGroup,
    PhotoId,
    PhotoStatus,
    Relation,
    SimilarityStatus,
    Verdict,
)

DEFAULT_URL: Final = "http://127.0.0.1:8080"
CONNECTIONS_MAX: Final = 32
KNOWN_BATCH: Final = 1000
"""Digests that one request may ask about."""

T = TypeVar("T")
Named = TypeVar("Named", PhotoStatus, Relation, Verdict)


class AsyncClient:
    """A client of the server at ``url``; use it as a context, or call ``close``.

    ``api_key`` is needed when the server has keys. ``connections`` bounds the requests in flight.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        connections: int = CONNECTIONS_MAX,
        patience: Patience | None = None,
    ) -> None:
        self._transport = Transport(
            url, api_key=api_key, connections=connections, patience=patience or Patience()
        )

    @property
    def url(self) -> str:
        """The server's address."""
        return self._transport.url

    async def __aenter__(self) -> Self:
        """Nothing to do: connections open when first needed."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all connections."""
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    # Writing -------------------------------------------------------------------------------------

    async def put(
        self,
        photo: PhotoSource,
        *,
        name: str | None = None,
        idempotency_key: str | None = None,
        created_at: datetime | None = None,
        on_progress: Progress | None = None,
    ) -> UploadedPhoto:
        """Upload one photo: a path, bytes, or a file object. It is on stable storage on return.

        ``name`` is the file name to remember, by default that of the file. With an ``idempotency_key``
        of the caller's, an upload repeated by another run of the program makes no second photo either.
        ``created_at`` is when it was uploaded to the library that it is brought from. ``on_progress`` is
        told how many bytes are on their way; it starts again at 0 when the photo has to be sent again.

        Raises:
            InvalidRequest: ``created_at`` is yet to come, or before 1970.
            OSError: the file cannot be read.
            UnsupportedMedia, Truncated, EmptyUpload, UploadTooLarge, ImageTooLarge: the server refuses it.
            StorageFull, Unavailable: the server cannot take it now.
        """
        source = await source_of(photo, name, on_progress=on_progress)
        query = {
            "name": source.name or None,
            "created_at": None if created_at is None else answers.format_time(created_at),
        }
        answer = await self._transport.request(
            "POST",
            "/upload",
            query=_given(query),
            body=source,
            headers={
                "Content-Type": media_type_of(source.name),
                "Idempotency-Key": idempotency_key or uuid.uuid4().hex,
            },
        )
        return _checked(answer.told(answers.uploaded_from), source)

    async def put_folder(
        self,
        folder: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        parallel: int = PARALLEL,
        hidden: bool = False,
    ) -> AsyncGenerator[PutResult, None]:
        """Upload every file below a folder (or several folders and files) that is not there yet.

        Yields one result for each file as it is done; what failed is a result too. Files are
        recognised by their contents, so running it again uploads exactly what is missing. Hidden files
        are left out unless ``hidden``.

        Raises:
            ServerUnreachable, Unauthorized, StorageFull: going on makes no sense; run it again later.
        """
        roots = [folder] if isinstance(folder, str | os.PathLike) else folder
        async with FolderUpload(self, Walk(roots, hidden=hidden), parallel=parallel) as upload:
            async for result in upload:
                yield result

    async def delete(self, photo: PhotoLike) -> Deletion:
        """Delete a photo for good. Deleting it again is no error.

        Raises:
            PhotoNotFound: there never was such a photo.
        """
        reference = parse_reference(photo)
        answer = await self._transport.request("DELETE", f"/photo/{reference.photo}")
        return answer.told(partial(answers.deletion_from, reference.photo))

    async def set_verdict(self, a: PhotoLike, b: PhotoLike, verdict: Verdict | str | None) -> Link | None:
        """Say that two photos are ``same`` or ``different``; it wins over any computation, for ever.

        None takes a verdict back. Returns the link as it is now, None if there is none left.
        """
        first, second = parse_reference(a).photo, parse_reference(b).photo
        said = None if verdict is None else _parsed(Verdict, verdict).value
        answer = await self._transport.request(
            "PUT", f"/links/{first}/{second}/verdict", document={"verdict": said}
        )
        return answer.told(answers.verdict_from)

    # Reading -------------------------------------------------------------------------------------

    async def get(self, photo: PhotoLike, *, rendition: str | None = None) -> bytes:
        """A photo's original bytes, or those of a rendition: thumb, small, medium or large.

        Raises:
            PhotoNotFound, PhotoDeleted: there is no such photo, or no more.
            UnsupportedMedia: the photo cannot be decoded, so it has no renditions.
        """
        path = parse_reference(photo).rendition_path(rendition)
        return (await self._transport.request("GET", path)).body

    def open(
        self, photo: PhotoLike, *, start: int = 0, end: int | None = None, rendition: str | None = None
    ) -> PhotoStream:
        """Read a photo, or a rendition, piece by piece, from byte ``start`` up to, without, ``end``.

        Use it as a context: ``async with client.open(photo) as stream: await stream.read(1000)``.
        """
        path = parse_reference(photo).rendition_path(rendition)
        return PhotoStream(self._transport, path, start=start, end=end)

    async def info(self, photo: PhotoLike) -> Photo:
        """What is known about a photo, deleted ones included.

        Raises:
            PhotoNotFound: there is no such photo.
        """
        answer = await self._transport.request("GET", f"/photo/{parse_reference(photo).photo}/info")
        return answer.told(answers.photo_from)

    def photos(
        self,
        *,
        status: PhotoStatus | str | None = PhotoStatus.ACTIVE,
        media_type: str | None = None,
        created_from: datetime | None = None,
        created_until: datetime | None = None,
        sha256: str | None = None,
        newest_first: bool = False,
        page_size: int = 500,
    ) -> AsyncGenerator[Photo, None]:
        """All photos that match, page after page, oldest first by default; ``status`` None is any.

        ``created_from`` is inclusive, ``created_until`` exclusive; times without a zone are local.
        """
        return _every(
            partial(
                self.photos_page,
                status=status,
                media_type=media_type,
                created_from=created_from,
                created_until=created_until,
                sha256=sha256,
                newest_first=newest_first,
                limit=page_size,
            )
        )

    async def photos_page(
        self,
        *,
        status: PhotoStatus | str | None = PhotoStatus.ACTIVE,
        media_type: str | None = None,
        created_from: datetime | None = None,
        created_until: datetime | None = None,
        sha256: str | None = None,
        newest_first: bool = False,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[Photo]:
        """One page of photos, and how many there are in all; filters as in ``photos``."""
        query = {
            "status": "any" if status is None else _parsed(PhotoStatus, status).value,
            "media_type": media_type,
            "from": None if created_from is None else answers.format_time(created_from),
            "until": None if created_until is None else answers.format_time(created_until),
            "sha256": sha256,
            "order": "desc" if newest_first else "asc",
            "limit": limit,
            "cursor": cursor,
        }
        answer = await self._transport.request("GET", "/photos", query=_given(query))
        return answer.told(answers.photo_page_from)

    async def known(self, digests: Iterable[str | bytes]) -> dict[str, PhotoId]:
        """The oldest photo for each SHA-256 that is already there, by its hexadecimal digits."""
        wanted = [digest.hex() if isinstance(digest, bytes) else digest.lower() for digest in digests]
        found: dict[str, PhotoId] = {}
        for start in range(0, len(wanted), KNOWN_BATCH):
            found |= await self._known(wanted[start : start + KNOWN_BATCH])
        return found

    async def _known(self, digests: Sequence[str]) -> dict[str, PhotoId]:
        answer = await self._transport.request("POST", "/photos/known", document={"sha256": digests})
        return answer.told(answers.known_from)

    # Linking -------------------------------------------------------------------------------------

    async def similar(
        self,
        photo: PhotoLike,
        *,
        k: int = 10,
        score_min: float = 0.0,
        relation: Relation | str | None = None,
    ) -> tuple[Neighbour, ...]:
        """The ``k`` photos nearest to one, nearest first, never the photo itself.

        Raises:
            PhotoNotFound: there is no such photo, or it has not been looked at yet.
        """
        query = _similar_query(k, score_min, relation)
        path = f"/similar/{parse_reference(photo).photo}"
        answer = await self._transport.request("GET", path, query=query)
        return answer.told(answers.neighbours_from)

    async def similar_to(
        self,
        image: PhotoSource,
        *,
        k: int = 10,
        score_min: float = 0.0,
        relation: Relation | str | None = None,
    ) -> tuple[Neighbour, ...]:
        """The ``k`` photos nearest to an image that is not stored: a path, bytes, or a file object.

        Raises:
            OSError: the file cannot be read.
            UnsupportedMedia: it cannot be decoded as an image.
        """
        source = await source_of(image)
        answer = await self._transport.request(
            "POST",
            "/similar",
            query=_similar_query(k, score_min, relation),
            body=source,
            headers={"Content-Type": media_type_of(source.name)},
        )
        return answer.told(answers.neighbours_from)

    async def search(self, words: str, *, k: int = 20) -> tuple[Neighbour, ...]:
        """The ``k`` photos that the words describe best, best first; the score is a cosine.

        Raises:
            SearchNotConfigured: the model in use on the server knows no words.
        """
        answer = await self._transport.request("GET", "/search", query={"q": words, "k": k})
        return answer.told(answers.found_from)

    async def links(self, photo: PhotoLike) -> tuple[Link, ...]:
        """All links of one photo, best first.

        Raises:
            PhotoNotFound: there is no such photo.
        """
        answer = await self._transport.request("GET", f"/photo/{parse_reference(photo).photo}/links")
        return answer.told(answers.links_of)

    def all_links(
        self, *, relation: Relation | str | None = None, page_size: int = 500
    ) -> AsyncGenerator[Link, None]:
        """All links, page after page, in the order they were found."""
        return _every(partial(self.links_page, relation=relation, limit=page_size))

    async def links_page(
        self, *, relation: Relation | str | None = None, limit: int = 100, cursor: str | None = None
    ) -> Page[Link]:
        """One page of all links, and how many there are in all."""
        query = {"relation": _relation(relation), "limit": limit, "cursor": cursor}
        answer = await self._transport.request("GET", "/links", query=_given(query))
        return answer.told(answers.link_page_from)

    def groups(
        self, *, relation: Relation | str | None = None, page_size: int = 500
    ) -> AsyncGenerator[PhotoGroup, None]:
        """Photos that are the same, group after group, by the smallest id in each.

        With ``relation`` ``duplicate`` by equal bytes alone; otherwise by verified copies and people's
        word too.

        Raises:
            InvalidRequest: ``relation`` is ``similar``: what is merely alike forms no groups.
        """
        return _every(partial(self.groups_page, relation=relation, limit=page_size))

    async def groups_page(
        self, *, relation: Relation | str | None = None, limit: int = 100, cursor: str | None = None
    ) -> Page[PhotoGroup]:
        """One page of all groups, and how many there are in all; ``relation`` as in ``groups``."""
        query = {"relation": _relation(relation), "limit": limit, "cursor": cursor}
        answer = await self._transport.request("GET", "/groups", query=_given(query))
        return answer.told(answers.group_page_from)

    async def group(self, photo: PhotoLike) -> PhotoGroup:
        """The photos that are the same as one; a photo that is like no other is a group of its own.

        Raises:
            PhotoNotFound: there is no such photo, or it has not been looked at yet.
            PhotoDeleted: it was deleted.
        """
        answer = await self._transport.request("GET", f"/photo/{parse_reference(photo).photo}/group")
        return answer.told(answers.group_from)

    async def similarity_status(self) -> SimilarityStatus:
        """How far linking has got, and what says which photos look alike.

        Raises:
            RoleUnavailable: photos are not linked there.
        """
        answer = await self._transport.request("GET", "/similarity/status")
        return answer.told(answers.similarity_from)

    async def rebuild_similarity(self) -> SimilarityStatus:
        """Have the indexes of links made anew, in the background; the status says how far that is."""
        answer = await self._transport.request("POST", "/similarity/rebuild")
        return answer.told(answers.similarity_from)

    async def verdicts(self, *, page_size: int = 500) -> AsyncGenerator[GivenVerdict, None]:
        """What people said of pairs of photos, page after page, whether the two are linked or not."""
        cursor: str | None = None
        while True:
            query = _given({"limit": page_size, "cursor": cursor})
            answer = await self._transport.request("GET", "/verdicts", query=query)
            page, cursor = answer.told(answers.verdicts_page_from)
            for verdict in page:
                yield verdict
            if cursor is None:
                return

    async def parked_events(self, consumer: str = "similarity") -> tuple[ParkedEvent, ...]:
        """What one of the server's consumers of events gave up after repeated failures, oldest first."""
        answer = await self._transport.request("GET", "/events/parked", query={"consumer": consumer})
        return answer.told(answers.parked_from)

    async def retry_parked(self, consumer: str = "similarity", position: int | None = None) -> int:
        """Have one parked event, or all of a consumer's, delivered once more; how many there are."""
        body = {"consumer": consumer, "position": position}
        answer = await self._transport.request("POST", "/events/parked/retry", document=body)
        return answer.told(lambda told: int(told["retried"]))

    # The server ----------------------------------------------------------------------------------

    async def stats(self) -> Statistics:
        """What the server holds, and how far linking has got."""
        answer = await self._transport.request("GET", "/stats")
        return answer.told(answers.statistics_from)

    async def health(self) -> Health:
        """Whether the server is alive, and which version it is. Needs no API key."""
        answer = await self._transport.request("GET", "/health")
        return answer.told(partial(answers.health_from, answer.headers.get("Date")))


async def _every(page_of: Callable[..., Awaitable[Page[T]]]) -> AsyncGenerator[T, None]:
    """What a listing holds, page after page; ``page_of`` fetches the page at a ``cursor``."""
    cursor: str | None = None
    while True:
        page = await page_of(cursor=cursor)
        for item in page.items:
            yield item
        if (cursor := page.next_cursor) is None:
            return


def _checked(uploaded: UploadedPhoto, source: Source) -> UploadedPhoto:
    """Compare what the server says it stored with what was sent."""
    if uploaded.sha256 in ("", source.sha256):
        return uploaded
    if uploaded.repeated:
        raise errors.Conflict(
            "This idempotency key belongs to another photo’s upload.", photo_id=uploaded.id
        )
    raise errors.NeedleCorrupt(
        f"The server stored other bytes than were sent: delete photo {uploaded.id} and try again.",
        photo_id=uploaded.id,
    )


def _similar_query(
    k: int, score_min: float, relation: Relation | str | None
) -> dict[str, str | int | float]:
    return _given({"k": k, "min_score": score_min, "relation": _relation(relation)})


def _relation(relation: Relation | str | None) -> str | None:
    return None if relation is None else _parsed(Relation, relation).value


def _given(query: Mapping[str, str | int | float | None]) -> dict[str, str | int | float]:
    return {name: value for name, value in query.items() if value is not None}


def _parsed(kind: type[Named], value: Named | str) -> Named:
    try:
        return kind(value)
    except ValueError:
        choices = ", ".join(kind)
        raise errors.InvalidRequest(f"“{value}” is none of: {choices}.") from None
