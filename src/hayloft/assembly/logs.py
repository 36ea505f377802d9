"""How Hayloft logs: one line per event, for people on a terminal, JSON everywhere else.

Every line carries the process's name and, while a request is answered, its id. Libraries' own logging
goes the same way. Goes to standard error, unless that is a table's; rotation is the service manager's
business.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final, TextIO

import structlog

from hayloft.wire.asgi import request_id_variable

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure_logs(level: str, *, process: str, output: TextIO | None = None) -> None:
    """Set logging up for this process; ``level`` is one of the setting's, ``output`` where it goes."""
    output = output or sys.stderr

    def add_context(_logger: Any, _method: str, event: structlog.typing.EventDict) -> Any:
        event.setdefault("process", process)
        request_id = request_id_variable.get()
        if request_id:
            event.setdefault("request_id", request_id)
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_context,
    ]
    structlog.configure(
        processors=[*shared, *_rendering(output)],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(output),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(output)],
        )
    )
    # Libraries are chatty at the level that is right for us; their warnings are what matters.
    logging.basicConfig(handlers=[handler], level=max(_LEVELS[level], logging.WARNING), force=True)
    # It says of every attempt to connect what whoever attempts it says too.
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)


def _rendering(output: TextIO) -> list[structlog.typing.Processor]:
    if output.isatty():
        return [structlog.dev.ConsoleRenderer()]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
