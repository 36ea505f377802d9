"""Every cap in one place, each with its reason, and the relations between them.

A limit that a user may change is a setting (``config.py``) whose default stands here; the rest follow
from the formats. Units stand last in the names.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30

# Identifiers -------------------------------------------------------------------------------------

SEQUENCES_PER_VOLUME_MAX: Final = 1 << 32
"""The low half of a photo id (DESIGN: volume << 32 | sequence)."""

VOLUMES_MAX: Final = 1 << 21
"""What is left of 53 bits, the integers that JavaScript holds exactly."""

# Needles and volumes -----------------------------------------------------------------------------

NEEDLE_ALIGNMENT_BYTES: Final = 8
"""Offsets are stored divided by this, so that 32 bits of the index address a whole volume."""

VOLUME_SIZE_BYTES_LIMIT: Final = NEEDLE_ALIGNMENT_BYTES << 32
"""32 GiB: what 32 bits of ``offset / 8`` can address."""

VOLUME_SIZE_BYTES_MAX: Final = 16 * GIB
"""Default size at which a volume is sealed; half of what the index can address."""

SLOTS_PER_PHOTO: Final = 5
"""Index slots that a sequence number reserves: the original and its four renditions."""

CHECKPOINT_INTERVAL_BYTES: Final = 64 * MIB
"""Log written between two checkpoints: bounds what recovery must scan after a crash."""

METADATA_BYTES_MAX: Final = 4 * KIB
"""A needle's metadata block; a file name and a media type are far smaller."""

NAME_BYTES_MAX: Final = 1024
"""An original's file name in UTF-8; four times what common file systems allow."""

FREE_SPACE_RESERVE_BYTES: Final = 256 * MIB
"""Free space below which a store refuses appends, so that deletes and the directory still work."""

TRANSFER_BYTES: Final = 4 * MIB
"""Records that are copied between replicas in one request."""

TRANSFER_BYTES_MAX: Final = 80 * MIB
"""What a store takes at once: the largest photo in its record, which cannot be divided."""

TRANSFER_NEEDLES_MAX: Final = 4096
"""Needles copied or listed at once, however small: bounds how long the volume's lock is held."""

# Uploads -----------------------------------------------------------------------------------------

UPLOAD_BYTES_MAX: Final = 64 * MIB
"""One photo. Larger than any phone's or camera's JPEG; raw files are not photos yet."""

UPLOAD_FILES_MAX: Final = 1000
"""Files in one multipart request."""

UPLOAD_BODY_BYTES_MAX: Final = 1 * GIB
"""One multipart request in all; files are dealt with one after the other, never held together."""

UPLOAD_MEMORY_BYTES_MAX: Final = 512 * MIB
"""Upload bytes in flight per worker process; past it, 503 with ``Retry-After``."""

UPLOAD_IDLE_SECONDS_MAX: Final = 30
"""A client that sends nothing for this long is cut off, so that it cannot hold memory for ever."""

IMAGE_PIXELS_MAX: Final = 256 * 1000 * 1000
"""Width × height. Decoded to RGB this is 768 MB: past it lies no camera but a decompression bomb."""

IMAGE_SIDE_PIXELS_MAX: Final = 65_535
"""JPEG's own limit of a side; applied to every format."""

# Renditions --------------------------------------------------------------------------------------

RENDITION_SIDE_PIXELS_MAX: Final = 16_383
"""A rendition's longer side: WebP's own limit."""

PICTURE_PIXELS_MAX: Final = 16 * 1000 * 1000
"""Width × height of a picture made to order: what a 4096-pixel square screen shows."""

PICTURES_WAITING_MAX: Final = 64
"""Pictures to order that may wait for a decoder process; past it, 503 with ``Retry-After``."""

# Linking -----------------------------------------------------------------------------------------

DECODE_MEMORY_BYTES_MAX: Final = 1536 * MIB
"""Address space that decoding one photo may take: the largest image allowed, as RGB, twice."""

