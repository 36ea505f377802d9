"""The directory's write transactions: many small changes from one process share one, each on its own terms.

A change is a function of a connection and a list of requests that returns an answer or an error for each.
One request's error never fails its neighbours: errors that a change foresees are answers like others, and
after one that nobody foresaw the transaction is rolled back and every request is tried alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, TypeVar

from sqlalchemy import Connection

from hayloft.database import Database
from hayloft.directory.batching import Batcher
from hayloft.errors import HayloftError, InternalError, Unavailable
from hayloft.limits import COMMIT_BATCH_PHOTOS_MAX

Request = TypeVar("Request")
Answer = TypeVar("Answer")

Change = Callable[[Connection, Sequence[Request]], Sequence[Answer | HayloftError]]
"""Must not have written anything for a request that it answers with an error."""


class Transactions:
    """Runs changes in shared transactions, in the order they were asked for."""

    def __init__(self, database: Database, *, on_commit: Callable[[], None] = lambda: None) -> None:
        self._database = database
        self._on_commit = on_commit
        self._batcher: Batcher[tuple[Change[Any, Any], Any], Any] = Batcher(
            self._run, size_max=COMMIT_BATCH_PHOTOS_MAX
        )

    async def apply(self, change: Change[Request, Answer], request: Request) -> Answer:
        """Make one change; it is durable when this returns.

        Raises:
            HayloftError: the change's own answer, or the database's.
        """
        answer: Answer = await self._batcher.ask((change, request))
        return answer

    async def close(self) -> None:
        """Finish what was asked."""
        await self._batcher.close()

    async def _run(self, batch: Sequence[tuple[Change[Any, Any], Any]]) -> Sequence[Any]:
        try:
            answers = await self._database.write(lambda connection: _run_all(connection, batch))
        except Unavailable:
            raise
        except Exception:
            if len(batch) == 1:
                raise
            answers = [await self._run_alone(entry) for entry in batch]
        self._on_commit()
        return answers

    async def _run_alone(self, entry: tuple[Change[Any, Any], Any]) -> Any:
        try:
            answers = await self._database.write(lambda connection: _run_all(connection, [entry]))
        except HayloftError as failure:
            return failure
        except Exception as failure:
            error = InternalError(f"The directory could not record this: {failure}.")
            error.__cause__ = failure
            return error
        return answers[0]


def one_by_one(work: Callable[[Connection, Request], Answer]) -> Change[Request, Answer]:
    """A change that deals with its requests one after the other, each undone by itself if it fails."""

    def change(connection: Connection, requests: Sequence[Request]) -> Sequence[Answer | HayloftError]:
        return [_nested(connection, work, request) for request in requests]

    return change


def _nested(
    connection: Connection, work: Callable[[Connection, Request], Answer], request: Request
) -> Answer | HayloftError:
    try:
        with connection.begin_nested():
            return work(connection, request)
    except HayloftError as error:
        return error


def _run_all(connection: Connection, batch: Sequence[tuple[Change[Any, Any], Any]]) -> list[Any]:
    answers: list[Any] = []
    for change, entries in groupby(batch, key=lambda entry: entry[0]):
        answers.extend(change(connection, [request for _, request in entries]))
    return answers
