"""Puts the parts together: the only layer that names implementations of the roles.

``serve`` is one machine: it prepares the data directory and keeps the worker processes and the ingest
process running. ``embedded`` opens the local roles in one process, ``worker`` and ``ingest`` are what
those processes run, ``verify`` checks the directory against the stores.
"""
