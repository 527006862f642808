"""What docs/operations.md says of settings, limits, health, drain, proxies and alerts is what the service does."""

import asyncio
import json
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from service.app import create_app, detector_of
from service.settings import Settings, read_settings
from service.web.problems import KINDS
from tests.document import blocks, commands, rows, section, shell
from tests.monitoring.test_files import alert_rules
from tests.service.conftest import encoded, running, wait_until
from tests.service.server_process import ServerProcess
from tests.tiny_model import write_tiny_model

PATHS = ("/health/live", "/health/ready", "/health", "/predict")
RED = encoded(255, 0, 0)
# Small enough for each of them to be met by a request of a few bytes; they must fit each other.
SMALL_LIMITS = {
    "--max-request-bytes": 4096,
    "--max-frame-bytes": 2048,
    "--max-frames-per-request": 2,
    "--max-json-bytes": 1024,
    "--max-frame-pixels": 1024,
    "--upload-timeout-seconds": 0.2,
    "--max-timeout-ms": 30_000,
    "--default-timeout-ms": 30_000,
}


@pytest.fixture(scope="module")
def document(repository: Path) -> str:
    return (repository / "docs" / "operations.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[ServerProcess]:
    """The tiny model behind small limits."""
    limits = [str(part) for limit in SMALL_LIMITS.items() for part in limit]
    process = ServerProcess("--model", str(model), "--device", "cpu", "--inference-workers", "1", *limits)
    yield process.ready()
    process.kill()


def test_wrong_settings_end_the_start_with_the_shown_line(document: str, tmp_path: Path) -> None:
    """And none of the other flags that the page names is wrong."""
    told = [line.partition("# ") for line in commands(section(document, "Settings"))]
    assert len(told) == 2
    for command, _, line in told:
        done = shell(tmp_path, command)
        assert (done.returncode, done.stderr.strip()) == (1, line)
    fields = {f"--{name.replace('_', '-')}" for name in Settings.model_fields}
    assert set(re.findall(r"--[a-z][a-z-]+", document)) - fields == {"--save", "--frame", "--build", "--rm"}


def test_health_is_as_shown(document: str, server: ServerProcess, tmp_path: Path) -> None:
    part = section(document, "Start")
    (command,) = commands(part)
    done = shell(tmp_path, command.replace("localhost:8000", server.url.removeprefix("http://")))
    answered, shown = json.loads(done.stdout), json.loads(blocks(part, "json")[0])
    assert (answered.keys(), answered["queue"].keys()) == (shown.keys(), shown["queue"].keys())
    assert [answered[key] for key in ("status", "live", "ready", "provider")] == [
        shown[key] for key in ("status", "live", "ready", "provider")
    ]


def test_each_path_answers_in_each_state_as_the_table_says(document: str, model: Path) -> None:
    """The states one after the other, in the order of the columns: loading, ready, with a dead worker, draining."""
    table = {cells[0].strip("`"): cells[1:] for cells in rows(section(document, "Start"), "Path")}
    assert tuple(table) == PATHS
    seen = asyncio.run(
        answers_in_each_state(Settings(model=model, device="cpu", inference_workers=1, tuning_seconds=0))
    )
    for path, cells in table.items():
        for cell, (status, code) in zip(cells, seen[path], strict=True):
            told = re.match(r"(\d{3})?(?: `(\w+)`)?", cell)
            assert told
            assert (status, code) == (int(told[1] or 200), told[2]), f"{path}: {cell}"


async def answers_in_each_state(settings: Settings) -> "dict[str, list[tuple[int, str | None]]]":
    """Status and problem's code of each path in each state; the start is held up, the worker's death is pretended."""
    gate = threading.Event()

    def gated_load(given: Settings) -> Any:
        gate.wait(60)
        return detector_of(given)

    app = create_app(settings, gated_load)
    lifecycle = app.state.lifecycle
    seen: dict[str, list[tuple[int, str | None]]] = {path: [] for path in PATHS}

    async def look(client: httpx.AsyncClient) -> None:
        for path in PATHS:
            raw = {"content": RED, "headers": {"Content-Type": "image/png"}}
            reply = await (client.post(path, **raw) if path == "/predict" else client.get(path))  # type: ignore[arg-type]
            seen[path].append((reply.status_code, reply.json().get("code")))

    async with running(app) as client:
        await look(client)
        gate.set()
        await wait_until(lambda: lifecycle.stage == "ready")
        await look(client)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(lifecycle.loaded.scheduler), "healthy", lambda _: False)
            await look(client)
        lifecycle.draining = True
        await look(client)
    return seen


