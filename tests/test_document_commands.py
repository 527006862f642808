"""Every command that a document shows is run by a test, or it stands here why it is not.

What is in a fenced `sh` block is run by the test of its document. What is indented is only shown: here is who runs it.
"""

import ast
import re
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.document import all_text

PROGRAMS = ("make", "docker", "pip", "python", "curl", "roadcue", "roadcue-train", "eval", ".", ".ci/run")

INSTALL = "tests/deployment/test_install.py::test_make_serve_in_a_fresh_clone_answers_a_photograph_and_ends_on_ctrl_c"
DOCKER = "tests/deployment/test_docker.py::test_the_started_service_is_healthy_and_ready"
GPU_OVERRIDE = "tests/deployment/test_files.py::test_the_gpu_override_reserves_a_gpu_and_chooses_the_cuda_libraries"
MONITORING = "tests/deployment/test_monitoring.py::test_prometheus_scrapes_the_service_and_has_the_alerts"
NEWCOMER = "tests/deployment/test_install.py::test_the_readme_is_followed_in_a_fresh_clone"
EXTRA = "tests/deployment/test_wheels.py::test_the_extra_brings_the_training_from_the_checkout"
ARCHIVE = "tests/deployment/test_files.py::test_a_wheel_from_the_source_archive_needs_the_training_of_its_version"
TRAINING_WHEEL = "tests/deployment/test_files.py::test_the_wheel_of_training_holds_every_tracked_file_but_its_notes"
FIGURES = "tests/service/models/test_default_model.py::test_figures_come_out_again_from_the_printed_command"
EXAMPLE = "tests/test_training_document.py::test_the_example_runs_and_leaves_what_its_table_says"
FLAGS = "tests/test_readme.py::test_commands_of_the_documents_exist_and_all_are_told"
COMPARE = "tests/model_training/commands/test_compare.py"
SHELLS = "tests/test_command_line_document.py::test_other_shells_complete_after_their_lines_of_the_document"
INFERENCE = "tests/test_api_document.py::test_commands_of_the_protocol_run_and_are_answered"
TUNING = "tests/service/test_plan_benchmark.py::test_the_saved_figures_are_what_the_service_starts_with"
LABEL = "tests/service/answer_page/test_server.py::test_label_serves_its_folder_on_this_machine_until_ctrl_c"
CI = "it is what runs this test: .ci/run calls it"
SERVING = "it takes an hour; its quick run is tests/benchmarks/serving"
LOCK = "it asks the package index for what is newest; what it writes is held by tests/deployment/test_files.py"

