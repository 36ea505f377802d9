"""A directory over HTTP: any implementation of ``roles.Directory`` behind the directory's wire contract.

Several directories may share one database. One of them is the primary; the others serve reads, and answer
whatever writes with 307 and the same address at the primary, as far as they know it at that moment. Commits
come in batches, each with its own answer, so that one round trip serves many uploads.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final, Literal

from fastapi import FastAPI, Path, Query

from hayloft import limits
from hayloft.directory import wire
from hayloft.directory.bodies import (
    AllocateBody,
    CommitBody,
    DetailsBody,
    EventBody,
    FailureBody,
    HeartbeatBody,
    KnownBody,
    LeaseBody,
    Name,
    ParkBody,
    PhotoBody,
    PhotosBody,
    Position,
    PositionBody,
    ReplacementBody,
    ReplicaBody,
    RetryBody,
    WritableBody,
)
from hayloft.directory.standing import Mode, Redirecting, Standing, add_redirection
from hayloft.directory.waiting import WAIT_SECONDS_MAX
from hayloft.errors import HayloftError, InternalError, NotPrimary
from hayloft.roles import Directory
from hayloft.types import (
    PHOTO_ID_BITS,
    PhotoId,
    PhotoQuery,
    PhotoStatus,
    Sequence,
    StoreId,
)
from hayloft.wire.asgi import App, Lifespan, application, request_id_variable
from hayloft.wire.details import details_to_json

HEALTH_SECONDS_MAX: Final = 1.0
"""How long the database may take, before a directory says that it is alive without it."""

PHOTO_PATH: Final = Path(ge=0, lt=1 << PHOTO_ID_BITS)


def directory_application(
    directory: Directory,
    *,
    version: str = "1",
    mode: Standing | None = None,
    lifespan: Lifespan | None = None,
) -> App:
    """The ASGI application that serves this directory."""
    mode = mode or Mode()
    app = application(title="Hayloft directory", version=version, lifespan=lifespan)
    _add_health(app, directory, version, mode)
    _add_contract(app, directory)
    _add_uploads(app, directory)
    _add_photos(app, directory)
    _add_volumes(app, directory)
    _add_replicas(app, directory)
    _add_events(app, directory)
    _add_consumers(app, directory)
    add_redirection(app, mode)
    return Redirecting(app, mode)


def _add_health(app: FastAPI, directory: Directory, version: str, mode: Standing) -> None:
    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Alive, in which mode, and why uploads are refused, if they are."""
        return {
            "service": "directory",
            "status": "ok",
            "version": version,
            "mode": "primary" if mode.primary else "replica",
            "primary_directory": mode.primary_url,
            "uploads_refused": await _uploads_refused(directory),
        }


async def _uploads_refused(directory: Directory) -> str:
    try:
        async with asyncio.timeout(HEALTH_SECONDS_MAX):
            return (await directory.statistics()).uploads_refused
    except (HayloftError, TimeoutError):
        return "The directory's database does not answer."


def _add_contract(app: FastAPI, directory: Directory) -> None:
    @app.post("/allocate_write")
    async def allocate_write(body: AllocateBody) -> dict[str, Any]:
        """An id, a cookie and a place for a photo, which is then in status ``alloc``."""
        key = wire.alternate_key_from(body.alt_key)
        return wire.record_to_json(await directory.allocate(size=body.size, alternate_key=key))

    @app.post("/commit_write")
    async def commit_write(body: PhotoBody) -> dict[str, Any]:
        """Make an allocated photo active."""
        record = await directory.commit_allocated(PhotoId(body.photo_id))
        return {**wire.record_to_json(record), "status": "committed"}

    @app.post("/delete")
    async def delete(body: PhotoBody) -> dict[str, Any]:
        """Delete a photo for good; ``before`` is its record as it was."""
        before = await directory.delete(PhotoId(body.photo_id))
        return {"status": "deleted", "photo_id": body.photo_id, "before": wire.record_to_json(before)}

    @app.get("/photo/{photo_id}")
    async def photo(photo_id: Annotated[int, PHOTO_PATH]) -> dict[str, Any]:
        """A photo's record."""
        return wire.record_to_json(await directory.photo(PhotoId(photo_id)))


def _add_uploads(app: FastAPI, directory: Directory) -> None:
    @app.post("/lease")
    async def lease(body: LeaseBody) -> Any:
        """A block of ids in a writable volume."""
        return wire.LEASE.dump_python(
            await directory.lease(
                holder=body.holder, count=body.count, avoid=[StoreId(name) for name in body.avoid]
            ),
            mode="json",
        )

    @app.post("/commit")
    async def commit(body: CommitBody) -> dict[str, Any]:
        """Commit photos; each has its own answer."""
        news = [photo.value() for photo in body.photos]
        answers = await asyncio.gather(*map(directory.commit, news), return_exceptions=True)
        return {"results": [_outcome(answer) for answer in answers]}


