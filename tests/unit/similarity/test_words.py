"""Search by words: a pair of encoders, what is wrong with one, and how it reaches the service."""

import json
from pathlib import Path

import numpy as np
import pytest

from hayloft.errors import InvalidRequest, SearchNotConfigured
from hayloft.similarity.embedders.builtin import BuiltinEmbedder
from hayloft.similarity.embedders.onnx import OnnxEmbedder
from hayloft.similarity.embedders.words import TextEncoder, TextSidecar
from hayloft.types import PhotoId
from model_samples import COLOURS, picture_of, save_colours
from onnx_by_hand import save_text_model
from similarity_samples import World


async def test_words_find_the_photos_they_describe(tmp_path: Path) -> None:
    world = World()
    similarity = await world.open(tmp_path, embedder=OnnxEmbedder(save_colours(tmp_path / "colours.onnx")))
    for photo, name in enumerate(COLOURS, start=1):
        await similarity.ingest(world.uploaded(photo, picture_of(name)))
    for photo, name in enumerate(COLOURS, start=1):
        found = await similarity.search(f"something {name.upper()}", k=3)
        assert found[0].photo == photo
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert (await similarity.status()).takes_words
    await similarity.forget(PhotoId(1))
    assert (await similarity.search("red", k=9))[0].photo != 1
    with pytest.raises(InvalidRequest):
        await similarity.search("red " * 1000, k=3)
    await similarity.close()


async def test_a_model_without_words_says_so(tmp_path: Path) -> None:
    for embedder in (
        BuiltinEmbedder(),
        OnnxEmbedder(save_colours(tmp_path / "colours.onnx", words=False)),
    ):
        assert not embedder.takes_words
        with pytest.raises(SearchNotConfigured):
            await embedder.embed_words("red")
        await embedder.close()


def test_texts_are_cut_and_padded_as_the_sidecar_says(tmp_path: Path) -> None:
    save_colours(tmp_path / "colours.onnx")
    plain = TextEncoder(tmp_path, TextSidecar(model="words.onnx", pool="mean"))
    red = plain.embed("red")
    padded = TextEncoder(tmp_path, TextSidecar(model="words.onnx", pool="mean", length=5, pad=3))
    assert np.allclose(padded.embed("red"), red)  # padding does not count
    assert np.allclose(padded.embed("red red red red red blue blue"), red)  # the sixth word is cut
    first = TextEncoder(tmp_path, TextSidecar(model="words.onnx", pool="first"))
    assert np.allclose(first.embed("red blue"), red)


def test_what_is_wrong_with_a_pair_is_said_at_start(tmp_path: Path) -> None:
    path = save_colours(tmp_path / "colours.onnx")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InvalidRequest, match="tokenizer"):
        OnnxEmbedder(path)
    save_colours(path)
    save_text_model(tmp_path / "words.onnx", np.ones((9, 5)))
    with pytest.raises(InvalidRequest, match="no pair"):
        OnnxEmbedder(path)
    (tmp_path / "words.onnx").unlink()
    with pytest.raises(InvalidRequest, match="cannot be read"):
        OnnxEmbedder(path)
    sidecar = json.loads(path.with_suffix(".json").read_text())
    sidecar["text"]["model"] = "../elsewhere.onnx"
    path.with_suffix(".json").write_text(json.dumps(sidecar))
    with pytest.raises(InvalidRequest, match="sidecar"):
        OnnxEmbedder(path)
