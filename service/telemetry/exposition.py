"""What /metrics answers: Prometheus' text format, or OpenMetrics where the scraper asks for it."""

from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

OPENMETRICS = "application/openmetrics-text"
TEXT = "text/plain"


def exposition(collector: Collector, accept: str) -> tuple[bytes, str]:
    """The metrics and their content type, in the format that the Accept header names first, else as text."""
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # of a version that is no number
        encode, content_type = choose_encoder("")
    return encode(collector), content_type
