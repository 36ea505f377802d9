"""The cache role: hot renditions in front of the stores.

``local`` keeps them in memory and then on disk, ``server`` and ``client`` speak the wire contract, ``ring``
spreads photos over several caches. Nothing here is needed for a correct answer, only for a fast one.
"""
