"""What docs/command-line.md shows is what the commands do: each of them runs, in a real shell."""

import csv
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from service.cli import SUBCOMMANDS
from service.settings import DEFAULT_MODEL
from tests.document import blocks, commands, shell
from tests.service.command_process import interrupted_while_reading
from tests.service.conftest import encoded
from tests.service.server_process import ServerProcess


@pytest.fixture(scope="module")
def document(repository: Path) -> str:
    return (repository / "docs" / "command-line.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the document speaks of: frame.jpg, photos/ with two images, drive.mp4 of three seconds, street.onnx."""
    pytest.importorskip("av", reason="needs PyAV: pip install 'roadcue[video]'")
    pytest.importorskip("pyarrow", reason="needs PyArrow: pip install 'roadcue[parquet]'")
    from tests.service.scoring.made_videos import write_video

    folder = tmp_path_factory.mktemp("reader")
    (folder / "photos" / "deep").mkdir(parents=True)
    for name in ("frame.jpg", "photos/a.jpg", "photos/deep/b.jpg"):
        (folder / name).write_bytes(encoded(90, 120, 150, 320, 180, form="JPEG"))
    frames = [np.full((90, 160, 3), level, np.uint8) for level in range(30)]
    write_video(folder / "drive.mp4", frames, codec="mpeg4", pixels="yuv420p")
    shutil.copy(DEFAULT_MODEL, folder / "street.onnx")
    return folder


def test_every_command_runs(document: str, folder: Path) -> None:
    server = ServerProcess()
    try:
        url = server.ready().url
        for command in commands(document):
            done = shell(folder, command.replace("http://localhost:8000", url))
            assert done.returncode == 0, f"{command}\n{done.stderr}"
    finally:
        server.kill()
    tables = {name: (folder / name).read_text().splitlines() for name in ("rows.csv", "all.csv", "remote.csv")}
    assert tables["rows.csv"][:1] == blocks(document, "csv")[0].splitlines()
    assert tables["rows.csv"] == tables["all.csv"]
    places = [(row["frame"], row["video_seconds"]) for row in csv.DictReader(tables["rows.csv"])]
    seconds = [("drive.mp4", "0.0"), ("drive.mp4", "1.0"), ("drive.mp4", "2.0")]
    assert places == [("photos/a.jpg", ""), ("photos/deep/b.jpg", ""), *seconds]
    assert same_but_for_rounding(tables["rows.csv"], tables["remote.csv"])
    assert len((folder / "drive.jsonl").read_text().splitlines()) == 6
    assert len((folder / "drive.csv").read_text().splitlines()) == 1 + 2


def same_but_for_rounding(one: list[str], other: list[str]) -> bool:
    """Two processes may run the network by other plans, whose sums differ in the last digits."""
    for first, second in zip(csv.reader(one), csv.reader(other), strict=True):
        for a, b in zip(first, second, strict=True):
            if a != b and float(a) != pytest.approx(float(b), abs=1e-4):
                return False
    return True


def test_the_table_of_commands_is_complete(document: str) -> None:
    assert set(re.findall(r"^\| `roadcue ([a-z]+)`", document, re.MULTILINE)) == set(SUBCOMMANDS)


def test_every_exit_code_of_the_table_is_given(document: str, folder: Path) -> None:
    """Done; failed, and why in one line, a frame that could not be read too; wrong arguments; stopped."""
    assert re.findall(r"^\| (\d+) \|", document, re.MULTILINE) == ["0", "1", "2", "130"]
    (folder / "torn.jpg").write_bytes((folder / "frame.jpg").read_bytes()[:40])
    (folder / "empty.toml").touch()
    calls = {
        "roadcue inspect street.onnx": 0,
        "roadcue inspect torn.jpg": 1,
        "roadcue predict --format csv frame.jpg torn.jpg": 1,
        "roadcue-train data empty.toml": 1,
        "roadcue --no-such-flag": 2,
        "roadcue inspect none.onnx": 2,
        "roadcue-train data": 2,
        "roadcue predict --format xml frame.jpg": 2,
    }
    for call, code in calls.items():
        done = shell(folder, call)
        reasons = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
        assert (done.returncode, len(reasons)) == (code, min(code, 1)), f"{call}\n{done.stderr}"
    waiting = folder / "waiting.jpg"
    assert interrupted_while_reading(waiting, "service", "benchmark", "--frame", waiting)[0] == 130


def test_bash_completes_after_the_line_of_the_document(document: str, folder: Path) -> None:
    """As Tab does: the function that is registered answers with the words that fit."""
    line = re.search(r"^```bash\n(.*?)\s+#", document, re.MULTILINE)
    assert line
    assert completed(folder, line[1], ["roadcue", "ins"]) == ["inspect"]
    assert completed(folder, line[1], ["roadcue", "predict", "--every-"]) == ["--every-frames", "--every-seconds"]
    assert completed(folder, line[1], ["roadcue", "predict", "--format", "js"]) == ["json", "jsonl"]
    assert completed(folder, line[1], ["roadcue", "serve", "--device", "c"]) == ["cpu", "cuda"]
    train = line[1].replace("roadcue", "roadcue-train")
    assert completed(folder, train, ["roadcue-train", "exp"]) == ["experiment", "export"]


def completed(folder: Path, line: str, words: list[str]) -> list[str]:
    function = f"_{words[0].replace('-', '_')}_completion"
    typed = f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; {function} {words[0]}"
    done = shell(folder, f'{line}\ncomplete -p {words[0]} >/dev/null\n{typed}\nprintf "%s\\n" "${{COMPREPLY[@]}}"')
    assert done.returncode == 0, done.stderr
    return sorted(done.stdout.split())


# zsh completes at a prompt only; what its function would offer there is printed here.
ZSH_WITHOUT_A_PROMPT = """
compdef() { :; }
_describe() { print -l -- "${(@)${(P@)3}%%:*}"; }
compadd() { print -l -- "${(P@)@[-1]}"; }
"""


@pytest.mark.parametrize(
    ("program", "typed", "offered"), [("roadcue", "ins", "inspect"), ("roadcue-train", "ver", "verify")]
)
@pytest.mark.parametrize("shell_name", ["zsh", "fish"])
def test_other_shells_complete_after_their_lines_of_the_document(
    document: str, folder: Path, shell_name: str, program: str, typed: str, offered: str
) -> None:
    if not shutil.which(shell_name):
        pytest.skip(f"needs {shell_name}")
    shown = re.search(rf"^    (.*roadcue completion {shell_name}.*?)\s+#", document, re.MULTILINE)
    assert shown
    line = shown[1].replace("roadcue", program)
    if shell_name == "fish":
        tried = f"{line}; complete -C '{program} {typed}'"
    else:
        function = f"_{program.replace('-', '_')}_completion"
        tried = f"{ZSH_WITHOUT_A_PROMPT}\n{line}\nwords=({program} {typed}); CURRENT=2; {function}"
    done = shell(folder, f"{shell_name} -c {shlex.quote(tried)}")
    assert (done.returncode, done.stderr) == (0, "")
    assert [row.split("\t")[0] for row in done.stdout.splitlines()] == [offered]
