"""A real Prometheus scrapes the real service, and answers every query of the dashboard."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.monitoring.dashboard import MONITORING, queries
from tests.service.server_process import ServerProcess
from tests.tiny_model import write_tiny_model

SCRAPE_S, PATIENCE_S = 1, 60
# Two scrapes at least, and the frames between them.
RATE_OVER = "30s"
# What there is nothing to show of in a service that keeps no frames.
EMPTY = {"Uncertain frames"}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Return once it holds; nothing that Prometheus does can be waited for otherwise."""
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, f"{what} did not come"
        time.sleep(0.1)


class Prometheus:
    """The server, with the project's rules and its scrape of one target."""

    def __init__(self, folder: Path, target: str) -> None:
        configuration = yaml.safe_load((MONITORING / "prometheus.yml").read_text(encoding="utf-8"))
        configuration["global"] = {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s"}
        configuration["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
        shutil.copy(MONITORING / "alerts.yml", folder)
        address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{address}"
        self.log = folder / "prometheus.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    "prometheus",
                    "--config.file=prometheus.yml",
                    "--storage.tsdb.path=data",
                    f"--web.listen-address={address}",
                ],
                cwd=folder,
                stderr=log,
                stdout=log,
            )

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its HTTP API."""
        reply = httpx.get(f"{self.url}/api/v1/{path}", params=parameters)
        body = reply.json()
        assert body["status"] == "success", (parameters, body)
        return body["data"]

    def value(self, query: str) -> float | None:
        """The only sample of a query, or None."""
        result = self.get("query", query=query)["result"]
        return float(result[0]["value"][1]) if result else None

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text(encoding="utf-8")[-2000:]
        try:
            return httpx.get(f"{self.url}/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has seen frames answered, and a request refused, between two scrapes."""
    if not shutil.which("prometheus"):
        pytest.skip("prometheus is not installed (Debian: apt install prometheus)")
    folder = tmp_path_factory.mktemp("prometheus")
    model = write_tiny_model(folder / "tiny.onnx")
    server = ServerProcess("--model", str(model), "--device", "cpu", "--inference-workers", "1")
    prometheus = None
    try:
        url = server.ready().url
        ask(url, 1)
        prometheus = Prometheus(folder, url.removeprefix("http://"))
        wait_for(prometheus.answers, "Prometheus")
        wait_for(lambda: prometheus.value('roadcue_frames_total{outcome="answered"}') == 1, "the first scrape")
        ask(url, 9)
        wait_for(lambda: prometheus.value('roadcue_frames_total{outcome="answered"}') == 10, "the second scrape")
        yield prometheus
    finally:
        server.kill()
        if prometheus:
            prometheus.close()


def ask(url: str, frames: int) -> None:
    """Post that many frames, one a request, and something that is no image."""
    from tests.service.conftest import encoded

    red = encoded(255, 0, 0)
    with httpx.Client(base_url=url, timeout=60) as client:
        replies = [client.post("/predict", files={"file": red}) for _ in range(frames)]
        refused = client.post("/predict", files={"file": b"no image"})
    assert [reply.status_code for reply in replies] == [200] * frames
    assert refused.status_code == 415


def test_service_is_up_and_its_figures_are_those_that_were_caused(scraped: Prometheus) -> None:
    """By hand: ten red frames; the tiny model answers red 1 and green 0 for them."""
    assert scraped.value("up") == 1
    assert scraped.value("roadcue_ready") == 1
    assert scraped.value('roadcue_http_requests_total{route="/predict",status="200"}') == 10
    assert scraped.value('roadcue_rejected_requests_total{reason="unsupported_image"}') == 2
    assert scraped.value('roadcue_label_probability_bucket{label="green",le="0.01"}') == 10
    assert scraped.value('roadcue_label_probability_bucket{label="red",le="0.99"}') == 0
    assert scraped.value('roadcue_labels_found_total{label="red"}') == 10


def test_prometheus_evaluates_every_query_of_the_dashboard(scraped: Prometheus) -> None:
    """Each is well formed and has something to show."""
    shown = {query: scraped.get("query", query=query.with_values(RATE_OVER))["result"] for query in queries()}
    assert {query.panel for query, result in shown.items() if not result} == EMPTY


def test_prometheus_lists_what_the_dashboards_variables_offer(scraped: Prometheus) -> None:
    assert scraped.get("label/job/values", **{"match[]": "roadcue_ready"}) == ["roadcue"]
    assert scraped.get("label/label/values", **{"match[]": "roadcue_label_probability_count"}) == ["green", "red"]


def test_prometheus_evaluates_every_alert_and_none_fires(scraped: Prometheus) -> None:
    wait_for(lambda: all(rule["health"] == "ok" for rule in rules(scraped)), "an evaluation of every rule")
    assert [rule["name"] for rule in rules(scraped) if rule["state"] == "firing"] == []


def rules(prometheus: Prometheus) -> list[dict[str, Any]]:
    return [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
