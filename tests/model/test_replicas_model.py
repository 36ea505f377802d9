"""Three replicas under random operations and faults, by Hypothesis; then the pitchfork works until quiet.

Real stores on disk, a directory in memory. Stores are away, come back, lose their disks, have bytes flipped
in their logs, words zeroed in their indexes, logs cut short or made unusable; photos are uploaded, deleted,
given renditions meanwhile; the pitchfork is killed and begins again. One store at a time at least has lost
nothing. In the end every acknowledged photo must be readable from every replica, none that was deleted may
be, and all replicas must be the same, by digest and by their needles.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from hayloft.config import VolumeSettings
from hayloft.disk import SystemDisk, SystemFile, SystemMapping
from hayloft.errors import HayloftError, PhotoDeleted, RoleUnavailable
from hayloft.store.local import LocalStore
from hayloft.types import AlternateKey, PhotoId, StoreId, VolumeId, volume_of
from pitchfork_world import NAMES, World

VOLUMES = VolumeSettings(size_bytes_max=1 << 20, free_space_reserve_bytes=0)
names = st.sampled_from(NAMES)
seeds = st.integers(0, 2**32)


class UnsyncedFile(SystemFile):
    """A file that never waits for the medium: no power is cut here, and disks are slow."""

    def sync(self) -> None:
        pass

    def map(self, length: int) -> SystemMapping:
        return UnsyncedMapping(self._descriptor, length)


class UnsyncedMapping(SystemMapping):
    def flush(self, length: int = 0) -> None:
        pass


class UnsyncedDisk(SystemDisk):
    def open(self, path: Path, *, create: bool = False) -> SystemFile:
        return UnsyncedFile(path, create=create)

    def rename(self, source: Path, target: Path) -> None:
        source.rename(target)


class Disk:
    """A store on a disk of its own, which can be away."""

    def __init__(self, name: StoreId, folder: Path, peers: dict[StoreId, Disk]) -> None:
        self.store = name
        self.peers = peers
        self.folder = folder
        self.away = False
        self.local: LocalStore | None = None

    def __getattr__(self, attribute: str) -> Any:
        async def ask(*given: Any, **named: Any) -> Any:
            if self.away:
                raise RoleUnavailable("away")
            if self.local is None:
                self.local = LocalStore(
                    self.folder,
                    store=self.store,
                    settings=VOLUMES,
                    disk=UnsyncedDisk(),
                    peers=self.peers,  # type: ignore[arg-type]
                )
            return await getattr(self.local, attribute)(*given, **named)

        return ask

    async def stop(self) -> None:
        if self.local is not None:
            await self.local.close()
            self.local = None

    def logs(self) -> list[Path]:
        return sorted(self.folder.glob("lv-*.log"))


class Replicas(RuleBasedStateMachine):
    @initialize()
    def create(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="hayloft-replicas-"))
        self.loop = asyncio.new_event_loop()
        self.world = World()
        self.disks: dict[StoreId, Disk] = {}
        self.disks |= {name: Disk(name, self.directory / name, self.disks) for name in NAMES}
        self.world.stores = self.disks  # type: ignore[assignment]
        self.world.pitchfork = self.world.new_pitchfork()
        self.harmed: set[StoreId] = set()
        self.do(self.world.begin())
        self.upload(seed=0, size=200, count=8)

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    # What clients do -----------------------------------------------------------------------------

    @rule(seed=seeds, size=st.integers(0, 3000), count=st.integers(1, 8))
    def upload(self, seed: int, size: int, count: int) -> None:
        chance = random.Random(seed)
        for _photo in range(count):
            # No store is there, or one does not take it: nothing is acknowledged.
            with contextlib.suppress(HayloftError):
                self.do(self.world.upload(chance.randbytes(size)))

    @rule(seed=seeds)
    def upload_without_commit(self, seed: int) -> None:
        with contextlib.suppress(HayloftError):
            self.do(self.world.upload(random.Random(seed).randbytes(100), commit=False))

    @precondition(lambda self: self.world.photos)
    @rule(chance=st.randoms(use_true_random=False), told=st.sets(names))
    def delete(self, chance: random.Random, told: set[StoreId]) -> None:
        """The directory knows; who else was told is chance."""
        photo = chance.choice(sorted(self.world.photos))
        self.do(self.world.delete(photo, on=told))

    @precondition(lambda self: self.world.photos)
    @rule(chance=st.randoms(use_true_random=False), key=st.sampled_from(list(AlternateKey)[1:]))
    def add_rendition(self, chance: random.Random, key: AlternateKey) -> None:
        photo = chance.choice(sorted(self.world.photos))
        needle = self.world.needle(photo, bytes([key]) * 50, key)
        for disk in self.disks.values():
            try:
                self.do(disk.append(volume_of(photo), needle))
            except HayloftError:
                continue

    # What happens to stores ----------------------------------------------------------------------

    @rule(name=names)
    def go_away(self, name: StoreId) -> None:
        self.disks[name].away = True

    @rule()
    def come_back(self) -> None:
        for disk in self.disks.values():
            disk.away = False

    @rule(name=names)
    def restart(self, name: StoreId) -> None:
        self.do(self.disks[name].stop())

    @rule(name=names)
    def seal(self, name: StoreId) -> None:
        for volume in self.volumes():
            try:
                self.do(self.disks[name].seal(volume))
            except HayloftError:
                continue

    @rule(name=names)
    def compact(self, name: StoreId) -> None:
        for volume in self.volumes():
            try:
                self.do(self.disks[name].compact(volume))
            except HayloftError:
                continue

    def may_harm(self, name: StoreId) -> bool:
        """Whether another store is left that has lost nothing."""
        if len(self.harmed | {name}) == len(NAMES):
            return False
        self.harmed.add(name)
        return True

    @rule(name=names)
    def lose_the_disk(self, name: StoreId) -> None:
        if self.may_harm(name):
            self.do(self.disks[name].stop())
            shutil.rmtree(self.disks[name].folder, ignore_errors=True)

    @rule(name=names, seed=seeds, stopped=st.booleans())
    def flip_bytes(self, name: StoreId, seed: int, stopped: bool) -> None:
        if not self.may_harm(name):
            return
        if stopped:
            self.do(self.disks[name].stop())
        chance = random.Random(seed)
        for log in self.disks[name].logs():
            with log.open("r+b") as file:
                size = log.stat().st_size
                for _each in range(chance.randint(1, 4)):
                    file.seek(chance.randrange(size))
                    file.write(chance.randbytes(chance.choice([1, 8, 200])))

    @rule(name=names, seed=seeds)
    def cut_logs(self, name: StoreId, seed: int) -> None:
        if not self.may_harm(name):
            return
        self.do(self.disks[name].stop())
        chance = random.Random(seed)
        for log in self.disks[name].logs():
            with log.open("r+b") as file:
                file.truncate(chance.randrange(log.stat().st_size + 1))

    @rule(name=names, seed=seeds)
    def harm_the_index(self, name: StoreId, seed: int) -> None:
        """Words of it are zeroed, or say that a needle was deleted."""
        if not self.may_harm(name):
            return
        chance = random.Random(seed)
        for index in sorted(self.disks[name].folder.glob("*.index")):
            with index.open("r+b") as file:
                for _each in range(3):
                    file.seek(4096 + 8 * chance.randrange(200))
                    file.write(chance.choice([0, 1]).to_bytes(8, "little"))

    # What the pitchfork does ---------------------------------------------------------------------

    @rule(
        rounds=st.lists(
            st.sampled_from(["check", "mend", "compare", "finish_deletions", "scrub"]), max_size=3
        )
    )
    def work_a_little(self, rounds: list[str]) -> None:
        self.do(self.world.heartbeats())
        for name in rounds:
            self.do(getattr(self.world.pitchfork, name)())

    @rule()
    def begin_again(self) -> None:
        """Killed and started anew: nothing of what it knew is left."""
        self.world.pitchfork = self.world.new_pitchfork()

    @rule()
    def settle(self) -> None:
        for disk in self.disks.values():
            disk.away = False
        self.do(self._settle())
        self.harmed.clear()

    async def _settle(self) -> None:
        world = self.world
        await world.heartbeats()
        await world.pitchfork.check()
        await world.pitchfork.scrub()
        await world.settle()
        # Twice: orphans too damaged to say how old they are go a grace time after they were first seen.
        for _sweep in range(2):
            world.clock.seconds += 10 * world.settings.grace_seconds
            await world.pitchfork.sweep()
        await world.settle()
        await world.check()
        for volume in self.volumes():
            listings = [await disk.needles(volume, limit=4096) for disk in self.disks.values()]
            assert listings[0] == listings[1] == listings[2]
            digests = {(await disk.digest(volume)).digest for disk in self.disks.values()}
            assert len(digests) == 1
        for photo in world.deleted:
            await self._is_gone(photo)

    async def _is_gone(self, photo: PhotoId) -> None:
        for disk in self.disks.values():
            for key in AlternateKey:
                try:
                    await disk.read(photo, key)
                except (PhotoDeleted, HayloftError):
                    continue
                raise AssertionError(f"{photo} came back on {disk.store}")

    def volumes(self) -> list[VolumeId]:
        return sorted({volume_of(photo) for photo in (*self.world.photos, *self.world.deleted)})

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        try:
            self.settle()
        finally:
            for disk in self.disks.values():
                self.do(disk.stop())
            self.loop.close()
            shutil.rmtree(self.directory, ignore_errors=True)


Replicas.TestCase.settings = settings(
    max_examples=15,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # Explaining a failure would trace every line that runs, failures or not: several times the time.
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
)
TestReplicas = Replicas.TestCase
