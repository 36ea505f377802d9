"""Renditions: a photo's smaller sizes, what its file says about it, and pictures made to order.

``plan``, ``iiif``, ``placeholder``, ``metadata`` and ``location`` are pure. ``decode``, ``resize``,
``iiif_render`` and ``jobs`` turn bytes into pixels and back; they are meant to run inside the sandbox's
processes, because a hostile file can make any decoder slow, greedy or dead.
"""
