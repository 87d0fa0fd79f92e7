"""Logging: structlog, one line per decision; kopf's and other libraries' records come out in the same form.

Configured once by `__main__`; modules get their logger by `structlog.get_logger()`.
"""

import logging
import sys

import structlog
from structlog.typing import EventDict, Processor

from modelrollout.tracing import trace_id

_QUIET = {
    # One "handler succeeded" per event and object; failures are warnings.
    "kopf.objects": logging.WARNING,
    "kopf": logging.WARNING,
    # Says at each start that signals are not its business in a thread, which is what we want.
    "kopf._core.reactor.running": logging.ERROR,
    # One line with a traceback per stream, and one per try while the API server is away: the supervisor says it once.
    "kopf._core.reactor.orchestration": logging.CRITICAL,
    "kopf._cogs.clients.api": logging.CRITICAL,
    "aiohttp.access": logging.WARNING,
    "asyncio": logging.WARNING,
    "urllib3": logging.ERROR,
    # It logs requests with their headers at DEBUG: credentials must not get into logs.
    "kubernetes": logging.WARNING,
    # One line for each batch that a collector did not take is enough.
    "opentelemetry": logging.ERROR,
    # Its lines name targets by their URLs, which are passwords.
    "apprise": logging.CRITICAL,
}


# Without local variables: credentials are among them.
_TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))


def configure_logging(log_format: str, level: str) -> None:
    """Send every record to standard error, as JSON (`json`) or for people (`console`)."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    shared += [_name_rollout, _name_trace, *([_TRACEBACKS] if log_format == "json" else ())]
    renderer: Processor = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    if log_format == "json":
        renderer = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    _bridge(formatter, level)


def _name_rollout(_: object, __: str, event: EventDict) -> EventDict:
    """Write the key of a rollout as people do: namespace/name."""
    if isinstance(event.get("rollout"), tuple):
        event["rollout"] = "/".join(event["rollout"])
    return event


def _name_trace(_: object, __: str, event: EventDict) -> EventDict:
    """Say in which trace the rest is to be found."""
    if trace := trace_id():
        event["trace"] = trace
    return event


def _bridge(formatter: logging.Formatter, level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, minimum in _QUIET.items():
        logging.getLogger(name).setLevel(max(minimum, logging.getLevelName(level)))
