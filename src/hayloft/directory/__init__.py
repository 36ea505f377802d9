"""Maps logical volumes to stores, hands out ids, records every committed photo and event.

``schema`` draws the tables, ``migrations`` brings them up to date, on SQLite or PostgreSQL. What is done
inside a transaction stands in one file for each concept (``commits``, ``listing``, ``leases``,
``volumes``, ``heartbeats``, ``log``); ``local`` is the role itself, ``server`` and ``client``
carry it over HTTP, ``rebuild`` fills an empty directory from volumes alone.
"""
