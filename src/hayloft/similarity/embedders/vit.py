"""The reference design's embedder: torchvision's ViT-B/16, exported once to ONNX.

The vector is the encoder's class token (768 numbers; Dosovitskiy et al., ICLR 2021), on photos made 256
pixels on the shorter side and cut to 224 × 224 in the middle, as the weights ``IMAGENET1K_V1`` want them.
torch and torchvision are needed for the export alone (the extra ``vit``); the weights are a file in
torchvision's format (a state dictionary), or torchvision downloads them. The export is compared with
torch's own forward pass before it is accepted.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hayloft.errors import InvalidRequest
from hayloft.similarity.embedders.onnx import OnnxEmbedder

NAME: Final = "vit-b-16"
DIMENSIONS: Final = 768
SIDE: Final = 224
RESIZED: Final = 256
COSINE_MIN: Final = 0.9999
"""Between torch's vectors and onnxruntime's: float32 in another order of operations reaches 0.999999."""
BATCHES: Final = (1, 3)
"""Sizes of batch that are compared: the export must take any."""

SIDECAR: Final = {
    "name": NAME,
    "input": "pixels",
    "output": "embedding",
    "side": SIDE,
    "fit": "crop",
    "margin": RESIZED / SIDE,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}


def export(folder: Path, *, weights: Path | None = None) -> None:
    """Write ``vit-b-16.onnx`` and its sidecar into ``folder``.

    Raises:
        InvalidRequest: torch or torchvision is missing, the weights are not right or cannot be had, or the
            export does not compute what torch does.
    """
    network = _network(weights)
    path = folder / f"{NAME}.onnx"
    _write(network, path)
    path.with_suffix(".json").write_text(json.dumps(SIDECAR, indent=2))
    compare(network, path)


def compare(network: Any, path: Path) -> None:
    """Have torch and onnxruntime embed the same views.

    Raises:
        InvalidRequest: their vectors differ.
    """
    embedder = OnnxEmbedder(path)
    rng = np.random.default_rng(1)
    for batch in BATCHES:
        views = [_view(rng) for _ in range(batch)]
        exported = embedder.embed_now([view.tobytes() for view in views])
        nearness = float((exported * _by_torch(network, np.stack(views))).sum(axis=1).min())
        if not nearness >= COSINE_MIN:
            raise InvalidRequest(
                f"The export is not what torch computes: cosine {nearness:.6f} for a batch of {batch}."
            )


def _network(weights: Path | None) -> Any:
    try:
        import torch
        from torchvision.models import vit_b_16
    except ImportError as missing:
        raise InvalidRequest(
            f"The export needs {missing.name or 'torch'}: pip install 'hayloft[vit]'. Serving does not."
        ) from missing
    if weights is None:
        network = _downloaded(vit_b_16)
    else:
        network = vit_b_16(weights=None)
        try:
            network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        except OSError:
            raise
        except Exception as wrong:
            # torch and pickle raise whatever the file provokes.
            raise InvalidRequest(f"{weights} holds no weights of ViT-B/16: {wrong}") from wrong
    network.heads = torch.nn.Identity()
    return network.eval()


def _downloaded(vit_b_16: Any) -> Any:
    try:
        return vit_b_16(weights="IMAGENET1K_V1")
    except OSError as failure:
        raise InvalidRequest(
            f"The weights cannot be downloaded ({failure}); give a file of them with --weights."
        ) from failure


def _write(network: Any, path: Path) -> None:
    import torch

    batch = torch.export.Dim("n", min=1, max=1024)
    try:
        torch.onnx.export(
            network,
            (torch.zeros(2, 3, SIDE, SIDE),),
            str(path),
            input_names=[SIDECAR["input"]],
            output_names=[SIDECAR["output"]],
            dynamic_shapes=({0: batch},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    except ImportError as missing:
        raise InvalidRequest(
            f"The export needs {missing.name}: pip install 'hayloft[vit]'. Serving does not."
        ) from missing


def _view(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Something between noise and a picture: soft blobs of colour."""
    coarse = rng.integers(0, 256, (14, 14, 3)).repeat(SIDE // 14, axis=0).repeat(SIDE // 14, axis=1)
    return np.asarray(np.clip(coarse + rng.normal(0, 12, coarse.shape), 0, 255), dtype=np.uint8)


def _by_torch(network: Any, views: NDArray[np.uint8]) -> NDArray[np.float32]:
    import torch

    mean, std = (np.asarray(SIDECAR[key], np.float32) for key in ("mean", "std"))
    prepared = ((views.astype(np.float32) / 255 - mean) / std).transpose(0, 3, 1, 2)
    with torch.inference_mode():
        found = network(torch.from_numpy(np.ascontiguousarray(prepared))).numpy()
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), dtype=np.float32)
