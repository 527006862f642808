"""Traces for OpenTelemetry, where an endpoint is set: FastAPI's own span of a request, and ours of its frames.

    POST /predict          from FastAPI; carries on the caller's trace (W3C traceparent) and obeys its sampled flag
      queue, decode, infer   one of each for every frame that was answered

Without an endpoint nothing is recorded, and the libraries of the extra `otel` are not imported.
"""

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from fastapi.telemetry import TelemetryConfig
from opentelemetry import trace

from service import __version__
from service.errors import InvalidSettings
from service.telemetry.probes import is_probe

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

TRACES_PATH: Final = "/v1/traces"
# A collector that hangs must hold up neither the sending of what comes next nor the end of the process.
EXPORT_TIMEOUT_S: Final = 5.0
CLOSE_TIMEOUT_S: Final = 2.0
OFF: Final[TelemetryConfig] = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
NO_FIELDS: Final[Mapping[str, str]] = {}

Attributes = Mapping[str, str | int]


class Tracing:
    """Who records spans and sends them; one for each application that traces."""

    def __init__(self, provider: "TracerProvider") -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("roadcue", __version__)

    def configuration(self) -> TelemetryConfig:
        """What FastAPI is told: spans of requests and nothing else."""
        return {
            **OFF,
            "tracing": True,
            "tracer_provider": self._provider,
            "operation_spans": False,
            "exclude": lambda scope: not is_traced(scope),
        }

    def frames(self) -> "FrameSpans | None":
        """Who adds frames to the request that is running, or None where its trace is not sampled."""
        request = trace.get_current_span()
        return FrameSpans(self._tracer, request) if request.is_recording() else None

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Send what is left, for so many seconds at the most."""
        closing = threading.Thread(target=self._provider.shutdown, name="traces-close", daemon=True)
        closing.start()
        closing.join(timeout_s)


def is_traced(scope: Mapping[str, object]) -> bool:
    """Whether a request is worth a trace."""
    return scope["type"] == "http" and not is_probe(str(scope["path"]))


def open_tracing(endpoint: str, share: float) -> Tracing:
    """Sends spans to `endpoint`, a collector's base URL for OTLP over HTTP, from that share of the traces begun here.

    Raises InvalidSettings where the libraries are not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise InvalidSettings(
            f"traces are to be sent to {endpoint}, but {error.name} is not installed: pip install 'roadcue[otel]'"
        ) from error
    exporter = OTLPSpanExporter(endpoint.rstrip("/") + TRACES_PATH, timeout=EXPORT_TIMEOUT_S)
    provider = tracer_provider(share)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Tracing(provider)


def tracer_provider(share: float) -> "TracerProvider":
    """A provider that decides for traces begun here; a caller's decision is obeyed."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    resource = Resource.create({"service.name": "roadcue", "service.version": __version__})
    return TracerProvider(ParentBased(TraceIdRatioBased(share)), resource, shutdown_on_exit=False)


def trace_fields() -> Mapping[str, str]:
    """The ids of the running request's span, for its events in the log; none where nothing is traced."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return NO_FIELDS
    return {"trace_id": trace.format_trace_id(context.trace_id), "span_id": trace.format_span_id(context.span_id)}


class FrameSpans:
    """Adds the stages of frames, known once they are over, to the span of their request.

    Instants are seconds of time.monotonic.
    """

    def __init__(self, tracer: trace.Tracer, request: trace.Span) -> None:
        self._tracer, self._request = tracer, request
        # Spans are told in nanoseconds since 1970.
        self._epoch_ns = time.time_ns() - time.monotonic_ns()

    def add(self, name: str, started_s: float, ended_s: float, attributes: Attributes) -> None:
        """A stage of a frame, as a child of the request's span."""
        span = self._tracer.start_span(name, attributes=attributes, start_time=self._ns(started_s))
        span.end(self._ns(ended_s))

    def refuse(self, attributes: Attributes) -> None:
        """A frame got no result."""
        self._request.add_event("frame refused", attributes)

    def _ns(self, instant_s: float) -> int:
        return self._epoch_ns + int(instant_s * 1e9)
