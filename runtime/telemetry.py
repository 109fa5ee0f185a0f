"""OpenTelemetry set-up. Off unless an endpoint is set: then spans go to a collector over HTTP.

Owns the provider of this process. Refuses to instrument libraries by patching them; spans are opened where they mean
something.
"""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.trace import Tracer

from runtime.settings import TelemetrySettings


def configure(service: str, settings: TelemetrySettings) -> None:
    """Install the tracer provider, once. Without an endpoint tracing costs nothing."""
    if not settings.otlp_endpoint:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": f"adriatic-{service}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{settings.otlp_endpoint.rstrip('/')}/v1/traces")))
    trace.set_tracer_provider(provider)


def flush() -> None:
    """Send the spans that wait; nothing is traced after it. For a process that ends without its exit handlers."""
    if shut_down := getattr(trace.get_tracer_provider(), "shutdown", None):
        shut_down()


def tracer(room: str) -> Tracer:
    """The tracer of one room."""
    return trace.get_tracer(f"adriatic.{room}")
