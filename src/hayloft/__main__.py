"""``python -m hayloft`` is the same as ``hayloft``."""

from hayloft.cli import main

main()
