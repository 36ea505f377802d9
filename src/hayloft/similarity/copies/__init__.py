"""The same photo in another guise: found by local features, proved by looking.

``features`` describes a photo once, ``spectrum`` turns descriptors into codes, ``voting`` finds
candidates among millions, ``geometry`` finds how one photo lies in the other, ``agreement`` says
whether the pictures are then the same, ``pipeline`` puts them together. Pure: pixels and bytes in,
values out; no database, no event loop.
"""
