"""Frames scored by the model in this process, in order, a few ahead."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Final

from rich.console import Console

from service.app import detector_of, keeper_of
from service.errors import FrameError
from service.inference.detector import Detection, Detector
from service.inference.execution import ExecutionPlan
from service.inference.frame_queue import Completed
from service.inference.scheduling import FrameScheduler, open_scheduler
from service.inference.tuning import default_plan
from service.plan_choice import cpus_per_process, is_on_gpu, pins_of
from service.scoring.keeping import kept, once_kept
from service.scoring.rows import Answer, FrameToScore, Keep, ModelFacts, Row, keep_nothing
from service.settings import Settings
from service.web.problems import problem

# Enough to keep the workers busy while a file is read, few enough to hold in memory.
FRAMES_AHEAD_PER_WORKER: Final = 4
# A decoded frame of a video in 4K takes 25 MB.
MAX_PIXEL_BYTES_AHEAD: Final = 256 * 1024 * 1024

Pending = tuple[FrameToScore, Future[Completed[Detection]] | FrameError]


@contextmanager
def local_scorer(
    settings: Settings, console: Console, group: str | None = None
) -> Iterator[tuple["LocalScorer", Keep]]:
    """A scorer by the settings, and who keeps uncertain frames where they say so, in `group`.

    Raises StartupError, and at the end UncertainFramesLost where some could not be kept.
    """
    with console.status("loading the model"):
        detector = detector_of(settings)
        keeper = keeper_of(settings, detector)
    model, session = detector.metadata, detector.session
    said = f"{model.name} {model.version}, {model.precision} on {session.provider}: {detector.precision_reason}"
    console.print(said, markup=False, highlight=False, soft_wrap=True)
    plan = default_plan(cpus_per_process(settings), is_on_gpu(detector), pins_of(settings, detector))
    with kept(keeper, console):
        yield LocalScorer(detector, plan), partial(once_kept, keeper=keeper, group=group) if keeper else keep_nothing


class LocalScorer:
    """Scores with a detector that runs by a plan."""

    def __init__(self, detector: Detector, plan: ExecutionPlan) -> None:
        self._detector, self._plan = detector, plan
        self._ahead = max(plan.inference_workers * FRAMES_AHEAD_PER_WORKER, 2 * plan.largest_batch)

    @property
    def model(self) -> ModelFacts:
        detector, metadata = self._detector, self._detector.metadata
        titles = {label.key: label.title for label in metadata.labels}
        about = (metadata.name, metadata.version, metadata.precision, detector.fingerprint)
        return ModelFacts(*about, dict(detector.thresholds), titles)

    def rows(self, frames: Iterable[FrameToScore]) -> Generator[Row, None, None]:
        """What became of each frame, in order, computed while the next ones are read."""
        pending: deque[Pending] = deque()
        with open_scheduler(self._detector, self._plan, max_queue_frames=self._ahead + 1) as scheduler:
            for frame in frames:
                pending.append((frame, _submitted(frame, scheduler)))
                while len(pending) > self._ahead or _pixel_bytes(pending) > MAX_PIXEL_BYTES_AHEAD:
                    yield _settled(*pending.popleft())
            while pending:
                yield _settled(*pending.popleft())


def _submitted(frame: FrameToScore, scheduler: FrameScheduler[Detection]) -> Future[Completed[Detection]] | FrameError:
    try:
        return frame.failure or scheduler.submit([frame.read() if frame.frame_HWC is None else frame.frame_HWC])[0]
    except FrameError as error:
        return error


def _settled(frame: FrameToScore, pending: Future[Completed[Detection]] | FrameError) -> Row:
    if isinstance(pending, FrameError):
        return Row(frame, problem(pending))
    try:
        detection = pending.result().result
    except FrameError as error:
        return Row(frame, problem(error))
    return Row(frame, Answer.of(detection), detection)


def _pixel_bytes(pending: Iterable[Pending]) -> int:
    return sum(frame.frame_HWC.nbytes for frame, _ in pending if frame.frame_HWC is not None)
