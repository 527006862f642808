"""The registry of one application, and the shortest way to it for what happens with every request and frame.

Looking a labelled metric up by keywords costs more than counting, so what is counted per request is looked up once.
And what is counted per request waits until there is a handful, or somebody looks: after each frame's inference the
processor has forgotten how to count, and learns it anew once for all that wait.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from service.telemetry.definitions import BY_NAME, DEFINITIONS, PREFIX, Definition

Family = TypeVar("Family", bound=MetricWrapperBase)

ANSWERED = "answered"
# Counting so many takes about a millisecond.
MOST_UNCOUNTED = 64


class Answer(NamedTuple):
    """What is counted of an answered frame: seconds in each stage, frames of its batch, and what was seen in it.

    `labels` are those that reached their threshold.
    """

    queue_s: float
    decode_s: float
    inference_s: float
    batch_frames: int
    probabilities: Mapping[str, float]
    labels: Iterable[str]


class Children(dict[tuple[str, ...], Family], Generic[Family]):
    """The series of one metric by the values of its labels; unknown ones are made when they are first asked for."""

    def __init__(self, family: Family) -> None:
        super().__init__()
        self._family = family

    def __missing__(self, values: tuple[str, ...]) -> Family:
        child: Family = self._family.labels(*values)
        self[values] = child
        return child


class Metrics:
    """All metrics of one application, on a registry of their own; a process collector counts CPU and memory."""

    def __init__(self) -> None:
        # When each series began, as a series of its own, would double what is scraped; nothing here asks for it.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client leaves it bare
        self.registry = CollectorRegistry()
        self._uncounted: deque[Callable[[], None]] = deque()
        self.registry.register(_Counted(self._count_all))
        ProcessCollector(registry=self.registry)
        self._families = {definition.name: _family(definition, self.registry) for definition in DEFINITIONS}
        self._requests = Children(self._counter("http_requests"))
        self._request_seconds = Children(self._histogram("http_request_seconds"))
        self._rejected = Children(self._counter("rejected_requests"))
        self._frames = Children(self._counter("frames"))
        self._probability = Children(self._histogram("label_probability"))
        self._found = Children(self._counter("labels_found"))
        self._uncertain = Children(self._counter("uncertain_frames"))
        self._frame_seconds = self._histogram("frame_seconds")
        self._queue_seconds = self._histogram("queue_seconds")
        self._decode_seconds = self._histogram("decode_seconds")
        self._inference_seconds = self._histogram("inference_seconds")
        self._batch_frames = self._histogram("batch_frames")
        self.count_process_restarts = self._counter("process_restarts").inc
        self._gauge("processes").set(1)
        self._in_flight = 0
        self.watch("http_requests_in_flight", lambda: self._in_flight)

    async def gather(self) -> Collector:
        """What a scrape shows; with several processes, theirs added up takes its place."""
        return self.registry

    def begin_request(self) -> None:
        """An HTTP request arrives; `count_request` is called once it is over."""
        self._in_flight += 1

    def count_request(self, route: str, method: str, status: int, seconds: float) -> None:
        """An HTTP request is over."""
        self._in_flight -= 1
        self._count_later(lambda: self._count_request(route, method, status, seconds))

    def count_rejection(self, reason: str) -> None:
        """A request was refused as a whole; `reason` is the code of its problem."""
        self._rejected[reason,].inc()

    def count_frames(self, outcome: str, frames: int = 1) -> None:
        """Frames of an admitted request that got no result."""
        self._frames[outcome,].inc(frames)

    def count_answer(self, answer: Answer) -> None:
        """A frame was answered."""
        self._count_later(lambda: self._count_answer(answer))

    def count_uncertain(self, outcome: str) -> None:
        """A frame was uncertain; whether it was kept."""
        self._uncertain[outcome,].inc()

    def watch(self, name: str, read: Callable[[], float]) -> None:
        """Let a gauge read its value whenever it is scraped."""
        self._gauge(name).set_function(read)

    def inform(self, name: str, /, **labels: object) -> None:
        """Say what is in use: the gauge is 1 for these labels, and has no other series."""
        gauge = self._gauge(name)
        gauge.clear()
        gauge.labels(**labels).set(1)

    def _count_later(self, count: Callable[[], None]) -> None:
        self._uncounted.append(count)
        if len(self._uncounted) >= MOST_UNCOUNTED:
            self._count_all()

    def _count_all(self) -> None:
        while self._uncounted:
            self._uncounted.popleft()()

    def _count_request(self, route: str, method: str, status: int, seconds: float) -> None:
        self._requests[route, method, str(status)].inc()
        self._request_seconds[route,].observe(seconds)

    def _count_answer(self, answer: Answer) -> None:
        self._frames[ANSWERED,].inc()
        self._queue_seconds.observe(answer.queue_s)
        self._decode_seconds.observe(answer.decode_s)
        self._inference_seconds.observe(answer.inference_s)
        self._frame_seconds.observe(answer.queue_s + answer.decode_s + answer.inference_s)
        self._batch_frames.observe(answer.batch_frames)
        for label, probability in answer.probabilities.items():
            self._probability[label,].observe(probability)
        for label in answer.labels:
            self._found[label,].inc()

    def _counter(self, name: str) -> Counter:
        return self._known(name, Counter)

    def _gauge(self, name: str) -> Gauge:
        return self._known(name, Gauge)

    def _histogram(self, name: str) -> Histogram:
        return self._known(name, Histogram)

    def _known(self, name: str, kind: type[Family]) -> Family:
        family = self._families[name]
        if not isinstance(family, kind):
            raise TypeError(f"{name} is a {BY_NAME[name].kind}")
        return family


class _Counted(Collector):
    """The first collector of a registry: it has none of its own, and sees to it that the others have counted all."""

    def __init__(self, count_all: Callable[[], None]) -> None:
        self._count_all = count_all

    def describe(self) -> Iterator[Metric]:
        """Nothing, and counts nothing."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Count what waits."""
        self._count_all()
        return iter(())


def _family(definition: Definition, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    given: dict[str, Any] = {
        "name": PREFIX + definition.name,
        "documentation": definition.meaning,
        "labelnames": definition.labels,
        "registry": registry,
    }
    if definition.kind == "histogram":
        return Histogram(**given, buckets=definition.buckets)
    return (Counter if definition.kind == "counter" else Gauge)(**given)
