"""A smaller, faster variant of a trained model: its weights and sums in 8 bits.

Which way depends on where the model keeps its weights. Convolutions take 8-bit numbers in and out, on
scales that are found by running the model on photos (static quantisation; with scales found anew for every
photo, MobileNet v1 is slower than in float32, and its vectors are others). Multiplications
of matrices, transformers', have their scales found as they run (dynamic quantisation), for what goes
through them differs more from photo to photo.

Whether it helps depends on the model, the photos and the processor, so it is measured: half of the photos
given are for finding scales, on the other half the vectors must be near the float32 model's, and must take
less time. The float32 model's vectors and these are never compared: the name says which are which.
Needs the package ``onnx`` (the extra ``int8``), here only and never for serving.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hayloft import limits
from hayloft.errors import InvalidRequest, UnsupportedMedia
from hayloft.similarity.decode import decode
from hayloft.similarity.embedders.onnx import OnnxEmbedder, parse_sidecar
from hayloft.similarity.views import cut

SUFFIX: Final = "-int8"
PHOTOS_MIN: Final = 32
PHOTOS_MAX: Final = 256
FILES_TRIED_MAX: Final = 4 * PHOTOS_MAX
"""Where most files are no photos, the search for photos ends here."""

COSINE_MEAN_MIN: Final = 0.985
COSINE_LOW_MIN: Final = 0.96
"""Between a photo's vectors of both models: on average, and of the photo that a twentieth lie below.

MobileNet v1 in 8 bits is at 0.994 and 0.990, v2 at 0.990 and 0.980 (what ``hayloft models add --int8`` says
with photos of flowers and groceries), and both find as many of a photo's own kind among the ten nearest as
before (``make bench-vectors ARGS="--photos FOLDER --model FILE"``). Single photos say little: of flat ones
the model itself sees nothing."""

_TIMED_VIEWS: Final = 8
_TIMED_TIMES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A model in 8 bits beside itself in float32."""

    photos: int
    """Whose vectors were compared."""
    cosine_mean: float
    cosine_low: float
    """The 5th percentile."""
    ms_before: float
    """Of one thread, for one photo."""
    ms_after: float
    bytes_before: int
    bytes_after: int

    def accept(self) -> None:
        """Let it pass.

        Raises:
            InvalidRequest: its vectors are others, or it is no faster.
        """
        if not (self.cosine_mean >= COSINE_MEAN_MIN and self.cosine_low >= COSINE_LOW_MIN):
            raise InvalidRequest(
                f"In 8 bits this model computes something else: cosine {self.cosine_mean:.4f} on average "
                f"and {self.cosine_low:.4f} in one of twenty, to its own vectors of {self.photos} photos; "
                f"at least {COSINE_MEAN_MIN} and {COSINE_LOW_MIN} are wanted."
            )
        if self.ms_after >= self.ms_before:
            raise InvalidRequest(
                f"In 8 bits this model is no faster on this processor: {self.ms_after:.1f} ms a photo, "
                f"{self.ms_before:.1f} ms as it is."
            )


def shrink(path: Path, photos: Path) -> Comparison:
    """Put the 8-bit variant in the place of the model at ``path``, whose sidecar lies beside it.

    ``photos`` is a folder of photos like those that the model will see.

    Raises:
        InvalidRequest: the package ``onnx`` is missing, there are too few photos, the model cannot be
            made so, or it would not help (``Comparison.accept``).
    """
    before = OnnxEmbedder(path)
    views = _views(photos, before)
    seen, unseen = views[::2], views[1::2]
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".int8-") as folder:
        small = Path(folder) / path.name
        _quantise(path, small, before, seen)
        _write_sidecar(path, small)
        after = OnnxEmbedder(small)
        found = _compared(before, after, unseen, path, small)
        found.accept()
        for file in (small, small.with_suffix(".json")):
            shutil.move(file, path.with_name(file.name))
    return found


