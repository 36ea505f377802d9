"""Reference implementations of the roles, in memory: the contract in its shortest form.

``MemoryStore``, ``MemoryDirectory`` and ``MemorySimilarity`` keep every promise of ``roles.py`` but
durability, in plain dictionaries, one process, one event loop. They are shipped so that code written
against the roles can be tested without disks; ``MemoryStore`` can be told to fail, to lie and to be full.
"""

from hayloft.testing.memory.directory import MemoryDirectory
from hayloft.testing.memory.similarity import MemorySimilarity
from hayloft.testing.memory.store import LOCAL, MemoryNeedle, MemoryStore

__all__ = ["LOCAL", "MemoryDirectory", "MemoryNeedle", "MemorySimilarity", "MemoryStore"]
