"""Traces by OpenTelemetry, sent as OTLP over HTTP: implements `tracing.Tracer`.

Imported by `process` only when an endpoint is set: the library takes a quarter of a second and some megabytes. What it
reads from OTEL_* variables (headers, certificates, sampling, resource attributes) holds as its own manual says.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, Status, StatusCode, format_trace_id, get_current_span

from modelrollout import __version__
from modelrollout.core.names import MANAGER
from modelrollout.errors import OperatorError
from modelrollout.tracing import Attributes

_PATH = "/v1/traces"
_LAST_SECONDS = 2.0


class OtlpTracer:
    """Sends spans in the background, in batches; while the collector is away they are dropped."""

    def __init__(self, endpoint: str) -> None:
        """`endpoint` is the collector's address without a path, such as http://collector:4318."""
        resource = Resource.create({"service.name": MANAGER, "service.version": __version__})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint.rstrip("/") + _PATH)))
        self._tracer = self._provider.get_tracer(MANAGER, __version__)

    @contextmanager
    def span(self, name: str, attributes: Attributes, root: bool) -> Iterator[None]:
        """As tracing.Tracer."""
        if not root and not get_current_span().get_span_context().is_valid:
            yield
            return
        with self._tracer.start_as_current_span(
            name,
            context=Context() if root else None,
            attributes=dict(attributes),
            # Both would take over stack traces and words of libraries, which may hold addresses with passwords.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except Exception as error:
                _mark(span, error)
                raise

    def annotate(self, attributes: Attributes) -> None:
        """As tracing.Tracer."""
        get_current_span().set_attributes(dict(attributes))

    def trace_id(self) -> str:
        """As tracing.Tracer."""
        context = get_current_span().get_span_context()
        return format_trace_id(context.trace_id) if context.is_valid else ""

    def close(self) -> None:
        """Send what is left, or give up after two seconds."""
        # In a thread that dies with the process: by itself the library waits for half a minute.
        thread = threading.Thread(target=self._provider.shutdown, daemon=True)
        thread.start()
        thread.join(_LAST_SECONDS)


def _mark(span: Span, error: Exception) -> None:
    """As failed, in words of our own only."""
    kind = type(error).__name__
    span.set_status(Status(StatusCode.ERROR, f"{kind}: {error}" if isinstance(error, OperatorError) else kind))
