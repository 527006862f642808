"""The real process: signals, drain, sockets."""

import contextlib
import gc
import itertools
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from service.app import create_app
from service.errors import StartupError
from service.server import serve
from service.settings import Settings
from tests.service.poster import Poster
from tests.service.server_process import ServerProcess

StartServer = Callable[..., ServerProcess]


def connect(server: ServerProcess) -> socket.socket:
    """A plain connection, for what HTTP libraries do not send."""
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def received(connection: socket.socket, until: bytes | None = None) -> bytes:
    """Everything until the other side closes, or until it ends in `until`."""
    data = b""
    while piece := connection.recv(65536):
        data += piece
        if until and data.endswith(until):
            break
    return data


def chunk(data: bytes) -> bytes:
    """A chunk of RFC 9112, 7.1."""
    return b"%x\r\n%b\r\n" % (len(data), data)


# What other commands need, and libraries of training: each would cost start-up time and memory in every process.
NOT_FOR_SERVING = (
    *("torch", "model_training", "onnx", "scipy", "matplotlib", "sklearn", "pandas"),
    *("httpx", "rich", "av", "pyarrow", "lxml", "selenium", "pytest", "opentelemetry.sdk"),
    *("service.cli", "service.client", "service.commands", "service.scoring", "service.answer_page"),
)


@pytest.fixture
def server(start_server: StartServer) -> ServerProcess:
    """A ready server."""
    return start_server().ready()


def test_sigterm_under_load_loses_no_request_and_exits_0(start_server: StartServer, large_jpeg: bytes) -> None:
    """Requests that run and requests that arrive while draining are all answered with 200."""
    server = start_server("--drain-seconds", "1").ready()
    posters = [Poster(server.url, large_jpeg, keep_alive) for keep_alive in (True, False) * 4]
    for poster in posters:
        poster.start()
    while not all(poster.statuses for poster in posters):
        assert all(poster.is_alive() for poster in posters)
    server.process.send_signal(signal.SIGTERM)
    server.wait_for_line("draining")
    answered_before = sum(len(poster.statuses) for poster in posters)
    assert server.wait() == 0
    for poster in posters:
        poster.join(60)
    assert [poster.lost for poster in posters] == [[]] * len(posters)
    assert {status for poster in posters for status in poster.statuses} == {200}
    assert sum(len(poster.statuses) for poster in posters) > answered_before


def test_draining_is_live_but_not_ready_and_closes_connections(start_server: StartServer, red_png: bytes) -> None:
    server = start_server("--drain-seconds", "30").ready()
    server.process.send_signal(signal.SIGTERM)
    server.wait_for_line("draining")
    live, ready = httpx.get(f"{server.url}/health/live"), httpx.get(f"{server.url}/health/ready")
    answer = httpx.post(f"{server.url}/predict", files={"file": red_png})
    assert (live.status_code, ready.status_code, answer.status_code) == (200, 503, 200)
    assert ready.headers["content-type"] == "application/problem+json"
    assert ready.json()["code"] == "draining"
    # Answered before their bodies were read: all of each is still taken, so that closing does not reset the connection.
    absent, unknown = (httpx.post(f"{server.url}{path}", content=bytes(2**20)) for path in ("/absent", "/predict?x=1"))
    assert (absent.status_code, unknown.status_code) == (404, 400)
    assert {reply.headers["connection"] for reply in (live, ready, answer, absent, unknown)} == {"close"}
    server.process.send_signal(signal.SIGTERM)
    assert server.wait() == 0, "a second signal ends the drain at once"


def test_sigint_ends_without_the_drain_wait(start_server: StartServer) -> None:
    server = start_server("--drain-seconds", "3600").ready()
    server.process.send_signal(signal.SIGINT)
    assert server.wait() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits another process")
def test_sigterm_without_a_free_file_descriptor_ends_in_order(start_server: StartServer, red_png: bytes) -> None:
    """What is connected is answered, and the process ends with code 0."""
    server = start_server("--drain-seconds", "0").ready()
    with closing(connect(server)) as connection:
        for _ in range(2):  # Pillow loads its formats with the first frame
            connection.sendall(RAW_HEAD % len(red_png) + red_png)
            assert received(connection, until=b"}}").startswith(b"HTTP/1.1 200 OK")
        connection.sendall(RAW_HEAD % len(red_png) + red_png[:10])
        taken = {int(file.name) for file in Path(f"/proc/{server.process.pid}/fd").iterdir()}
        free = next(number for number in itertools.count() if number not in taken)
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (free, free))
        server.process.send_signal(signal.SIGTERM)
        server.wait_for_line("draining")
        connection.sendall(red_png[10:])
        assert received(connection).startswith(b"HTTP/1.1 200 OK")
    assert server.wait() == 0
    assert "ended" in server.lines[-1]
    assert not any("Traceback" in line for line in server.lines)