def _outcome(answer: Any) -> dict[str, Any]:
    if isinstance(answer, NotPrimary):
        # All of them go to the primary: those that were recorded before this one lost its term are there.
        raise answer
    if isinstance(answer, HayloftError):
        return wire.error_to_json(answer, request_id_variable.get())
    if isinstance(answer, Exception):
        return wire.error_to_json(InternalError(), request_id_variable.get())
    if isinstance(answer, BaseException):
        raise answer
    return wire.committed_to_json(answer)


def _add_photos(app: FastAPI, directory: Directory) -> None:
    @app.get("/photos")
    async def photos(
        cursor: str | None = None,
        offset: Annotated[int, Query(ge=0, lt=1 << PHOTO_ID_BITS)] = 0,
        limit: Annotated[int, Query(ge=1, le=limits.PAGE_PHOTOS_MAX)] = limits.PAGE_PHOTOS_MAX,
        status: Literal["alloc", "active", "deleted", "any"] = "any",
        media_type: str | None = None,
        created_from_ms: Annotated[int | None, Query(alias="from", ge=0, lt=1 << PHOTO_ID_BITS)] = None,
        created_until_ms: Annotated[int | None, Query(alias="until", ge=0, lt=1 << PHOTO_ID_BITS)] = None,
        order: Literal["asc", "desc"] = "asc",
        sha256: str | None = None,
    ) -> dict[str, Any]:
        """One page of photos, and how many there are in all."""
        query = PhotoQuery(
            status=None if status == "any" else PhotoStatus(status),
            media_type=media_type,
            created_from_ms=created_from_ms,
            created_until_ms=created_until_ms,
            sha256=None if sha256 is None else wire.digest_from(sha256),
            newest_first=order == "desc",
            cursor=cursor,
            offset=offset,
            limit=limit,
        )
        page = await directory.photos(query)
        return {
            "total": page.total,
            "photos": [wire.record_to_json(record) for record in page.photos],
            "next_cursor": page.next_cursor,
        }

    @app.post("/known")
    async def known(body: KnownBody) -> dict[str, Any]:
        """The oldest active photo for each digest that is here."""
        found = await directory.known([wire.digest_from(text) for text in body.sha256])
        return {"known": {digest.hex(): photo for digest, photo in found.items()}}

    @app.put("/details")
    async def set_details(body: DetailsBody) -> dict[str, str]:
        """Record what a photo's file says about it."""
        await directory.set_details(PhotoId(body.photo_id), wire.details_from(body.details))
        return {"status": "recorded"}

    @app.post("/details")
    async def details(body: PhotosBody) -> dict[str, Any]:
        """What the files of those photos say that have been looked at."""
        found = await directory.details([PhotoId(number) for number in body.photo_ids])
        return {"details": {photo: details_to_json(told) for photo, told in found.items()}}

    @app.get("/statistics")
    async def statistics() -> Any:
        """Totals."""
        return wire.STATISTICS.dump_python(await directory.statistics(), mode="json")


def _add_volumes(app: FastAPI, directory: Directory) -> None:
    @app.get("/placements")
    async def placements() -> Any:
        """All volumes with their replicas."""
        return wire.PLACEMENTS.dump_python(await directory.placements(), mode="json")

    @app.get("/placement/{logical_volume}")
    async def placement(logical_volume: str) -> Any:
        """One volume with its replicas."""
        volume = wire.volume_from(logical_volume)
        return wire.PLACEMENT.dump_python(await directory.placement(volume), mode="json")

    @app.get("/stores")
    async def stores() -> Any:
        """All stores that ever sent a heartbeat."""
        return wire.STORES.dump_python(await directory.stores(), mode="json")

    @app.post("/register")
    async def register(body: HeartbeatBody) -> dict[str, str]:
        """A store's heartbeat."""
        await directory.register(body.health, url=body.url, zone=body.zone)
        return {"status": "registered"}

    @app.post("/writable")
    async def writable(body: WritableBody) -> dict[str, str]:
        """Put a volume into, or take it out of, the writable set."""
        await directory.set_writable(wire.volume_from(body.logical_volume), body.writable)
        return {"status": "changed"}

    @app.post("/failure")
    async def failure(body: FailureBody) -> dict[str, str]:
        """Report a replica that failed."""
        volume = wire.volume_from(body.logical_volume)
        await directory.report_failure(volume, StoreId(body.store), body.reason)
        return {"status": "reported"}


