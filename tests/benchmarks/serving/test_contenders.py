"""Every contender can be started from what is written down."""

from pathlib import Path

import pytest

from benchmarks.serving.contenders import CONTENDERS, OURS, Contender
from benchmarks.serving.environments import REQUIREMENTS, pinned
from benchmarks.serving.peers.launch import Launch

PEERS = [contender for contender in CONTENDERS if not contender.is_ours]
# What decides the speed of a frame has to be the same for everybody.
SAME = ("onnxruntime-gpu", "numpy", "opencv-python-headless", "pillow", "simplejpeg")


@pytest.mark.parametrize("contender", PEERS, ids=lambda contender: contender.name)
def test_peer_pins_every_version_and_those_of_the_frame_as_we_do(contender: Contender, repository: Path) -> None:
    lines = (REQUIREMENTS / f"{contender.environment}.txt").read_text().splitlines()
    assert all(line.count("==") == 1 for line in lines)
    assert pinned(contender.environment, contender.package)
    ours = (repository / "constraints.txt").read_text().splitlines()
    for package in SAME:
        assert f"{package}=={pinned(contender.environment, package)}" in ours


@pytest.mark.parametrize("contender", PEERS, ids=lambda contender: contender.name)
def test_peer_is_started_from_its_own_environment_on_the_port_that_it_was_told(contender: Contender) -> None:
    launch = Launch(Path("model.onnx"), 4567, 3, "raw")
    command = contender.command(Path("/somewhere/bin"), launch)
    assert command[0].startswith("/somewhere/bin/")
    told = [*command, *contender.variables(launch).values(), *launch.environment().values()]
    assert {"4567", "3", "model.onnx"} <= set(told)


def test_launch_comes_back_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    launch = Launch(Path("model.onnx"), 4567, 3, "multipart")
    for name, value in launch.environment().items():
        monkeypatch.setenv(name, value)
    assert Launch.from_environment() == launch


def test_our_answer_is_read_from_its_only_frame() -> None:
    (ours,) = (contender for contender in CONTENDERS if contender.name == OURS)
    assert ours.read({"frames": [{"probabilities": {"car": 0.5}}]}) == {"car": 0.5}
    with pytest.raises(ValueError, match="too many"):
        ours.read({"frames": [{}, {}]})


def test_package_that_is_not_there_has_no_version(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("Ray==2.0\nray-haproxy==1.0\n")
    assert (pinned("one", "ray", tmp_path), pinned("one", "mosec", tmp_path)) == ("2.0", "")
