"""What crosses between processes over HTTP, the same for every role.

``errors`` is the two-way table between errors and responses, ``asgi`` the frame of every server,
``session`` the one HTTP client, ``serving`` runs an application inside an event loop, ``needles`` are the
headers beside a photo's bytes, ``breaker`` keeps a peer that fails from being asked all the time,
``authentication`` signs requests between services, ``operations`` is what operators ask every role,
``documents`` how JSON is spelled.
"""
