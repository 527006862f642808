"""The override for monitoring, started: Prometheus scrapes the service, Grafana has the dashboard."""

import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httpx
import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.deployment.conftest import START_LIMIT_S, Deployment, answers, free_port, run

pytestmark = pytest.mark.docker

PULL_LIMIT_S, PATIENCE_S = 300, 60
OVERRIDE = "docker-compose.monitoring.yml"


@dataclass(frozen=True)
class Monitored(Deployment):
    """A compose project with the override, and the ports of its two servers."""

    prometheus_port: int = field(kw_only=True)
    grafana_port: int = field(kw_only=True)

    @property
    def environment(self) -> dict[str, str]:
        ports = {"PROMETHEUS_PORT": str(self.prometheus_port), "GRAFANA_PORT": str(self.grafana_port)}
        return {**super().environment, **ports, "COMPOSE_FILE": f"docker-compose.yml:{OVERRIDE}"}

    def start(self, service: str) -> None:
        """Start one service of the project; skips where its image cannot be had."""
        need(str(yaml.safe_load((REPOSITORY / OVERRIDE).read_text(encoding="utf-8"))["services"][service]["image"]))
        self.compose("up", "--detach", "--no-deps", service)


def need(image: str) -> None:
    """Pull an image that is not here."""
    if answers("docker", "image", "inspect", image):
        return
    done = subprocess.run(["docker", "pull", image], capture_output=True, text=True, timeout=PULL_LIMIT_S)
    if done.returncode:
        pytest.skip(f"{image} cannot be pulled: {done.stderr.strip()[-200:]}")


@pytest.fixture(scope="module")
def monitored(image: str) -> Iterator[Monitored]:
    """The service, healthy; Prometheus and Grafana are started by the tests that look at them."""
    project = f"roadcue-test-{uuid.uuid4().hex[:12]}"
    deployment = Monitored(
        project, image.partition(":")[2], free_port(), prometheus_port=free_port(), grafana_port=free_port()
    )
    try:
        start = deployment.command("up", "--detach", "--wait", "--wait-timeout", str(START_LIMIT_S), "roadcue")
        started = subprocess.run(start, cwd=REPOSITORY, env=deployment.environment, capture_output=True, text=True)
        if started.returncode:
            pytest.fail(f"not healthy: {started.stderr[-2000:]}\n{deployment.compose('logs', '--tail', '50')}")
        yield deployment
    finally:
        down = deployment.command("down", "--volumes", "--timeout", "1")
        subprocess.run(down, cwd=REPOSITORY, env=deployment.environment, capture_output=True)


def eventually(read: Callable[[], object], expected: object, log: Callable[[], str]) -> None:
    """Ask until the answer is the expected one; another process has to start and to scrape first."""
    end_s = time.monotonic() + PATIENCE_S
    while (came := answer_of(read)) != expected:
        assert time.monotonic() < end_s, f"{came!r} in place of {expected!r}:\n{log()}"
        time.sleep(0.5)


def answer_of(read: Callable[[], object]) -> object:
    try:
        return read()
    except httpx.TransportError as error:
        return error


def test_prometheus_scrapes_the_service_and_has_the_alerts(monitored: Monitored) -> None:
    monitored.start("prometheus")
    url = f"http://127.0.0.1:{monitored.prometheus_port}/api/v1"

    def ready() -> list[str]:
        found = httpx.get(f"{url}/query", params={"query": 'roadcue_ready{job="roadcue"}'}).json()["data"]["result"]
        return [series["value"][1] for series in found]

    eventually(ready, ["1"], lambda: monitored.compose("logs", "--tail", "20", "prometheus"))
    groups = httpx.get(f"{url}/rules").json()["data"]["groups"]
    assert [group["name"] for group in groups] == ["roadcue"]


def test_grafana_has_the_dashboard_and_reaches_prometheus(monitored: Monitored) -> None:
    monitored.start("prometheus")
    monitored.start("grafana")
    url = f"http://127.0.0.1:{monitored.grafana_port}/api"

    def title() -> object:
        return httpx.get(f"{url}/dashboards/uid/roadcue").json().get("dashboard", {}).get("title")

    def proxied() -> object:
        reply = httpx.get(f"{url}/datasources/proxy/uid/prometheus/api/v1/query", params={"query": "roadcue_ready"})
        return reply.json()["data"]["result"][0]["value"][1] if reply.status_code == 200 else reply.status_code

    log = lambda: monitored.compose("logs", "--tail", "20", "grafana")  # noqa: E731 - named for its two uses
    eventually(title, "Roadcue", log)
    eventually(proxied, "1", log)


def test_the_override_is_valid_and_keeps_the_service_as_it_is(engine: None) -> None:
    plain, with_monitoring = (
        yaml.safe_load(run(["docker", "compose", *files, "config"]))["services"]["roadcue"]
        for files in (["-f", "docker-compose.yml"], ["-f", "docker-compose.yml", "-f", OVERRIDE])
    )
    assert plain == with_monitoring
