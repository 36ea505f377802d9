"""The command line: ``hayloft serve``, ``hayloft put FOLDER`` and the rest, built on the Python client.

One file for each group of commands. Answers go to standard output (tables, or JSON with ``--json``),
progress and complaints to standard error, and the exit code says what happened (``failure.py``).
"""

from __future__ import annotations


def main() -> None:
    """Run the command line that the program was started with, and exit."""
    from hayloft.cli.application import run

    run()
