"""The command says what to install, and hides no other failure."""

import subprocess
import sys
from pathlib import Path

import pytest

# A module that is None in sys.modules cannot be imported, as if it were not installed.
WITHOUT = "import sys; sys.modules[{missing!r}] = None; sys.argv = ['roadcue-train', 'train', '--help']; {start}"
STARTS = {
    "command": "from model_training.entry_point import main; main()",
    "module": "import runpy; runpy.run_module('model_training', run_name='__main__')",
}


def started(source: str, repository: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", source], cwd=repository, capture_output=True, text=True)


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_a_missing_library_is_one_line_that_says_what_to_install(start: str, repository: Path) -> None:
    """By the command and by `python -m model_training`."""
    done = started(WITHOUT.format(missing="torch", start=start), repository)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "roadcue-train needs the libraries of training: pip install 'roadcue[training]' (torch is not installed)\n"
    )


def test_a_missing_module_of_ours_is_no_matter_of_installing(repository: Path) -> None:
    """It is a defect, and shows as one."""
    done = started(WITHOUT.format(missing="model_training.cli", start=STARTS["command"]), repository)
    assert done.returncode == 1
    assert "ModuleNotFoundError: import of model_training.cli halted" in done.stderr
    assert "pip install" not in done.stderr
