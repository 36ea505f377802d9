"""Every error that crosses a role's boundary, one tree.

Grouped by what the caller can do about them; each leaf has a stable ``code`` and an HTTP ``status``::

    HayloftError
    ├── Invalid                  the request is wrong; do not repeat it
    │   ├── InvalidRequest            400 invalid_request
    │   ├── EmptyUpload               400 empty_upload
    │   ├── Unauthorized              401 unauthorized
    │   ├── MethodNotAllowed          405 method_not_allowed
    │   ├── UploadStalled             408 upload_stalled
    │   ├── Conflict                  409 conflict
    │   ├── PreconditionFailed        412 precondition_failed
    │   ├── UnsupportedMedia          415 unsupported_media_type
    │   ├── RangeNotSatisfiable       416 range_not_satisfiable
    │   ├── Truncated                 422 photo_truncated
    │   └── SearchNotConfigured       501 search_not_configured
    ├── LimitExceeded            the request is too big; make it smaller
    │   ├── UploadTooLarge            413 upload_too_large
    │   └── ImageTooLarge             413 image_too_large
    ├── NotFound                 nothing is there
    │   ├── PhotoNotFound             404 photo_not_found
    │   ├── VolumeNotFound            404 volume_not_found
    │   ├── ModelNotFound             404 model_not_found
    │   └── RouteNotFound             404 not_found
    ├── Gone                     something was there and never comes back
    │   └── PhotoDeleted              410 photo_deleted
    ├── Unavailable              try again later, or elsewhere
    │   ├── NotPrimary                503 not_primary
    │   ├── Overloaded                503 overloaded
    │   ├── ReplicasFailed            503 replicas_failed
    │   ├── RoleUnavailable           503 role_unavailable
    │   ├── ShuttingDown              503 shutting_down
    │   └── VolumeReadOnly            503 volume_read_only
    ├── Full                     no space; reads go on
    │   └── StorageFull               507 storage_full
    ├── Corrupt                  stored bytes are damaged; another replica may have them
    │   ├── NeedleCorrupt             500 needle_corrupt
    │   └── VolumeCorrupt             500 volume_corrupt
    ├── InternalError                 500 internal_error
    └── DataDirectoryError       the data directory cannot be used; said before serving starts
        ├── FormatTooNew              500 format_too_new
        └── AlreadyServed             500 already_served

``ERRORS_BY_CODE`` and the classes' attributes are the two-way table between errors and the wire.
"""

from __future__ import annotations

from typing import Any, ClassVar


class HayloftError(Exception):
    """The root: an error with a stable code, an HTTP status and a message for people."""

    code: ClassVar[str] = ""
    status: ClassVar[int] = 500

    def __init__(
        self, message: str = "", *, retry_after_seconds: int | None = None, **details: Any
    ) -> None:
        super().__init__(message or _first_sentence(type(self)))
        self.retry_after_seconds = retry_after_seconds
        self.details: dict[str, Any] = details
        """Facts a program may use, JSON-serialisable: ``photo_id``, ``limit_bytes`` …"""

    @property
    def message(self) -> str:
        """One sentence for a person."""
        return str(self.args[0])


class Invalid(HayloftError):
    """The request is wrong; repeating it does not help."""

    status = 400


class InvalidRequest(Invalid):
    """The request is malformed."""

    code = "invalid_request"


class EmptyUpload(Invalid):
    """The upload has no bytes."""

    code = "empty_upload"


class Unauthorized(Invalid):
    """An API key is needed."""

    code = "unauthorized"
    status = 401


class MethodNotAllowed(Invalid):
    """This address does not take that method."""

    code = "method_not_allowed"
    status = 405


class UploadStalled(Invalid):
    """The client stopped sending before its upload was complete."""

    code = "upload_stalled"
    status = 408


class PreconditionFailed(Invalid):
    """The photo is not the one that the request's condition names."""

    code = "precondition_failed"
    status = 412


class Conflict(Invalid):
    """The request contradicts what is stored."""

    code = "conflict"
    status = 409


class UnsupportedMedia(Invalid):
    """The bytes are not an image of a kind that is kept here."""

    code = "unsupported_media_type"
    status = 415


class RangeNotSatisfiable(Invalid):
    """The range asked for lies outside the photo."""

    code = "range_not_satisfiable"
    status = 416


class Truncated(Invalid):
    """The image ends too early."""

    code = "photo_truncated"
    status = 422


class SearchNotConfigured(Invalid):
    """The embedder in use knows no words."""

    code = "search_not_configured"
    status = 501


class LimitExceeded(HayloftError):
    """The request is bigger than is allowed."""

    status = 413


class UploadTooLarge(LimitExceeded):
    """The upload has too many bytes."""

    code = "upload_too_large"


class ImageTooLarge(LimitExceeded):
    """The image has too many pixels to be decoded safely."""

    code = "image_too_large"


class NotFound(HayloftError):
    """Nothing is there."""

    status = 404


class PhotoNotFound(NotFound):
    """There is no such photo."""

    code = "photo_not_found"


class VolumeNotFound(NotFound):
    """There is no such volume."""

    code = "volume_not_found"


class ModelNotFound(NotFound):
    """There is no such model."""

    code = "model_not_found"


class RouteNotFound(NotFound):
    """There is nothing at this address."""

    code = "not_found"


class Gone(HayloftError):
    """Something was there and never comes back."""

    status = 410


class PhotoDeleted(Gone):
    """The photo was deleted."""

    code = "photo_deleted"


class Unavailable(HayloftError):
    """It may work later, or elsewhere."""

    status = 503


class NotPrimary(Unavailable):
    """This directory is not the one that takes writes."""

    code = "not_primary"


class Overloaded(Unavailable):
    """Too much is in flight; try again shortly."""

    code = "overloaded"


class ReplicasFailed(Unavailable):
    """No replica could answer."""

    code = "replicas_failed"


class RoleUnavailable(Unavailable):
    """A part of the system does not answer."""

    code = "role_unavailable"


class ShuttingDown(Unavailable):
    """The server is stopping."""

    code = "shutting_down"


class VolumeReadOnly(Unavailable):
    """The volume takes no more writes; another one does."""

    code = "volume_read_only"


class Full(HayloftError):
    """There is no space; reads go on."""

    status = 507


class StorageFull(Full):
    """The disk is full."""

    code = "storage_full"


class Corrupt(HayloftError):
    """Stored bytes are damaged; another replica may have them whole."""


class NeedleCorrupt(Corrupt):
    """A stored photo is damaged."""

    code = "needle_corrupt"


class VolumeCorrupt(Corrupt):
    """A volume's own structure is damaged."""

    code = "volume_corrupt"


class InternalError(HayloftError):
    """Something went wrong that should not have."""

    code = "internal_error"


class DataDirectoryError(HayloftError):
    """The data directory cannot be used."""


class FormatTooNew(DataDirectoryError):
    """The data was written by a newer Hayloft."""

    code = "format_too_new"


class AlreadyServed(DataDirectoryError):
    """Another server is using this data directory."""

    code = "already_served"


def _leaves(root: type[HayloftError]) -> list[type[HayloftError]]:
    children = root.__subclasses__()
    own = [root] if root.code else []
    return own + [leaf for child in children for leaf in _leaves(child)]


def _first_sentence(kind: type[HayloftError]) -> str:
    return (kind.__doc__ or kind.__name__).split("\n")[0]


ERRORS_BY_CODE: dict[str, type[HayloftError]] = {kind.code: kind for kind in _leaves(HayloftError)}
