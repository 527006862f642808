"""The open-loop generator is honest: against servers of known delay it tells what their clients went through."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.serving.open_loop import NO_ANSWER, Exchange, Generator, Phase, intended, main, post
from tests.benchmarks.serving.known_server import BROKEN, NOTHING, OK, REFUSED, REFUSED_BARELY, Reply, serving

FRAME = post("/predict", "127.0.0.1", b"frame", "raw", "file")
# A timer of the loop may fire that much early.
RESOLUTION_S = 0.002


def sent(reply: Reply, *phases: Phase, grace_s: float = 5.0) -> list[Exchange]:
    """What became of each request to a server."""
    with serving(reply) as (_, port):
        return asyncio.run(Generator("127.0.0.1", port, [FRAME]).run(phases, grace_s))


def test_queueing_at_a_server_that_is_too_slow_is_part_of_the_latency() -> None:
    """It takes 20 ms for each; at 100 a second the n-th ends no earlier than 20 (n + 1) ms and was due at 10 n ms.

    A generator that waits for answers before it sends would see 20 ms each time.
    """
    exchanges = sent(lambda n: (0.02, OK), Phase(100, 0.3))
    assert len(exchanges) == 30
    for turn, one in enumerate(sorted(exchanges, key=lambda one: one.latency_s + one.intended_s)):
        assert one.latency_s + one.intended_s >= 0.02 * (turn + 1) - RESOLUTION_S
    assert max(one.latency_s for one in exchanges) >= 30 * 0.02 - 29 * 0.01 - RESOLUTION_S


def test_frames_due_during_a_stall_wait_for_its_rest() -> None:
    """The server holds its first answer for half a second: who was due 0.1 s later waits for at least 0.4 s."""
    exchanges = sent(lambda n: (0.5 if n == 0 else 0.0, OK), Phase(20, 0.4))
    for one in exchanges:
        assert one.latency_s >= 0.5 - one.intended_s - RESOLUTION_S
    assert all(one.status == 200 for one in exchanges)


def test_every_request_is_sent_at_its_time_whatever_happens_to_the_others() -> None:
    """Nobody is answered within the phase, and still all are sent, none before its time."""
    exchanges = sent(lambda n: (0.3 if n == 0 else 0.0, OK), Phase(50, 0.2))
    assert [one.intended_s for one in exchanges] == pytest.approx([turn / 50 for turn in range(10)])
    assert all(one.sent_s >= one.intended_s for one in exchanges)


def test_phases_follow_each_other() -> None:
    found = list(intended([Phase(2, 1), Phase(4, 0.5)]))
    assert [(one.phase, one.intended_s) for one in found] == [(0, 0.0), (0, 0.5), (1, 1.0), (1, 1.25)]


def test_status_and_retry_after_are_told() -> None:
    """Refusals that close the connection, refusals that name no time, and faults are told apart."""
    replies = [OK, REFUSED, REFUSED_BARELY, BROKEN]
    exchanges = sent(lambda n: (0.0, replies[n % 4]), Phase(20, 0.4))
    found = sorted((one.status, one.retry_after) for one in exchanges)
    assert found == sorted([(200, False), (429, True), (429, False), (500, False)] * 2)


def test_closed_connection_and_late_answer_are_no_answer() -> None:
    exchanges = sent(lambda n: (0.0, NOTHING) if n == 0 else (1.0, OK), Phase(10, 0.2), grace_s=0.1)
    assert [(one.status, one.latency_s) for one in exchanges] == [(NO_ANSWER, None)] * 2


def test_server_that_is_not_there_is_no_answer() -> None:
    with serving(lambda n: (0.0, OK)) as (_, port):
        pass
    exchanges = asyncio.run(Generator("127.0.0.1", port, [FRAME]).run([Phase(10, 0.2)], 1.0))
    assert [one.status for one in exchanges] == [NO_ANSWER] * 2


def test_form_carries_the_frame_in_its_field() -> None:
    request = post("/predict", "host", b"\xff\xd8frame", "multipart", "photo")
    head, _, body = request.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b'name="photo"' in body
    assert b"\r\n\r\n\xff\xd8frame\r\n--" in body


def test_command_posts_the_frames_in_turn_and_prints_json(tmp_path: Path) -> None:
    (tmp_path / "00.jpg").write_bytes(b"first")
    (tmp_path / "01.jpg").write_bytes(b"second")
    with serving(lambda n: (0.0, OK)) as (known, port):
        flags = [f"http://127.0.0.1:{port}/inference", str(tmp_path), "--phase", "20:0.2"]
        done = CliRunner().invoke(main, flags)
    assert done.exit_code == 0, done.output
    rows = json.loads(done.output)["exchanges"]
    assert [(row[0], row[4]) for row in rows] == [(0, 200)] * 4
    assert sorted(body.rpartition(b"\r\n\r\n")[2] for body in known.bodies) == [b"first"] * 2 + [b"second"] * 2
    assert all(body.startswith(b"POST /inference HTTP/1.1\r\n") for body in known.bodies)
