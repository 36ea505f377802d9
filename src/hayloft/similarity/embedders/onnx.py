"""Any trained image encoder that comes as an ONNX file, run by onnxruntime.

Beside ``MODEL.onnx`` lies ``MODEL.json``, the sidecar, which states what the file does not: how pixels are
prepared and where the vector is. All its keys are optional::

    {"name": "mobilenet-v1",         # default: the file's name
     "input": "t0",                  # default: the first input
     "output": "feat",               # default: the first output
     "side": 224, "fit": "crop", "margin": 1.0,          # see views.ViewPlan
     "layout": "nchw",               # or nhwc
     "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5],    # of RGB scaled to 0 … 1
     "pool": "none",                 # mean: over all positions, first: of a sequence (a class token)
     "alike_score_min": 0.85,
     "text": {"model": "clip.text.onnx", …}}             # for search by words, see words.TextSidecar

The recorded name carries the first digits of the model's SHA-256 and of the sidecar's, so that a changed
model is another model. Views that wait together are run as one batch, in a thread of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hayloft.errors import InvalidRequest, SearchNotConfigured, ShuttingDown
from hayloft.similarity import thresholds
from hayloft.similarity.embedders.session import open_session, read_file
from hayloft.similarity.embedders.words import TextEncoder, TextSidecar
from hayloft.similarity.views import Fit, ViewPlan

Vector = NDArray[np.float32]

BATCH_VIEWS_MAX: Final = 16
_DIGITS: Final = 8
Triple = tuple[float, float, float]


class Sidecar(BaseModel):
    """What a model's file does not say of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default="", max_length=64, pattern=r"^[A-Za-z0-9._-]*$")
    input: str | None = None
    output: str | None = None
    side: int = Field(default=224, gt=0, le=1024)
    fit: Fit = "crop"
    margin: float = Field(default=1.0, ge=1.0, le=2.0)
    layout: Literal["nchw", "nhwc"] = "nchw"
    mean: Triple = (0.485, 0.456, 0.406)
    std: Triple = (0.229, 0.224, 0.225)
    pool: Literal["none", "mean", "first"] = "none"
    alike_score_min: float = Field(default=thresholds.MODEL_ALIKE_SCORE_MIN, ge=-1.0, le=1.0)
    text: TextSidecar | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the other files that belong to the model and lie beside it."""
        return () if self.text is None else (self.text.model, self.text.tokenizer)


class OnnxEmbedder:
    """``embedder.Embedder`` over the model at ``path`` and its sidecar.

    Raises:
        InvalidRequest: a file is missing, or the model does not do what the sidecar says.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        sidecar_path = path.with_suffix(".json")
        content, told = read_file(path), (read_file(sidecar_path) if sidecar_path.exists() else b"{}")
        self._sidecar = parse_sidecar(told, sidecar_path)
        self._session = open_session(path, content, threads)
        self._input = self._sidecar.input or self._session.get_inputs()[0].name
        self._output = self._sidecar.output or self._session.get_outputs()[0].name
        digest = hashlib.sha256(content + told).hexdigest()[:_DIGITS]
        self.name = f"onnx/{self._sidecar.name or path.stem}/{digest}"
        self.view = ViewPlan(side=self._sidecar.side, fit=self._sidecar.fit, margin=self._sidecar.margin)
        self.alike_score_min = self._sidecar.alike_score_min
        self.hint = f"the model {path.name}"
        self.dimensions = self._try()
        self._text = self._text_encoder(path.parent, threads)
        self._thread = ThreadPoolExecutor(1, "embedder")
        self._waiting: list[tuple[bytes, asyncio.Future[Vector]]] = []
        self._running: asyncio.Task[None] | None = None

    async def embed(self, view: bytes) -> Vector:
        """The vector of one view; computed together with others that wait."""
        future: asyncio.Future[Vector] = asyncio.get_running_loop().create_future()
        self._waiting.append((view, future))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return await future

    @property
    def takes_words(self) -> bool:
        """Whether there is a text encoder beside the image encoder."""
        return self._text is not None

    async def embed_words(self, words: str) -> Vector:
        """The vector of what words describe.

        Raises:
            SearchNotConfigured: there is no text encoder.
        """
        if self._text is None:
            raise SearchNotConfigured
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._text.embed, words)

    async def close(self) -> None:
        """Finish the batch that is running; what waits fails."""
        waiting, self._waiting = self._waiting, []
        for _, future in waiting:
            if not future.done():
                future.set_exception(ShuttingDown())
        if self._running is not None:
            await asyncio.gather(self._running, return_exceptions=True)
        await asyncio.to_thread(self._thread.shutdown)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH_VIEWS_MAX], self._waiting[BATCH_VIEWS_MAX:]
            views = [view for view, _ in batch]
            try:
                vectors = await loop.run_in_executor(self._thread, self.embed_now, views)
            except Exception as failure:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(failure)
            else:
                for (_, future), vector in zip(batch, vectors, strict=True):
                    if not future.done():
                        future.set_result(vector)

    def embed_now(self, views: Sequence[bytes]) -> NDArray[np.float32]:
        """``float32[n, dimensions]`` of unit length, of ``n`` views, on the calling thread."""
        (features,) = self._session.run([self._output], self.prepared(views))
        vectors = self._pool(np.asarray(features, dtype=np.float32))
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-9), dtype=np.float32)

    def prepared(self, views: Sequence[bytes]) -> dict[str, NDArray[np.float32]]:
        """What the model is given for views: its input, by name."""
        side = self._sidecar.side
        pixels = np.stack([np.frombuffer(view, np.uint8).reshape(side, side, 3) for view in views])
        mean, std = (np.asarray(v, np.float32) for v in (self._sidecar.mean, self._sidecar.std))
        prepared = (pixels.astype(np.float32) / 255 - mean) / std
        if self._sidecar.layout == "nchw":
            prepared = np.ascontiguousarray(prepared.transpose(0, 3, 1, 2))
        return {self._input: np.asarray(prepared, dtype=np.float32)}

    def _pool(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """``[n, d]`` out of ``[n, d]``, a map ``[n, d, h, w]`` (nhwc: last) or a sequence ``[n, t, d]``."""
        if self._sidecar.pool == "first":
            pooled = features[:, 0]
        elif self._sidecar.pool == "mean" and features.ndim == 4:
            pooled = features.mean(axis=(2, 3) if self._sidecar.layout == "nchw" else (1, 2))
        elif self._sidecar.pool == "mean" and features.ndim == 3:
            pooled = features.mean(axis=1)
        else:
            pooled = features.reshape(len(features), -1)
        return np.asarray(pooled, dtype=np.float32)

    def _text_encoder(self, folder: Path, threads: int) -> TextEncoder | None:
        if self._sidecar.text is None:
            return None
        text = TextEncoder(folder, self._sidecar.text, threads=threads)
        if text.dimensions != self.dimensions:
            raise InvalidRequest(
                f"The encoders are no pair: vectors of {self.dimensions} and of {text.dimensions} numbers."
            )
        return text

    def _try(self) -> int:
        """Run the model once: a sidecar that does not fit is found at start, not at the first photo."""
        side = self._sidecar.side
        try:
            return int(self.embed_now([bytes(side * side * 3)]).shape[1])
        except Exception as failure:
            raise InvalidRequest(f"The model does not run as its sidecar says: {failure}") from failure


def parse_sidecar(told: bytes, path: Path) -> Sidecar:
    """The sidecar in a file's bytes.

    Raises:
        InvalidRequest: it is not right.
    """
    try:
        return Sidecar(**json.loads(told))
    except (ValueError, TypeError, ValidationError) as failure:
        raise InvalidRequest(f"The sidecar {path} is not right: {failure}") from failure
