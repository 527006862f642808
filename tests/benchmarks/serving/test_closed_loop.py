"""wrk is told right and read right."""

import shutil
from pathlib import Path

import pytest

from benchmarks.serving import closed_loop as module
from benchmarks.serving.closed_loop import GeneratorFailed, Load, closed_loop, find_wrk
from benchmarks.serving.frames import COUNT
from tests.benchmarks.serving.known_server import BROKEN, OK, REFUSED_BARELY, serving

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk: apt install wrk")


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """A folder of what stands for frames: each holds its number, with bytes that text cannot hold."""
    for index in range(COUNT):
        (tmp_path / f"{index:02}.jpg").write_bytes(b"\xff\xd8\x00\r\n%d" % index)
    return tmp_path


@needs_wrk
def test_answers_refusals_and_failures_are_counted_and_frames_arrive_as_they_are(frames: Path) -> None:
    """A server that takes 20 ms for each, in turn 200, 429 and 500."""
    answers = [OK, REFUSED_BARELY, BROKEN]
    with serving(lambda n: (0.02, answers[n % 3])) as (known, port):
        found = closed_loop(f"http://127.0.0.1:{port}/predict", frames, "raw", "file", 1, 1, lambda: 5.0)
    assert found.answered + found.refused + found.failed in (len(known.bodies) - 1, len(known.bodies))
    assert max(found.answered, found.refused, found.failed) - min(found.answered, found.refused, found.failed) <= 1
    assert found.p50_ms >= 20
    assert found.frames_per_s <= 50 / 3 + 1
    assert found.service_cpu_s == 0.0
    assert found.client_cpu_s > 0
    arrived = [body.partition(b"\r\n\r\n")[2] for body in known.bodies]
    # wrk asks the script once before it begins, so the first frame comes last.
    assert arrived[:COUNT] == [b"\xff\xd8\x00\r\n%d" % (index % COUNT) for index in range(1, COUNT + 1)]


@needs_wrk
def test_form_holds_the_frame_in_its_field(frames: Path) -> None:
    with serving(lambda n: (0.0, OK)) as (known, port):
        closed_loop(f"http://127.0.0.1:{port}/predict", frames, "multipart", "photo", 1, 1, lambda: 0.0)
    head, _, body = known.bodies[0].partition(b"\r\n\r\n")
    boundary = head.partition(b"boundary=")[2].split(b"\r\n")[0]
    assert body.startswith(b"--" + boundary + b"\r\n")
    assert b'name="photo"; filename=' in body
    assert body.endswith(b"\r\n\r\n\xff\xd8\x00\r\n1\r\n--" + boundary + b"--\r\n")


def test_missing_wrk_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    with pytest.raises(GeneratorFailed, match="apt install wrk"):
        find_wrk()


def test_figures_of_a_load_are_per_answered_frame() -> None:
    """100 frames in 4 s with 2 s of the service's and 0.1 s of the client's CPU; 300 refusals are not frames."""
    found = Load(4.0, 100, 300, 0, 1.0, 2.0, 3.0, service_cpu_s=2.0, client_cpu_s=0.1)
    assert (found.frames_per_s, found.service_cpu_ms_per_frame, found.client_cpu_ms_per_frame) == (25, 20, 1)
    nothing = Load(4.0, 0, 300, 0, 1.0, 2.0, 3.0, service_cpu_s=2.0, client_cpu_s=0.1)
    assert nothing.service_cpu_ms_per_frame == float("inf")
