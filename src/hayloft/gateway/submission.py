"""One upload request: its files kept one after the other, and the answer that tells of each.

One file gives its record, or its error as the request's own; several give a list in which files that
were not kept carry their errors. It decides no limits and does no storing itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import parse_qs

from hayloft import limits
from hayloft.errors import HayloftError, InvalidRequest, Overloaded, ShuttingDown
from hayloft.gateway import names, presenting
from hayloft.gateway.gateway import Gateway
from hayloft.gateway.moments import moment_ms
from hayloft.gateway.receiving import Body, Received, files, form_of
from hayloft.gateway.upload import Kept
from hayloft.types import AlternateKey
from hayloft.wire.asgi import Receive, Scope

CREATED: Final = 201
MULTI_STATUS: Final = 207


class Submission:
    """An upload request, as its headers and address describe it.

    Raises:
        InvalidRequest, UnsupportedMedia: they make no sense.
    """

    def __init__(self, gateway: Gateway, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        query = parse_qs(scope["query_string"].decode("latin-1")) if scope["query_string"] else {}
        self._gateway = gateway
        self._base = presenting.base_url(gateway.settings.public_url, scope["scheme"], headers)
        self._alternate_key = _alternate_key(query.get("alt_key", ["orig"])[-1])
        self._idempotency_key = _idempotency_key(headers)
        self._first_created_at_ms = moment_ms("created_at", query.get("created_at", [None])[-1])
        self._form = form_of(headers, names.clean(query.get("name", [""])[-1]))

    async def carry_out(self, receive: Receive) -> tuple[int, Any]:
        """Keep the files; returns the status and the JSON of the answer.

        Raises:
            HayloftError: the request's only file was not kept, or the request as a whole is refused.
            ClientDisconnected: the body ended early. Files complete before that are kept.
        """
        upload = self._gateway.settings.upload
        budget = self._gateway.budget
        with Body(self._form, receive, budget=budget, bytes_max=upload.bytes_max) as body:
            if self._form.multipart:
                return self._answer(await self._keep_all(body, upload.bytes_max))
            return self._answer([await self._keep(Received(self._form.name, await body.whole()), 0)])

    async def _keep_all(self, body: Body, bytes_max: int) -> list[Kept | tuple[str, HayloftError]]:
        outcomes: list[Kept | tuple[str, HayloftError]] = []
        async with aclosing(files(self._form, body, bytes_max=bytes_max)) as received:
            async for file in received:
                outcomes.append(await self._keep(file, len(outcomes)))
        return outcomes

    async def _keep(self, file: Received, number: int) -> Kept | tuple[str, HayloftError]:
        if file.error is not None:
            return file.name, file.error
        try:
            return await self._gateway.uploads.keep(
                file.data,
                name=file.name,
                idempotency_key=_key_of_file(self._idempotency_key, number),
                alternate_key=self._alternate_key,
                first_created_at_ms=self._first_created_at_ms,
            )
        except (Overloaded, ShuttingDown):
            raise  # The files after it would fare no better.
        except HayloftError as error:
            # A traceback would keep the file's bytes in memory until the last file has been read.
            error.__cause__ = error.__context__ = None
            return file.name, error.with_traceback(None)

    def _answer(self, outcomes: list[Kept | tuple[str, HayloftError]]) -> tuple[int, Any]:
        if len(outcomes) == 1:
            only = outcomes[0]
            if isinstance(only, Kept):
                return CREATED, presenting.uploaded(only, self._base)
            raise only[1]
        photos = [
            presenting.uploaded(one, self._base) if isinstance(one, Kept) else presenting.refused(*one)
            for one in outcomes
        ]
        all_kept = all(isinstance(one, Kept) for one in outcomes)
        return (CREATED if all_kept else MULTI_STATUS), {"photos": photos}


def _alternate_key(label: str) -> AlternateKey:
    key = AlternateKey.parse(label)
    if key is None:
        labels = ", ".join(one.label for one in AlternateKey)
        raise InvalidRequest(f"There is no alternate key {label!r}; there are {labels}.")
    return key


def _idempotency_key(headers: Mapping[bytes, bytes]) -> str | None:
    given = headers.get(b"idempotency-key")
    if given is None:
        return None
    key = given.decode("latin-1")
    if not key or len(key) > limits.IDEMPOTENCY_KEY_CHARACTERS_MAX or not key.isprintable():
        raise InvalidRequest(
            f"An Idempotency-Key has 1 to {limits.IDEMPOTENCY_KEY_CHARACTERS_MAX} printable characters."
        )
    return key


def _key_of_file(key: str | None, number: int) -> str | None:
    """Each file of a request has a key of its own, the first one the request's."""
    if key is None or number == 0:
        return key
    return hashlib.sha256(f"{number}:{key}".encode()).hexdigest()
