"""A volume against a dict, by Hypothesis: two opens of it, as two processes would have, and no order.

Whatever is appended, replaced, deleted, sealed, compacted, closed and reopened, with the index lost at
times: every read answers what the dict says, and verification finds nothing wrong.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hayloft import limits
from hayloft.disk import SystemDisk
from hayloft.errors import PhotoDeleted, PhotoNotFound, VolumeReadOnly
from hayloft.types import (
    AlternateKey,
    Appended,
    Cookie,
    NeedleMetadata,
    NewNeedle,
    Sequence,
    VolumeId,
    photo_id,
)
from hayloft.volume import Append, Delete, Operation, Seal, Volume

VOLUME = VolumeId(3)
SEQUENCES = [0, 1, 2, 3, 9_000, 2**20, 2**32 - 1]
DELETED = object()

slots = st.tuples(st.sampled_from(SEQUENCES), st.sampled_from(AlternateKey))
appends = st.tuples(slots, st.binary(max_size=2_000), st.text(max_size=10))
deletions = st.sampled_from(SEQUENCES)
handles = st.integers(0, 1)


class VolumeMachine(RuleBasedStateMachine):
    """The volume under test, and the dict."""

    @initialize()
    def create(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="hayloft-model-"))
        self.model: dict[tuple[int, AlternateKey], object] = {}
        self.sealed = False
        self.volumes = [self._open(), self._open()]

    def _open(self) -> Volume:
        return Volume.open(SystemDisk(), self.directory, VOLUME, create_size_bytes_max=16 << 20)

    @rule(handle=handles, batch=st.lists(st.one_of(appends, deletions), min_size=1, max_size=6))
    def commit(self, handle: int, batch: list[object]) -> None:
        operations = [_operation(each) for each in batch]
        outcomes = self.volumes[handle].commit(operations)
        for operation, outcome in zip(operations, outcomes, strict=True):
            if isinstance(operation, Append):
                self._appended(operation.needle, outcome)
            elif isinstance(operation, Delete):
                self._deleted(int(operation.sequence), outcome)

    def _appended(self, needle: NewNeedle, outcome: object) -> None:
        sequence = needle.photo & 0xFFFF_FFFF
        belated = needle.alternate_key and isinstance(self.model.get((sequence, AlternateKey.ORIG)), tuple)
        if self.sealed and not belated:
            assert isinstance(outcome, VolumeReadOnly)
        elif needle.alternate_key and self.model.get((sequence, AlternateKey.ORIG)) is DELETED:
            assert isinstance(outcome, PhotoDeleted)
        else:
            assert isinstance(outcome, Appended)
            self.model[sequence, needle.alternate_key] = (bytes(needle.data), needle.metadata.name)

    def _deleted(self, sequence: int, outcome: object) -> None:
        held = [
            (sequence, key) for key in AlternateKey if isinstance(self.model.get((sequence, key)), tuple)
        ]
        assert outcome is bool(held)
        self.model.update(dict.fromkeys(held, DELETED))

    @rule(handle=handles)
    def compact(self, handle: int) -> None:
        report = self.volumes[handle].compact()
        assert report.needles == sum(isinstance(each, tuple) for each in self.model.values())

    @precondition(lambda self: len(self.model) > 4)
    @rule(handle=handles)
    def seal(self, handle: int) -> None:
        self.volumes[handle].commit([Seal()])
        self.sealed = True

    @rule(handle=handles)
    def reopen(self, handle: int) -> None:
        self.volumes[handle] = self._open()

    @rule(handle=handles)
    def checkpoint(self, handle: int) -> None:
        self.volumes[handle].checkpoint()

    @rule()
    def lose_the_index(self) -> None:
        for path in self.directory.glob("*.index"):
            path.unlink()
        self.volumes = [self._open(), self._open()]

    @rule(handle=handles)
    def lose_the_index_under_an_open_volume(self, handle: int) -> None:
        for path in self.directory.glob("*.index"):
            path.unlink()
        self.volumes[handle].checkpoint()
        self.volumes[1 - handle].checkpoint()

    @rule(handle=handles)
    def verify(self, handle: int) -> None:
        report = self.volumes[handle].verify()
        assert report.damaged == ()
        live = sum(isinstance(each, tuple) for each in self.model.values())
        assert (report.checked, report.state.needles, report.state.sealed) == (live, live, self.sealed)

    @invariant()
    def every_read_agrees(self) -> None:
        for volume in getattr(self, "volumes", ()):
            for sequence in SEQUENCES:
                for key in (AlternateKey.ORIG, AlternateKey.THUMB):
                    assert _read(volume, sequence, key) == self.model.get((sequence, key))

    def teardown(self) -> None:
        if hasattr(self, "directory"):
            self.verify(0)
            shutil.rmtree(self.directory)


def _operation(given: object) -> Operation:
    if isinstance(given, int):
        return Delete(sequence=Sequence(given))
    (sequence, key), data, name = given  # type: ignore[misc]
    return Append(
        needle=NewNeedle(
            photo=photo_id(VOLUME, Sequence(sequence)),
            cookie=Cookie(1),
            data=data,
            alternate_key=key,
            metadata=NeedleMetadata(name=name),
        )
    )


def _read(volume: Volume, sequence: int, key: AlternateKey) -> object:
    try:
        needle = volume.read_cached(Sequence(sequence), key) or volume.read(Sequence(sequence), key)
    except PhotoNotFound:
        return None
    except PhotoDeleted:
        return DELETED
    return bytes(needle.data), needle.metadata.name


assert len(AlternateKey) == limits.SLOTS_PER_PHOTO
VolumeMachine.TestCase.settings = settings(
    max_examples=100, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestVolume = VolumeMachine.TestCase
