"""The pitchfork: watches stores and brings replicas back to the same state (Haystack, section 3.4.3).

``pitchfork`` runs the rounds: ``health`` finds what fails, ``relocation`` gives volumes of stores that are
gone for good a new place, ``mending`` compares replicas (``difference``) and copies what is missing
(``copying``), ``deletes`` finishes deletions, ``sweep`` clears away what no photo needs, ``scrub`` reads
everything again slowly, ``compaction`` reclaims space. ``journal`` says what it is doing, ``server`` tells.
"""

from hayloft.pitchfork.pitchfork import Pitchfork

__all__ = ["Pitchfork"]
