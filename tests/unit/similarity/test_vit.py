"""The export of ViT-B/16: onnxruntime computes what torch does, and an export that does not is refused.

Runs only when asked for, with the extra ``vit``: torch is too large for every run of the tests.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hayloft.errors import InvalidRequest

pytestmark = [
    pytest.mark.on_request,
    pytest.mark.skipif(os.environ.get("HAYLOFT_TEST_VIT") != "1", reason="HAYLOFT_TEST_VIT is not 1"),
]


@pytest.fixture(scope="module")
def torchvision() -> Any:
    """torchvision, also where its compiled part does not fit the build of torch (a GPU's beside a CPU's).

    That part only defines operators, none of which this network uses: they are declared instead.
    """
    import torch  # Asked for, it must be there: a skip would look like a pass.

    library = torch.library.Library("torchvision", "FRAGMENT")
    for _ in range(50):
        try:
            return importlib.import_module("torchvision")
        except RuntimeError as failure:
            missing = re.search(r"operator torchvision::(\w+) does not exist", str(failure))
            if missing is None:
                raise
            library.define(f"{missing[1]}(Tensor input) -> Tensor")
            for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
                del sys.modules[name]
    raise AssertionError("torchvision cannot be imported")


@pytest.fixture(scope="module")
def weights(torchvision: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, in a file as torchvision's are."""
    import torch

    torch.manual_seed(3)
    network = torchvision.models.vit_b_16(weights=None)
    with torch.no_grad():  # a fresh network's class token hardly depends on the photo
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    path = tmp_path_factory.mktemp("weights") / "vit_b_16.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.timeout(600)
def test_the_export_computes_what_torch_does(torchvision: Any, weights: Path, tmp_path: Path) -> None:
    import torch

    from hayloft.similarity.embedders import vit
    from hayloft.similarity.embedders.onnx import OnnxEmbedder

    vit.export(tmp_path, weights=weights)
    embedder = OnnxEmbedder(tmp_path / "vit-b-16.onnx")
    assert embedder.dimensions == 768
    assert embedder.view.side == 224
    assert round(embedder.view.side * embedder.view.margin) == 256

    # Against torchvision's own preprocessing and encoder, not against the product's.
    network = torchvision.models.vit_b_16(weights=None)
    network.load_state_dict(torch.load(weights, weights_only=True))
    network.eval()
    rng = np.random.default_rng(5)
    views = rng.integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    tensor = torch.from_numpy(views).permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.inference_mode():
        tokens = network._process_input((tensor - mean[:, None, None]) / std[:, None, None])
        batch = network.class_token.expand(len(tokens), -1, -1)
        wanted = network.encoder(torch.cat([batch, tokens], dim=1))[:, 0].numpy()
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    found = embedder.embed_now([view.tobytes() for view in views])
    assert np.abs(found - wanted).max() < 1e-4
    assert (wanted @ wanted.T)[0, 1] < 0.999  # else any network would pass

    # One number elsewhere, and it is refused.
    with torch.no_grad():
        network.encoder.ln.weight[7] += 30.0
    network.heads = torch.nn.Identity()
    with pytest.raises(InvalidRequest, match="not what torch computes"):
        vit.compare(network, tmp_path / "vit-b-16.onnx")
    assert json.loads((tmp_path / "vit-b-16.json").read_text()) == vit.SIDECAR


def test_a_file_that_holds_no_weights_is_refused(torchvision: Any, tmp_path: Path) -> None:
    from hayloft.similarity.embedders import vit

    wrong = tmp_path / "wrong.pth"
    wrong.write_bytes(b"no weights")
    with pytest.raises(InvalidRequest, match="holds no weights"):
        vit.export(tmp_path, weights=wrong)
