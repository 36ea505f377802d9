"""Which vectors are near, in one process: a large base on disk, and in memory what came since."""