RUN_BY = {
    "make serve": INSTALL,
    ". .venv/bin/activate": "a shell's own; what it makes callable is called by its path",
    "curl -F file=@frame.jpg localhost:8000/predict": "tests/test_readme.py::test_example_answer_is_the_real_one",
    "pip install -c constraints.txt -e '.[video,parquet]'": NEWCOMER,
    "pip install -c constraints.txt -e '.[training]'": "make test installs the extra the same way",
    "pip install 'tritonclient[http]'": NEWCOMER,
    "pip install -c constraints.txt -e '.[cuda]'": GPU_OVERRIDE,
    "pip install -c constraints.txt -e '.[otel]'": "make test installs the extra the same way",
    "pip install 'roadcue[otel]'": "a message's words; the README says what to type",
    "make image": DOCKER,
    "pip install '.[training]'": EXTRA,
    "make install": NEWCOMER,
    "make street-model DATA=... DETECTOR=...": "it takes an hour and a half; each command that it calls has its test",
    "make PYTHON=python3.12 test": CI,
    "make test ARGS='-n 0 -k upload'": CI,
    "make test ARGS='-m browser'": CI,
    "roadcue-train evaluate service/models/street.onnx DATA": FIGURES,
    "python -m benchmarks.serving": SERVING,
    "python -m benchmarks.gpu": "tests/benchmarks/test_gpu.py",
    "python benchmarks/per_frame.py": "tests/benchmarks/test_per_frame.py",
    "python -m service": "tests/service/test_server.py",
    "python -m model_training": "tests/contract/test_frames_to_answer.py",
    "docker compose up --build": DOCKER,
    "docker compose -f docker-compose.yml -f docker-compose.gpu.yml up --build": GPU_OVERRIDE,
    "docker compose -f docker-compose.yml -f docker-compose.monitoring.yml up --build": MONITORING,
    "roadcue-train data data.toml": EXAMPLE,
    "roadcue-train train data.toml": EXAMPLE,
    "roadcue-train export runs/mine data.toml": EXAMPLE,
    "roadcue-train evaluate mine.onnx data.toml": EXAMPLE,
    "roadcue serve --model mine.onnx": "tests/contract/test_frames_to_answer.py::test_exported_model_answers_over_http",
    "make test": CI,
    "make lint": CI,
    "make types": CI,
    ".ci/run": CI,
    "make install-test": CI,
    "make docker-test": CI,
    "make test ARGS='-m gpu'": "it needs an NVIDIA GPU, and says so where there is none",
    "python -m build .": ARCHIVE,
    "pip wheel --no-deps --wheel-dir dist ./model_training": TRAINING_WHEEL,
    "make lock": LOCK,
    "make lock ARGS=--upgrade": LOCK,
    "curl --data-binary @frame.jpg -H 'Inference-Header-Content-Length: 0'": INFERENCE,
    "curl localhost:8000/v2/models/street/infer -d": INFERENCE,
    'eval "$(roadcue completion zsh)"': SHELLS,
    "roadcue completion fish | source": SHELLS,
    "roadcue-train compare DATA --dry-run": COMPARE,
    "roadcue-train compare DATA --output runs/comparison": COMPARE,
    "roadcue benchmark --save tuning.json": "tests/service/test_plan_benchmark.py",
    "roadcue serve --tuning tuning.json": TUNING,
    "roadcue inspect mine.onnx": "tests/service/commands/test_inspect.py",
    "docker run --rm -p 8000:8000": "tests/deployment/test_docker.py::test_a_model_of_this_machine_is_served_as_shown",
    "roadcue label hard": LABEL,
}
"""The beginning of each command, and its test as `file` or `file::function`, or in words why there is none."""


def shown() -> list[str]:
    """The commands of all documents that are indented, without what a comment says of them, or stand in running text.

    In running text a command of ours is a name more often than something to type; those are held by FLAGS.
    """
    lines = re.findall(r"^    (\S.*)$", all_text(), re.MULTILINE)
    own = [line for line in lines if line.split()[0] in PROGRAMS]
    quoted = re.findall(r"`((?:pip|make|docker|python) [^`\n]+)`", all_text())
    return [re.sub(r"\s{2,}#.*$", "", line) for line in own] + quoted


def owner(command: str) -> str | None:
    """The longest entry of the table that the command begins with, followed by nothing or by further words."""
    entries = [entry for entry in RUN_BY if f"{command} ".startswith(f"{entry} ")]
    return max(entries, key=len, default=None)


@pytest.mark.parametrize("command", sorted(set(shown())))
def test_every_command_that_is_shown_has_its_test_or_its_reason(command: str) -> None:
    assert owner(command), f"{command!r}: who runs it? Name its test in RUN_BY"


def test_no_entry_is_left_of_a_command_that_is_gone() -> None:
    assert set(RUN_BY) == {owner(command) for command in shown()}


@pytest.mark.parametrize("place", sorted({place for place in RUN_BY.values() if place.startswith("tests/")}))
def test_every_test_that_is_named_exists(place: str) -> None:
    path, _, name = place.partition("::")
    module = ast.parse((REPOSITORY / Path(path)).read_text(encoding="utf-8"))
    functions = {node.name for node in module.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name in functions if name else any(function.startswith("test_") for function in functions)
