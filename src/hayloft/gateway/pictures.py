"""Smaller sizes and pictures to order: what is served of a photo besides its original.

Addresses: ``/photo/{id}/{cookie}/{rendition}`` and ``/photo/{id}/{rendition}`` (also as ``?size=`` behind
the original's address; ``?format=`` asks for JPEG or WebP), and the IIIF Image API 3.0 under
``/iiif/3/{id}`` and ``/iiif/3/{id}-{cookie}``. Whoever shows the cookie needs no key, as with the original.
A rendition that is stored is read like any photo; one that is not, or not whole, is made now by the
renditions role, which stores it. An address gives one size for ever: that a photo has no larger one is
believed of its details alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hmac import compare_digest
from typing import Final

from hayloft.errors import (
    InvalidRequest,
    PhotoDeleted,
    PhotoNotFound,
    RouteNotFound,
    UnsupportedMedia,
    VolumeNotFound,
)
from hayloft.gateway.access import Access
from hayloft.gateway.answers import Answer, Headers
from hayloft.gateway.conditions import EntityTags, lists_tag, requested_span
from hayloft.gateway.names import to_disposition
from hayloft.gateway.placements import Placements
from hayloft.gateway.replicas import Exhausted, Replicas
from hayloft.roles import Directory, Renditions, Store, StoredNeedle
from hayloft.types import (
    AlternateKey,
    Cookie,
    MadePicture,
    PhotoId,
    PhotoRecord,
    PhotoStatus,
    StoreId,
    format_cookie,
    volume_of,
)
from hayloft.wire import documents

MEDIA_TYPES: Final = {"webp": "image/webp", "jpeg": "image/jpeg", "jpg": "image/jpeg"}

IIIF: Final = "/iiif/3/"
_PROFILE: Final = "http://iiif.io/api/image/3/level2.json"
_CONTEXT: Final = "http://iiif.io/api/image/3/context.json"
_LD_JSON: Final = "application/ld+json"
_FOR_A_YEAR: Final = "max-age=31536000, immutable"
_FOR_A_WHILE: Final = "max-age=300"
"""Of an information document: settings may change what it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A photo as a request names it, with the request's conditions."""

    photo: PhotoId
    cookie: Cookie | None
    """None for an address without one, which needs a key where keys are configured."""
    headers: Mapping[bytes, bytes]
    """Names in lower case."""
    head: bool = False


