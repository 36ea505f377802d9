"""The volume engine: physical volumes of needles on a disk. Synchronous; knows no event loop.

``volume`` puts the parts together: ``superblock`` and ``log`` are the bytes on disk, ``index`` is where
the needles are, ``commit`` plans a group commit and ``writing`` carries it out, ``recovery`` mends what a
crash left, ``files`` opens log and index together, ``compaction`` reclaims space, ``verification`` reads
everything, ``inventory`` and ``transfer`` are for bringing replicas to the same state.
"""

from hayloft.volume.commit import Append, Delete, Import, Operation, Outcome, Seal
from hayloft.volume.volume import Volume

__all__ = ["Append", "Delete", "Import", "Operation", "Outcome", "Seal", "Volume"]
