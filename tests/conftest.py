"""What tests of every part share: the material beside the checkout, which need not be there."""

import os
import signal
from pathlib import Path

import pytest

# Before anything imports it: ONNX Runtime otherwise reports its use over the network, and tests stay on this machine.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
# The networks of the tests are tiny: PyTorch's threads would cost more time in waiting for each other than they save,
# and the more so where several test processes share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Of tests in the background of a script, the shell lets nothing be interrupted, and their processes inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parents[1]


def existing(path: Path) -> Path:
    """The path, or a skipped test where it is not there."""
    if not path.exists():
        pytest.skip(f"needs ../{path.relative_to(REPOSITORY.parent)} beside the checkout, which is not there")
    return path


@pytest.fixture(scope="session")
def repository() -> Path:
    """The top of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared material beside the checkout."""
    return existing(REPOSITORY.parent / "shared")


@pytest.fixture(scope="session")
def streetframes(shared: Path) -> Path:
    """Real street frames with labels.csv, boxes.csv and teacher.csv."""
    return existing(shared / "streetframes")


@pytest.fixture(scope="session")
def annotation_formats(shared: Path) -> Path:
    """Real annotation files: coco/, voc/, yolo/, bdd100k/."""
    return existing(shared / "formats")


@pytest.fixture(scope="session")
def yardstick(shared: Path) -> Path:
    """The detector that the classifier is compared with."""
    return existing(shared / "yardstick")


@pytest.fixture(scope="session")
def street_photograph(streetframes: Path) -> Path:
    """One real photograph, a JPEG."""
    return min(existing(streetframes / "images" / "coco_subsets").glob("*.jpg"))