def of_frames(count: int, data: bytes) -> "dict[str, Any]":
    return {"files": [("files", (f"{number}.png", data)) for number in range(count)]}


MEETS: dict[str, Callable[[str], httpx.Response]] = {
    "--max-request-bytes": lambda url: httpx.post(f"{url}/predict", **of_frames(2, bytes(2040))),
    "--max-frames-per-request": lambda url: httpx.post(f"{url}/predict", **of_frames(3, RED)),
    "--max-json-bytes": lambda url: httpx.post(f"{url}/v2/models/tiny/infer", content=b'{"id": "' + b"a" * 2000),
    "--max-frame-bytes": lambda url: httpx.post(f"{url}/predict", **of_frames(1, bytes(2049))),
    "--max-frame-pixels": lambda url: httpx.post(f"{url}/predict", **of_frames(1, encoded(1, 2, 3, 40, 40))),
    "--max-timeout-ms": lambda url: httpx.post(
        f"{url}/predict", **of_frames(1, RED), headers={"X-Timeout-Ms": "30001"}
    ),
}


def test_limits_are_met_with_the_answers_of_the_table(document: str, server: ServerProcess) -> None:
    """Every row's answer is a problem that there is, and those that a few bytes can meet are met."""
    met = set()
    for _, setting, answer in rows(section(document, "Limits"), "What"):
        told = re.match(r"(\d{3}) `(\w+)`", answer)
        assert told or answer == "closed"
        assert not told or KINDS[told[2]].status == int(told[1])
        for flag in re.findall(r"--[a-z-]+", setting):
            if told and flag in MEETS:
                reply = MEETS[flag](server.url)
                # /v2 has errors of its own form, with the status alone.
                assert (reply.status_code, reply.json().get("code", told[2])) == (int(told[1]), told[2])
                met.add(flag)
    assert met == MEETS.keys()


def test_a_request_that_does_not_arrive_in_time_is_a_408(server: ServerProcess) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: 100\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(head)
        reply = connection.recv(65536)
    assert reply.startswith(b"HTTP/1.1 408 ")


def test_replies_tell_the_id_and_where_the_time_went(document: str, server: ServerProcess) -> None:
    """A caller's id comes back, one that is too long does not; no header lets pages of other sites read the answer."""
    given = {"X-Request-ID": "a" * 128, "Origin": "https://elsewhere.example"}
    reply = httpx.post(f"{server.url}/predict", **of_frames(1, RED), headers=given)
    assert reply.headers["X-Request-ID"] == "a" * 128
    assert httpx.get(server.url, headers={"X-Request-ID": "a" * 129}).headers["X-Request-ID"] != "a" * 129
    named = re.findall(r"(\w+);dur=", reply.headers["Server-Timing"])
    assert ", ".join(f"`{name}`" for name in named) in section(document, "Logs")
    assert not [name for name in reply.headers if name.startswith("access-control")]


def test_drain_goes_as_the_table_says(document: str, model: Path) -> None:
    """Its events in their order; meanwhile live, not ready, and requests answered on connections that close."""
    server = ServerProcess("--model", str(model), "--device", "cpu", "--drain-seconds", "2", "--inference-workers", "1")
    try:
        server.ready()
        server.process.send_signal(signal.SIGTERM)
        server.wait_for_line("draining")
        live, ready = (httpx.get(f"{server.url}/health/{path}") for path in ("live", "ready"))
        answered = httpx.post(f"{server.url}/predict", **of_frames(1, RED))
        assert [reply.status_code for reply in (live, ready, answered)] == [200, 503, 200]
        assert (ready.json()["code"], answered.headers["Connection"]) == ("draining", "close")
        assert server.wait() == 0
    finally:
        server.kill()
    events = [cells[2].strip("` |") for cells in rows(section(document, "Drain"), "Second") if cells[2].strip("` |")]
    assert events == ["draining", "ended"]
    assert "ended" in server.lines[-1]


