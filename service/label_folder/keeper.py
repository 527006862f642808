"""Keeps uncertain frames off the path of whoever scores them: a bounded queue before one thread that writes.

What waits is written together, so that a slow disk makes larger batches and not a longer queue. A failure is a warning
in the log and a number in the metrics; it never reaches the scoring.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

from service.errors import LabelFolderError
from service.inference.detector import Detection, Detector
from service.label_folder.folder import LabelFolder
from service.label_folder.intake import Bounds, Outcome, UncertainFrame
from service.label_folder.nearness import near_labels

logger = logging.getLogger(__name__)

# Bytes of frames that may wait to be written: some hundreds of photographs.
MAX_WAITING_BYTES: Final = 64 * 1024 * 1024

Waiting = tuple[UncertainFrame, Future[Outcome]]


@dataclass(frozen=True, slots=True)
class Pace:
    """The least time between two writes, and the most of one core that writing may take.

    Rewriting the tables of very many frames would otherwise get in the way of scoring.
    """

    pause_s: float = 0.0
    cpu_share: float = 1.0


AT_ONCE: Final = Pace()


class FrameKeeper:
    """Keeps frames with a label within `margin` of its threshold in a folder.

    `outcomes` counts what became of the frames so far, `failure` is the last reason why some could not be kept.
    Raises LabelFolderError and OSError where the folder cannot be used.
    """

    def __init__(
        self,
        folder: LabelFolder,
        detector: Detector,
        margin: float,
        bounds: Bounds,
        licence: str = "unstated",
        pace: Pace = AT_ONCE,
    ) -> None:
        folder.prepare(detector.metadata.label_keys)
        self.folder, self.outcomes = folder, Counter[Outcome]()
        self.failure: Exception | None = None
        self.on_outcome: Callable[[Outcome], None] = lambda _: None
        self._detector, self._margin, self._bounds, self._licence = detector, margin, bounds, licence
        self._pace, self._told = pace, ""
        self._waiting: list[Waiting] = []
        self._held_bytes, self._closed = 0, False
        self._changed, self._ended = threading.Condition(), threading.Event()
        self._thread = threading.Thread(target=self._serve, name="frame-keeper", daemon=True)
        self._thread.start()

    def is_near(self, detection: Detection) -> bool:
        """Whether a frame with this detection is one to keep."""
        return bool(self._near(detection))

    def offer(self, data: bytes, detection: Detection, group: str, *, wait: bool = False) -> Future[Outcome] | None:
        """Keep the frame if it is uncertain; tells what becomes of it, None where it is not.

        Without `wait` it is dropped and counted when too much waits already.
        """
        near = self._near(detection)
        if not near:
            return None
        model = self._detector.metadata
        frame = UncertainFrame(
            data, dict(detection.probabilities), near, model.name, model.version, group, self._licence
        )
        outcome = Future[Outcome]()
        if not self._queued((frame, outcome), wait):
            self._count(["dropped"])
            outcome.set_result("dropped")
        return outcome

    def fail(self, error: Exception, frames: int) -> None:
        """Count frames that could not be kept, and say why."""
        # A full disk stays full for hours: what repeats itself is told once and counted.
        if str(error) != self._told:
            folder, reason = str(self.folder.path), str(error)
            # Commands show no fields.
            fields = {"folder": folder, "reason": reason, "frames": frames}
            logger.warning("uncertain frames are not kept in %s: %s", folder, reason, extra=fields)
        self.failure = error
        self._told = str(error)
        self._count(["failed"] * frames)

    def close(self, timeout_s: float | None = None) -> None:
        """Write what waits and end; after `timeout_s` seconds without it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._ended.set()
        self._thread.join(timeout_s)

    def _near(self, detection: Detection) -> dict[str, float]:
        return near_labels(detection.probabilities, self._detector.thresholds, self._margin)

    def _queued(self, waiting: Waiting, wait: bool) -> bool:
        frame, _ = waiting
        with self._changed:
            while wait and not self._has_room(frame):
                self._changed.wait()
            if self._closed or not self._has_room(frame):
                return False
            self._waiting.append(waiting)
            self._held_bytes += len(frame.data)
            self._changed.notify_all()
            return True

    def _has_room(self, frame: UncertainFrame) -> bool:
        return self._held_bytes == 0 or self._held_bytes + len(frame.data) <= MAX_WAITING_BYTES

    def _serve(self) -> None:
        while batch := self._next_batch():
            started_s = time.thread_time()
            self._keep(batch)
            took_s = time.thread_time() - started_s
            with self._changed:
                self._held_bytes -= sum(len(frame.data) for frame, _ in batch)
                self._changed.notify_all()
            self._ended.wait(max(self._pace.pause_s, took_s / self._pace.cpu_share - took_s))

    def _next_batch(self) -> list[Waiting]:
        """Everything that waits, at least one frame; nothing once it is closed and written."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            batch, self._waiting = self._waiting, []
            return batch

    def _keep(self, batch: Sequence[Waiting]) -> None:
        outcomes: Sequence[Outcome] = ["failed"] * len(batch)
        try:
            outcomes = self.folder.keep([frame for frame, _ in batch], self._bounds)
            self._count(outcomes)
            self._told = ""
        except (OSError, LabelFolderError) as error:
            self.fail(error, len(batch))
        except Exception as error:
            logger.exception("keeping uncertain frames failed unexpectedly")
            self.fail(error, len(batch))
        for (_, told), outcome in zip(batch, outcomes, strict=True):
            told.set_result(outcome)

    def _count(self, outcomes: Sequence[Outcome]) -> None:
        with self._changed:
            self.outcomes.update(outcomes)
        for outcome in outcomes:
            self.on_outcome(outcome)
