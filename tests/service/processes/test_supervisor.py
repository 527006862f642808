"""The parent of several processes: with processes that are scripts, and with real ones."""

import csv
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

import httpx
import pytest

from service.errors import StartupError
from service.processes.board import Standing
from service.processes.messages import Failed, Place, Ready, Signalled
from service.processes.supervisor import Supervisor
from service.settings import Settings
from tests.service.conftest import encoded
from tests.service.poster import Poster
from tests.service.server_process import ServerProcess, wait_for

StartServer = Callable[..., ServerProcess]
Script = Callable[[Place], None]
TWO = ("--workers", "2", "--drain-seconds", "1")


class ScriptedProcess:
    """Says what its script says, and is dead."""

    pid = 1

    def __init__(self, place: Place, script: Script, exitcode: int) -> None:
        script(place)
        self._end, other = multiprocessing.Pipe()
        other.close()  # so that its end can be seen
        self.exitcode, self.sentinel = exitcode, self._end.fileno()

    def join(self) -> None:
        """It is dead already."""

    def close(self) -> None:
        """Nothing more is asked of it."""
        self._end.close()


class StuckProcess(ScriptedProcess):
    """Hears everything and does nothing until it is killed."""

    def __init__(self, place: Place) -> None:
        self.heard = Connection(os.dup(place.pipe.fileno()))
        self._end, self._life = multiprocessing.Pipe()
        self.exitcode, self.sentinel = -9, self._end.fileno()

    def kill(self) -> None:
        """Now it is dead."""
        self._life.close()


class Scripts:
    """Starts one scripted process after the other, and remembers in which places."""

    def __init__(self, *scripts: tuple[Script, int]) -> None:
        self._scripts, self.places = iter(scripts), list[Place]()

    def __call__(self, place: Place, inherited: Sequence[Connection]) -> ScriptedProcess:
        """The next process."""
        self.places.append(place)
        return ScriptedProcess(place, *next(self._scripts))


class LeapingClock:
    """Every look at it is a minute later: what is due in seconds is due at once."""

    now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 60
        return self.now_s


@pytest.fixture
def supervised() -> Iterator[Callable[[Scripts], Supervisor]]:
    """A supervisor of two scripted processes; nobody sends it signals."""
    listener, (signals, sender) = socket.create_server(("127.0.0.1", 0)), socket.socketpair()

    def supervise(scripts: Scripts) -> Supervisor:
        return Supervisor(Settings(workers=2), listener, signals, scripts, LeapingClock())  # type: ignore[arg-type]

    with listener, signals, sender:
        yield supervise


def test_process_that_does_not_end_is_killed_when_its_time_is_over() -> None:
    """It has been told of the signal before."""
    (signals, sender), stuck = socket.socketpair(), list[StuckProcess]()

    def start(place: Place, inherited: Sequence[Connection]) -> StuckProcess:
        stuck.append(StuckProcess(place))
        return stuck[-1]

    with signals, sender, socket.create_server(("127.0.0.1", 0)) as listener:
        sender.send(bytes([signal.SIGTERM]))
        Supervisor(Settings(workers=2), listener, signals, start, LeapingClock()).run()  # type: ignore[arg-type]
    assert len(stuck) == 1
    with stuck[0].heard as heard:
        assert heard.recv() == Signalled(signal.SIGTERM)


def test_process_that_hangs_is_killed_and_another_takes_its_place(caplog: pytest.LogCaptureFixture) -> None:
    """It has been ready and beats no more; the second one is ended by a signal."""
    (signals, sender), stuck = socket.socketpair(), list[StuckProcess]()

    def start(place: Place, inherited: Sequence[Connection]) -> StuckProcess:
        stuck.append(StuckProcess(place))
        if len(stuck) == 1:
            place.pipe.send(Ready("a plan"))
            place.board.write_standing(place.number, Standing.READY)
        elif place.number == 0:
            sender.send(bytes([signal.SIGTERM]))
        return stuck[-1]

    with signals, sender, socket.create_server(("127.0.0.1", 0)) as listener:
        Supervisor(Settings(workers=2), listener, signals, start, LeapingClock()).run()  # type: ignore[arg-type]
    assert [record.message for record in caplog.records if record.levelname == "ERROR"][:2] == [
        "a process hangs and is killed",
        "a process has ended and is started again",
    ]