def test_upload_that_runs_at_sigint_is_finished(server: ServerProcess, red_png: bytes) -> None:
    with closing(connect(server)) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\n")
        connection.sendall(b"Content-Length: %d\r\n\r\n" % len(red_png) + red_png[:10])
        httpx.get(f"{server.url}/health/live")  # the server has by now read what was sent before
        server.process.send_signal(signal.SIGINT)
        server.wait_for_line("ending")
        connection.sendall(red_png[10:])
        assert received(connection).startswith(b"HTTP/1.1 200 OK")
    assert server.wait() == 0


def test_upload_that_never_ends_does_not_hold_the_process(start_server: StartServer) -> None:
    """When the time to finish is over the client is told so, and the process ends with code 0."""
    server = start_server("--shutdown-timeout-seconds", "1").ready()
    with closing(connect(server)) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\n1"
        )
        httpx.get(f"{server.url}/health/live")  # the server has by now read what was sent before
        server.process.send_signal(signal.SIGINT)
        reply = received(connection)
    assert server.wait() == 0
    assert reply.startswith(b"HTTP/1.1 503 ")
    assert b'"code":"draining"' in reply
    assert not any("Traceback" in line for line in server.lines)


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="only Linux schedules processes that compute")
def test_frames_are_not_interrupted_for_each_packet(server: ServerProcess) -> None:
    assert os.sched_getscheduler(server.process.pid) == os.SCHED_BATCH


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux knows how nice a thread is")
def test_event_loop_gives_way_to_the_threads_of_frames(server: ServerProcess, red_png: bytes) -> None:
    """Its thread is the process's first one; those of frames are the ones that frames keep busy."""
    loop = server.process.pid
    before = cpu_ns(loop)
    for _ in range(20):
        httpx.post(f"{server.url}/predict", files={"file": red_png}).raise_for_status()
    spent_ns = {thread: ns - before.get(thread, 0) for thread, ns in cpu_ns(loop).items() if thread != loop}
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, loop) == min(19, usual + 6)
    assert os.getpriority(os.PRIO_PROCESS, max(spent_ns, key=spent_ns.__getitem__)) == usual


def cpu_ns(process: int) -> dict[int, int]:
    """CPU time in nanoseconds that each thread has had."""
    tasks = Path(f"/proc/{process}/task").iterdir()
    return {int(task.name): int((task / "schedstat").read_text().split()[0]) for task in tasks}


def test_serving_imports_only_what_it_uses() -> None:
    """In a process of its own: what a test imports does not count."""
    source = "import sys, service.app, service.server; print('\\n'.join(sys.modules))"
    imported = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True).stdout.split()
    assert "service.inference.session" in imported
    assert [name for name in NOT_FOR_SERVING if name in imported] == []


def test_port_in_use_is_one_clear_line_and_code_1(start_server: StartServer) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        server = start_server("--port", port)
        assert server.wait() == 1
    assert len(server.lines) == 1
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in server.lines[0]


