"""Log lines: an event name with fields, never a payload or a secret."""

import logging
import sys
from typing import Any, Literal

import structlog

Level = Literal["debug", "info", "warning", "error"]


def configure(level: Level = "info", form: Literal["console", "json"] = "console") -> None:
    """Set up logging once, at the start of a command. Lines go to stderr.

    The libraries' own lines come along at `warning`: theirs may quote what passes through them.
    """
    number = getattr(logging, level.upper())
    renderer: Any = structlog.processors.JSONRenderer()
    if form == "console":
        # The plain form: the rich one prints every local variable, secrets included.
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(number),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if form == "console" else [structlog.processors.format_exc_info]),
            renderer,
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    level_of_others = max(number, logging.WARNING)
    if form == "console":
        logging.basicConfig(level=level_of_others, stream=sys.stderr, force=True)
        return
    others = logging.StreamHandler(sys.stderr)
    others.setFormatter(_as_ours(renderer))
    logging.basicConfig(level=level_of_others, handlers=[others], force=True)
    logging.captureWarnings(True)


def _as_ours(renderer: Any) -> logging.Formatter:
    """A library's line in the shape of ours, with the name of its logger."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            renderer,
        ],
    )
