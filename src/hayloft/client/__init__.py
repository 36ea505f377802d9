"""The Python client: everything a Hayloft server does, in a few lines.

``AsyncClient`` is the client; ``Client`` is the same for programs without an event loop. Both are
exported from ``hayloft`` itself. They speak only the HTTP interface, so they work with a server on this
machine and with a cluster alike, and they raise the errors of ``hayloft.errors``.
"""

from hayloft.client.answers import (
    Deletion,
    Health,
    Page,
    Photo,
    Statistics,
    UploadedPhoto,
)
from hayloft.client.asynchronous import AsyncClient
from hayloft.client.blocking import Client, PhotoFile
from hayloft.client.folders import FolderUpload, Outcome, PutResult
from hayloft.client.reading import PhotoStream
from hayloft.client.reference import Reference, parse_reference
from hayloft.client.transport import Patience, ServerUnreachable
from hayloft.client.walking import Found, Walk

__all__ = [
    "AsyncClient",
    "Client",
    "Deletion",
    "FolderUpload",
    "Found",
    "Health",
    "Outcome",
    "Page",
    "Patience",
    "Photo",
    "PhotoFile",
    "PhotoStream",
    "PutResult",
    "Reference",
    "ServerUnreachable",
    "Statistics",
    "UploadedPhoto",
    "Walk",
    "parse_reference",
]
