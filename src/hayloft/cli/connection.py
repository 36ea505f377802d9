"""From the options ``--url`` and ``--api-key`` to a client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hayloft.cli.options import URL

if TYPE_CHECKING:
    from hayloft.client import Client, Reference


def connect(url: str, api_key: str | None) -> Client:
    """A client of the server that the options name."""
    from hayloft.client import Client

    return Client(url, api_key=api_key)


def connect_to(reference: Reference, url: str, api_key: str | None) -> Client:
    """A client of the server that a photo's link leads to, or of the one that the options name.

    A key goes only to the server it was given for, never to whatever a link names.
    """
    if reference.server is None or reference.server == url.rstrip("/"):
        return connect(url, api_key)
    return connect(reference.server, api_key if url != URL and reference.server == url else None)
