"""Two stores that know each other, needles for them, and copies from one to the other."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence as Sequences
from dataclasses import dataclass
from pathlib import Path

from hayloft.config import VolumeSettings
from hayloft.roles import Store
from hayloft.store.local import LocalStore
from hayloft.testing.memory import MemoryStore
from hayloft.types import (
    AlternateKey,
    Cookie,
    NeedleKey,
    NeedleMetadata,
    NewNeedle,
    Sequence,
    StoreId,
    VolumeId,
    photo_id,
)

SOURCE = StoreId("source")


KNOWN: dict[StoreId, Store] = {}
"""Where the stores of these tests find each other: ``copy`` puts there what is copied from."""


VOLUME = VolumeId(5)


SETTINGS = VolumeSettings(size_bytes_max=1 << 20, free_space_reserve_bytes=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    one: Store
    other: Store


def local_store(folder: Path, settings: VolumeSettings = SETTINGS) -> LocalStore:
    return LocalStore(folder, store=StoreId(folder.name), settings=settings, peers=KNOWN)


def key(sequence: int, alternate_key: AlternateKey = AlternateKey.ORIG) -> NeedleKey:
    return NeedleKey(photo_id(VOLUME, Sequence(sequence)), alternate_key)


def needle(
    sequence: int,
    data: bytes | None = None,
    alternate_key: AlternateKey = AlternateKey.ORIG,
    *,
    created_at_ms: int = 1000,
) -> NewNeedle:
    data = random.Random(sequence).randbytes(500) if data is None else data
    return NewNeedle(
        photo=key(sequence).photo,
        cookie=Cookie(0xFEDC_BA98_0000_0000 + sequence),
        data=data,
        alternate_key=alternate_key,
        metadata=NeedleMetadata(
            name=f"{sequence}.jpg", sha256=hashlib.sha256(data).digest(), created_at_ms=created_at_ms
        ),
    )


async def fill(store: Store, *sequences: int) -> None:
    for sequence in sequences:
        await store.append(VOLUME, needle(sequence))


async def all_keys(store: Store) -> list[NeedleKey]:
    return [entry.key for entry in await store.needles(VOLUME, limit=4096)]


async def copy(source: Store, target: Store, *keys: NeedleKey) -> tuple[int, int, int]:
    KNOWN[SOURCE] = source
    fetched = await target.fetch_needles(VOLUME, keys or await all_keys(source), source=SOURCE)
    return fetched.stored, fetched.deleted, fetched.kept


class Sending(MemoryStore):
    """A source that sends these records, whatever it is asked for."""

    def __init__(self, records: bytes) -> None:
        super().__init__()
        self.records = records

    async def export_needles(self, volume: VolumeId, needles: Sequences[NeedleKey]) -> bytes:
        return self.records


async def take_over(target: Store, records: bytes) -> tuple[int, int, int]:
    return await copy(Sending(records), target, key(1))


async def export(store: Store, *keys: NeedleKey) -> bytes:
    return bytes(await store.export_needles(VOLUME, keys))


def damage(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0x10]))
