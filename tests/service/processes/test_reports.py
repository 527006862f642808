"""Metrics of several processes, added up."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from service.processes.reports import ReportCollector, added, lasting, report_of
from service.telemetry.metrics import Answer, Metrics


def test_counters_and_histograms_add_up_by_label() -> None:
    """3 + 4 requests; waits of 0.1 s and 0.3 s here, 0.1 s there, in buckets up to 0.2 s and beyond."""
    one, other = CollectorRegistry(), CollectorRegistry()
    for registry, requests, waits in ((one, 3, (0.1, 0.3)), (other, 4, (0.1,))):
        Counter("requests", "Requests", ["route"], registry=registry).labels("/predict").inc(requests)
        histogram = Histogram("wait_seconds", "Wait", buckets=(0.2,), registry=registry)
        for wait in waits:
            histogram.observe(wait)
    lines = shown(report_of(one), report_of(other))
    assert 'requests_total{route="/predict"} 7.0' in lines
    assert 'wait_seconds_bucket{le="0.2"} 2.0' in lines
    assert 'wait_seconds_bucket{le="+Inf"} 3.0' in lines
    assert "wait_seconds_sum 0.5" in lines


def test_a_series_that_one_process_has_is_kept() -> None:
    one, other = CollectorRegistry(), CollectorRegistry()
    Counter("requests", "Requests", ["route"], registry=one).labels("/a").inc()
    Counter("requests", "Requests", ["route"], registry=other).labels("/b").inc()
    assert {'requests_total{route="/a"} 1.0', 'requests_total{route="/b"} 1.0'} <= shown(
        report_of(one), report_of(other)
    )


def test_gauges_come_together_as_their_definitions_say() -> None:
    """Bytes and processes are summed, what both run is told once, and one that is ready makes the service ready."""
    one, other = Metrics(), Metrics()
    for metrics, held, ready in ((one, 100, 1), (other, 20, 0)):
        metrics.watch("upload_bytes", lambda held=held: held)
        metrics.watch("ready", lambda ready=ready: ready)
        metrics.inform("model_info", name="street", version="1", precision="int8")
    lines = shown(report_of(one.registry), report_of(other.registry))
    assert {"roadcue_upload_bytes 120.0", "roadcue_ready 1.0", "roadcue_processes 2.0"} <= lines
    assert 'roadcue_model_info{name="street",precision="int8",version="1"} 1.0' in lines


def test_descriptors_are_those_of_the_process_that_is_nearest_to_its_limit() -> None:
    """Each has a limit of its own, so a sum would say nothing."""
    registries = CollectorRegistry(), CollectorRegistry()
    for registry, held in zip(registries, (5, 7), strict=True):
        Gauge("process_open_fds", "Open", registry=registry).set(held)
    assert "process_open_fds 7.0" in shown(*map(report_of, registries))


def test_of_a_process_that_is_gone_only_what_it_counted_stays() -> None:
    registry = CollectorRegistry()
    Counter("requests", "Requests", registry=registry).inc()
    Gauge("held", "Held", registry=registry).set(5)
    assert [family.name for family in lasting(report_of(registry))] == ["requests"]


def test_a_report_alone_is_written_as_its_registry() -> None:
    """Every metric of the service goes through unharmed."""
    metrics = Metrics()
    metrics.count_request("/predict", "POST", 200, 0.01)
    metrics.count_answer(Answer(0.001, 0.002, 0.003, 1, {}, ()))
    written = generate_latest(ReportCollector(report_of(metrics.registry)))
    assert without_cpu(written) == without_cpu(generate_latest(metrics.registry))


def shown(*reports: object) -> set[str]:
    """The lines that a scrape of the sum holds."""
    return set(generate_latest(ReportCollector(added(reports))).decode().splitlines())  # type: ignore[arg-type]


def without_cpu(text: bytes) -> list[str]:
    """The lines that do not change between two looks."""
    return [line for line in text.decode().splitlines() if "process_" not in line]
