"""Dashboard, alerts and compose override ask for what there is."""

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry, ProcessCollector

from service.telemetry.definitions import BY_NAME, DEFINITIONS
from service.web import predict_routes
from service.web.open_inference import routes as open_inference
from service.web.problems import KINDS
from tests.conftest import REPOSITORY
from tests.monitoring.dashboard import MONITORING, Query, dashboard, label_names, metric_names, panels, queries

OF_PROCESS = {
    sample.name for family in ProcessCollector(registry=CollectorRegistry()).collect() for sample in family.samples
}
KNOWN = {name for definition in DEFINITIONS for name in definition.series} | OF_PROCESS | {"up"}
TRIALS = sorted((REPOSITORY / "tests" / "monitoring").glob("*.test.yml"))
KNOWN_LABELS = {label for definition in DEFINITIONS for label in definition.labels} | {"job", "instance", "le"}


def alert_rules() -> list[dict[str, str]]:
    groups = yaml.safe_load((MONITORING / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def promtool(*arguments: str | Path) -> None:
    """Run Prometheus' own checker; skips where it is not installed."""
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed (Debian: apt install prometheus)")
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("query", list(queries()), ids=lambda query: query.panel)
def test_every_query_of_the_dashboard_names_metrics_and_labels_that_there_are(query: Query) -> None:
    assert metric_names(query.expression)
    assert metric_names(query.expression) - KNOWN == set()
    assert label_names(query.expression) - KNOWN_LABELS == set()


@pytest.mark.parametrize("rule", alert_rules(), ids=lambda rule: rule["alert"])
def test_every_alert_names_metrics_and_labels_that_there_are(rule: dict[str, str]) -> None:
    assert metric_names(rule["expr"]) - KNOWN == set()
    assert label_names(rule["expr"]) - KNOWN_LABELS == set()


def test_a_misspelt_metric_or_label_would_be_found() -> None:
    expression = 'sum by (lable) (rate(roadcue_frame_total{outcom="x"}[$__rate_interval]))'
    assert metric_names(expression) - KNOWN == {"roadcue_frame_total"}
    assert label_names(expression) - KNOWN_LABELS == {"lable", "outcom"}


def test_every_panel_has_a_title_a_unit_and_says_what_it_shows() -> None:
    for panel in panels():
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


def test_panels_do_not_overlap_and_ids_differ() -> None:
    """By hand: a cell of the grid, 24 wide, belongs to one panel."""
    cells: Counter[tuple[int, int]] = Counter()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells.update((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"]))
    assert max(cells.values()) == 1
    identifiers = [panel["id"] for panel in dashboard()["panels"]]
    assert len(identifiers) == len(set(identifiers))


def test_every_metric_is_on_the_dashboard_or_in_an_alert() -> None:
    """What nobody looks at need not be measured; draining only silences an alert."""
    asked = {name for query in queries() for name in metric_names(query.expression)}
    asked |= {name for rule in alert_rules() for name in metric_names(rule["expr"])}
    assert [d.full_name for d in DEFINITIONS if asked.isdisjoint(d.series)] == []


def test_routes_that_are_watched_are_those_that_answer_frames() -> None:
    """The metric has the templates of the routes."""
    paths = [route.path for router in (predict_routes.router, open_inference.router) for route in router.routes]  # type: ignore[attr-defined]
    expressions = [query.expression for query in queries()] + [rule["expr"] for rule in alert_rules()]
    watched = {pattern for text in expressions for pattern in re.findall(r'route=~"([^"]+)"', text)}
    assert not any('route="' in text for text in expressions)
    assert [{path for path in paths if re.fullmatch(pattern, path)} for pattern in watched] == [
        {"/predict", "/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer"}
    ]


def test_what_alerts_look_for_is_what_the_service_says() -> None:
    """Statuses, outcomes and reasons are those of its problems."""
    looked_for: dict[str, set[str]] = {}
    for rule in alert_rules():
        for label, values in re.findall(r'(status|outcome|reason)=~?"([^"]+)"', rule["expr"]):
            looked_for.setdefault(label, set()).update(values.split("|"))
    assert looked_for.keys() == {"status", "outcome", "reason"}
    assert looked_for["status"] <= {str(kind.status) for kind in KINDS.values()}
    assert looked_for["outcome"] | looked_for["reason"] <= KINDS.keys()


def test_the_shown_limit_of_the_queue_names_the_bound_that_may_refuse_before() -> None:
    (panel,) = [panel for panel in panels() if panel["title"] == "Queue"]
    assert "--max-queue-ms" in panel["description"]
    assert "--max-queue-ms" in BY_NAME["queue_limit_frames"].meaning


def test_alerts_say_how_bad_it_is_and_what_to_do() -> None:
    for rule in alert_rules():
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}  # type: ignore[index]
        assert {"summary", "description"} <= set(rule["annotations"])


def test_prometheus_takes_the_configuration_and_the_rules() -> None:
    promtool("check", "config", MONITORING / "prometheus.yml")


def test_alerts_fire_for_what_they_are_for_and_only_then() -> None:
    """Hand-made series, evaluated by Prometheus."""
    promtool("test", "rules", *TRIALS)


def test_every_alert_is_tried() -> None:
    trials = [trial for file in TRIALS for trial in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]]
    tried = {trial["alertname"] for test in trials for trial in test["alert_rule_test"] if trial.get("exp_alerts")}
    assert tried == {rule["alert"] for rule in alert_rules()}


def test_compose_override_mounts_files_that_there_are_and_listens_on_this_machine_only() -> None:
    override = yaml.safe_load((REPOSITORY / "docker-compose.monitoring.yml").read_text(encoding="utf-8"))
    for service in override["services"].values():
        mounts = [volume.split(":")[0] for volume in service["volumes"] if volume.startswith("./")]
        assert [mount for mount in mounts if not (REPOSITORY / mount).exists()] == []
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert not service["image"].endswith(":latest")


def test_monitoring_has_bounds_and_nobody_can_log_in() -> None:
    """Without the form, Grafana would take admin:admin over HTTP all the same."""
    services = yaml.safe_load((REPOSITORY / "docker-compose.monitoring.yml").read_text(encoding="utf-8"))["services"]
    assert all(service["mem_limit"] and service["pids_limit"] for service in services.values())
    environment = services["grafana"]["environment"]
    assert (
        environment["GF_AUTH_DISABLE_LOGIN_FORM"] == environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    )
    assert environment["GF_AUTH_BASIC_ENABLED"] == "false"


def test_scrape_target_and_data_source_are_the_services_of_the_compose_files() -> None:
    compose, override = (
        yaml.safe_load((REPOSITORY / name).read_text(encoding="utf-8"))["services"]
        for name in ("docker-compose.yml", "docker-compose.monitoring.yml")
    )
    scrape = yaml.safe_load((MONITORING / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"][0]
    host, port = scrape["static_configs"][0]["targets"][0].split(":")
    assert host in compose
    assert compose[host]["ports"][0].endswith(f":{port}")
    source = yaml.safe_load((MONITORING / "grafana/provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ][0]
    name, port = source["url"].removeprefix("http://").split(":")
    assert override[name]["ports"][0].endswith(f":{port}")


def test_dashboards_are_provisioned_from_where_they_are_mounted() -> None:
    provider = yaml.safe_load((MONITORING / "grafana/provisioning/dashboards/roadcue.yml").read_text())["providers"][0]
    grafana = yaml.safe_load((REPOSITORY / "docker-compose.monitoring.yml").read_text())["services"]["grafana"]
    mounted = {volume.split(":")[1] for volume in grafana["volumes"] if volume.startswith("./")}
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home in mounted
    assert str(Path(home).parent) == provider["options"]["path"]
