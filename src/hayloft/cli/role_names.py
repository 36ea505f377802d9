"""The roles that have a command of their own, and what each is, for those who only need their names."""

from __future__ import annotations

from typing import Final

ROLES: Final = {
    "gateway": "Run a gateway of a cluster: what clients talk to.",
    "directory": "Run a directory of a cluster: where photos are, and what happened to them.",
    "store": "Run a store of a cluster: photos on the disks of one machine.",
    "cache": "Run a cache of a cluster: what is read often, in front of the stores.",
    "similarity": "Run the similarity service of a cluster: links between photos, and their smaller sizes.",
    "pitchfork": "Run the pitchfork of a cluster: it watches the stores and mends what fails.",
}
