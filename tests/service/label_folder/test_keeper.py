"""The keeper writes off the path of who scores: bounded, together, and without ever failing its caller."""

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.errors import UnreadableLabelTable
from service.label_folder import keeper as keeper_module
from service.label_folder.folder import LabelFolder
from service.label_folder.intake import Outcome
from service.label_folder.keeper import FrameKeeper, Pace
from tests.service.label_folder.frames import ROOMY, rows
from tests.service.label_folder.gated_folder import DETECTOR, GatedFolder, detection


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[GatedFolder]:
    with GatedFolder(tmp_path / "uncertain") as made:
        yield made


@pytest.fixture
def keeper(folder: GatedFolder) -> Iterator[FrameKeeper]:
    made = FrameKeeper(folder, DETECTOR, margin=1.0, bounds=ROOMY, licence="CC0-1.0")
    yield made
    folder.gate.set()
    made.close()


def frame(number: int) -> bytes:
    """Bytes that begin like a JPEG."""
    return b"\xff\xd8\xff" + str(number).encode()


def test_only_frames_near_a_threshold_are_kept(folder: GatedFolder, keeper: FrameKeeper) -> None:
    """Around 0.5 a distance of 1 reaches from 0.27 to 0.73."""
    folder.gate.set()
    for number, red in enumerate((0.26, 0.28, 0.5, 0.72, 0.74)):
        keeper.offer(frame(number), detection(red), "drive")
    keeper.close()
    assert [row["red"] for row in rows(folder.path, "scores.csv")] == ["0.28", "0.5", "0.72"]
    assert {(row["model"], row["model_version"]) for row in rows(folder.path, "scores.csv")} == {("tiny", "0.0.1")}
    assert {(row["group"], row["licence"]) for row in rows(folder.path)} == {("drive", "CC0-1.0")}
    assert keeper.outcomes == {"kept": 3}


def test_offering_never_waits_for_the_disk_and_what_waits_is_written_together(
    folder: GatedFolder, keeper: FrameKeeper
) -> None:
    keeper.offer(frame(0), detection(0.5), "drive")
    assert folder.entered.acquire(timeout=30)
    for number in range(1, 6):
        keeper.offer(frame(number), detection(0.5), "drive")
    folder.gate.set()
    keeper.close()
    assert folder.batches == [1, 5]
    assert len(rows(folder.path)) == 6


def test_what_has_no_room_in_memory_is_dropped_and_counted(
    folder: GatedFolder, keeper: FrameKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four bytes each, ten allowed: what is being written counts."""
    monkeypatch.setattr(keeper_module, "MAX_WAITING_BYTES", 10)
    for number in range(4):
        keeper.offer(frame(number), detection(0.5), "drive")
    folder.gate.set()
    keeper.close()
    assert keeper.outcomes == {"kept": 2, "dropped": 2}


def test_each_frame_is_told_of_once_it_is_settled(folder: GatedFolder, keeper: FrameKeeper) -> None:
    """A frame that is far from every threshold has nothing to wait for."""
    told = [keeper.offer(frame(number), detection(red), "drive") for number, red in ((0, 0.5), (0, 0.5), (1, 0.9))]
    first, again, far = told
    assert first
    assert again
    assert far is None
    assert not first.done()
    folder.gate.set()
    assert (first.result(30), again.result(30)) == ("kept", "known")
    folder.failure = OSError(28, "No space left on device")
    failed = keeper.offer(frame(2), detection(0.5), "drive")
    keeper.close()
    dropped = keeper.offer(frame(3), detection(0.5), "drive")
    assert failed
    assert dropped
    assert (failed.result(30), dropped.result(30)) == ("failed", "dropped")


def test_who_waits_loses_nothing(folder: GatedFolder, keeper: FrameKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "MAX_WAITING_BYTES", 10)
    folder.gate.set()
    for number in range(9):
        keeper.offer(frame(number), detection(0.5), "drive", wait=True)
    keeper.close()
    assert keeper.outcomes == {"kept": 9}


@pytest.mark.parametrize(
    "failure",
    [OSError(28, "No space left on device"), UnreadableLabelTable("mend it"), ZeroDivisionError("unforeseen")],
)
def test_a_failure_is_counted_told_once_and_over_when_it_is_over(
    folder: GatedFolder, keeper: FrameKeeper, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Two batches fail for the same reason, a third is written."""
    told: list[Outcome] = []
    keeper.on_outcome = told.append
    folder.failure = failure
    folder.gate.set()
    with caplog.at_level(logging.WARNING):
        for number in range(2):
            keeper.offer(frame(number), detection(0.5), "drive")
            wait_for(lambda number=number: keeper.outcomes["failed"] == number + 1)  # type: ignore[misc]
    assert keeper.failure is failure
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        f"uncertain frames are not kept in {folder.path}: {failure}"
    ]
    folder.failure = None
    keeper.offer(frame(2), detection(0.5), "drive")
    keeper.close()
    assert keeper.outcomes == {"failed": 2, "kept": 1}
    assert told == ["failed", "failed", "kept"]


def test_writing_takes_no_more_of_a_core_than_its_share(
    folder: GatedFolder, keeper: FrameKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2 s of work at a twentieth of a core: 38 s of rest make 40. The thread waits for its first frame until then."""
    waits: list[float | None] = []
    readings = iter([10.0, 12.0])
    monkeypatch.setattr("service.label_folder.keeper.time.thread_time", lambda: next(readings))
    monkeypatch.setattr(keeper, "_pace", Pace(cpu_share=0.05))
    monkeypatch.setattr(keeper._ended, "wait", waits.append)
    folder.gate.set()
    keeper.offer(frame(0), detection(0.5), "drive")
    keeper.close()
    assert waits == [pytest.approx(38.0)]


def test_closing_writes_what_waits_and_takes_no_more(folder: GatedFolder, keeper: FrameKeeper) -> None:
    folder.gate.set()
    keeper.offer(frame(0), detection(0.5), "drive")
    keeper.close()
    keeper.offer(frame(1), detection(0.5), "drive")
    assert keeper.outcomes == {"kept": 1, "dropped": 1}


def test_closing_does_not_wait_for_a_disk_that_hangs(folder: GatedFolder, keeper: FrameKeeper) -> None:
    keeper.offer(frame(0), detection(0.5), "drive")
    keeper.close(timeout_s=0.01)
    assert keeper.outcomes == {}


def test_a_folder_that_cannot_be_used_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="file"):
        FrameKeeper(LabelFolder(tmp_path / "file"), DETECTOR, 1.0, ROOMY)


def wait_for(condition: Callable[[], bool]) -> None:
    """Until the thread has come so far; a test that hangs fails after 30 seconds."""
    ticker = threading.Event()
    for _ in range(6000):
        if condition():
            return
        ticker.wait(0.005)
    raise AssertionError("waited for 30 seconds")
