"""What is alike: the built-in embedder, ONNX models, and changing from one to the other."""

import asyncio
import json
from glob import glob
from pathlib import Path

import cv2
import numpy as np
import pytest
from sqlalchemy import create_engine, text

from hayloft.errors import InvalidRequest
from hayloft.similarity.embedders import choice
from hayloft.similarity.embedders.builtin import DIMENSIONS, BuiltinEmbedder, embed_builtin
from hayloft.similarity.embedders.embedder import Embedder, open_embedder
from hayloft.similarity.embedders.library import ModelLibrary
from hayloft.similarity.embedders.names import made
from hayloft.similarity.embedders.onnx import OnnxEmbedder
from hayloft.similarity.local import LocalSimilarity
from hayloft.similarity.views import ViewPlan, cut
from hayloft.types import PhotoId, Relation
from model_samples import save_colours
from onnx_by_hand import save_model
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


async def test_a_new_embedder_catches_up_while_the_old_one_answers(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hayloft.similarity.recorder.RETIRE_PAGE", 2)  # of three photos
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
    assert vectors(tmp_path) == {embedder.name: 3}

    similarity = await world.open(tmp_path, embedder=OnnxEmbedder(model))
    assert await alike(similarity, 1) == after
    await similarity.close()


class Gate(InlineDecoder):
    """Lets through as many photos as it is told to."""

    def __init__(self, photos: int) -> None:
        super().__init__()
        self.passes = asyncio.Semaphore(photos)
        self.waiting = asyncio.Event()

    async def describe(self, data, *, view=None):
        if self.passes.locked():
            self.waiting.set()
        await self.passes.acquire()
        return await super().describe(data, view=view)

    def open(self) -> None:
        for _ in range(1000):
            self.passes.release()


def vectors(folder: Path) -> dict[str, int]:
    """How many photos each embedder has recorded vectors of."""
    engine = create_engine(f"sqlite:///{folder}/similarity.sqlite")
    with engine.connect() as connection:
        counted = connection.execute(
            text("SELECT method, count(*) FROM fingerprints GROUP BY method")
        ).all()
    engine.dispose()
    return {method: count for method, count in counted if made(method)}


async def taken_in(world: World, similarity: LocalSimilarity) -> None:
    for photo, name in enumerate(NAMES[:4], start=1):
        await similarity.ingest(world.uploaded(photo, sample(name)))


async def test_another_embedder_is_taken_up_while_photos_come_and_the_old_one_answers(
    tmp_path: Path, model: Path
) -> None:
    world, decoder = World(), Gate(4)
    similarity = await world.open(tmp_path, embedder=BuiltinEmbedder(), decoder=decoder)
    await taken_in(world, similarity)
    before = await alike(similarity, 1)
    arriving = asyncio.create_task(similarity.ingest(world.uploaded(9, sample(NAMES[5]))))
    await decoder.waiting.wait()
    change = asyncio.create_task(similarity.use(OnnxEmbedder(model)))
    await asyncio.sleep(0.05)
    assert not change.done()  # the photo in hand is described for the old one
    assert await alike(similarity, 1) == before
    decoder.open()
    await asyncio.gather(arriving, change)
    await similarity.caught_up()
    (name,) = vectors(tmp_path)
    assert vectors(tmp_path) == {name: 5}
    assert {method for _, method in await alike(similarity, 1)} == {name}
    # Of the old one nothing is left on the disk, either.
    assert len(glob(f"{tmp_path}/*/state.json")) <= 1
    await similarity.use(BuiltinEmbedder())
    await similarity.caught_up()
    assert await alike(similarity, 1) != []
    assert vectors(tmp_path) == {"builtin/1": 5}
    await similarity.use(None)
    await similarity.caught_up()
    assert vectors(tmp_path) == {}
    assert await alike(similarity, 1) == []
    await similarity.close()


async def test_a_change_that_a_crash_interrupts_goes_on_where_it_was(tmp_path: Path, model: Path) -> None:
    world, decoder = World(), Gate(6)
    similarity = await world.open(tmp_path, embedder=BuiltinEmbedder(), decoder=decoder)
    await taken_in(world, similarity)
    before = await alike(similarity, 1)
    await similarity.use(OnnxEmbedder(model))  # two more photos pass
    await decoder.waiting.wait()
    for _ in range(500):
        if sum(vectors(tmp_path).values()) == 6:
            break
        await asyncio.sleep(0.02)
    status = await similarity.status()
    assert status.embedded == 2
    assert status.rebuilding is not None
    assert await alike(similarity, 1) == before
    # The process dies: nothing is saved, nothing closed in order.
    await similarity._stop_background()
    await similarity._database.close()

    decoder = Gate(0)
    similarity = await world.open(tmp_path, embedder=OnnxEmbedder(model), decoder=decoder)
    await decoder.waiting.wait()
    assert await alike(similarity, 1) == before
    assert (await similarity.status()).embedded == 2
    decoder.open()
    await similarity.caught_up()
    assert decoder.described == 2
    assert list(vectors(tmp_path).values()) == [4]
    assert len(await alike(similarity, 1)) == 3
    await similarity.close()


class Choosing:
    """Takes embedders as a service does, and remembers their names."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.told = asyncio.Event()

    async def use(self, embedder: Embedder | None) -> None:
        self.names.append("" if embedder is None else embedder.name)
        self.told.set()
        if embedder is not None:
            await embedder.close()


async def test_what_is_chosen_while_serving_is_taken_up(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(choice, "POLL_SECONDS", 0.01)
    library, service = ModelLibrary(tmp_path / "models"), Choosing()
    library.add("colours", lambda folder: save_colours(folder / "colours.onnx") and None)
    following = asyncio.create_task(choice.follow(service, library, chosen="builtin", threads=1))
    for name in ("colours", "builtin", "none"):
        service.told.clear()
        library.use(name)
        await asyncio.wait_for(service.told.wait(), 60)
    # A model whose file is broken changes nothing, and the next choice is taken up.
    library.model("colours").path.write_bytes(b"junk")
    library.use("colours")
    await asyncio.sleep(0.1)
    service.told.clear()
    library.use("builtin")
    await asyncio.wait_for(service.told.wait(), 60)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert [name.partition("/")[0] for name in service.names] == ["onnx", "builtin", "", "builtin"]


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
