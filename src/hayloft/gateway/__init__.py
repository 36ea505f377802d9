"""The only thing that clients talk to: uploads, reads, deletions, listings, links, over the roles alone.

``front.Front`` is the whole gateway as one ASGI application: it answers photo bytes and uploads itself and
passes the rest to FastAPI. Each use case is a module of its own (``read``, ``upload``, ``delete``,
``listing`` …), given its roles by ``assembly``; nothing here knows which implementations they are.
"""