def test_missing_model_ends_the_process_with_code_1(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(model=tmp_path / "absent.onnx")
    assert server.wait() == 1
    assert "absent.onnx cannot be read: No such file or directory" in server.lines[-1]
    assert not any("Traceback" in line for line in server.lines)


def test_refused_cuda_ends_the_process_with_code_1(start_server: StartServer) -> None:
    if Path("/dev/nvidia0").exists():
        pytest.skip("this machine has an NVIDIA GPU")
    server = start_server("--device", "cuda")
    assert server.wait() == 1
    assert "device=cuda was asked for" in server.lines[-1]


def test_lost_device_ends_the_process_as_a_failed_start_does(model: Path) -> None:
    """`serve` raises what the command line ends on with code 1, so that Docker and Kubernetes start another."""
    settings = Settings(model=model, device="cpu", inference_workers=1, tuning_seconds=0, host="127.0.0.1", port=0)
    app = create_app(settings)

    def lose_device() -> None:
        while app.state.lifecycle.stage != "ready":
            time.sleep(0.01)
        app.state.lifecycle.loaded.scheduler._queue.break_off("the device answers nothing any more: CUDA failure 700")

    thread = threading.Thread(target=lose_device, daemon=True)
    thread.start()
    try:
        with pytest.raises(StartupError, match="CUDA failure 700; the process ends"):
            serve(app, settings)
    finally:
        gc.unfreeze()  # what outlives a server outlives no test
    thread.join(30)


def test_keep_alive_connection_answers_several_requests(server: ServerProcess, red_png: bytes) -> None:
    with closing(connect(server)) as connection:
        request = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: %d\r\n%b\r\n%b"
        connection.sendall(request % (len(red_png), b"", red_png) * 2)
        connection.sendall(request % (len(red_png), b"Connection: close\r\n", red_png))
        assert received(connection).count(b"HTTP/1.1 200 OK") == 3


def test_chunked_upload_is_answered(server: ServerProcess, red_png: bytes) -> None:
    def pieces() -> Iterator[bytes]:
        yield red_png[:7]
        yield red_png[7:]

    reply = httpx.post(f"{server.url}/predict", content=pieces(), headers={"Content-Type": "image/png"})
    assert reply.json()["frames"][0]["probabilities"] == {"red": 1.0, "green": 0.0}


def test_chunked_upload_cut_off_midway_leaves_the_service_well(server: ServerProcess, red_png: bytes) -> None:
    """The client that left is counted as 499, and others are answered."""
    with closing(connect(server)) as connection:
        head = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head + chunk(red_png[:10]))
    server.wait_for_line("POST /predict 499")
    assert httpx.post(f"{server.url}/predict", files={"file": red_png}).status_code == 200


def test_broken_body_is_refused_and_told_once_with_the_id_of_its_request(server: ServerProcess) -> None:
    """The service closes the connection, so nobody has left (499)."""
    with closing(connect(server)) as connection:
        head = b"POST /predict HTTP/1.1\r\nHost: a\r\nX-Request-ID: broken-1\r\nContent-Type: image/png\r\n"
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"x") + b"ZZ\r\n")
        reply = received(connection)
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert b"X-Request-ID: broken-1\r\n" in reply
    line = server.wait_for_line("request_id=broken-1")
    assert "POST /predict 400 " in line
    assert "problem=bad_request" in line
    metrics = httpx.get(f"{server.url}/metrics").text
    assert 'roadcue_http_requests_total{method="POST",route="/predict",status="400"}' in metrics
    assert 'roadcue_http_requests_total{method="other",route="unmatched",status="400"}' not in metrics


def test_log_that_nobody_reads_holds_up_nothing(start_server: StartServer) -> None:
    """A pipe holds 64 KiB; each event has more than 300 bytes."""
    server = start_server("--drain-seconds", "0").ready()
    server.read_no_more()
    with httpx.Client(base_url=server.url, timeout=30) as client:
        for _ in range(300):
            assert client.get("/" + 300 * "x").status_code == 404
        assert client.get("/health/live").status_code == 200
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0


def test_413_comes_while_the_body_still_streams(start_server: StartServer) -> None:
    """A chunked body has no announced size: the reply comes with the first byte too many, not at the end."""
    server = start_server("--max-request-bytes", "4096", "--max-frame-bytes", "2048").ready()
    with closing(connect(server)) as connection:
        head = b"Host: a\r\nContent-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(b"POST /predict HTTP/1.1\r\n" + head + chunk(b"--b\r\n"))
        part = b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"x" * 4096
        connection.sendall(chunk(part))
        reply = received(connection, until=b"}")
    assert reply.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"request_too_large"' in reply


def test_announced_size_is_refused_before_the_body_is_sent(start_server: StartServer) -> None:
    """A client that waits for 100 Continue gets 413 in its place, and a closed connection (RFC 9110, 10.1.1)."""
    server = start_server("--max-request-bytes", "4096", "--max-frame-bytes", "2048").ready()
    with closing(connect(server)) as connection:
        head = b"Host: a\r\nContent-Type: image/png\r\nContent-Length: 2049\r\nExpect: 100-continue\r\n\r\n"
        connection.sendall(b"POST /predict HTTP/1.1\r\n" + head)
        reply = received(connection)
    assert reply.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in reply
    assert b'"code":"frame_too_large"' in reply


