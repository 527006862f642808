"""What everybody is measured with: the frames, the loop in process, the answers, the environments."""

import io
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.serving import environments
from benchmarks.serving.answers import reference
from benchmarks.serving.environments import EnvironmentFailed, environment
from benchmarks.serving.frames import COUNT, write_frames
from benchmarks.serving.in_process import InProcessLoop, loop
from benchmarks.serving.peers.frame_model import FrameModel
from benchmarks.serving.profile import by_group, shares
from tests.model_training.images import write_image
from tests.tiny_model import write_tiny_model


def jpeg(colour: tuple[int, int, int]) -> bytes:
    """One colour all over, as exact as JPEG is."""
    file = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(file, "JPEG", quality=100, subsampling=0)
    return file.getvalue()


@pytest.mark.parametrize("real", [True, False])
def test_frames_have_the_sizes_asked_for_and_lie_where_generators_read_them(tmp_path: Path, real: bool) -> None:
    (tmp_path / "labels.csv").write_text("image\nsmall.jpg\nlarge.jpg\nother.png\n")
    for name, size in (("small.jpg", (32, 24)), ("large.jpg", (80, 40))):
        write_image(tmp_path / name, 40, size)
    found = write_frames(tmp_path if real else None, tmp_path / "frames", ("640x480", "1280x720"))
    for size, frames in found.items():
        assert len(frames) == COUNT
        assert {Image.open(io.BytesIO(frame)).size for frame in frames} == {tuple(map(int, size.split("x")))}
        assert [(tmp_path / "frames" / size / f"{index:02}.jpg").read_bytes() for index in range(COUNT)] == frames


def test_folder_without_jpeg_is_named(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("image\nother.png\n")
    with pytest.raises(FileNotFoundError, match="names no JPEG"):
        write_frames(tmp_path, tmp_path / "frames", ("640x480",))


def test_model_of_the_peers_answers_as_the_detector_does(tmp_path: Path) -> None:
    """The tiny model answers with the mean of red and of green."""
    model, frame = write_tiny_model(tmp_path / "tiny.onnx"), jpeg((51, 204, 0))
    assert FrameModel(model).answer(frame) == pytest.approx({"red": 0.2, "green": 0.8}, abs=0.01)
    (expected,) = reference(model, "float32", [frame])
    assert FrameModel(model).answer(frame) == pytest.approx(expected, abs=1e-6)


def test_loop_counts_every_frame_of_every_thread(tmp_path: Path) -> None:
    """With no time at all each of two threads still takes two frames."""
    found = loop(FrameModel(write_tiny_model(tmp_path / "tiny.onnx")), [jpeg((1, 2, 3))], threads=2, seconds=0.0)
    assert (found.answered, found.refused, found.failed) == (4, 0, 0)
    assert found.frames_per_s > 0
    assert 0 < found.p50_ms <= found.p90_ms <= found.p99_ms


def test_loop_in_its_own_process_is_asked_again_and_again(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "00.jpg").write_bytes(jpeg((1, 2, 3)))
    with InProcessLoop(write_tiny_model(tmp_path / "tiny.onnx")) as limit:
        for threads in (1, 2):
            assert limit.measure(tmp_path / "frames", threads, 0.01).answered >= 2 * threads


def test_environment_is_made_once_and_again_when_its_pins_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip is not run here: what would have been run is told."""
    commands: list[list[str]] = []

    def made(command: list[str], **_: object) -> None:
        commands.append(command)
        (tmp_path / "cache" / "one").mkdir(exist_ok=True)

    monkeypatch.setattr(environments.subprocess, "run", made)
    pins = tmp_path / "one.txt"
    for text in ("a==1\n", "a==1\n", "a==2\n"):
        pins.write_text(text)
        assert environment("one", tmp_path / "cache", tmp_path) == tmp_path / "cache" / "one" / "bin"
    assert [command[1:3] for command in commands] == [["-m", "venv"], ["install", "--quiet"]] * 2


def test_failed_installation_says_what_pip_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(command: list[str], **_: object) -> None:
        raise subprocess.CalledProcessError(1, command, stderr="no such version")

    monkeypatch.setattr(environments.subprocess, "run", failing)
    (tmp_path / "one.txt").write_text("a==1\n")
    with pytest.raises(EnvironmentFailed, match="no such version"):
        environment("one", tmp_path / "cache", tmp_path)
    assert not (tmp_path / "cache" / "one" / "pins.txt").exists()


def test_profile_adds_up_innermost_functions_of_all_stacks() -> None:
    stacks = "main (a.py:1);run (b.py:7) 6\nmain (a.py:1);run (b.py:9) 2\nmain (a.py:1) 2\n"
    assert shares(stacks) == [("run (b.py)", 0.8), ("main (a.py)", 0.2)]


def test_threads_are_grouped_by_the_names_that_the_service_gives_them() -> None:
    """Thread 4 came after the names were read."""
    names = {1: "MainThread", 2: "frames-0", 3: "frames-1", 5: "asyncio_0"}
    found = by_group({1: 1.5, 2: 4.0, 3: 5.0, 4: 0.25, 5: 0.5}, names)
    assert found == {"event loop": 1.5, "frame workers": 9.0, "others": 0.75}