def says(*messages: object) -> Script:
    """A script that sends messages."""

    def script(place: Place) -> None:
        for message in messages:
            place.pipe.send(message)

    return script


def test_process_that_cannot_start_ends_the_whole_at_once(supervised: Callable[[Scripts], Supervisor]) -> None:
    """A second attempt would find the same model file."""
    scripts = Scripts((says(Failed("a.onnx cannot be read")), 1))
    with pytest.raises(StartupError, match=r"^a\.onnx cannot be read$"):
        supervised(scripts).run()
    assert [place.number for place in scripts.places] == [0]


def test_process_that_dies_at_every_start_is_given_up_after_five(supervised: Callable[[Scripts], Supervisor]) -> None:
    scripts = Scripts(*[(says(), -9)] * 5)
    with pytest.raises(StartupError, match="process 0 died 5 times before it served: its exit code is -9"):
        supervised(scripts).run()
    assert len(scripts.places) == 5


def test_the_others_are_told_what_the_first_has_found_out(supervised: Callable[[Scripts], Supervisor]) -> None:
    """Both die after serving, and so does all that follows; whoever is started later is told as well."""
    scripts = Scripts((says(Ready("a plan")), 1), *[(says(), 1)] * 10)
    with pytest.raises(StartupError):
        supervised(scripts).run()
    assert scripts.places[0].execution is None
    assert {place.execution for place in scripts.places[1:]} == {"a plan"}
    assert {place.number for place in scripts.places} == {0, 1}


def test_the_parent_imports_nothing_heavy() -> None:
    """It stays small, and has no thread that a fork would lose."""
    source = (
        "import sys, threading, service.cli, service.telemetry, service.processes.supervisor;"
        "print(sorted({'onnxruntime', 'numpy', 'cv2', 'fastapi', 'uvicorn', 'PIL'} & set(sys.modules)),"
        " threading.active_count())"
    )
    assert subprocess.run([sys.executable, "-c", source], capture_output=True, text=True).stdout == "[] 1\n"


def pids(server: ServerProcess) -> list[int]:
    """The processes that were started so far."""
    return [int(found[1]) for line in server.lines if (found := re.search(r"process started .*pid=(\d+)", line))]


def metric(server: ServerProcess, name: str) -> float:
    """The sum of a metric's series, as scraped."""
    text = httpx.get(f"{server.url}/metrics", timeout=60).text
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))


def complete(server: ServerProcess) -> ServerProcess:
    """The server, once both of its processes serve."""
    wait_for(lambda: metric(server, "roadcue_processes") == 2)
    return server


def is_alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_two_processes_serve_and_count_as_one_and_lose_nothing_at_sigterm(
    start_server: StartServer, large_jpeg: bytes
) -> None:
    """Whichever process is scraped shows the frames of both; what runs and what arrives while draining is answered."""
    server = complete(start_server(*TWO).ready())
    posters = [Poster(server.url, large_jpeg, keep_alive) for keep_alive in (True, False) * 4]
    for poster in posters:
        poster.start()
    wait_for(lambda: all(poster.statuses for poster in posters))
    assert metric(server, "roadcue_frames_total") > 0
    server.process.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    for poster in posters:
        poster.join(60)
    assert [poster.lost for poster in posters] == [[]] * len(posters)
    assert {status for poster in posters for status in poster.statuses} == {200}
    handled = [re.search(r"POST /predict 200.* worker=(\d)", line) for line in server.lines]
    assert {found[1] for found in handled if found} == {"0", "1"}


