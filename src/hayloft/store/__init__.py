"""The store: keeps needles in physical volumes on its disks."""
