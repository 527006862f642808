"""Batches form from whatever waits, and every frame in one settles on its own."""

import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from service.errors import DamagedImage, DeadlineExceeded, NotReady
from service.inference.execution import ExecutionPlan
from service.inference.scheduling import FrameScheduler, in_batches
from tests.service.clock import Clock

UP_TO_FOUR = ExecutionPlan(inference_workers=1, batch_sizes=(1, 2, 4))


class GatedBatches:
    """A device that reports each batch and then waits for the gate; `fails` says which ones break."""

    def __init__(self, fails: Callable[[Sequence[bytes]], bool] = lambda frames: False) -> None:
        self.gate = threading.Event()
        self.started = threading.Semaphore(0)
        self.batches: list[list[bytes]] = []
        self.threads: set[int] = set()
        self._fails = fails

    def open(self) -> "GatedBatches":
        """Itself; notes on which thread."""
        self.threads.add(threading.get_ident())
        return self

    def __call__(self, frames: Sequence[bytes]) -> list[bytes]:
        self.batches.append(list(frames))
        self.threads.add(threading.get_ident())
        self.started.release()
        assert self.gate.wait(30)
        if self._fails(frames):
            raise MemoryError(f"no room for {len(frames)}")
        return [frame.upper() for frame in frames]


class Decoding:
    """Decodes everything but b"damaged"; counts the frames that are through."""

    def __init__(self) -> None:
        self.through = threading.Semaphore(0)

    def __call__(self, frame: bytes) -> bytes:
        self.through.release()
        if frame == b"damaged":
            raise DamagedImage("cut off")
        return frame


@pytest.fixture
def device() -> Iterator[GatedBatches]:
    """A device behind a gate that opens at the end at the latest."""
    gated = GatedBatches()
    yield gated
    gated.gate.set()


def opened(
    device: GatedBatches,
    decoding: Decoding | None = None,
    max_queue_frames: int = 8,
    clock: Clock | None = None,
    known: bytes | None = None,
) -> FrameScheduler[bytes]:
    """A scheduler of one decoder and batches of at most four."""
    decode = decoding or Decoding()
    return in_batches(decode, device.open, UP_TO_FOUR, max_queue_frames, clock or Clock(), known=known)


def occupy(scheduler: FrameScheduler[bytes], device: GatedBatches) -> None:
    """Let one frame run alone, and the gate hold it."""
    scheduler.submit([b"first"])
    assert device.started.acquire(timeout=30)


def until_decoded(decoding: Decoding, frames: int) -> None:
    assert all(decoding.through.acquire(timeout=30) for _ in range(frames))


def wait_for(condition: Callable[[], bool]) -> None:
    """Until it holds; a test that hangs fails after 30 seconds."""
    tick = threading.Event()
    for _ in range(6000):
        if condition():
            return
        tick.wait(0.005)
    raise AssertionError("it never came to hold")


def test_single_frame_waits_for_no_company(device: GatedBatches) -> None:
    device.gate.set()
    with opened(device) as scheduler:
        answer = scheduler.submit([b"alone"])[0].result(30)
    assert (answer.result, answer.batch_frames) == (b"ALONE", 1)


def test_what_came_meanwhile_is_the_next_batch(device: GatedBatches) -> None:
    """While one frame runs, six come: four are a batch, and then the other two."""
    decoding = Decoding()
    with opened(device, decoding) as scheduler:
        occupy(scheduler, device)
        futures = scheduler.submit([b"a", b"b", b"c", b"d", b"e", b"f"])
        until_decoded(decoding, 1 + 5)  # the fifth waits in the decoder's hands: four decoded ones are enough
        device.gate.set()
        assert [future.result(30).result for future in futures] == [b"A", b"B", b"C", b"D", b"E", b"F"]
        assert {futures[number].result().batch_frames for number in range(4)} == {4}
    assert device.batches[:2] == [[b"first"], [b"a", b"b", b"c", b"d"]]


