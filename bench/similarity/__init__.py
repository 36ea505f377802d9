"""The benchmark of links: photos in disguise, look-alikes that must stay apart, speed and memory.

Run it with ``make bench-similarity``, or ``PYTHONPATH=bench python -m similarity --help``.
"""
