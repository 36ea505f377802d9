"""Reading one needle from the stores that should have it: the healthiest first, another when that is slow.

Usually one store is asked and answers. One that fails is followed by the next at once; one that takes
longer than it usually does is followed as well, the first good answer wins and the others are cancelled
(hedged requests: Dean and Barroso, The Tail at Scale, CACM 2013). So that hedging never adds to a load that
makes everything slow, only a part of all reads may be hedged early; the others wait a little longer for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from hayloft.clock import Clock
from hayloft.errors import Corrupt, Gone, HayloftError, NotFound, RoleUnavailable
from hayloft.gateway.standing import USUAL_SECONDS_MAX, Standings
from hayloft.roles import Store, StoredNeedle
from hayloft.types import AlternateKey, PhotoId, StoreId
from hayloft.wire.needles import COOKIE_UNKNOWN

HEDGED_SHARE: Final = 0.05
"""Early second requests for each read: what the 95th percentile makes for as long as all is well."""
HEDGES_SAVED_MAX: Final = 20.0

LAST_SECONDS_MAX: Final = 0.5
"""How long the last store is waited for once another one has said that there is no such needle."""

_ABOUT_THE_NEEDLE: Final = (NotFound, Gone, Corrupt)
"""Errors of a store that works."""

Vouch = Callable[[PhotoId, AlternateKey, StoredNeedle], Awaitable[StoredNeedle]]
"""Checks a needle whose store told less than ours do.

Raises:
    HayloftError: it is not what was committed.
"""


class Exhausted(Exception):
    """No replica gave the needle. ``failures`` says why, for each."""

    def __init__(self, failures: Mapping[StoreId, HayloftError]) -> None:
        super().__init__(failures)
        self.failures = failures


class Replicas:
    """Reads over several stores."""

    def __init__(
        self, stores: Mapping[StoreId, Store], standings: Standings, clock: Clock, *, vouch: Vouch
    ) -> None:
        self._stores = stores
        self.standings = standings
        self.now = clock.monotonic_seconds
        self._vouch = vouch
        self._hedges = HEDGES_SAVED_MAX

    async def read(
        self, photo: PhotoId, key: AlternateKey, replicas: tuple[StoreId, ...], *, final: bool = False
    ) -> tuple[StoredNeedle, Mapping[StoreId, HayloftError]]:
        """The needle, and the failures of the replicas that were to have it and did not give it.

        With ``final`` the word of the first store that answers is taken when it has no such needle.

        Raises:
            PhotoDeleted: a store says that it was deleted.
            Exhausted: no replica gave it.
        """
        if len(replicas) == 1:
            try:
                return await self.ask(replicas[0], photo, key), {}
            except Gone:
                raise
            except HayloftError as error:
                raise Exhausted({replicas[0]: error}) from error
        race = _Race(self, photo, key, self.standings.order(replicas, photo), final=final)
        return await race.run(), race.failures

    async def ask(self, name: StoreId, photo: PhotoId, key: AlternateKey) -> StoredNeedle:
        """One store's answer; what became of it is noted."""
        store = self._stores.get(name)
        if store is None:
            raise RoleUnavailable(f"The store {name} is not known here.")
        started = self.now()
        try:
            needle = await store.read(photo, key)
            if needle.cookie == COOKIE_UNKNOWN:
                needle = await self._vouch(photo, key, needle)
        except HayloftError as error:
            if isinstance(error, _ABOUT_THE_NEEDLE):
                self.standings.of(name).worked()
            else:
                self.standings.of(name).failed()
            raise
        self.standings.of(name).answered(self.now() - started)
        return needle

    def hedge_after(self, name: StoreId) -> float:
        """How long a store is waited for before the next is asked too, in seconds."""
        self._hedges = min(self._hedges + HEDGED_SHARE, HEDGES_SAVED_MAX)
        return self.standings.of(name).usual_seconds if self._hedges >= 1.0 else USUAL_SECONDS_MAX

    def hedged(self) -> None:
        """A second request is being sent."""
        self._hedges = max(0.0, self._hedges - 1.0)

    def overtaken(self, name: StoreId, started: float) -> None:
        """A store was asked then, and was overtaken now."""
        seconds = self.now() - started
        standing = self.standings.of(name)
        if seconds >= standing.usual_seconds:
            standing.overtaken(seconds)


class _Race:
    """One needle's."""

    def __init__(
        self, replicas: Replicas, photo: PhotoId, key: AlternateKey, names: list[StoreId], *, final: bool
    ) -> None:
        self._replicas = replicas
        self._photo = photo
        self._key = key
        self._names = iter(names)
        self._final = final
        self._loop = asyncio.get_running_loop()
        self._won: asyncio.Future[StoredNeedle] = self._loop.create_future()
        self._running: dict[asyncio.Task[StoredNeedle], tuple[StoreId, float]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.failures: dict[StoreId, HayloftError] = {}

    async def run(self) -> StoredNeedle:
        self._ask_next()
        try:
            return await self._won
        finally:
            self._stop_timer()
            for task in self._running:
                task.cancel()

    def _ask_next(self) -> None:
        self._stop_timer()
        name = next(self._names, None)
        if name is None:
            self._wait_for_the_last()
            return
        task = self._loop.create_task(self._replicas.ask(name, self._photo, self._key))
        self._running[task] = (name, self._replicas.now())
        task.add_done_callback(self._answered)
        self._timer = self._loop.call_later(self._replicas.hedge_after(name), self._hedge)

    def _wait_for_the_last(self) -> None:
        """No other store can be asked. One that does not answer says no more than those that did."""
        if not self._running:
            self._give_up()
        elif any(isinstance(error, NotFound) for error in self.failures.values()):
            self._timer = self._loop.call_later(LAST_SECONDS_MAX, self._give_up)

    def _give_up(self) -> None:
        if not self._won.done():
            silent = {
                name: RoleUnavailable(f"The store {name} is silent.") for name, _ in self._running.values()
            }
            self._won.set_exception(Exhausted({**self.failures, **silent}))

    def _hedge(self) -> None:
        self._replicas.hedged()
        self._ask_next()

    def _answered(self, task: asyncio.Task[StoredNeedle]) -> None:
        name, _started = self._running.pop(task)
        if task.cancelled():
            return
        error = task.exception()
        if self._won.done():
            return
        if error is None:
            self._won.set_result(task.result())
            for other, started in self._running.values():
                self._replicas.overtaken(other, started)
        elif not isinstance(error, HayloftError) or isinstance(error, Gone):
            self._won.set_exception(error)
        elif self._final and isinstance(error, NotFound):
            self._won.set_exception(Exhausted({name: error}))
        else:
            self.failures[name] = error
            self._ask_next()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