def test_one_thread_opens_the_device_and_runs_every_batch(device: GatedBatches) -> None:
    device.gate.set()
    with opened(device) as scheduler:
        for future in scheduler.submit([b"a", b"b", b"c"]):
            future.result(30)
    assert len(device.threads) == 1
    assert threading.get_ident() not in device.threads


def test_device_that_cannot_be_opened_is_told_to_whoever_opens_the_scheduler() -> None:
    def refuse() -> Callable[[Sequence[bytes]], list[bytes]]:
        raise MemoryError("no room for a batch of 4")

    with pytest.raises(MemoryError, match="a batch of 4"):
        in_batches(bytes, refuse, UP_TO_FOUR, max_queue_frames=8)


def test_cancelled_and_expired_frames_leave_before_the_batch_runs(device: GatedBatches) -> None:
    decoding, clock = Decoding(), Clock()
    with opened(device, decoding, clock=clock) as scheduler:
        occupy(scheduler, device)
        left, stays = scheduler.submit([b"left", b"stays"])
        (late,) = scheduler.submit([b"late"], deadline_s=1.0)
        until_decoded(decoding, 1 + 3)
        assert left.cancel()
        clock.now_s = 2.0
        device.gate.set()
        assert stays.result(30).result == b"STAYS"
        assert isinstance(late.exception(30), DeadlineExceeded)
    assert device.batches == [[b"first"], [b"stays"]]


def test_damaged_frame_never_reaches_a_batch(device: GatedBatches) -> None:
    device.gate.set()
    with opened(device) as scheduler:
        damaged, good = scheduler.submit([b"damaged", b"good"])
        assert isinstance(damaged.exception(30), DamagedImage)
        assert good.result(30).result == b"GOOD"
        assert scheduler.state().running_frames == 0
    assert b"damaged" not in [frame for batch in device.batches for frame in batch]


@pytest.mark.parametrize(
    ("fails", "failing"),
    [
        (lambda frames: len(frames) > 1, set()),
        (lambda frames: b"bad" in frames, {b"bad"}),
        (lambda frames: b"first" not in frames, {b"good", b"bad", b"also good"}),
    ],
    ids=["too large a batch", "one bad frame", "a dead device"],
)
def test_failing_batch_is_tried_again_frame_by_frame(
    fails: Callable[[Sequence[bytes]], bool], failing: set[bytes]
) -> None:
    device, decoding, names = GatedBatches(fails), Decoding(), [b"good", b"bad", b"also good"]
    with opened(device, decoding) as scheduler:
        occupy(scheduler, device)
        futures = dict(zip(names, scheduler.submit(names), strict=True))
        until_decoded(decoding, 1 + 3)
        wait_for(lambda: scheduler.state().running_frames == 1)
        device.gate.set()
        failed = {name for name, future in futures.items() if isinstance(future.exception(30), MemoryError)}
        assert failed == failing
        assert all(future.result().result == name.upper() for name, future in futures.items() if name not in failing)
        assert scheduler.healthy()
        assert scheduler.state().running_frames == 0
    assert device.batches[1:] == [names, [b"good"], [b"bad"], [b"also good"]]


def test_device_that_fails_a_known_frame_too_ends_the_scheduler() -> None:
    """As after CUDA's error 700. Four fail with the device's error; the two behind them are not tried any more."""
    device, decoding = GatedBatches(lambda frames: b"first" not in frames), Decoding()
    scheduler = opened(device, decoding, known=b"known")
    occupy(scheduler, device)
    futures = scheduler.submit([b"a", b"b", b"c", b"d", b"e", b"f"])
    until_decoded(decoding, 1 + 5)
    wait_for(lambda: scheduler.state().waiting_frames == 5)
    device.gate.set()
    assert [type(future.exception(30)) for future in futures] == [MemoryError] * 4 + [NotReady] * 2
    assert device.batches[1:] == [[b"a", b"b", b"c", b"d"], [b"a"], [b"b"], [b"c"], [b"d"], [b"known"]]
    assert not scheduler.healthy()
    assert scheduler.failure == "the device answers nothing any more: no room for 1"
    with pytest.raises(NotReady, match="needs a restart"):
        scheduler.submit([b"g"])
    with pytest.raises(NotReady, match="needs a restart"):
        scheduler.refuse_without_room(1)
    wait_for(lambda: scheduler.state().running_frames == 0)
    scheduler.close()


