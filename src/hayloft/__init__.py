"""Hayloft keeps photos the way Facebook's Haystack does and links the ones that belong together.

``from hayloft import Client, AsyncClient`` gives the Python client; it is imported when first asked for,
so that programs which do not use it do not pay for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hayloft.client import AsyncClient as AsyncClient
    from hayloft.client import Client as Client

__version__ = "0.1.0"

__all__ = ["AsyncClient", "Client", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the client when it is first asked for."""
    if name in ("AsyncClient", "Client"):
        import hayloft.client

        return getattr(hayloft.client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
