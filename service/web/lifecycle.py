"""What the routes know of the process: loading, then ready, then draining, or failed."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from service.errors import Draining, NotReady, StartupError
from service.inference.detector import Detection, Detector
from service.inference.scheduling import FrameScheduler
from service.inference.tuning import Execution
from service.label_folder.keeper import FrameKeeper

Stage = Literal["loading", "ready", "draining", "failed"]


@dataclass(frozen=True, slots=True)
class Serving:
    """A loaded model, who computes when and how, and who keeps uncertain frames where that is wanted."""

    detector: Detector
    scheduler: FrameScheduler[Detection]
    execution: Execution
    keeper: FrameKeeper | None = None


class Lifecycle:
    """The one place that knows how far the process is; only the event loop's thread changes it."""

    def __init__(self, retry_after_s: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.draining = False
        self.failure: StartupError | None = None
        self.on_failure: Callable[[], None] = lambda: None
        self.on_open: Callable[[], None] = lambda: None
        self._serving: Serving | None = None
        self._retry_after_s = retry_after_s
        self._clock, self._started_s = clock, clock()

    @property
    def stage(self) -> Stage:
        if self.failure:
            return "failed"
        if self.draining:
            return "draining"
        return "ready" if self._serving and self._serving.scheduler.healthy() else "loading"

    @property
    def broken(self) -> str | None:
        """Why what was ready answers no frames any more, though nobody wants it to end; None where it does."""
        if self.failure or self.draining or self._serving is None:
            return None
        return self._serving.scheduler.failure

    @property
    def uptime_s(self) -> float:
        return self._clock() - self._started_s

    @property
    def loaded(self) -> Serving | None:
        """What serves, or None before the model is loaded."""
        return self._serving

    def open(self, serving: Serving) -> None:
        """The model is loaded, tested and warm."""
        self._serving = serving
        self.on_open()

    def fail(self, error: StartupError) -> None:
        """The model cannot be loaded; the process is to end."""
        self.failure = error
        self.on_failure()

    def serving(self) -> Serving:
        """What answers frames. Raises NotReady before the model is loaded, and the start-up's error if it failed."""
        if self.failure:
            raise self.failure
        if self._serving is None:
            raise NotReady("the model is still being loaded", retry_after_s=self._retry_after_s)
        return self._serving

    def refuse_unready(self) -> None:
        """Raises what keeps the service from wanting traffic: a failed start, loading, a dead worker, draining."""
        serving = self.serving()
        if self.draining:
            raise Draining("the process is about to end; requests that still arrive are served")
        if failure := serving.scheduler.failure:
            raise NotReady(f"{failure}; the process needs a restart", retry_after_s=self._retry_after_s)
