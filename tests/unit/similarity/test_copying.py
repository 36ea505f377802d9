"""The method of verified copies: its index outlives the process, and says how far it goes."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from hayloft.similarity.copying import CopyMethod, describe_copies
from hayloft.similarity.decode import Picture, decode
from hayloft.similarity.fingerprint import Fingerprint, pdq
from hayloft.similarity.methods import Match, PdqMethod
from hayloft.types import PhotoId, Relation
from similarity_samples import World, jpeg, pixels, sample


def described(name: str):
    return describe_copies(decode(sample(name)))


def filled(folder: Path) -> CopyMethod:
    method = CopyMethod(folder)
    for change, name in enumerate(("astronaut.png", "coffee.png"), start=1):
        method.add(PhotoId(change), method.kept(described(name)), change)
    return method


def test_a_saved_index_is_opened_as_far_as_it_goes(tmp_path: Path) -> None:
    method = filled(tmp_path)
    method.save(force=True)
    method.add(PhotoId(3), method.kept(described("rocket.jpg")), 3)  # lost
    again = CopyMethod(tmp_path)
    assert (len(again), again.loaded) == (2, 2)
    fetched = {PhotoId(1): again.kept(described("astronaut.png"))}
    (match,) = again.matches(described("astronaut.png"), lambda photos: fetched)
    assert match.photo == 1


@pytest.mark.parametrize("damage", ["reach", "manifest"])
def test_an_index_that_cannot_be_trusted_is_made_anew(tmp_path: Path, damage: str) -> None:
    filled(tmp_path).save(force=True)
    (tmp_path / f"{damage}.json").write_text("{")
    again = CopyMethod(tmp_path)
    assert (len(again), again.loaded) == (0, 0)


def test_a_fresh_one_takes_over_and_the_older_never_writes_again(tmp_path: Path) -> None:
    old = filled(tmp_path)
    old.save(force=True)
    fresh = old.fresh()
    fresh.add(PhotoId(9), fresh.kept(described("rocket.jpg")), 7)
    fresh.save(force=True)
    old.add(PhotoId(5), old.kept(described("rocket.jpg")), 9)
    old.save(force=True)
    again = CopyMethod(tmp_path)
    assert (len(again), again.loaded) == (1, 7)


async def test_a_restart_reads_no_fingerprint_again_and_still_finds(tmp_path: Path) -> None:
    world = World()
    similarity = await world.open(tmp_path)
    await similarity.ingest(world.uploaded(1, sample("coffee.png")))
    await similarity.close()
    reach = json.loads((tmp_path / "copies" / "reach.json").read_text())
    assert CopyMethod(tmp_path / "copies").loaded == reach["change"] > 0
    similarity = await world.open(tmp_path)
    await similarity.ingest(world.uploaded(2, jpeg(pixels("coffee.png")[40:340, 60:500])))
    (link,) = await similarity.links(PhotoId(2))
    assert link.method.startswith("sift-geometry")
    await similarity.close()


TURNED = {
    "identity": lambda image: image,
    "rotate_90": lambda image: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE),
    "rotate_180": lambda image: cv2.rotate(image, cv2.ROTATE_180),
    "rotate_270": lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE),
    "flip_top_bottom": lambda image: cv2.flip(image, 0),
    "flip_left_right": lambda image: cv2.flip(image, 1),
    "transpose": cv2.transpose,
    "transverse": lambda image: cv2.rotate(cv2.transpose(image), cv2.ROTATE_180),
}


def hashed(image: np.ndarray) -> tuple[Picture, Fingerprint]:
    picture = decode(jpeg(image))
    return picture, pdq(picture)


@pytest.mark.parametrize("orientation", TURNED)
def test_what_a_hash_found_is_proved_by_the_pictures(orientation: str) -> None:
    stored, stored_hash = hashed(pixels("coffee.png"))
    blurred = cv2.GaussianBlur(TURNED[orientation](pixels("coffee.png")), (0, 0), 10)
    asked, asked_hash = hashed(blurred)
    hashes = PdqMethod()
    hashes.add(PhotoId(1), stored_hash, 1)
    (found,) = hashes.matches(asked_hash, lambda photos: {})
    record = {PhotoId(1): CopyMethod().kept(describe_copies(stored))}
    (proved,) = CopyMethod().prove(describe_copies(asked), [found], lambda photos: record)
    assert proved.evidence["orientation"] == found.evidence["orientation"]
    assert proved.evidence["mirrored"] == ("fl" in orientation or "trans" in orientation)
    assert proved.score >= 0.5
    assert CopyMethod().prove(describe_copies(asked), [found], lambda photos: {}) == []


def test_what_a_hash_found_and_the_pictures_refuse_is_no_copy() -> None:
    picture, _ = hashed(pixels("coffee.png"))
    other, _ = hashed(pixels("chelsea.png"))
    claimed = Match(
        photo=PhotoId(1), relation=Relation.COPY, score=0.9, evidence={"orientation": "identity"}
    )
    record = {PhotoId(1): CopyMethod().kept(describe_copies(other))}
    assert CopyMethod().prove(describe_copies(picture), [claimed], lambda photos: record) == []
