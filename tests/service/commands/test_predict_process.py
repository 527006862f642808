"""roadcue predict as a process of its own: killed, interrupted, fed and cut off by other processes."""

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.service.command_process import started
from tests.service.conftest import encoded
from tests.service.scoring.test_remote import CARD

LIMIT_S = 60.0
FRAMES = 12


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(FRAMES):
        (folder / f"{number:02}.png").write_bytes(encoded(number, 0, 0))
    return folder


@pytest.fixture
def predict(model: Path, tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Starts the command with the tiny model; every process ends with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: object, stdin: int = subprocess.PIPE) -> "subprocess.Popen[bytes]":
        flags = ["--model", str(model), "--device", "cpu", "--inference-workers", "1"]
        command = [sys.executable, "-m", "service", "predict", *flags, *map(str, arguments)]
        pipes = {"stdin": stdin, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen(command, **pipes))  # type: ignore[call-overload]
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for_rows(output: Path, rows: int) -> None:
    """Until so many rows are in the file."""
    end_s = time.monotonic() + LIMIT_S
    while time.monotonic() < end_s:
        if output.exists() and output.read_bytes().count(b"\n") >= rows:
            return
        time.sleep(0.01)
    pytest.fail(f"{output} has no {rows} rows after {LIMIT_S} s")


def said(process: "subprocess.Popen[bytes]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=LIMIT_S)
    return process.returncode, (out or b"").decode(), err.decode()


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_killed_run_is_gone_on_with_and_nothing_is_computed_or_written_twice(
    predict: Callable[..., "subprocess.Popen[bytes]"], frames: Path, tmp_path: Path, suffix: str
) -> None:
    """SIGKILL while the list on standard input is still open, and a row cut in half as a full disk would leave it."""
    output, paths = tmp_path / f"rows.{suffix}", sorted(frames.iterdir())
    kept = output if suffix != "parquet" else tmp_path / "rows.parquet.rows.jsonl"
    first = predict("-", "--output", output)
    assert first.stdin
    first.stdin.write(b"".join(os.fsencode(path) + b"\n" for path in paths[:10]))
    first.stdin.flush()
    wait_for_rows(kept, 4)
    first.kill()
    first.communicate()
    rows_before = kept.read_bytes().count(b"\n") - (suffix == "csv")
    kept.write_bytes(kept.read_bytes() + b'{"name": "half')
    code, _, err = said(predict(frames, "--output", output, "--resume", stdin=subprocess.DEVNULL))
    assert code == 0, err
    assert f"{output}: {FRAMES} rows, {FRAMES - rows_before} of them new" in err
    assert frames_of(output) == [str(path) for path in paths]


def frames_of(output: Path) -> list[str]:
    if output.suffix == ".csv":
        return [row["frame"] for row in csv.DictReader(output.read_text().splitlines())]
    if output.suffix == ".jsonl":
        return [json.loads(line)["name"] for line in output.read_text().splitlines()]
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs PyArrow")
    return list(parquet.read_table(output).column("frame").to_pylist())


def test_ctrl_c_leaves_whole_rows_and_says_how_to_go_on(
    predict: Callable[..., "subprocess.Popen[bytes]"], frames: Path, tmp_path: Path
) -> None:
    """With exit code 130; the command that it names does the rest."""
    output = tmp_path / "the rows.csv"
    process = predict("-", frames, "--output", output, "--overwrite")
    assert process.stdin
    process.stdin.write(os.fsencode(frames / "11.png") + b"\n")
    process.stdin.write(b"".join(os.fsencode(frames / f"{n:02}.png") + b"\n" for n in range(5)))
    process.stdin.flush()
    wait_for_rows(output, 2)
    process.send_signal(signal.SIGINT)
    code, out, err = said(process)
    assert (code, out) == (130, "")
    assert "Traceback" not in err
    following = shlex.split(err.partition("Go on with: ")[2])
    assert following[0] == "roadcue"
    assert following[-1] == "--resume"
    assert "--overwrite" not in following
    assert output.read_bytes().endswith(b"\n")
    done = subprocess.run([sys.executable, "-m", "service", *following[1:]], input=b"", capture_output=True)
    assert done.returncode == 0, done.stderr
    assert sorted(frames_of(output)) == [str(path) for path in sorted(frames.iterdir())]


def test_ctrl_c_ends_it_while_the_service_hangs(frames: Path, tmp_path: Path) -> None:
    """At once, and not when the requests under way have had their minute; their frames have no row."""
    output = tmp_path / "rows.csv"
    with ThreadingHTTPServer(("127.0.0.1", 0), Hanging) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        process = started("service", "predict", frames, "--url", f"http://127.0.0.1:{server.server_port}", "-o", output)
        assert Hanging.asked.wait(LIMIT_S)
        began_s = time.monotonic()
        process.send_signal(signal.SIGINT)
        code, _, err = said(process)
        assert time.monotonic() - began_s < 20
        Hanging.over.set()
        server.shutdown()
    assert code == 130, err
    assert "Stopped after 0 rows. Go on with: roadcue predict" in err
    assert "Traceback" not in err
    assert len(output.read_text().splitlines()) == 1


class Hanging(BaseHTTPRequestHandler):
    """Tells its model, and answers no frame."""

    asked, over = threading.Event(), threading.Event()

    def do_GET(self) -> None:
        content = json.dumps(CARD).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        self.asked.set()
        self.over.wait(2 * LIMIT_S)

    def log_message(self, *_: object) -> None:
        pass


def test_ctrl_c_closes_the_document_on_standard_output(
    predict: Callable[..., "subprocess.Popen[bytes]"], frames: Path
) -> None:
    process = predict("-", "--format", "json")
    assert process.stdin
    assert process.stdout
    process.stdin.write(b"".join(os.fsencode(path) + b"\n" for path in sorted(frames.iterdir())))
    process.stdin.flush()
    head, first = process.stdout.readline(), process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest = process.stdout.read()
    code, _, err = said(process)
    assert code == 130
    assert len(json.loads(head + first + rest)["frames"]) >= 1
    assert "Without --output there is nothing to go on with" in err


def test_rows_come_while_the_list_is_still_being_written(
    predict: Callable[..., "subprocess.Popen[bytes]"], frames: Path
) -> None:
    """As many as are not held back to keep the order: four for a worker."""
    process = predict("-", "--format", "jsonl")
    assert process.stdin
    assert process.stdout
    process.stdin.write(b"".join(os.fsencode(path) + b"\n" for path in sorted(frames.iterdir())))
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["name"].endswith("00.png")


@pytest.mark.parametrize("form", ["csv", "jsonl", "json", "table"])
def test_a_reader_who_has_enough_ends_it_in_silence(
    predict: Callable[..., "subprocess.Popen[bytes]"], frames: Path, form: str
) -> None:
    """As `| head -1` does: the pipe is closed while rows are still to come."""
    process = predict("-", "--format", form)
    assert process.stdin
    assert process.stdout
    process.stdout.close()
    names = b"".join(os.fsencode(path) + b"\n" for path in sorted(frames.iterdir()))
    _, err = process.communicate(names, timeout=LIMIT_S)
    lines = err.decode().splitlines()
    assert [line for line in lines if "CPUExecutionProvider" not in line] == []
    assert process.returncode == 1
