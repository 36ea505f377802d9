"""Hayloft keeps photos the way Facebook's Haystack does and links the ones that belong together."""

__version__ = "0.1.0"
