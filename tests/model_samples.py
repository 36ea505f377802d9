"""A model that sees colours and knows their names: a pair of encoders small enough to write by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from onnx_by_hand import save_model, save_text_model
from similarity_samples import jpeg

SIDE = 8
COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
}
"""RGB."""


def picture_of(name: str) -> bytes:
    """A JPEG image all of that colour, more or less."""
    rng = np.random.default_rng(len(name))
    rgb = np.full((64, 80, 3), COLOURS[name], np.int16) + rng.integers(-20, 21, (64, 80, 3))
    return jpeg(np.clip(rgb[:, :, ::-1], 0, 255).astype(np.uint8))


def save_colours(path: Path, *, words: bool = True) -> Path:
    """Write the pair: ``path``, its sidecar, and beside them ``words.onnx`` and ``tokenizer.json``."""
    save_model(path, side=SIDE)
    sidecar = {"name": path.stem, "side": SIDE, "mean": [0.5] * 3, "std": [0.5] * 3, "fit": "stretch"}
    if words:
        sidecar["text"] = {"model": "words.onnx", "length": 16, "pool": "mean"}
        _save_words(path.parent)
    path.with_suffix(".json").write_text(json.dumps(sidecar))
    return path


def _save_words(folder: Path) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    vocabulary = {"[unknown]": 0} | {name: number for number, name in enumerate(COLOURS, start=1)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[unknown]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    # The image encoder's vector of a picture all of that colour: each channel's mean in each quarter.
    rows = [np.zeros(12)] + [np.repeat(np.array(rgb) / 127.5 - 1, 4) for rgb in COLOURS.values()]
    save_text_model(folder / "words.onnx", np.array(rows))