def test_bad_frames_do_not_end_a_scheduler_whose_device_answers_a_known_one() -> None:
    """Alone and as a whole batch; the known frame is asked once for each batch of which nothing was answered."""
    device = GatedBatches(lambda frames: any(frame.startswith(b"bad") for frame in frames))
    device.gate.set()
    with opened(device, known=b"known") as scheduler:
        assert isinstance(scheduler.submit([b"bad"])[0].exception(30), MemoryError)
        assert scheduler.submit([b"good"])[0].result(30).result == b"GOOD"
        assert device.batches == [[b"bad"], [b"known"], [b"good"]]
        bad, good = scheduler.submit([b"bad", b"good"])
        assert (type(bad.exception(30)), good.result(30).result) == (MemoryError, b"GOOD")
        assert scheduler.healthy()
        assert scheduler.failure is None


def test_decoded_frames_count_for_the_bound_of_the_queue(device: GatedBatches) -> None:
    """Four are decoded and one is in the decoder's hands; of eight places four are taken by pixels."""
    decoding = Decoding()
    with opened(device, decoding) as scheduler:
        occupy(scheduler, device)
        scheduler.submit([b"x"] * 5)
        until_decoded(decoding, 1 + 5)
        wait_for(lambda: scheduler.state().waiting_frames == 4)
        assert scheduler.state().running_frames == 2
        device.gate.set()


def test_throughput_is_measured_over_batches() -> None:
    """Batches of one frame that take half a second each, one after the other: two frames a second."""
    clock = Clock()

    def half_a_second(frames: Sequence[bytes]) -> list[bytes]:
        clock.now_s += 0.5
        return list(frames)

    with in_batches(bytes, lambda: half_a_second, UP_TO_FOUR, max_queue_frames=8, clock=clock) as scheduler:
        for _ in range(3):
            scheduler.submit([b"a"])[0].result(30)
        assert scheduler.state().frames_per_second == pytest.approx(2.0)


def test_waiting_for_a_batch_is_no_work_on_a_frame() -> None:
    """1 s of decoding and 2 s in the network are 3, after 50 s of waiting too: 4 s are time enough, and 2.8 are not."""
    clock, started, gate = Clock(), threading.Semaphore(0), threading.Semaphore(0)

    def one_second(frame: bytes) -> bytes:
        clock.now_s += 1
        return frame

    def two_seconds(frames: Sequence[bytes]) -> list[bytes]:
        started.release()
        assert gate.acquire(timeout=30)
        clock.now_s += 2
        return list(frames)

    with in_batches(one_second, lambda: two_seconds, UP_TO_FOUR, max_queue_frames=8, clock=clock) as scheduler:
        for _ in range(3):
            (first,) = scheduler.submit([b"a"])
            assert started.acquire(timeout=30)
            (second,) = scheduler.submit([b"b"])
            wait_for(lambda: scheduler.state().waiting_frames == 1 and scheduler.state().running_frames == 1)
            clock.now_s += 50
            gate.release(2)
            assert (first.result(30).result, second.result(30).result) == (b"a", b"b")
            assert started.acquire(timeout=30)
        scheduler.refuse_without_room(1, deadline_s=clock.now_s + 4)
        with pytest.raises(DeadlineExceeded, match="a frame takes about"):
            scheduler.refuse_without_room(1, deadline_s=clock.now_s + 2.8)


def test_closing_cancels_what_waits_and_answers_the_batch_that_runs(device: GatedBatches) -> None:
    scheduler = opened(device)
    (running,) = scheduler.submit([b"running"])
    assert device.started.acquire(timeout=30)
    (waiting,) = scheduler.submit([b"waiting"])
    waiting.add_done_callback(lambda _: device.gate.set())
    scheduler.close()
    assert running.result(0).result == b"RUNNING"
    assert waiting.cancelled()
    assert not scheduler.healthy()
