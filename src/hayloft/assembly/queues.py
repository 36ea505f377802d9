"""RabbitMQ's queues in a cluster: which consumer takes which events from which one.

The relay declares them all before it publishes anything, because an exchange drops what no queue asks
for. ``similarity_queue`` is the wire contract's, and has uploads alone; deletions come to similarity by a
queue of their own and may overtake them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hayloft.events.rabbitmq.broker import SIMILARITY_QUEUE
from hayloft.types import EventKind

DELETIONS_QUEUE: Final = "similarity_deletions"
RENDITIONS_QUEUE: Final = "renditions_queue"

QUEUES: Final[Mapping[str, tuple[EventKind, ...]]] = {
    SIMILARITY_QUEUE: (EventKind.UPLOADED,),
    DELETIONS_QUEUE: (EventKind.DELETED,),
    RENDITIONS_QUEUE: (EventKind.UPLOADED,),
}