def _views(folder: Path, embedder: OnnxEmbedder) -> list[bytes]:
    """What the model sees of photos out of all parts of a folder.

    Raises:
        InvalidRequest: there are too few.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and _is_small(path))
    order = np.random.default_rng(1).permutation(len(files))[:FILES_TRIED_MAX]
    views: list[bytes] = []
    for place in order:
        try:
            views.append(cut(decode(files[place].read_bytes()).rgb, embedder.view).tobytes())
        except UnsupportedMedia:
            continue
        if len(views) == PHOTOS_MAX:
            break
    if len(views) < PHOTOS_MIN:
        raise InvalidRequest(
            f"{folder} holds {len(views)} photos; at least {PHOTOS_MIN} are needed, better {PHOTOS_MAX}, "
            "and of the kind that the model will see."
        )
    return views


def _is_small(path: Path) -> bool:
    return bool(path.stat().st_size <= limits.UPLOAD_BYTES_MAX)


def _quantise(path: Path, small: Path, embedder: OnnxEmbedder, views: Sequence[bytes]) -> None:
    try:
        import onnx
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as missing:
        raise InvalidRequest(
            f"This needs {missing.name}: pip install 'hayloft[int8]'. Serving does not."
        ) from missing
    prepared = small.with_suffix(".prepared")
    logging.getLogger().addFilter(_is_serious)
    try:
        quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
        if _is_convolutional(onnx.load(str(prepared))):
            quantization.quantize_static(
                prepared,
                small,
                _Reader(embedder, views),
                quant_format=quantization.QuantFormat.QDQ,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                per_channel=True,
            )
        else:
            quantization.quantize_dynamic(
                prepared,
                small,
                op_types_to_quantize=["MatMul", "Gemm"],
                weight_type=quantization.QuantType.QInt8,
                per_channel=True,
            )
    except Exception as failure:
        # onnx and onnxruntime raise whatever a model provokes.
        raise InvalidRequest(f"This model cannot be brought to 8 bits: {failure}") from failure
    finally:
        logging.getLogger().removeFilter(_is_serious)
        prepared.unlink(missing_ok=True)


def _is_convolutional(model: Any) -> bool:
    """Whether most of the weights are those of convolutions."""
    sizes = {one.name: int(np.prod(one.dims)) for one in model.graph.initializer}
    weights = {"Conv": 0, "MatMul": 0, "Gemm": 0}
    for node in model.graph.node:
        if node.op_type in weights:
            weights[node.op_type] += sum(sizes.get(name, 0) for name in node.input)
    return weights["Conv"] >= weights["MatMul"] + weights["Gemm"]


def _is_serious(record: logging.LogRecord) -> bool:
    """Leaves out advice to run what was just run."""
    return record.levelno > logging.WARNING


class _Reader:
    """``onnxruntime.quantization.CalibrationDataReader`` over views."""

    def __init__(self, embedder: OnnxEmbedder, views: Sequence[bytes]) -> None:
        self._left: Iterator[dict[str, NDArray[np.float32]]] = (embedder.prepared([v]) for v in views)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next view; None after the last."""
        return next(self._left, None)


def _write_sidecar(path: Path, small: Path) -> None:
    """The model's own, under another name."""
    beside = path.with_suffix(".json")
    told = json.loads(beside.read_bytes()) if beside.exists() else {}
    told["name"] = (told.get("name") or path.stem).removesuffix(SUFFIX) + SUFFIX
    small.with_suffix(".json").write_text(json.dumps(told, indent=2))
    for other in parse_sidecar(beside.read_bytes() if beside.exists() else b"{}", beside).files:
        (small.parent / other).symlink_to(path.with_name(other).resolve())


def _compared(
    before: OnnxEmbedder, after: OnnxEmbedder, views: Sequence[bytes], path: Path, small: Path
) -> Comparison:
    cosines = np.array(
        [float((before.embed_now([view]) * after.embed_now([view])).sum()) for view in views]
    )
    return Comparison(
        photos=len(views),
        cosine_mean=float(cosines.mean()),
        cosine_low=float(np.percentile(cosines, 5)),
        ms_before=timed_ms(before, views),
        ms_after=timed_ms(after, views),
        bytes_before=path.stat().st_size,
        bytes_after=small.stat().st_size,
    )


def timed_ms(embedder: OnnxEmbedder, views: Sequence[bytes]) -> float:
    """Milliseconds of processor time for one view, at the best of a few attempts."""
    batch = list(views[:_TIMED_VIEWS])
    taken = []
    for _ in range(_TIMED_TIMES):
        start = time.process_time()
        embedder.embed_now(batch)
        taken.append(time.process_time() - start)
    return min(taken) / len(batch) * 1e3
