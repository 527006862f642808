"""The command line as a whole: its subcommands, their flags, its errors."""

import os
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from service import __version__
from service.cli import SUBCOMMANDS, main, roadcue
from service.commands.serve import command as serve
from service.settings import Settings, flag_name
from tests.service.command_process import interrupted_while_reading
from tests.service.conftest import encoded
from tests.service.flag_help import flags, numbers, without_default, without_help, without_unit

UNITS = ("-seconds", "-ms", "-bytes", "-pixels", "-frames")
# What the numbers are whose flags do not end in it.
COUNTED = {
    "--port": "TCP port",
    "--workers": "Processes",
    "--inference-workers": "Frames",
    "--threads-per-worker": "Threads",
    "--max-frames-per-request": "Frames",
    "--max-upload-bytes-in-flight": "Bytes",
    "--uncertain-margin": "How near, in logits",
    "--uncertain-most": "Frames",
    "--traces-share": "Share of the requests",
}


def test_bad_setting_is_one_line_and_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--port", "70000"])
    assert ended.value.code == 1
    assert capsys.readouterr().err == "Error: port (--port, ROADCUE_PORT) is '70000'; allowed: 0 to 65535\n"


def test_serve_has_a_flag_for_every_setting() -> None:
    parameters = {option for parameter in serve.params for option in parameter.opts}
    assert parameters == {flag_name(name) for name in Settings.model_fields}


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_flag_has_help_and_a_default(name: str) -> None:
    """But a switch, which is off where it is left out."""
    assert without_help(roadcue, name) == []
    assert without_default(roadcue, name) == []


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_number_has_its_unit_or_says_what_it_counts(name: str) -> None:
    said = numbers(roadcue, name) | {
        option.opts[-1]: shown
        for option, shown in flags(roadcue, name)
        if option.name in Settings.model_fields and Settings.model_fields[option.name].annotation in (int, float)
    }
    assert without_unit(said, UNITS, COUNTED) == []


def test_help_names_unit_default_and_variable() -> None:
    shown = CliRunner().invoke(roadcue, ["serve", "--help"], terminal_width=200).output
    assert "Seconds from SIGTERM" in shown
    assert "[env: ROADCUE_DRAIN_SECONDS; default: 5]" in shown


def test_version_is_the_package_version() -> None:
    assert __version__ in CliRunner().invoke(roadcue, ["--version"]).output


def test_label_refuses_a_folder_without_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["label", str(tmp_path)])
    assert ended.value.code == 1
    assert f"Error: {tmp_path} holds no labels.csv" in capsys.readouterr().err


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_help_of_the_group_says_what_each_command_says_itself(name: str) -> None:
    """It is kept apart, so that it need not import what the command needs."""
    own = import_module(f"service.commands.{name}").command
    assert isinstance(own, click.Command)
    assert own.name == name
    assert (own.help or "").replace("\n", " ").startswith(SUBCOMMANDS[name])


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["serve", "--help"], ["inspect", "--help"]])
def test_help_does_not_wait_for_heavy_libraries(arguments: list[str]) -> None:
    heavy = {"onnxruntime", "cv2", "numpy", "PIL", "fastapi", "uvicorn", "httpx", "av", "pyarrow"}
    source = (
        "import sys; from service.cli import main\n"
        f"try: main({arguments!r})\n"
        f"except SystemExit as end: assert end.code in (0, None); print(sorted({heavy!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_of_the_group_does_not_wait_for_the_settings_either() -> None:
    source = (
        "import sys; from service.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print({'pydantic', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_exit_codes_are_told_with_the_help() -> None:
    told = CliRunner().invoke(roadcue, ["--help"]).output
    assert "Exit codes: 0 done; 1 failed; 2 wrong arguments; 130 stopped by Ctrl-C." in told


def test_ctrl_c_ends_a_command_with_code_130(model: Path, tmp_path: Path) -> None:
    """While it reads the frame to measure with."""
    frame = tmp_path / "frame.jpg"
    arguments = ("benchmark", "--model", model, "--device", "cpu", "--frame", frame)
    assert interrupted_while_reading(frame, "service", *arguments) == (130, "", "\nStopped\n")


def test_unknown_commands_and_flags_end_with_code_2() -> None:
    assert CliRunner().invoke(roadcue, ["predicted"]).exit_code == 2
    assert CliRunner().invoke(roadcue, ["serve", "--prot", "1"]).exit_code == 2


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["predict", "{image}", "--format", "csv"], ["predict", "{image}"], ["inspect"]])
@pytest.mark.parametrize(("redirection", "reason"), [("> /dev/full", "No space left on device"), (">&-", "Bad file")])
def test_standard_output_that_takes_nothing_is_one_line_and_code_1(
    model: Path, tmp_path: Path, arguments: list[str], unbuffered: str, redirection: str, reason: str
) -> None:
    """A full disk, and a stream that the shell has closed; not a reader who has left, who wants to hear no more."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    (tmp_path / "a.png").write_bytes(encoded(1, 0, 0))
    words = [word.format(image=tmp_path / "a.png") for word in arguments]
    words += [str(model)] if words == ["inspect"] else ["--model", str(model), "--device", "cpu"]
    command = f"{shlex.join([sys.executable, '-m', 'service', *words])} {redirection}"
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    ended = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment, timeout=60)
    assert ended.returncode == 1
    said = [line for line in ended.stderr.splitlines() if "CPUExecutionProvider" not in line]
    assert len(said) == 1, ended.stderr
    assert said[0].startswith(f"Error: standard output cannot be written: {reason}")


def test_a_closed_standard_output_is_no_matter_to_who_writes_a_file(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(1, 0, 0))
    flags = ["--model", str(model), "--device", "cpu", "--output", str(tmp_path / "rows.csv")]
    words = [sys.executable, "-m", "service", "predict", str(tmp_path / "a.png"), *flags]
    ended = subprocess.run(f"{shlex.join(words)} >&-", shell=True, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 2