def test_seconds_of_the_drain_are_those_of_the_defaults(document: str) -> None:
    settings = Settings()
    drain_s, shutdown_s = settings.drain_seconds, settings.shutdown_timeout_seconds
    times = [cells[0] for cells in rows(section(document, "Drain"), "Second")]
    assert times[1] == f"{drain_s:g} = `--drain-seconds`"
    assert times[3] == f"to {drain_s + shutdown_s:g} = {drain_s:g} + `--shutdown-timeout-seconds`"


def test_the_proxy_is_told_limits_that_fit_ours(document: str) -> None:
    (configuration,) = blocks(section(document, "Behind a proxy"), "nginx")
    told = dict(re.findall(r"^\s+(\w+) +(\d+)[sm];", configuration, re.MULTILINE))
    settings = Settings()
    assert int(told["keepalive_timeout"]) < settings.keep_alive_seconds
    assert int(told["client_max_body_size"]) * 1024**2 == settings.max_request_bytes
    assert int(told["proxy_read_timeout"]) * 1000 > settings.default_timeout_ms
    assert configuration.count("{") == configuration.count("}")


def test_the_deployment_gives_time_to_drain_and_asks_the_right_paths(document: str) -> None:
    pod = yaml.safe_load(blocks(section(document, "Kubernetes"), "yaml")[0])["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    given = {entry["name"].removeprefix("ROADCUE_").lower(): entry["value"] for entry in container["env"]}
    settings = read_settings(given)
    # The variables of a service called roadcue are no settings, and the start refuses what is none.
    assert pod["enableServiceLinks"] is False
    assert pod["terminationGracePeriodSeconds"] > settings.drain_seconds + settings.shutdown_timeout_seconds
    probes = {name: container[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert {probe["port"] for probe in probes.values()} == {settings.port}
    assert [probe["path"] for probe in probes.values()] == ["/health/ready", "/health/ready", "/health/live"]
    readiness = container["readinessProbe"]
    # Kubernetes takes three failures by default.
    assert 3 * readiness["periodSeconds"] < settings.drain_seconds


def test_the_pod_is_as_locked_down_as_the_compose_file(document: str, repository: Path) -> None:
    pod = yaml.safe_load(blocks(section(document, "Kubernetes"), "yaml")[0])["spec"]["template"]["spec"]
    compose = yaml.safe_load((repository / "docker-compose.yml").read_text(encoding="utf-8"))["services"]["roadcue"]
    (container,) = pod["containers"]
    context = container["securityContext"]
    assert (context["readOnlyRootFilesystem"], context["capabilities"]["drop"]) == (
        compose["read_only"],
        compose["cap_drop"],
    )
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == [
        place.partition(":")[0] for place in compose["tmpfs"]
    ]
    assert (repository / "Dockerfile").read_text(encoding="utf-8").count("USER 10001:10001") == 1


def test_every_alert_is_in_the_table_with_its_severity(document: str) -> None:
    told = [(name, severity) for name, severity, *_ in rows(section(document, "Alerts"), "Alert")]
    assert told == [(rule["alert"], rule["labels"]["severity"]) for rule in alert_rules()]  # type: ignore[index]


def test_an_alert_names_the_same_settings_in_the_table_and_where_it_rings(document: str) -> None:
    told = {name: set(re.findall(r"--[\w-]+", act)) for name, _, _, act in rows(section(document, "Alerts"), "Alert")}
    for rule in alert_rules():
        rung = set(re.findall(r"--[\w-]+", rule["annotations"]["description"]))  # type: ignore[index]
        assert told[rule["alert"]] == rung
    assert told["RoadcueDeadlinesMissed"] == {"--max-queue-ms", "--max-frames-per-request"}


def test_the_contents_name_every_section(document: str) -> None:
    headings = re.findall(r"^## (.+)$", document, re.MULTILINE)
    assert re.findall(r"\[([^]]+)\]\(#", document.partition("\n## ")[0]) == headings