def _add_replicas(app: FastAPI, directory: Directory) -> None:
    @app.get("/replicas")
    async def replicas() -> Any:
        """Every replica of every volume, and what is wrong with it."""
        return wire.REPLICAS.dump_python(await directory.replicas(), mode="json")

    @app.post("/mend")
    async def mend(body: ReplicaBody) -> dict[str, str]:
        """A replica is whole again."""
        await directory.mend(wire.volume_from(body.logical_volume), StoreId(body.store))
        return {"status": "mended"}

    @app.post("/replace")
    async def replace(body: ReplacementBody) -> dict[str, str]:
        """Have a replica made on another store."""
        old = None if body.old is None else StoreId(body.old)
        await directory.replace_replica(wire.volume_from(body.logical_volume), old, StoreId(body.new))
        return {"status": "replaced"}

    @app.get("/placement/{logical_volume}/photos")
    async def volume_photos(
        logical_volume: str,
        after: Annotated[int | None, Query(ge=0, lt=limits.SEQUENCES_PER_VOLUME_MAX)] = None,
        limit: Annotated[int, Query(ge=1, le=limits.PAGE_EVENTS_MAX)] = 1000,
    ) -> dict[str, Any]:
        """A volume's photos, deleted ones included, in order of their ids."""
        volume = wire.volume_from(logical_volume)
        start = None if after is None else Sequence(after)
        found = await directory.volume_photos(volume, after=start, limit=limit)
        return {"photos": wire.ENTRIES.dump_python(found, mode="json")}


def _add_events(app: FastAPI, directory: Directory) -> None:
    @app.get("/events")
    async def events(
        after: Annotated[int, Query(ge=0, lt=1 << 63)] = 0,
        limit: Annotated[int, Query(ge=1, le=limits.PAGE_EVENTS_MAX)] = 1000,
        wait_seconds: Annotated[float, Query(ge=0, le=WAIT_SECONDS_MAX)] = 0.0,
        kinds: str | None = None,
    ) -> dict[str, Any]:
        """Events past a position, in order, waiting for the first if asked to; of some kinds, if named."""
        wanted = None if kinds is None else wire.kinds_from(kinds)
        found = await directory.events(after=after, limit=limit, wait_seconds=wait_seconds, kinds=wanted)
        return {"events": wire.EVENTS.dump_python(found, mode="json")}

    @app.post("/events")
    async def append(body: EventBody) -> dict[str, int]:
        """Append an event."""
        return {"position": await directory.append_event(body.kind, PhotoId(body.photo_id), body.payload)}


def _add_consumers(app: FastAPI, directory: Directory) -> None:
    @app.get("/consumers/{consumer}")
    async def position(consumer: Name) -> dict[str, int]:
        """How far a consumer has got."""
        return {"position": await directory.position(consumer)}

    @app.put("/consumers/{consumer}")
    async def advance(consumer: Name, body: PositionBody) -> dict[str, int]:
        """Remember how far a consumer has got."""
        await directory.advance(consumer, body.position)
        return {"position": body.position}

    @app.get("/consumers/{consumer}/parked")
    async def parked(
        consumer: Name, limit: Annotated[int, Query(ge=1, le=limits.PAGE_EVENTS_MAX)] = 1000
    ) -> dict[str, Any]:
        """Events that a consumer could not deal with."""
        found = await directory.parked(consumer, limit=limit)
        return {"parked": wire.PARKED.dump_python(found, mode="json")}

    @app.post("/consumers/{consumer}/parked")
    async def park(consumer: Name, body: ParkBody) -> dict[str, str]:
        """Set an event aside."""
        await directory.park(consumer, wire.EVENT.validate_python(body.event), body.reason)
        return {"status": "parked"}

    @app.delete("/consumers/{consumer}/parked/{position}")
    async def unpark(consumer: Name, position: Position) -> dict[str, str]:
        """A parked event has been dealt with."""
        await directory.unpark(consumer, position)
        return {"status": "dealt with"}

    @app.post("/consumers/{consumer}/retry")
    async def retry(consumer: Name, body: RetryBody) -> dict[str, int]:
        """Have parked events delivered once more."""
        return {"due": await directory.retry(consumer, body.position)}

    @app.get("/consumers/{consumer}/due")
    async def due(
        consumer: Name, limit: Annotated[int, Query(ge=1, le=limits.PAGE_EVENTS_MAX)] = 1000
    ) -> dict[str, Any]:
        """Parked events that are to be delivered once more."""
        return {"events": wire.EVENTS.dump_python(await directory.due(consumer, limit=limit), mode="json")}
