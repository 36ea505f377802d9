"""Fingerprints photos, finds neighbours, records links.

``decode`` turns bytes into pixels, ``fingerprint`` pixels into fingerprints (both run in the processes of
``decoder_pool``), ``index`` finds fingerprints that are near, ``linker`` decides what a nearness means,
``database`` records it. ``local`` puts them together, ``ingest`` feeds it from the event log, ``server``
and ``client`` speak it over HTTP.
"""
