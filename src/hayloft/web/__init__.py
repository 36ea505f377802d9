"""The pages for people: a gallery over the gateway's own HTTP API.

``pages`` serves them; ``static/`` holds them, as plain HTML, CSS and ES modules, without a build step and
without an address outside the server.
"""

from hayloft.web.pages import router

__all__ = ["router"]