def test_connection_survives_a_413_given_before_the_body_was_read(start_server: StartServer, red_png: bytes) -> None:
    """The rest of the refused body is read and thrown away, so the next request is understood."""
    server = start_server("--max-request-bytes", "4096", "--max-frame-bytes", "2048").ready()
    with closing(connect(server)) as connection:
        head = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: %d\r\n%b\r\n"
        connection.sendall(head % (5000, b"") + b"x" * 5000)
        connection.sendall(head % (len(red_png), b"Connection: close\r\n") + red_png)
        replies = received(connection)
    assert replies.count(b"HTTP/1.1 413 ") == 1
    assert replies.count(b"HTTP/1.1 200 ") == 1


def test_endless_header_is_cut_off(server: ServerProcess) -> None:
    """The parser alone would collect it until the memory is full."""
    with closing(connect(server)) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\nX: ")
        reply = b""
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                connection.sendall(b"x" * 65536)
        with contextlib.suppress(ConnectionError):
            reply = received(connection)
    assert not reply or (reply.startswith(b"HTTP/1.1 431 ") and b"header_too_large" in reply)
    assert httpx.get(f"{server.url}/health/live").status_code == 200


def test_header_within_the_bound_is_read_in_any_pieces(server: ServerProcess) -> None:
    with closing(connect(server)) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: a\r\n")
        for number in range(30):
            connection.sendall(b"X-%d: %b\r\n" % (number, b"x" * 2000))
        connection.sendall(b"Connection: close\r\n\r\n")
        assert received(connection).startswith(b"HTTP/1.1 200 OK")


def test_what_is_no_http_is_refused_as_a_problem(server: ServerProcess) -> None:
    with closing(connect(server)) as connection:
        connection.sendall(b"EHLO example.org\r\n\r\n")
        reply = received(connection)
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in reply
    assert b'"code": "bad_request"' in reply
    check_is_a_reply_like_all_others(server, reply, 400, "bad_request")


def check_is_a_reply_like_all_others(server: ServerProcess, reply: bytes, status: int, code: str) -> None:
    """It has an id and its time, and is counted, though the application never saw the request."""
    head = reply.partition(b"\r\n\r\n")[0].decode().replace("\r\n", "\n")
    assert re.search(r"^X-Request-ID: [0-9a-f]{32}$", head, re.MULTILINE)
    assert re.search(r"^Server-Timing: total;dur=\d+\.\d{3}$", head, re.MULTILINE)
    metrics = httpx.get(f"{server.url}/metrics").text
    counted = f'roadcue_http_requests_total{{method="other",route="unmatched",status="{status}"}}'
    assert float(re.search(rf"^{re.escape(counted)} (\S+)$", metrics, re.MULTILINE)[1]) >= 1  # type: ignore[index]
    assert re.search(rf'^roadcue_rejected_requests_total{{reason="{code}"}} [1-9]', metrics, re.MULTILINE)
    assert "\nroadcue_http_requests_in_flight 1.0\n" in metrics  # the one that asks


RAW_HEAD = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"
SMALL_LIMITS = ("--max-frame-bytes", "8192", "--max-request-bytes", "8192", "--max-upload-bytes-in-flight", "65536")


def held_bytes(server: ServerProcess) -> int:
    """What all uploads hold together, as the service tells it."""
    found = re.search(r"^roadcue_upload_bytes (\S+)$", httpx.get(f"{server.url}/metrics").text, re.MULTILINE)
    assert found
    return int(float(found[1]))


def wait_for_held_bytes(server: ServerProcess, expected: int) -> None:
    """Wait until the uploads hold exactly that much."""
    end_s = time.monotonic() + 30
    while (held := held_bytes(server)) != expected:
        assert time.monotonic() < end_s, (held, expected)


