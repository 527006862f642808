"""What figures of speed hold for: this model file, on this machine, with these versions."""

import hashlib
import platform
import re
from pathlib import Path
from typing import Final

import onnxruntime
from pydantic import BaseModel, ConfigDict, Field

from service import __version__
from service.inference.artifact import variant_path
from service.inference.cuda_driver import gpu_description
from service.inference.detector import Detector

PROC: Final = Path("/proc")


class Machine(BaseModel):
    """A model file, the hardware that runs it and the versions of what runs it; all of it changes the figures."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: str = Field(description="Name and version of the model")
    model_sha256: str = Field(description="Hash of the file that runs")
    precision: str
    provider: str
    cpu: str
    cpus: int = Field(ge=1, description="CPUs that one process has for itself")
    gpus: tuple[str, ...] = Field(description="The NVIDIA GPU and its driver's CUDA, where it runs the model")
    roadcue: str
    onnxruntime: str

    def differences(self, other: "Machine") -> list[str]:
        """In what the other one is not this one, in words."""
        names = [name for name in type(self).model_fields if getattr(self, name) != getattr(other, name)]
        return [f"{name} is {_shown(getattr(self, name))}, not {_shown(getattr(other, name))}" for name in names]


def this_machine(model: Path, detector: Detector, cpus: int, proc: Path = PROC) -> Machine:
    """What runs `detector`, which was loaded from `model` or a variant beside it, with so many CPUs."""
    metadata, provider = detector.metadata, detector.session.provider
    return Machine(
        model=f"{metadata.name} {metadata.version}",
        model_sha256=_hash(_running_file(model, detector)),
        precision=metadata.precision,
        provider=provider,
        cpu=cpu_name(proc),
        cpus=cpus,
        gpus=gpu_names(proc) if provider.startswith("CUDA") else (),
        roadcue=__version__,
        onnxruntime=onnxruntime.__version__,
    )


def cpu_name(proc: Path = PROC) -> str:
    """The processor's model, as Linux tells it, else what Python knows."""
    described = _read(proc / "cpuinfo")
    names = re.findall(r"^model name\s*:\s*(.+)$", described, re.MULTILINE)
    parts = re.findall(r"^CPU (?:implementer|part)\s*:\s*(\S+)$", described, re.MULTILINE)  # ARM has numbers only
    return str(names[0]) if names else " ".join([platform.machine(), *dict.fromkeys(parts)])


def gpu_names(proc: Path = PROC) -> tuple[str, ...]:
    """The NVIDIA GPU that computes, as its driver tells; where it does not, the names of all, which Linux knows."""
    if description := gpu_description():
        return (description,)
    files = sorted(proc.glob("driver/nvidia/gpus/*/information"))
    found = [re.search(r"^Model:\s*(.+?)\s*$", _read(file), re.MULTILINE) for file in files]
    return tuple(match[1] for match in found if match)


def _running_file(model: Path, detector: Detector) -> Path:
    variant = variant_path(model, detector.metadata.precision)
    return variant if variant.exists() else model  # a variant may be named as the model itself


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _shown(value: object) -> str:
    return ", ".join(value) or "none" if isinstance(value, tuple) else str(value)
