"""pgvector's ``halfvec`` on the wire; that pgvector takes it, test_similarity_shared shows."""

from __future__ import annotations

import numpy as np

from hayloft.similarity import halfvec


def test_the_bytes_are_those_that_pgvector_documents() -> None:
    # halfvec_recv: int16 dimensions, int16 zero, then IEEE 754 halves; all in network order.
    assert halfvec.encode(np.array([1.0, -2.0, 0.5])) == bytes.fromhex("0003 0000 3c00 c000 3800")


def test_what_was_encoded_is_decoded() -> None:
    vector = np.random.default_rng(1).normal(size=768).astype(np.float16)
    assert np.array_equal(halfvec.decode(halfvec.encode(vector)), vector)
