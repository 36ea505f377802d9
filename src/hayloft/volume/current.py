"""The files that a volume is made of at this moment, and the lock over them.

A compaction, here or in another process, puts others in their place; whoever holds the lock has those that
are current, mended if somebody died holding it. What ``Volume`` and ``compaction`` both stand on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hayloft.volume import recovery
from hayloft.volume.files import Generation, VolumeFiles
from hayloft.volume.index import POISONED, RETIRED


class CurrentFiles:
    """One volume's. Readers take ``generation`` once and need no lock."""

    def __init__(self, files: VolumeFiles, generation: Generation) -> None:
        self.files = files
        self.generation = generation

    @contextmanager
    def locked(self) -> Iterator[Generation]:
        """Hold the volume's lock over its current files."""
        files = self.files
        with files.locked():
            generation = self.generation
            if not files.current(generation):
                # A process that died while it switched may not have told: tell all that map the old index.
                generation.index.words[RETIRED] = 1
                self.generation = generation = files.open()
            else:
                generation.index.words[RETIRED] = 0
                if not generation.index.words[POISONED]:
                    recovery.resume(generation.log, generation.index)
            yield generation
