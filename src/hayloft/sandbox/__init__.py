"""Work over hostile bytes, in processes of its own that are limited in memory and time.

``pool`` starts the processes and talks to them, ``process`` is what runs inside. Both know bytes in and
bytes out: what the work is, is a function that is named when the sandbox is made.
"""

from hayloft.sandbox.pool import ONE_THREAD, Bounds, JobFailed, Sandbox

__all__ = ["ONE_THREAD", "Bounds", "JobFailed", "Sandbox"]
