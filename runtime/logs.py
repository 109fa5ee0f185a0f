"""Structured logs: one JSON object a line on stderr, with the same fields everywhere.

Owns the field names (`timestamp level message service trace_id span_id tenant_id user_id request_id`) and the rule that
prompts, completions, document text, cell values and secrets are never logged. Refuses to decide where logs go: the
supervisor or the platform does.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from opentelemetry import trace

from runtime.settings import TelemetrySettings

bind = structlog.contextvars.bind_contextvars
"""Add fields (tenant_id, request_id …) to every line of the current task or thread."""


def get_logger(room: str) -> structlog.stdlib.BoundLogger:
    """The logger of one room. Call it at import; configuration may come later."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(room=room)
    return logger


def configure(service: str, settings: TelemetrySettings, **fields: object) -> None:
    """Set up logging for this process, once; `fields` are in each line. Lines of third-party libraries take the same
    form."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_trace,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        structlog.processors.format_exc_info,
    ]
    render: list[structlog.typing.Processor] = (
        [structlog.processors.EventRenamer("message"), structlog.processors.JSONRenderer(serializer=_write_json)]
        if settings.log_format == "json"
        else [structlog.dev.ConsoleRenderer()]
    )
    level = logging.getLevelNamesMapping()[settings.log_level]
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # A line is one write: several processes may share the stream.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service, **fields)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    # Not the level of the root alone: an SDK that is turned up by a variable of its own would write prompts here.
    handler.setLevel(max(level, logging.WARNING))
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)


def _write_json(event: structlog.typing.EventDict, default: Callable[[Any], Any], **_options: object) -> str:
    """A line, at a sixth of what the library's own writer takes. That one writes what this one refuses (halves of
    characters, and integers of any size), and escapes all that is not ASCII: U+2028 and U+0085 end a line for many
    readers, and U+009B begins a command of a terminal."""
    try:
        line = msgspec.json.encode(event, enc_hook=default)
        if line.isascii():
            return line.decode("ascii")
    except (UnicodeError, OverflowError, TypeError):
        pass
    return json.dumps(event, default=default)


def _add_trace(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = format(context.trace_id, "032x")
        event["span_id"] = format(context.span_id, "016x")
    return event
