"""The other half of a CLIP-style pair: words to vectors among those of photos.

The text encoder is an ONNX file, its tokenizer a ``tokenizer.json``; both lie beside the image encoder
and are named in its sidecar (``TextSidecar``). Needs the library ``tokenizers`` (the extra ``words``),
which is loaded only where such a pair is in use. Synchronous: its owner calls it on a thread.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from hayloft.errors import InvalidRequest
from hayloft.similarity.embedders.session import open_session, read_file

Vector = NDArray[np.float32]

WORDS_CHARACTERS_MAX: Final = 1000
"""Text encoders take 64 to 77 tokens; what is longer than this is no description of a photo."""
_TYPES: Final = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
_FILE: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class TextSidecar(BaseModel):
    """What the text encoder's files do not say of themselves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(pattern=_FILE)
    """File name of the text encoder."""
    tokenizer: str = Field(default="tokenizer.json", pattern=_FILE)
    length: int = Field(default=77, gt=0, le=4096)
    """Tokens at the most; longer texts are cut."""
    pad: int | None = None
    """The id that texts are padded with to that length; none for encoders that take any length."""
    input: str | None = None
    mask: str = "attention_mask"
    """The input that tells padding from words, where the encoder has one."""
    output: str | None = None
    pool: Literal["none", "mean", "first"] = "none"


class TextEncoder:
    """Words to vectors, as ``sidecar`` says of the files in ``folder``.

    Raises:
        InvalidRequest: a file is missing or not right, or ``tokenizers`` is not installed.
    """

    def __init__(self, folder: Path, sidecar: TextSidecar, *, threads: int = 1) -> None:
        self._sidecar = sidecar
        path = folder / sidecar.model
        content = read_file(path)
        self._tokenizer = _tokenizer(folder / sidecar.tokenizer, sidecar)
        self._session = open_session(path, content, threads)
        inputs = {one.name: one.type for one in self._session.get_inputs()}
        self._input = sidecar.input or next(iter(inputs))
        self._types = {name: _TYPES.get(kind, np.int64) for name, kind in inputs.items()}
        self._output = sidecar.output or self._session.get_outputs()[0].name
        self.dimensions = self._try()

    def embed(self, words: str) -> Vector:
        """``float32[dimensions]`` of unit length."""
        tokens = self._tokenizer.encode(words)
        given = {self._input: np.array([tokens.ids], self._types.get(self._input, np.int64))}
        if self._sidecar.mask in self._types:
            mask = np.array([tokens.attention_mask], self._types[self._sidecar.mask])
            given[self._sidecar.mask] = mask
        (features,) = self._session.run([self._output], given)
        found = np.asarray(features, dtype=np.float32)[0]
        if self._sidecar.pool == "first":
            found = found[0]
        elif self._sidecar.pool == "mean":
            found = found[np.array(tokens.attention_mask, dtype=bool)].mean(axis=0)
        found = found.ravel()
        return np.asarray(found / max(float(np.linalg.norm(found)), 1e-9), dtype=np.float32)

    def _try(self) -> int:
        try:
            return len(self.embed("a photo"))
        except Exception as failure:
            raise InvalidRequest(
                f"The text encoder does not run as its sidecar says: {failure}"
            ) from failure


def _tokenizer(path: Path, sidecar: TextSidecar) -> Any:
    content = read_file(path)
    try:
        from tokenizers import Tokenizer
    except ImportError as missing:
        raise InvalidRequest("Search by words needs a library: pip install 'hayloft[words]'.") from missing
    try:
        tokenizer = Tokenizer.from_str(content.decode())
    except Exception as failure:
        # The library raises nothing more special than Exception.
        raise InvalidRequest(f"{path} is no tokenizer: {failure}") from failure
    tokenizer.enable_truncation(max_length=sidecar.length)
    if sidecar.pad is None:
        tokenizer.no_padding()
    else:
        tokenizer.enable_padding(length=sidecar.length, pad_id=sidecar.pad)
    return tokenizer
