"""What is alike: the built-in embedder, ONNX models, and changing from one to the other."""

import asyncio
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from hayloft.errors import InvalidRequest
from hayloft.similarity.embedders.builtin import DIMENSIONS, BuiltinEmbedder, embed_builtin
from hayloft.similarity.embedders.embedder import open_embedder
from hayloft.similarity.embedders.onnx import OnnxEmbedder
from hayloft.similarity.views import ViewPlan, cut
from hayloft.types import PhotoId, Relation
from onnx_model import save_model
from similarity_samples import NAMES, InlineDecoder, World, jpeg, pixels, sample

SIDE = 8


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Mean colours of the four quarters of an 8 × 8 view, as a map that has to be flattened."""
    path = tmp_path / "quarters.onnx"
    save_model(path, side=SIDE)
    sidecar = {"name": "quarters", "side": SIDE, "mean": [0.5] * 3, "std": [0.5] * 3, "fit": "stretch"}
    path.with_suffix(".json").write_text(json.dumps(sidecar))
    return path


def test_builtin_vectors_are_of_unit_length_and_nearer_for_the_same_photo() -> None:
    vectors = [embed_builtin(pixels(name)[:, :, ::-1]) for name in NAMES]
    for name, vector in zip(NAMES, vectors, strict=True):
        assert vector.shape == (DIMENSIONS,)
        assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)
        smaller = cv2.resize(pixels(name), (200, 200), interpolation=cv2.INTER_AREA)
        own = float(vector @ embed_builtin(smaller[:, :, ::-1]))
        assert own > max(float(vector @ other) for other in vectors if other is not vector)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3, 7)])
def test_builtin_takes_any_size(shape: tuple[int, int]) -> None:
    vector = embed_builtin(np.zeros((*shape, 3), np.uint8))
    assert np.isfinite(vector).all()


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
@pytest.mark.parametrize("shape", [(90, 160), (160, 90), (1, 300), (8, 8)])
def test_views_have_the_size_asked_for(fit, shape) -> None:
    rgb = np.full((*shape, 3), 200, np.uint8)
    view = cut(rgb, ViewPlan(side=32, fit=fit, margin=1.14 if fit == "crop" else 1.0))
    assert view.shape == (32, 32, 3)
    if fit != "pad":
        assert (view == 200).all()
    elif shape == (90, 160):
        assert (view[0] == 0).all()
        assert (view[16] == 200).all()


async def test_onnx_prepares_runs_and_normalises_as_the_sidecar_says(model: Path) -> None:
    embedder = OnnxEmbedder(model)
    assert embedder.dimensions == 12
    assert embedder.name.startswith("onnx/quarters/")
    view = np.zeros((SIDE, SIDE, 3), np.uint8)
    view[:4, :4] = 255
    vector = await embedder.embed(view.tobytes())
    quarters = np.array([[1, -1], [-1, -1]], np.float32)
    wanted = np.stack([quarters] * 3).ravel()
    assert vector == pytest.approx(wanted / np.linalg.norm(wanted), abs=1e-5)
    await embedder.close()


async def test_views_that_wait_together_are_one_batch(model: Path) -> None:
    embedder = OnnxEmbedder(model)
    batches: list[int] = []
    embed = embedder.embed_now
    embedder.embed_now = lambda views: batches.append(len(views)) or embed(views)
    views = [bytes([value]) * (SIDE * SIDE * 3) for value in range(20)]
    together = await asyncio.gather(*(embedder.embed(view) for view in views))
    assert batches == [16, 4]
    alone = [await embedder.embed(view) for view in views]
    assert np.allclose(together, alone, atol=1e-6)
    await embedder.close()


def test_another_model_or_sidecar_is_another_name(model: Path) -> None:
    before = OnnxEmbedder(model).name
    sidecar = model.with_suffix(".json")
    sidecar.write_text(sidecar.read_text().replace("stretch", "crop"))
    assert OnnxEmbedder(model).name != before


def test_what_is_wrong_with_a_model_is_said_at_start(model: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="cannot be read"):
        open_embedder(f"onnx:{tmp_path}/nothing.onnx")
    with pytest.raises(InvalidRequest, match="no embedder"):
        open_embedder("clip")
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"junk")
    with pytest.raises(InvalidRequest, match="no model"):
        open_embedder(f"onnx:{junk}")
    model.with_suffix(".json").write_text('{"side": -3}')
    with pytest.raises(InvalidRequest, match="sidecar"):
        open_embedder(f"onnx:{model}")
    model.with_suffix(".json").write_text('{"output": "elsewhere"}')
    with pytest.raises(InvalidRequest, match="does not run"):
        open_embedder(f"onnx:{model}")
    assert open_embedder("none") is None


async def alike(similarity, photo: int) -> list[tuple[int, str]]:
    found = await similarity.similar(PhotoId(photo), k=9, relation=Relation.SIMILAR)
    return [(one.photo, one.method) for one in found]


async def test_a_new_embedder_catches_up_while_the_old_one_answers(tmp_path: Path, model: Path) -> None:
    world = World()
    similarity = await world.open(tmp_path, embedder=BuiltinEmbedder())
    image = pixels("coffee.png")
    await similarity.ingest(world.uploaded(1, sample("coffee.png")))
    await similarity.ingest(world.uploaded(2, sample("rocket.jpg")))
    await similarity.ingest(world.uploaded(3, jpeg(image[:, :300])))
    before = await alike(similarity, 1)
    assert {method for _, method in before} == {"builtin/1"}
    await similarity.close()

    class Held(InlineDecoder):
        go_on = asyncio.Event()

        async def describe(self, data, *, view=None):
            await self.go_on.wait()
            return await super().describe(data, view=view)

    embedder = OnnxEmbedder(model)
    similarity = await world.open(tmp_path, embedder=embedder, decoder=Held())
    assert await alike(similarity, 1) == before
    Held.go_on.set()
    await similarity.caught_up()
    after = await alike(similarity, 1)
    assert {method for _, method in after} == {embedder.name}
    status = await similarity.status()
    assert (status.embedder, status.embedded) == (embedder.name, 3)
    await similarity.close()

    similarity = await world.open(tmp_path, embedder=OnnxEmbedder(model))
    assert await alike(similarity, 1) == after
    await similarity.close()


async def test_alike_photos_get_links_above_the_threshold_and_leave_with_the_photo(tmp_path: Path) -> None:
    world = World()
    embedder = BuiltinEmbedder()
    embedder.alike_score_min = -1.0
    similarity = await world.open(tmp_path, embedder=embedder)
    await similarity.ingest(world.uploaded(1, sample("coffee.png")))
    await similarity.ingest(world.uploaded(2, sample("rocket.jpg")))
    (link,) = await similarity.links(PhotoId(2))
    assert (link.relation, link.method) == (Relation.SIMILAR, "builtin/1")
    assert link.evidence["cosine"] == link.score
    # Alike is not the same: no group, never.
    assert (await similarity.groups(relation=None, cursor=None, limit=9)).groups == ()
    await similarity.forget(PhotoId(1))
    assert await similarity.links(PhotoId(2)) == ()
    assert await alike(similarity, 2) == []
    await similarity.close()


async def test_an_index_that_lags_behind_a_deletion_names_no_deleted_photo(tmp_path: Path) -> None:
    world = World()
    similarity = await world.open(tmp_path, embedder=BuiltinEmbedder())
    await similarity.ingest(world.uploaded(1, sample("coffee.png")))
    await similarity.close()  # saved with photo 1
    similarity = await world.open(tmp_path, embedder=BuiltinEmbedder())
    await similarity.forget(PhotoId(1))
    # A crash: what is on disk still has it.
    await similarity._database.close()
    similarity = await world.open(tmp_path, embedder=BuiltinEmbedder())
    await similarity.ingest(world.uploaded(2, jpeg(pixels("coffee.png")[:, 30:])))
    assert await similarity.similar(PhotoId(2), k=9) == ()
    assert await similarity.links(PhotoId(2)) == ()
    await similarity.close()
