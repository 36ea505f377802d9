"""The pages for people: a gallery over the gateway's own HTTP API.

``pages`` serves them, ``gallery`` is the one route that only they use. ``static/`` holds them, as plain
HTML, CSS and ES modules, without a build step and without an address outside the server.
"""
