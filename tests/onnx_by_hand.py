"""Very small ONNX models, written byte by byte (protobuf's wire format).

An image encoder, the means of the four quarters of a view, and a text encoder, a row of a table a token.

So most tests need no more than what serving needs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(data)) + data


_FLOAT32, _INT64 = 1, 7


def _value(name: str, sides: list[int | str], kind: int = _FLOAT32) -> bytes:
    dims = b"".join(_bytes(1, _bytes(2, d) if isinstance(d, str) else _number(1, d)) for d in sides)
    tensor = _number(1, kind) + _bytes(2, dims)
    return _bytes(1, name) + _bytes(2, _bytes(1, tensor))


def _ints(name: str, values: list[int]) -> bytes:
    return _bytes(1, name) + b"".join(_number(8, value) for value in values) + _number(20, 7)


def save_model(path: Path, *, side: int) -> None:
    """AveragePool over quarters: ``view`` [n, 3, side, side] to ``means`` [n, 3, 2, 2]."""
    half = [side // 2, side // 2]
    node = (
        _bytes(1, "view")
        + _bytes(2, "means")
        + _bytes(4, "AveragePool")
        + _bytes(5, _ints("kernel_shape", half))
        + _bytes(5, _ints("strides", half))
    )
    graph = (
        _bytes(1, node)
        + _bytes(2, "quarters")
        + _bytes(11, _value("view", ["n", 3, side, side]))
        + _bytes(12, _value("means", ["n", 3, 2, 2]))
    )
    _save(path, graph)


def save_text_model(path: Path, rows: np.ndarray) -> None:
    """Gather: ``input_ids`` [n, tokens] to ``features`` [n, tokens, d], a row of ``rows`` for each id."""
    table = (
        b"".join(_number(1, side) for side in rows.shape)
        + _number(2, _FLOAT32)
        + _bytes(8, "rows")
        + _bytes(9, rows.astype("<f4").tobytes())
    )
    node = _bytes(1, "rows") + _bytes(1, "input_ids") + _bytes(2, "features") + _bytes(4, "Gather")
    graph = (
        _bytes(1, node)
        + _bytes(2, "words")
        + _bytes(5, table)
        + _bytes(11, _value("input_ids", ["n", "tokens"], _INT64))
        + _bytes(12, _value("features", ["n", "tokens", rows.shape[1]]))
    )
    _save(path, graph)


def _save(path: Path, graph: bytes) -> None:
    path.write_bytes(_number(1, 8) + _bytes(7, graph) + _bytes(8, _bytes(1, "") + _number(2, 13)))