class Pictures:
    """Answers for renditions and pictures to order."""

    def __init__(
        self,
        *,
        directory: Directory,
        stores: Mapping[StoreId, Store],
        renditions: Renditions | None,
        placements: Placements,
        over: Replicas,
        tags: EntityTags,
        access: Access,
    ) -> None:
        self._directory = directory
        self._stores = stores
        self._renditions = renditions
        self._placements = placements
        self._over = over
        self._tags = tags
        self._access = access

    async def rendition(self, wanted: Wanted, key: AlternateKey, form: str | None) -> Answer:
        """One of the stored sizes; made now if it is not stored, converted if it is of another format.

        Raises:
            Unauthorized, PhotoNotFound, PhotoDeleted, RangeNotSatisfiable: as for an original.
            InvalidRequest: there is no such format.
            UnsupportedMedia, ImageTooLarge: the photo cannot be decoded.
            Overloaded: too much is being made already.
        """
        if form is not None and form not in MEDIA_TYPES:
            raise InvalidRequest(f"The format is one of {', '.join(MEDIA_TYPES)}.", format=form)
        self._check_access(wanted)
        tag = self._tags.tag(wanted.photo, wanted.cookie, key, form=form or "")
        if unchanged := await self._unchanged(wanted, tag):
            return unchanged
        needle = await self._stored(wanted.photo, key)
        if needle is None:
            record = await self._record(wanted)
            made = await self._role.rendition(wanted.photo, key)
            name = record.name
        else:
            if not _same_cookie(wanted.cookie, needle.cookie):
                raise PhotoNotFound(photo_id=wanted.photo)
            metadata = needle.metadata
            made = MadePicture(data=bytes(needle.data), media_type=metadata.media_type)
            name = metadata.name
        if form is not None and made.media_type != MEDIA_TYPES[form]:
            made = await self._converted(wanted, key, form)
        return self._answer(wanted, made, tag, [("content-disposition", _disposition(name, made))])

    async def picture(self, wanted: Wanted, order: str, address: str) -> Answer:
        """A picture to order (IIIF); ``address`` is where the photo is served, without the order.

        Raises:
            InvalidRequest: the order makes no sense or is beyond the bounds.
            Unauthorized, PhotoNotFound, PhotoDeleted, UnsupportedMedia, ImageTooLarge, Overloaded,
            RangeNotSatisfiable: as for ``rendition``.
        """
        self._check_access(wanted)
        tag = self._tags.tag(wanted.photo, wanted.cookie, form=order)
        if unchanged := await self._unchanged(wanted, tag):
            return unchanged
        await self._record(wanted)
        made = await self._role.picture(wanted.photo, order)
        link = f'<{_PROFILE}>;rel="profile",<{address}/{made.canonical}>;rel="canonical"'
        return self._answer(wanted, made, tag, [("link", link)])

    async def information(self, wanted: Wanted, address: str) -> Answer:
        """The information document (IIIF)."""
        self._check_access(wanted)
        await self._record(wanted)
        document = await self._role.information(wanted.photo, address=address)
        body = documents.encode(document)
        linked = _LD_JSON.encode() in wanted.headers.get(b"accept", b"")
        media_type = f'{_LD_JSON};profile="{_CONTEXT}"' if linked else "application/json"
        headers = [
            ("content-type", media_type),
            ("content-length", str(len(body))),
            ("cache-control", f"{self._visibility(wanted)}, {_FOR_A_WHILE}"),
            ("vary", "accept"),
            ("link", f'<{_PROFILE}>;rel="profile"'),
        ]
        return Answer(200, _encoded(headers), b"" if wanted.head else body)

    # Within --------------------------------------------------------------------------------------

    @property
    def _role(self) -> Renditions:
        if self._renditions is None:
            raise RouteNotFound("This server makes no renditions.")
        return self._renditions

    def _check_access(self, wanted: Wanted) -> None:
        if wanted.cookie is None:
            self._access.check(wanted.headers)

    def _visibility(self, wanted: Wanted) -> str:
        """What needs a key is not for caches that serve others."""
        return "private" if wanted.cookie is None and self._access.required else "public"

    async def _record(self, wanted: Wanted) -> PhotoRecord:
        """The photo's record, if it may be shown.

        Raises:
            PhotoNotFound, PhotoDeleted: it is not there, or no more, or the cookie is wrong.
        """
        record = await self._directory.photo(wanted.photo)
        if not _same_cookie(wanted.cookie, record.cookie) or record.status is PhotoStatus.ALLOC:
            raise PhotoNotFound(photo_id=wanted.photo)
        if record.status is PhotoStatus.DELETED:
            raise PhotoDeleted(photo_id=wanted.photo)
        return record

    async def _stored(self, photo: PhotoId, key: AlternateKey) -> StoredNeedle | None:
        """The rendition, or the one that answers for it where none was needed; None if it is to be made.

        Made anew, it also replaces what is damaged or lost.
        """
        replicas = tuple(await self._replicas(photo))
        try:
            # The first store that has none is believed: most often none was needed, and the details tell.
            return (await self._over.read(photo, key, replicas, final=True))[0]
        except Exhausted:
            details = (await self._directory.details([photo])).get(photo)
        answering = details and details.answering(key)
        if not answering:
            return None
        try:
            return (await self._over.read(photo, answering.alternate_key, replicas))[0]
        except Exhausted:
            return None

    async def _replicas(self, photo: PhotoId) -> Sequence[StoreId]:
        try:
            return await self._placements.replicas(volume_of(photo))
        except VolumeNotFound as error:
            raise PhotoNotFound(photo_id=photo) from error

    async def _converted(self, wanted: Wanted, key: AlternateKey, form: str) -> MadePicture:
        """The rendition in the other format, from the original."""
        details = await self._role.make(wanted.photo)
        size = details.answering(key)
        if size is None:
            raise UnsupportedMedia(details.failure, photo_id=wanted.photo)
        suffix = "webp" if form == "webp" else "jpg"
        return await self._role.picture(wanted.photo, f"full/{size.width},{size.height}/0/default.{suffix}")

    async def _unchanged(self, wanted: Wanted, tag: str) -> Answer | None:
        """304 if the client has it, from the index in memory alone."""
        unless = wanted.headers.get(b"if-none-match")
        if unless is None or not lists_tag(unless.decode("latin-1"), tag):
            return None
        for name in await self._replicas(wanted.photo):
            store = self._stores.get(name)
            existence = store.exists(wanted.photo) if store else None
            if existence is not None and existence.deleted:
                raise PhotoDeleted(photo_id=wanted.photo)
            if existence is not None and existence.exists:
                return Answer(304, _encoded(self._caching(wanted, tag)), b"")
        return None

    def _caching(self, wanted: Wanted, tag: str) -> list[tuple[str, str]]:
        return [("etag", tag), ("cache-control", f"{self._visibility(wanted)}, {_FOR_A_YEAR}")]

    def _answer(self, wanted: Wanted, made: MadePicture, tag: str, more: list[tuple[str, str]]) -> Answer:
        headers = [
            *self._caching(wanted, tag),
            ("content-type", made.media_type),
            ("accept-ranges", "bytes"),
            ("x-content-type-options", "nosniff"),
            *more,
        ]
        status, body = 200, memoryview(made.data)
        if not wanted.head and b"range" in wanted.headers:
            if_range = wanted.headers.get(b"if-range")
            span = requested_span(
                wanted.headers[b"range"].decode("latin-1"),
                None if if_range is None else if_range.decode("latin-1"),
                tag,
                len(body),
            )
            if span is not None:
                headers.append(("content-range", f"bytes {span.start}-{span.stop - 1}/{len(body)}"))
                status, body = 206, body[span.start : span.stop]
        headers.append(("content-length", str(len(body))))
        return Answer(status, _encoded(headers), b"" if wanted.head else body)


def iiif_address(base: str, photo: PhotoId, cookie: Cookie | None) -> str:
    """Where IIIF clients find a photo."""
    return f"{base}{IIIF}{photo}" + ("" if cookie is None else f"-{format_cookie(cookie)}")


def _same_cookie(given: Cookie | None, stored: Cookie) -> bool:
    """Compared in constant time; an address without a cookie has shown a key instead."""
    return given is None or compare_digest(given.to_bytes(8), stored.to_bytes(8))


def _disposition(name: str, made: MadePicture) -> str:
    """The original's name with the ending of what is sent."""
    stem, dot, _ = name.rpartition(".")
    ending = made.media_type.removeprefix("image/").replace("jpeg", "jpg")
    return to_disposition(f"{stem if dot else name}.{ending}" if name else "")


def _encoded(headers: Sequence[tuple[str, str]]) -> Headers:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
