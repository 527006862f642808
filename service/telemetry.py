"""What the service says about itself: metric definitions and the form of the log.

Metrics follow Prometheus: base units, `_total` counters, few label values. Each application has its own registry.
"""

import json
import logging
import logging.config
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from pythonjsonlogger.json import JsonFormatter

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LOG_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


class Metrics:
    """All metrics of one application, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = self._counter("http_requests", "HTTP requests answered", "route", "method", "status")
        self.frames = self._counter("frames", "Frames by what became of them: answered or a problem code", "outcome")
        self.request_seconds = self._seconds("http_request", "From the request's head to the reply's end", "route")
        self.decode_seconds = self._seconds("decode", "Decoding and resizing one frame")
        self.queue_seconds = self._seconds("queue", "One frame's wait for a worker")
        self.inference_seconds = self._seconds("inference", "One frame in the network")
        self.waiting_frames = self._gauge("queue_frames", "Frames that wait for a worker")
        self.running_frames = self._gauge("running_frames", "Frames in work")
        self.upload_bytes = self._gauge("upload_bytes", "Bytes of frames that all requests hold in memory")
        self.uncertain_frames = self._counter(
            "uncertain_frames", "Uncertain frames: kept, known, no_room, dropped (too many wait) or failed", "outcome"
        )
        self.ready = self._gauge("ready", "1 when the service wants traffic")
        self.draining = self._gauge("draining", "1 from SIGTERM on")
        self.provider_info = self._gauge("provider_info", "1 for the provider in use", "provider", "fallback_reason")
        self.model_info = self._gauge("model_info", "1 for the model in use", "name", "version", "precision")

    def watch(self, gauge: Gauge, read: Callable[[], float]) -> None:
        """Let `gauge` read its value whenever it is scraped."""
        gauge.set_function(read)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"roadcue_{name}", meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"roadcue_{name}", meaning, labels, registry=self.registry)

    def _seconds(self, name: str, meaning: str, *labels: str) -> Histogram:
        return Histogram(f"roadcue_{name}_seconds", meaning, labels, registry=self.registry, buckets=SECONDS)


class TextFormatter(logging.Formatter):
    """One event a line: time, level, logger, message, then its fields as `key=value`."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        words = [moment.replace("+00:00", "Z"), f"{record.levelname:7}", record.name, _one_line(record.getMessage())]
        words += [f"{key}={_field(value)}" for key, value in _fields(record).items()]
        line = " ".join(words)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure_logging(log_format: Literal["text", "json"], log_level: str) -> None:
    """Send every event of the process to standard error, one line each; uvicorn's own access log stays off."""
    formatters: dict[str, dict[str, Any]] = {
        "text": {"()": TextFormatter},
        "json": {
            "()": JsonFormatter,
            "fmt": ["levelname", "name", "message"],
            "timestamp": "time",
            "rename_fields": {"levelname": "level", "name": "logger"},
        },
    }
    handler = {"class": "logging.StreamHandler", "stream": sys.stderr, "formatter": log_format}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": formatters,
            "handlers": {"stderr": handler},
            "root": {"handlers": ["stderr"], "level": log_level.upper()},
            "loggers": {"uvicorn": {"level": "WARNING"}, "httpx": {"level": "WARNING"}},
        }
    )


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in LOG_FIELDS}


def _field(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    plain = text.isascii() and text.isprintable() and not set(text) & set(' "=')
    return text if plain and text else json.dumps(text)


def _one_line(message: str) -> str:
    # What a client sent may stand in a message; a line feed in it would forge an event.
    return message if message.isprintable() else message.encode("unicode_escape").decode()
