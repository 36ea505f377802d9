"""Who may ask: API keys, where some are configured.

A key is shown as ``Authorization: Bearer KEY`` or ``X-API-Key: KEY`` and compared in constant time with
every configured one. The capability link needs none, nor do the two probes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from hmac import compare_digest
from typing import Final

from hayloft.errors import Unauthorized

OPEN_PATHS: Final = frozenset({"/health", "/ready"})

_BEARER: Final = b"bearer "


class Access:
    """Checks keys; lets everyone in when none are configured."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        # Digests have one length, so comparing them does not tell how long a key is.
        self._digests = tuple(_digest(key.encode()) for key in keys)
        self.required = bool(keys)

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """Let a request pass, or not.

        Raises:
            Unauthorized: keys are configured and the request shows none of them.
        """
        if not self.required:
            return
        shown = _digest(_shown_key(headers))
        # All are compared, whichever matches.
        if sum(compare_digest(shown, digest) for digest in self._digests) == 0:
            raise Unauthorized("Show an API key: Authorization: Bearer KEY, or X-API-Key: KEY.")


def _shown_key(headers: Mapping[bytes, bytes]) -> bytes:
    authorization = headers.get(b"authorization", b"")
    if authorization[: len(_BEARER)].lower() == _BEARER:
        return authorization[len(_BEARER) :].strip()
    return headers.get(b"x-api-key", b"").strip()


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
