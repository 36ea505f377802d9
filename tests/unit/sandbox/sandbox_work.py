"""Work for the sandbox's tests: each first word does something that a decoder might do."""

from __future__ import annotations

import os
import signal
import time

from hayloft.errors import ImageTooLarge


def work(request: bytes) -> bytes:
    word, _, rest = request.partition(b" ")
    match word:
        case b"echo":
            return rest
        case b"pid":
            return str(os.getpid()).encode()
        case b"refuse":
            raise ImageTooLarge("Too large, it says.")
        case b"greedy":
            return b"x" * (1 << 34)
        case b"spin":
            while True:
                pass
        case b"work":
            until = time.process_time() + 0.5
            while time.process_time() < until:
                pass
            return b"worked"
        case b"hang":
            time.sleep(3600)
        case b"die":
            os.kill(os.getpid(), signal.SIGSEGV)
        case b"print":
            os.write(1, b"noise on the answers' pipe")
            return b"quiet"
    return b"?"
