"""A model's file into a session of onnxruntime, with its threads bounded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hayloft.errors import InvalidRequest


def read_file(path: Path) -> bytes:
    """A model's file.

    Raises:
        InvalidRequest: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as failure:
        raise InvalidRequest(f"The embedder's file {path} cannot be read: {failure.strerror}.") from failure


def open_session(path: Path, content: bytes, threads: int) -> Any:
    """A session over a model that was read from ``path``.

    Raises:
        InvalidRequest: it is no model that can be run.
    """
    import onnxruntime  # only who uses a model pays for loading the runtime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as failure:
        # onnxruntime's own exceptions share no base class of their own.
        raise InvalidRequest(f"{path} is no model that onnxruntime can run: {failure}") from failure
