"""``Client``: the same client for programs without an event loop.

A facade and nothing more: every method runs the ``AsyncClient``'s in an event loop that lives in a
background thread. Safe for many threads at once.
"""

from __future__ import annotations

import io
import os
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from contextlib import ExitStack
from datetime import datetime
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from hayloft.client.answers import Deletion, Health, Page, Photo, Statistics, UploadedPhoto
from hayloft.client.asynchronous import CONNECTIONS_MAX, DEFAULT_URL, AsyncClient
from hayloft.client.folders import PARALLEL, PutResult
from hayloft.client.reading import PhotoStream
from hayloft.client.reference import PhotoLike
from hayloft.client.sources import PhotoSource, Progress
from hayloft.client.transport import Patience
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

P = ParamSpec("P")
T = TypeVar("T")


class Client:
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
        self._client = AsyncClient(url, api_key=api_key, connections=connections, patience=patience)
        resources = ExitStack()
        self._portal = resources.enter_context(start_blocking_portal(name="hayloft-client"))
        resources.callback(self._portal.call, self._client.close)
        # Also runs at the interpreter's exit, for clients that were never closed.
        self._finalizer = weakref.finalize(self, resources.close)

    @property
    def url(self) -> str:
        """The server's address."""
        return self._client.url

    def __enter__(self) -> Self:
        """Nothing to do: connections open when first needed."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all connections."""
        self.close()

    def close(self) -> None:
        """Close all connections and end the background thread; again is no error."""
        self._finalizer()

    def put(
        self,
        photo: PhotoSource,
        *,
        name: str | None = None,
        idempotency_key: str | None = None,
        created_at: datetime | None = None,
        on_progress: Progress | None = None,
    ) -> UploadedPhoto:
        """Upload one photo: a path, bytes, or a file object. See ``AsyncClient.put``.

        ``on_progress`` is called in the client's own thread.
        """
        return self._run(
            self._client.put,
            photo,
            name=name,
            idempotency_key=idempotency_key,
            created_at=created_at,
            on_progress=on_progress,
        )

    def put_folder(
        self,
        folder: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        parallel: int = PARALLEL,
        hidden: bool = False,
    ) -> Iterator[PutResult]:
        """Upload every file that is not there yet; yields results. See ``AsyncClient.put_folder``."""
        return self._iterate(self._client.put_folder(folder, parallel=parallel, hidden=hidden))

    def delete(self, photo: PhotoLike) -> Deletion:
        """Delete a photo for good. See ``AsyncClient.delete``."""
        return self._run(self._client.delete, photo)

    def set_verdict(self, a: PhotoLike, b: PhotoLike, verdict: Verdict | str | None) -> Link | None:
        """Say that two photos are ``same`` or ``different``. See ``AsyncClient.set_verdict``."""
        return self._run(self._client.set_verdict, a, b, verdict)

    def get(self, photo: PhotoLike, *, rendition: str | None = None) -> bytes:
        """A photo's original bytes, or a rendition's. See ``AsyncClient.get``."""
        return self._run(self._client.get, photo, rendition=rendition)

    def open(
        self, photo: PhotoLike, *, start: int = 0, end: int | None = None, rendition: str | None = None
    ) -> PhotoFile:
        """A photo as a seekable file for reading, from byte ``start`` up to, without, ``end``.

        Use it as a context: ``with client.open(photo) as file: file.read(1000)``.
        """
        return PhotoFile(self._portal, self._client.open(photo, start=start, end=end, rendition=rendition))

    def info(self, photo: PhotoLike) -> Photo:
        """What is known about a photo. See ``AsyncClient.info``."""
        return self._run(self._client.info, photo)

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
    ) -> Iterator[Photo]:
        """All photos that match, page after page. See ``AsyncClient.photos``."""
        return self._iterate(
            self._client.photos(
                status=status,
                media_type=media_type,
                created_from=created_from,
                created_until=created_until,
                sha256=sha256,
                newest_first=newest_first,
                page_size=page_size,
            )
        )

    def photos_page(
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
        """One page of photos, and how many there are in all. See ``AsyncClient.photos_page``."""
        return self._run(
            self._client.photos_page,
            status=status,
            media_type=media_type,
            created_from=created_from,
            created_until=created_until,
            sha256=sha256,
            newest_first=newest_first,
            limit=limit,
            cursor=cursor,
        )

    def known(self, digests: Iterable[str | bytes]) -> dict[str, PhotoId]:
        """The oldest photo for each SHA-256 that is already there. See ``AsyncClient.known``."""
        return self._run(self._client.known, digests)

    def similar(
        self,
        photo: PhotoLike,
        *,
        k: int = 10,
        score_min: float = 0.0,
        relation: Relation | str | None = None,
    ) -> tuple[Neighbour, ...]:
        """The ``k`` photos nearest to one, nearest first. See ``AsyncClient.similar``."""
        return self._run(self._client.similar, photo, k=k, score_min=score_min, relation=relation)

    def similar_to(
        self,
        image: PhotoSource,
        *,
        k: int = 10,
        score_min: float = 0.0,
        relation: Relation | str | None = None,
    ) -> tuple[Neighbour, ...]:
        """The ``k`` photos nearest to an image that is not stored. See ``AsyncClient.similar_to``."""
        return self._run(self._client.similar_to, image, k=k, score_min=score_min, relation=relation)

    def search(self, words: str, *, k: int = 20) -> tuple[Neighbour, ...]:
        """The ``k`` photos that the words describe best. See ``AsyncClient.search``."""
        return self._run(self._client.search, words, k=k)

    def links(self, photo: PhotoLike) -> tuple[Link, ...]:
        """All links of one photo, best first. See ``AsyncClient.links``."""
        return self._run(self._client.links, photo)

    def all_links(self, *, relation: Relation | str | None = None, page_size: int = 500) -> Iterator[Link]:
        """All links, page after page, in the order they were found. See ``AsyncClient.all_links``."""
        return self._iterate(self._client.all_links(relation=relation, page_size=page_size))

    def links_page(
        self, *, relation: Relation | str | None = None, limit: int = 100, cursor: str | None = None
    ) -> Page[Link]:
        """One page of all links, and how many there are in all. See ``AsyncClient.links_page``."""
        return self._run(self._client.links_page, relation=relation, limit=limit, cursor=cursor)

    def groups(
        self, *, relation: Relation | str | None = None, page_size: int = 500
    ) -> Iterator[PhotoGroup]:
        """Photos that are the same, group after group. See ``AsyncClient.groups``."""
        return self._iterate(self._client.groups(relation=relation, page_size=page_size))

    def groups_page(
        self, *, relation: Relation | str | None = None, limit: int = 100, cursor: str | None = None
    ) -> Page[PhotoGroup]:
        """One page of all groups, and how many there are in all. See ``AsyncClient.groups_page``."""
        return self._run(self._client.groups_page, relation=relation, limit=limit, cursor=cursor)

    def group(self, photo: PhotoLike) -> PhotoGroup:
        """The photos that are the same as one. See ``AsyncClient.group``."""
        return self._run(self._client.group, photo)

    def similarity_status(self) -> SimilarityStatus:
        """How far linking has got. See ``AsyncClient.similarity_status``."""
        return self._run(self._client.similarity_status)

    def rebuild_similarity(self) -> SimilarityStatus:
        """Have the indexes of links made anew. See ``AsyncClient.rebuild_similarity``."""
        return self._run(self._client.rebuild_similarity)

    def verdicts(self, *, page_size: int = 500) -> Iterator[GivenVerdict]:
        """What people said of pairs of photos. See ``AsyncClient.verdicts``."""
        return self._iterate(self._client.verdicts(page_size=page_size))

    def parked_events(self, consumer: str = "similarity") -> tuple[ParkedEvent, ...]:
        """What a consumer of events gave up. See ``AsyncClient.parked_events``."""
        return self._run(self._client.parked_events, consumer)

    def retry_parked(self, consumer: str = "similarity", position: int | None = None) -> int:
        """Have parked events delivered once more. See ``AsyncClient.retry_parked``."""
        return self._run(self._client.retry_parked, consumer, position)

    def stats(self) -> Statistics:
        """What the server holds, and how far linking has got. See ``AsyncClient.stats``."""
        return self._run(self._client.stats)

    def health(self) -> Health:
        """Whether the server is alive, and which version it is. See ``AsyncClient.health``."""
        return self._run(self._client.health)

    def _run(self, method: Callable[P, Awaitable[T]], *args: P.args, **options: P.kwargs) -> T:
        async def call() -> T:
            return await method(*args, **options)

        return self._portal.call(call)

    def _iterate(self, items: AsyncGenerator[T, None]) -> Iterator[T]:
        end: Any = object()
        try:
            while (item := self._portal.call(anext, items, end)) is not end:
                yield item
        finally:
            # A listing that was left early may be forgotten only after the client was closed.
            if self._finalizer.alive:
                self._portal.call(items.aclose)


class PhotoFile(io.RawIOBase):
    """A stored photo as a file: readable and seekable, so that imaging libraries can open it.

    Connects at once.

    Raises:
        NotFound, Gone: there is no such photo, or no more.
        RangeNotSatisfiable: it is shorter than the start asked for.
    """

    def __init__(self, portal: BlockingPortal, stream: PhotoStream) -> None:
        super().__init__()
        self._portal = portal
        self._stream = stream
        portal.call(stream.__aenter__)

    @property
    def size(self) -> int:
        """Bytes of the whole photo."""
        return self._stream.size

    @property
    def media_type(self) -> str:
        """The photo's media type."""
        return self._stream.media_type

    @property
    def name(self) -> str:
        """The file name that the server tells; empty if it tells none."""
        return self._stream.name

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always: seeking asks the server for the rest from there."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer``; fewer bytes than that only at the end."""
        view = memoryview(buffer).cast("B")
        data = self._portal.call(self._stream.read, len(view))
        view[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        """The rest, in one go."""
        return self._portal.call(self._stream.read)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to an offset; the next read starts there."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._stream.position, io.SEEK_END: self._stream.size}[whence]
        if start + offset < 0:
            raise ValueError("a position before the photo's start")
        self._portal.call(self._stream.seek, start + offset)
        return start + offset

    def tell(self) -> int:
        """The offset of the next byte."""
        return self._stream.position

    def close(self) -> None:
        """Let the connection go."""
        if not self.closed:
            self._portal.call(self._stream.__aexit__, None, None, None)
        super().close()
