"""What is counted arrives in the registry."""

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from service.telemetry.exposition import exposition
from service.telemetry.metrics import MOST_UNCOUNTED, Answer, Metrics


def value(metrics: Metrics, name: str, /, **labels: str) -> float | None:
    """One sample, by the client library's own look-up."""
    found: float | None = metrics.registry.get_sample_value(name, labels)
    return found


def test_request_counts_once_and_leaves_nothing_in_flight() -> None:
    metrics = Metrics()
    metrics.begin_request()
    assert value(metrics, "roadcue_http_requests_in_flight") == 1
    metrics.count_request("/predict", "POST", 200, 0.03)
    assert value(metrics, "roadcue_http_requests_in_flight") == 0
    assert value(metrics, "roadcue_http_requests_total", route="/predict", method="POST", status="200") == 1
    assert value(metrics, "roadcue_http_request_seconds_sum", route="/predict") == 0.03


def test_answer_is_counted_in_each_stage_and_in_all_together() -> None:
    metrics = Metrics()
    metrics.count_answer(Answer(0.25, 0.002, 0.008, batch_frames=3, probabilities={}, labels=()))
    stages = {"queue": 0.25, "decode": 0.002, "inference": 0.008, "frame": 0.26}
    for stage, seconds in stages.items():
        assert value(metrics, f"roadcue_{stage}_seconds_sum") == pytest.approx(seconds)
        assert value(metrics, f"roadcue_{stage}_seconds_count") == 1
    assert value(metrics, "roadcue_batch_frames_bucket", le="2.0") == 0
    assert value(metrics, "roadcue_batch_frames_bucket", le="4.0") == 1
    assert value(metrics, "roadcue_frames_total", outcome="answered") == 1


def test_stages_of_a_usual_frame_fall_into_different_buckets() -> None:
    """2, 8 and 25 ms would be one bucket where buckets are those of web requests."""
    metrics = Metrics()
    for seconds in (0.002, 0.008, 0.025):
        metrics.count_answer(Answer(0.0, 0.0, seconds, 1, {}, ()))
    counts = [value(metrics, "roadcue_inference_seconds_bucket", le=le) for le in ("0.001", "0.002", "0.01", "0.03")]
    assert counts == [0, 1, 2, 3]


def test_what_waits_to_be_counted_is_bounded_and_lost_by_nobody() -> None:
    """By hand: of 3 1/2 handfuls three are counted as they come, the rest when somebody looks."""
    metrics = Metrics()
    for _ in range(MOST_UNCOUNTED * 7 // 2):
        metrics.count_answer(Answer(0.0, 0.0, 0.0, 1, {}, ()))
    assert metrics._frames["answered",]._value.get() == 3 * MOST_UNCOUNTED
    assert value(metrics, "roadcue_frames_total", outcome="answered") == MOST_UNCOUNTED * 7 // 2


def test_probability_of_each_label_is_counted_and_labels_found_apart() -> None:
    metrics = Metrics()
    metrics.count_answer(Answer(0.0, 0.0, 0.0, 1, {"car": 0.97, "stop_sign": 0.03}, ["car"]))
    metrics.count_answer(Answer(0.0, 0.0, 0.0, 1, {"car": 0.55, "stop_sign": 0.3}, ["car", "stop_sign"]))
    assert value(metrics, "roadcue_label_probability_bucket", label="car", le="0.5") == 0
    assert value(metrics, "roadcue_label_probability_bucket", label="car", le="0.6") == 1
    assert value(metrics, "roadcue_label_probability_bucket", label="stop_sign", le="0.05") == 1
    assert value(metrics, "roadcue_label_probability_sum", label="stop_sign") == pytest.approx(0.33)
    assert value(metrics, "roadcue_labels_found_total", label="car") == 2
    assert value(metrics, "roadcue_labels_found_total", label="stop_sign") == 1


def test_watched_gauge_is_read_at_each_scrape() -> None:
    metrics, waiting = Metrics(), [3.0]
    metrics.watch("queue_frames", lambda: waiting[0])
    assert value(metrics, "roadcue_queue_frames") == 3
    waiting[0] = 5.0
    assert value(metrics, "roadcue_queue_frames") == 5


def test_what_is_in_use_has_one_series_even_after_it_changed() -> None:
    metrics = Metrics()
    metrics.inform("model_info", name="street", version="1", precision="int8")
    metrics.inform("model_info", name="street", version="2", precision="int8")
    assert value(metrics, "roadcue_model_info", name="street", version="1", precision="int8") is None
    assert value(metrics, "roadcue_model_info", name="street", version="2", precision="int8") == 1


def test_a_name_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="frames is a counter"):
        Metrics().watch("frames", lambda: 1.0)


@pytest.mark.parametrize(
    ("accept", "content_type", "parse"),
    [
        ("", "text/plain; version=0.0.4", parse_text),
        ("*/*", "text/plain; version=0.0.4", parse_text),
        ("application/openmetrics-text; version=abc", "text/plain; version=0.0.4", parse_text),
        (
            "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
            "application/openmetrics-text",
            parse_openmetrics,
        ),
    ],
)
def test_format_is_the_one_asked_for_and_parses(accept: str, content_type: str, parse: object) -> None:
    metrics = Metrics()
    metrics.count_answer(Answer(0.1, 0.002, 0.008, 1, {}, ()))
    content, came = exposition(metrics.registry, accept)
    families = {family.name: family for family in parse(content.decode())}  # type: ignore[operator]
    assert came.startswith(content_type)
    assert families["roadcue_decode_seconds"].type == "histogram"
    assert not [name for name in families if name.endswith("_created")]