DECODE_CPU_SECONDS_MAX: Final = 20
"""Processor time that decoding one photo may take; the largest image allowed takes a third of it."""

DECODE_WALL_SECONDS_MAX: Final = 60.0
"""Time after which a decoder process is killed, unless it only waits for a core."""

DECODER_PHOTOS_MAX: Final = 2000
"""Photos after which a decoder process is replaced, so that what its libraries leak stays small."""

# Directory ---------------------------------------------------------------------------------------

REPLICATION_DEFAULT: Final = 3
"""Replicas of a volume when there are stores enough (Haystack, section 3.1)."""

REPLICAS_MIN_DEFAULT: Final = 2
"""Replicas below which a cluster of more stores takes no uploads: what it acknowledges lies on more than
one disk, and any one store may be away without an upload being refused."""

LEASE_COUNT: Final = 1024
"""Sequence numbers in one lease: at 5 slots of 8 bytes, an abandoned lease wastes at most 40 KiB."""

LEASE_COUNT_MAX: Final = 1 << 20
"""The largest lease: past it, one careless holder would use up volumes without writing."""

WRITABLE_VOLUMES_PER_WORKER: Final = 1
"""Writable volumes that the directory keeps for each worker, so that none queues behind another."""

LEASE_AVOID_MAX: Final = 1000
"""Stores that the holder of a lease may ask to avoid."""

PAGE_PHOTOS_MAX: Final = 1000
"""Photos in one page of a listing."""

PAGE_EVENTS_MAX: Final = 10_000
"""Events read from the log at once."""

NEIGHBOURS_MAX: Final = 1000
"""``k`` of a similarity query."""

COMMIT_BATCH_PHOTOS_MAX: Final = 256
"""Photos committed in one directory transaction."""

IDEMPOTENCY_KEY_CHARACTERS_MAX: Final = 255
"""Length of an ``Idempotency-Key``."""

# Caches ------------------------------------------------------------------------------------------

CACHE_MEMORY_BYTES_MAX: Final = 256 * MIB
"""Default size of a cache's memory."""

CACHE_DISK_BYTES_MAX: Final = 4 * GIB
"""Default size of a cache's files."""

CACHE_ITEMS_MAX: Final = 1_000_000
"""Default number of renditions, in memory and on disk each: their bookkeeping takes about 300 MB."""

CACHE_TTL_SECONDS: Final = 3600.0
"""Default time for which a rendition that nobody reads is kept."""

CACHE_WAITING_BYTES_MAX: Final = 64 * MIB
"""Renditions that left memory and wait to be written to disk; past it, they are forgotten."""

CACHE_DELETIONS_MAX: Final = 100_000
"""Deletions that a cache remembers; leases older than all of them are not honoured."""

# Servers -----------------------------------------------------------------------------------------

WORKERS_MAX_DEFAULT: Final = 4
"""Worker processes when the user does not say: the cores, at most this many."""

RETRY_AFTER_SECONDS: Final = 2
"""What an overloaded server tells its clients to wait."""

SHUTDOWN_SECONDS_MAX: Final = 30
"""How long a stopping server lets uploads in flight finish."""

assert VOLUME_SIZE_BYTES_MAX <= VOLUME_SIZE_BYTES_LIMIT
assert UPLOAD_BYTES_MAX < UPLOAD_MEMORY_BYTES_MAX
assert UPLOAD_BYTES_MAX + METADATA_BYTES_MAX < TRANSFER_BYTES_MAX < UPLOAD_MEMORY_BYTES_MAX
assert UPLOAD_BYTES_MAX < UPLOAD_BODY_BYTES_MAX
assert NAME_BYTES_MAX < METADATA_BYTES_MAX
assert DECODE_MEMORY_BYTES_MAX >= 2 * 3 * IMAGE_PIXELS_MAX