def test_a_killed_process_is_started_again_and_no_counter_goes_backwards(
    start_server: StartServer, red_png: bytes
) -> None:
    server = complete(start_server(*TWO).ready())
    for _ in range(6):
        assert httpx.post(f"{server.url}/predict", files={"file": red_png}, timeout=60).status_code == 200
    assert metric(server, "roadcue_frames_total") == 6
    started = pids(server)
    assert len(started) == 2
    for killed in started:
        os.kill(killed, signal.SIGKILL)
        assert "code=-9" in server.wait_for_line("a process has ended and is started again")
        wait_for(lambda: metric(server, "roadcue_processes") == 2)
        assert metric(server, "roadcue_frames_total") == 6
    assert metric(server, "roadcue_process_restarts_total") == 2


def test_sigterm_to_one_process_is_finished_in_order_and_another_takes_its_place(
    start_server: StartServer, red_png: bytes
) -> None:
    server = complete(start_server(*TWO).ready())
    first = pids(server)[0]
    os.kill(first, signal.SIGTERM)
    for _ in range(20):
        assert httpx.post(f"{server.url}/predict", files={"file": red_png}, timeout=60).status_code == 200
    assert "code=0" in server.wait_for_line("a process has ended and is started again")
    wait_for(lambda: metric(server, "roadcue_processes") == 2)
    assert metric(server, "roadcue_frames_total") == 20
    assert metric(server, "roadcue_process_restarts_total") == 0


def test_sigterm_that_reaches_every_process_counts_once(start_server: StartServer) -> None:
    """As a service manager sends it to a whole group; a second signal would end the drain."""
    server = complete(start_server(*TWO).ready())
    for process in (*pids(server), server.process.pid):
        os.kill(process, signal.SIGTERM)
    assert server.wait() == 0
    assert sum("service.server draining" in line for line in server.lines) == 2
    assert not any("service.server ending" in line for line in server.lines)


def test_uncertain_frames_of_all_processes_come_into_one_folder(start_server: StartServer, tmp_path: Path) -> None:
    """Sixteen different frames, on a connection each, so that both processes have some."""
    kept = tmp_path / "kept"
    server = complete(start_server(*TWO, "--uncertain", str(kept), "--uncertain-margin", "20").ready())
    for shade in range(16):
        httpx.post(f"{server.url}/predict", files={"file": encoded(shade, 0, 0)}, timeout=60)
    wait_for(lambda: metric(server, "roadcue_uncertain_frames_total") == 16)
    with (kept / "labels.csv").open(newline="") as table:
        listed = {row["image"] for row in csv.DictReader(table)}
    assert len(listed) == 16
    assert {path.relative_to(kept).as_posix() for path in (kept / "images").rglob("*.png")} == listed


def test_supervisor_that_is_killed_leaves_no_process_behind(start_server: StartServer) -> None:
    server = complete(start_server(*TWO).ready())
    started = pids(server)
    server.process.kill()
    wait_for(lambda: not any(is_alive(pid) for pid in started))


def test_three_signals_end_the_processes_without_waiting(start_server: StartServer) -> None:
    """An upload that does not end would hold them for a minute."""
    server = complete(
        start_server("--workers", "2", "--drain-seconds", "60", "--shutdown-timeout-seconds", "60").ready()
    )
    host, port = server.url.removeprefix("http://").split(":")
    with closing(socket.create_connection((host, int(port)))) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\n1"
        )
        wait_for(lambda: metric(server, "roadcue_upload_bytes") == 1)
        for _ in range(3):
            server.process.send_signal(signal.SIGTERM)
            server.wait_for_line("ending all processes")
        assert server.wait() == 0


def test_missing_model_is_one_clear_line_and_code_1(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server("--workers", "2", model=tmp_path / "absent.onnx")
    assert server.wait() == 1
    assert "absent.onnx cannot be read: No such file or directory" in server.lines[-1]
    assert not any("Traceback" in line for line in server.lines)
    assert sum("process started" in line for line in server.lines) == 1
