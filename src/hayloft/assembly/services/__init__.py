"""The roles of a cluster, each as a process: what ``hayloft store`` and the other roles' commands run."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from hayloft.sandbox import ONE_THREAD


def main(role: str, settings: Any) -> int:
    """Run a role until it is told to stop; returns the process's exit code.

    Numerical libraries read the number of their threads when they are loaded, which the role's module does:
    threads of theirs would spin while they wait for work, and use as much time as the work itself.

    Raises:
        HayloftError: what the role's own ``main`` raises.
    """
    os.environ.update(ONE_THREAD)
    code: int = import_module(f"{__name__}.{role}").main(settings)
    return code
