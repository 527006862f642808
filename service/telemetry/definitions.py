"""Every metric of the service, as data: the registry, the table of metrics and the dashboard's test are held to it.

Names follow Prometheus: base units as suffixes, `_total` for counters, and labels of few values. `across` says how
the processes of one service make one value; counters and histograms always add up.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram"]
Across = Literal["sum", "max", "min"]

PREFIX: Final = "roadcue_"

# A frame takes 2 to 30 ms on a core that can vectorise, less on a GPU, and a few times that on a slow one.
WORK_SECONDS: Final = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 1.0)
# From an idle service to a full queue before a slow one.
WAIT_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# Tenths, and a finer look at both ends, where most of what a sure model says lies.
PROBABILITIES: Final = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
BATCHES: Final = (1, 2, 4, 8, 16, 32, 64, 128)


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric: what it is called, what it means, and how processes make one value of it."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    across: Across = "sum"

    @property
    def full_name(self) -> str:
        """As it is scraped: with the prefix, and `_total` for a counter."""
        return f"{PREFIX}{self.name}{'_total' if self.kind == 'counter' else ''}"

    @property
    def series(self) -> tuple[str, ...]:
        """The names that its samples have.

        >>> Definition("decode_seconds", "histogram", "").series
        ('roadcue_decode_seconds_bucket', 'roadcue_decode_seconds_sum', 'roadcue_decode_seconds_count')
        """
        if self.kind != "histogram":
            return (self.full_name,)
        return tuple(f"{self.full_name}_{part}" for part in ("bucket", "sum", "count"))


def _counter(name: str, meaning: str, *labels: str) -> Definition:
    return Definition(name, "counter", meaning, labels)


def _gauge(name: str, meaning: str, *labels: str, across: Across = "sum") -> Definition:
    return Definition(name, "gauge", meaning, labels, across=across)


def _histogram(name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Definition:
    return Definition(name, "histogram", meaning, labels, buckets)


DEFINITIONS: Final[tuple[Definition, ...]] = (
    _counter("http_requests", "HTTP requests answered; 499 where the client left first", "route", "method", "status"),
    _histogram("http_request_seconds", "From the request's head to the reply's end", WAIT_SECONDS, "route"),
    _gauge("http_requests_in_flight", "HTTP requests that are being read, computed or answered"),
    _counter("rejected_requests", "Requests refused as a whole, by the code of their problem", "reason"),
    _counter("frames", "Frames of admitted requests: `answered`, `client_left` or a problem's code", "outcome"),
    _histogram("frame_seconds", "One frame from its admission to its result", WAIT_SECONDS),
    _histogram("queue_seconds", "One frame's wait before it is worked on", WAIT_SECONDS),
    _histogram("decode_seconds", "Decoding and resizing one frame", WORK_SECONDS),
    _histogram("inference_seconds", "One frame in the network; with batches, the batch that it is in", WORK_SECONDS),
    _histogram("batch_frames", "How many frames the batch had that a frame was in; 1 without batches", BATCHES),
    _histogram("label_probability", "Probability of a label in a frame: its drift shows here", PROBABILITIES, "label"),
    _counter("labels_found", "Frames in which a label reached its threshold", "label"),
    _gauge("queue_frames", "Frames that wait to be worked on"),
    _gauge("queue_limit_frames", "Frames that may wait at the most; `--max-queue-ms` may refuse a request before that"),
    _gauge("running_frames", "Frames in work"),
    _gauge("upload_bytes", "Bytes of frames that all requests hold in memory"),
    _gauge("upload_limit_bytes", "Bytes that they may hold; beyond that requests are answered with 429"),
    _counter(
        "uncertain_frames", "Uncertain frames: kept, known, no_room, dropped (too many wait) or failed", "outcome"
    ),
    _gauge("ready", "1 when the service wants traffic", across="max"),
    _gauge("draining", "1 from SIGTERM on", across="max"),
    _gauge("processes", "Processes that serve"),
    _counter("process_restarts", "Processes started again because they had died"),
    _gauge(
        "provider_info",
        "1 for the provider in use; the reason is empty where it is the one asked for",
        "provider",
        "fallback_reason",
        across="max",
    ),
    _gauge("model_info", "1 for the model in use", "name", "version", "precision", across="max"),
    _gauge(
        "execution_plan_info",
        "1 for how the model runs in a process; batch sizes are separated by commas",
        "inference_workers",
        "threads_per_worker",
        "batch_sizes",
        across="max",
    ),
    _gauge("build_info", "1 for the versions in use", "version", "python", "onnxruntime", across="max"),
)
BY_NAME: Final = {definition.name: definition for definition in DEFINITIONS}


def metrics_table() -> str:
    """The Markdown table of all metrics, as docs/operations.md prints it."""
    head = "| Metric | Type | Labels | Meaning |\n|---|---|---|---|"
    return "\n".join([head, *_table_rows()])


def _table_rows() -> Iterator[str]:
    for definition in DEFINITIONS:
        labels = ", ".join(f"`{label}`" for label in definition.labels)
        yield f"| `{definition.full_name}` | {definition.kind} | {labels} | {definition.meaning} |"
