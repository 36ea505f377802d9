"""Memory is used again when, and only when, nobody holds a view of it."""

from __future__ import annotations

import threading

import numpy as np

from hayloft.recycled import Recycled


def address(view: memoryview) -> int:
    return int(np.frombuffer(view, np.uint8).ctypes.data)


def test_what_nobody_holds_is_used_again() -> None:
    memory = Recycled(size_bytes=1000, pieces_max=2)
    first = memory.take(1000)
    place = address(first)
    assert len(first) == 1000
    del first
    again = memory.take(10)
    assert (address(again), len(again)) == (place, 10)


def test_a_view_of_a_view_keeps_it() -> None:
    memory = Recycled(size_bytes=1000, pieces_max=2)
    whole = memory.take(1000)
    whole[:] = bytes([1]) * 1000
    part = np.frombuffer(whole[300:400], np.uint8)
    del whole
    for _ in range(5):
        other = memory.take(1000)
        other[:] = bytes([2]) * 1000
        del other
    assert part.tolist() == [1] * 100


def test_more_than_is_kept_and_more_than_usual_is_ordinary_memory() -> None:
    memory = Recycled(size_bytes=1000, pieces_max=2)
    held = [memory.take(1000) for _ in range(5)]
    large = memory.take(5000)
    assert len({address(view) for view in (*held, large)}) == 6
    assert len(large) == 5000
    places = {address(view) for view in held}
    held.clear()
    assert len(memory._free) == 2
    again = [memory.take(1000) for _ in range(5)]
    assert len(places & {address(view) for view in again[:2]}) == 2


def test_threads_never_get_the_same_piece() -> None:
    memory = Recycled(size_bytes=64, pieces_max=8)
    wrong: list[bytes] = []

    def work(number: int) -> None:
        for _ in range(2000):
            view = memory.take(64)
            view[:] = bytes([number]) * 64
            if bytes(view) != bytes([number]) * 64:
                wrong.append(bytes(view))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
