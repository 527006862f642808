"""What figures of speed hold for."""

import hashlib
import shutil
from pathlib import Path

import onnxruntime
import pytest

from service import __version__
from service.inference.decoding import FrameLimits
from service.inference.detector import load_detector
from service.inference.machine import Machine, cpu_name, gpu_names, this_machine
from service.inference.variants import variant_path


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_it_names_the_file_that_runs_the_machine_and_the_versions(model: Path, tmp_path: Path) -> None:
    write(tmp_path / "cpuinfo", "processor\t: 0\nmodel name\t: Fast CPU @ 3 GHz\n")
    machine = this_machine(model, load_detector(model, "cpu", 1, FrameLimits()), 3, tmp_path)
    assert machine == Machine(
        model="tiny 0.0.1",
        model_sha256=hashlib.sha256(model.read_bytes()).hexdigest(),
        precision="float32",
        provider="CPUExecutionProvider",
        cpu="Fast CPU @ 3 GHz",
        cpus=3,
        gpus=(),
        roadcue=__version__,
        onnxruntime=onnxruntime.__version__,
    )


def test_the_hash_is_that_of_the_variant_that_runs(model: Path, tmp_path: Path) -> None:
    """A file of precision int8 lies beside another that is given as the model."""
    given = Path(shutil.copy(model, tmp_path / "tiny.onnx"))
    detector = load_detector(given, "cpu", 1, FrameLimits())
    detector.metadata = detector.metadata.model_copy(update={"precision": "int8"})
    variant_path(given, "int8").write_bytes(b"the variant")
    assert this_machine(given, detector, 1).model_sha256 == hashlib.sha256(b"the variant").hexdigest()


def test_differences_are_named_with_both_values(model: Path) -> None:
    machine = this_machine(model, load_detector(model, "cpu", 1, FrameLimits()), 2)
    other = machine.model_copy(update={"cpus": 4, "gpus": ("A", "B")})
    assert machine.differences(machine) == []
    assert machine.differences(other) == ["cpus is 2, not 4", "gpus is none, not A, B"]


def test_an_arm_cpu_is_known_by_its_numbers(tmp_path: Path) -> None:
    write(
        tmp_path / "cpuinfo", "CPU implementer\t: 0x41\nCPU part\t: 0xd0c\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n"
    )
    assert cpu_name(tmp_path).endswith(" 0x41 0xd0c")


def test_a_machine_that_tells_nothing_of_its_cpu_has_an_architecture(tmp_path: Path) -> None:
    assert cpu_name(tmp_path)


def test_the_gpu_is_the_one_that_computes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("service.inference.machine.gpu_description", lambda: "NVIDIA L4, 22 GiB, CUDA 13.0")
    write(tmp_path / "driver/nvidia/gpus/0000:00:00.0/information", "Model: \t\t NVIDIA H200\n")
    assert gpu_names(tmp_path) == ("NVIDIA L4, 22 GiB, CUDA 13.0",)


def test_gpus_are_those_that_linux_names_where_the_driver_does_not_tell(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in /proc of a machine with NVIDIA's driver."""
    monkeypatch.setattr("service.inference.machine.gpu_description", lambda: None)
    for number, name in enumerate(("NVIDIA H200", "NVIDIA L4")):
        write(tmp_path / f"driver/nvidia/gpus/0000:0{number}:00.0/information", f"Model: \t\t {name}\nIRQ:   \t\t 16\n")
    assert gpu_names(tmp_path) == ("NVIDIA H200", "NVIDIA L4")