def test_many_slow_uploads_hold_no_more_than_allowed(start_server: StartServer, red_png: bytes) -> None:
    """Each sends half of 8 KiB and stops. 64 KiB hold the halves of 15 and no whole of a 16th; leaving frees all."""
    server = start_server(*SMALL_LIMITS).ready()
    with contextlib.ExitStack() as slow:
        for number in range(15):
            connection = slow.enter_context(closing(connect(server)))
            connection.sendall(RAW_HEAD % 8192 + bytes(4096))
            wait_for_held_bytes(server, 4096 * (number + 1))
        for _ in range(45):
            refused = slow.enter_context(closing(connect(server)))
            refused.sendall(RAW_HEAD % 8192 + bytes(4096))
            reply = received(refused, until=b"}")
            assert reply.startswith(b"HTTP/1.1 429 ")
            assert b"retry-after: 1" in reply
            assert b'"code":"uploads_full"' in reply
        assert held_bytes(server) == 15 * 4096
        assert httpx.post(f"{server.url}/predict", files={"file": red_png}).status_code == 200, "what fits is answered"
    wait_for_held_bytes(server, 0)


def test_slow_uploads_of_unknown_size_are_refused_at_the_byte_too_many(start_server: StartServer) -> None:
    """Chunked bodies announce nothing: the 17th of 4 KiB has no room in 64 KiB."""
    server = start_server(*SMALL_LIMITS).ready()
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    with contextlib.ExitStack() as slow:
        for number in range(16):
            slow.enter_context(closing(connect(server))).sendall(head + chunk(bytes(4096)))
            wait_for_held_bytes(server, 4096 * (number + 1))
        refused = slow.enter_context(closing(connect(server)))
        refused.sendall(head + chunk(bytes(4096)))
        assert received(refused, until=b"}").startswith(b"HTTP/1.1 429 ")
    wait_for_held_bytes(server, 0)


def test_body_that_is_late_is_a_408_and_frees_what_it_held(start_server: StartServer) -> None:
    server = start_server("--upload-timeout-seconds", "0.5").ready()
    with closing(connect(server)) as connection:
        connection.sendall(RAW_HEAD % 5000 + bytes(4096))
        reply = received(connection)
    assert reply.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in reply.lower()
    assert b'"code":"upload_timeout"' in reply
    assert b"did not arrive within 0.5 seconds; 4096 bytes of frames did" in reply
    assert held_bytes(server) == 0


@pytest.mark.parametrize("sent", [b"GET /health/live HT", b"GET /health/live HTTP/1.1\r\nHost: a\r\n"])
def test_header_that_is_late_is_a_408(start_server: StartServer, sent: bytes) -> None:
    server = start_server("--upload-timeout-seconds", "0.5").ready()
    with closing(connect(server)) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")
        assert received(connection, until=b"}").startswith(b"HTTP/1.1 200 ")
        connection.sendall(sent)
        reply = received(connection)
    assert reply.startswith(b"HTTP/1.1 408 ")
    assert b'"code": "upload_timeout"' in reply
    check_is_a_reply_like_all_others(server, reply, 408, "upload_timeout")


def test_refused_upload_that_goes_on_slowly_is_cut_off(start_server: StartServer) -> None:
    """It has its 413, but the rest of the body does not come: the connection is not kept for it."""
    server = start_server("--upload-timeout-seconds", "0.5", *SMALL_LIMITS).ready()
    with closing(connect(server)) as connection:
        connection.sendall(RAW_HEAD % 9000 + bytes(10))
        assert received(connection).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("sent", [b"", b"\r\n"])
def test_connection_without_a_request_is_closed(start_server: StartServer, sent: bytes) -> None:
    server = start_server("--keep-alive-seconds", "1").ready()
    with closing(connect(server)) as connection:
        connection.sendall(sent)
        assert received(connection) == b""


def test_slow_but_timely_upload_is_answered(start_server: StartServer, red_png: bytes) -> None:
    """Longer than a connection may idle, shorter than an upload may take."""
    server = start_server("--keep-alive-seconds", "1").ready()
    with closing(connect(server)) as connection:
        connection.sendall(RAW_HEAD % len(red_png) + red_png[:10])
        wait_for_held_bytes(server, 10)
        time.sleep(1.2)
        connection.sendall(red_png[10:])
        assert received(connection, until=b"}}").startswith(b"HTTP/1.1 200 ")


def test_json_log_holds_one_object_a_line(start_server: StartServer, red_png: bytes) -> None:
    server = start_server("--log-format", "json").ready()
    httpx.post(f"{server.url}/predict", files={"file": red_png}, headers={"X-Request-ID": "abc-1"})
    entry = json.loads(server.wait_for_line("POST /predict"))
    assert entry["request_id"] == "abc-1"
    assert entry["level"] == "INFO"
    assert all(isinstance(json.loads(line), dict) for line in server.lines)
