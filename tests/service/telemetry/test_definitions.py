"""What is measured, and how it is called."""

import re
from pathlib import Path

import pytest

from service.telemetry.definitions import DEFINITIONS, Definition, metrics_table
from service.telemetry.metrics import Metrics

EVERY_NAME = {
    "roadcue_http_requests_total",
    "roadcue_http_request_seconds",
    "roadcue_http_requests_in_flight",
    "roadcue_rejected_requests_total",
    "roadcue_frames_total",
    "roadcue_frame_seconds",
    "roadcue_queue_seconds",
    "roadcue_decode_seconds",
    "roadcue_inference_seconds",
    "roadcue_batch_frames",
    "roadcue_label_probability",
    "roadcue_labels_found_total",
    "roadcue_queue_frames",
    "roadcue_queue_limit_frames",
    "roadcue_running_frames",
    "roadcue_upload_bytes",
    "roadcue_upload_limit_bytes",
    "roadcue_uncertain_frames_total",
    "roadcue_ready",
    "roadcue_draining",
    "roadcue_processes",
    "roadcue_process_restarts_total",
    "roadcue_provider_info",
    "roadcue_model_info",
    "roadcue_execution_plan_info",
    "roadcue_build_info",
}


def test_names_are_those_that_dashboards_rely_on() -> None:
    """A name that changes breaks somebody's alert: change this list knowingly."""
    assert {definition.full_name for definition in DEFINITIONS} == EVERY_NAME
    assert len(DEFINITIONS) == len(EVERY_NAME)


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition.name)
def test_metric_follows_the_conventions_of_prometheus(definition: Definition) -> None:
    """https://prometheus.io/docs/practices/naming: base units, no unit twice, help for each, rising buckets."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", definition.name)
    assert not re.search(r"milli|_ms\b|micro|_mb\b|percent|_total", definition.name)
    assert len(definition.meaning) > 10
    assert not definition.meaning.endswith(".")
    assert list(definition.buckets) == sorted(set(definition.buckets))
    assert bool(definition.buckets) == (definition.kind == "histogram")
    assert not {"le", "quantile", "instance", "job"} & set(definition.labels)


def test_registry_holds_the_definitions_and_the_process_only() -> None:
    families = [family for family in Metrics().registry.collect() if not family.name.startswith("process_")]
    defined = [("roadcue_" + d.name, d.kind, d.meaning) for d in DEFINITIONS]
    assert sorted((f.name, f.type, f.documentation) for f in families) == sorted(defined)


def test_info_is_the_same_in_each_process() -> None:
    """Added up, it would be 2 for two processes."""
    assert {d.across for d in DEFINITIONS if d.name.endswith("_info")} == {"max"}


def test_the_document_holds_exactly_the_metrics_table(repository: Path) -> None:
    document = (repository / "docs" / "operations.md").read_text(encoding="utf-8")
    between = document.partition("<!-- metrics -->\n")[2].partition("\n<!-- /metrics -->")[0]
    assert between == metrics_table()
