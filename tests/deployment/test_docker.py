"""The image and the compose file do what the README says: small, locked down, healthy, polite at the end."""

import csv
import math
import os
import re
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

from service.settings import DEFAULT_MODEL, Settings
from tests.conftest import REPOSITORY
from tests.deployment.conftest import (
    START_LIMIT_S,
    Deployment,
    deployed,
    free_port,
    post_frame,
    run,
    with_uncertain_frames,
)
from tests.service.server_process import wait_for

pytestmark = pytest.mark.docker

MEGABYTE = 1_000_000
CLIENTS = 4
WAIT_LIMIT_S = 60.0


def test_the_cpu_image_stays_under_700_megabytes(image: str) -> None:
    size_bytes = int(run(["docker", "image", "inspect", "--format", "{{.Size}}", image]))
    assert size_bytes < 700 * MEGABYTE


def test_the_image_holds_no_training_libraries_and_no_tests(image: str) -> None:
    source = (
        "from importlib.util import find_spec as f; print([n for n in ('torch', 'timm', 'pytest', 'tests') if f(n)])"
    )
    assert run(["docker", "run", "--rm", "--entrypoint", "python", image, "-c", source]).strip() == "[]"


def test_image_holds_no_training_code(image: str) -> None:
    command = [
        "docker",
        "run",
        "--rm",
        "--entrypoint",
        "python",
        image,
        "-c",
        "import service.app; import model_training",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "No module named 'model_training'" in done.stderr


def test_the_image_has_what_sending_traces_needs(image: str) -> None:
    """Without it, the start would end once the setting is set."""
    source = (
        "from service.telemetry.tracing import open_tracing as o; print(o('http://127.0.0.1:4318', 1.0) is not None)"
    )
    assert run(["docker", "run", "--rm", "--entrypoint", "python", image, "-c", source]).strip() == "True"


def test_an_unknown_choice_of_libraries_is_refused_by_name(engine: None) -> None:
    command = ["docker", "build", "--force-rm", "--build-arg", "LIBRARIES=rocm", "."]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode != 0
    assert "LIBRARIES is 'rocm'; allowed are cpu and cuda" in done.stdout + done.stderr


def test_the_started_service_is_healthy_and_ready(deployment: Deployment) -> None:
    assert deployment.state()["Health"]["Status"] == "healthy"
    assert httpx.get(f"{deployment.url}/health/live").status_code == 200
    assert httpx.get(f"{deployment.url}/health/ready").status_code == 200


def test_the_cpu_is_no_fallback(deployment: Deployment) -> None:
    """An alert waits for a reason in this metric."""
    metrics = httpx.get(f"{deployment.url}/metrics").text
    assert 'roadcue_provider_info{fallback_reason="",provider="CPUExecutionProvider"} 1.0' in metrics


def test_a_real_photograph_is_answered_with_a_probability_per_label(
    deployment: Deployment, street_photograph: Path
) -> None:
    with httpx.Client(timeout=WAIT_LIMIT_S) as client:
        answer = post_frame(client, deployment.url, street_photograph.read_bytes())
        labels = [label["key"] for label in client.get(f"{deployment.url}/model").json()["labels"]]
    assert answer.status_code == 200
    probabilities = answer.json()["frames"][0]["probabilities"]
    assert list(probabilities) == labels
    assert all(0 <= probability <= 1 for probability in probabilities.values())


def test_a_model_of_this_machine_is_served_as_shown(image: str, tmp_path: Path) -> None:
    """The command of docs/operations.md, with this image, another port, and a copy of the embedded model."""
    text = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^    (docker run .+)$", text, re.MULTILINE)
    models, port, name = tmp_path / "models", free_port(), f"roadcue-test-{uuid.uuid4().hex[:12]}"
    models.mkdir()
    (models / "mine.onnx").write_bytes(DEFAULT_MODEL.read_bytes())
    for path in (models, models / "mine.onnx"):
        path.chmod(0o755)
    command = shown.replace("-p 8000:", f"-p {port}:").replace("roadcue:cpu", image)
    command = command.replace("docker run", f"docker run --detach --name {name}").replace("$PWD", str(tmp_path))
    try:
        run(["bash", "-euc", command])
        wait_for(lambda: answered(f"http://127.0.0.1:{port}/health/ready"))
        model = httpx.get(f"http://127.0.0.1:{port}/model").json()
    finally:
        subprocess.run(["docker", "rm", "--force", name], capture_output=True)
    # There are no variants beside it: it is the file that was named.
    assert (model["name"], model["precision"]) == ("street", "float32")


def answered(url: str) -> bool:
    try:
        return httpx.get(url).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def test_the_process_is_not_root_and_has_no_capabilities(deployment: Deployment) -> None:
    assert deployment.python("import os; print(os.getuid(), os.getgid())") == "10001 10001"
    status = deployment.python("print(open('/proc/1/status').read())")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert (fields["CapEff"].strip("0"), fields["CapBnd"].strip("0"), fields["NoNewPrivs"]) == ("", "", "1")


def test_the_root_file_system_is_read_only(deployment: Deployment) -> None:
    read_only = "import os; print(bool(os.statvfs('/').f_flag & os.ST_RDONLY), os.access('/tmp', os.W_OK))"
    assert deployment.python(read_only) == "True True"


def test_the_largest_allowed_frames_on_every_worker_leave_the_service_alive(deployment: Deployment) -> None:
    """16 bits and alpha take the most memory while they are decoded; the file itself is small."""
    side = math.isqrt(Settings.model_fields["max_frame_pixels"].default)
    frame = bytes(cv2.imencode(".png", np.zeros((side, side, 4), np.uint16))[1])
    with httpx.Client(timeout=START_LIMIT_S) as client, ThreadPoolExecutor(CLIENTS) as pool:
        posted = [pool.submit(post_frame, client, deployment.url, frame) for _ in range(CLIENTS)]
        assert {answer.result().status_code for answer in posted} == {200}
    assert not deployment.state()["OOMKilled"]


def test_uncertain_frames_lie_in_the_folder_beside_the_compose_file(image: str, frame: bytes, tmp_path: Path) -> None:
    """As its comment tells, by a person who owns the folder; every frame is uncertain within the widest margin."""
    user, group = (os.getuid(), os.getgid()) if os.getuid() else (1000, 1000)
    folder, file = tmp_path / "uncertain", tmp_path / "docker-compose.yml"
    folder.mkdir()
    os.chown(folder, user, group)
    text = with_uncertain_frames().replace('"1000:1000"', f'"{user}:{group}"')
    file.write_text(text.replace("ROADCUE_UNCERTAIN:", "ROADCUE_UNCERTAIN_MARGIN: 20\n      ROADCUE_UNCERTAIN:"))
    with deployed(image, file=file) as deployment, httpx.Client(timeout=WAIT_LIMIT_S) as client:
        assert post_frame(client, deployment.url, frame).status_code == 200
        wait_until((folder / "labels.csv").exists)
    (row,) = csv.DictReader((folder / "labels.csv").read_text(encoding="utf-8").splitlines())
    kept = folder / row["image"]
    assert kept.read_bytes() == frame
    assert (kept.stat().st_uid, kept.stat().st_gid) == (user, group)


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_under_load_loses_no_request_and_exits_with_0(image: str, frame: bytes, workers: int) -> None:
    """Clients post until readiness says 503, then once more on new connections: every request is answered 200."""
    with deployed(image, workers) as deployment:
        wait_until(lambda: processes(deployment) == workers)
        with load(deployment, frame) as (answers, draining):
            wait_until(lambda: sum(answers.values()) >= 20 * CLIENTS)
            stop = subprocess.Popen(deployment.command("stop"), cwd=REPOSITORY, env=deployment.environment)
            wait_until(lambda: httpx.get(f"{deployment.url}/health/ready").status_code == 503)
            live_while_draining = httpx.get(f"{deployment.url}/health/live").status_code
            draining.set()
        assert stop.wait(START_LIMIT_S) == 0
        assert set(answers) == {200}
        assert live_while_draining == 200
        assert deployment.state()["ExitCode"] == 0


def processes(deployment: Deployment) -> int:
    """How many serve, as /metrics counts them."""
    text = httpx.get(f"{deployment.url}/metrics", timeout=WAIT_LIMIT_S).text
    return int(float(re.findall(r"^roadcue_processes (\S+)$", text, re.MULTILINE)[0]))


@contextmanager
def load(deployment: Deployment, frame: bytes) -> Iterator[tuple[Counter[int], threading.Event]]:
    """Clients that post without pause until the event is set; yields the count per status and the event."""
    answers: Counter[int] = Counter()
    draining = threading.Event()
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(post_until, deployment.url, frame, answers, draining) for _ in range(CLIENTS)]
        try:
            yield answers, draining
        finally:
            draining.set()
        for client in clients:
            client.result()


def post_until(url: str, frame: bytes, answers: Counter[int], draining: threading.Event) -> None:
    """Post on one connection until the event is set, then once on a new one; raises where an answer is lost."""
    with httpx.Client(timeout=WAIT_LIMIT_S) as client:
        while not draining.is_set():
            answers[post_frame(client, url, frame).status_code] += 1
    with httpx.Client(timeout=WAIT_LIMIT_S) as newcomer:
        answers[post_frame(newcomer, url, frame).status_code] += 1


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_LIMIT_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"did not happen within {WAIT_LIMIT_S:g} s")
        time.sleep(0.01)
