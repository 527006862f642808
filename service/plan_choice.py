"""How the model is to run here: pinned by settings, from a tuning file, measured at the start, or by default.

    all parts are set                     pinned     nothing is measured
    a tuning file of this machine         file       its figures decide
    tuning_seconds is 0                   default    a worker on each CPU; batches on a GPU
    else                                  measured   within tuning_seconds, five times as many on a GPU

A part of the plan that is set is kept in all cases. A file of another model or machine is passed over with a warning,
since a fleet has several machines and a model has a next version; one that cannot be read ends the start.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from service.errors import Draining, FrameError, StartupError
from service.inference.detector import Detector
from service.inference.driving_frame import driving_frame
from service.inference.execution import ExecutionPlan, available_cpus, granted_cpus
from service.inference.freed_memory import give_freed_memory_back
from service.inference.machine import Machine, this_machine
from service.inference.plan_timing import IsEnding, Scheduler, measure_plans, never, under_way
from service.inference.scheduling import open_scheduler
from service.inference.session import CPU, cuda_failed
from service.inference.tuning import (
    Execution,
    Measurements,
    Origin,
    Pins,
    candidate_plans,
    choose,
    default_plan,
    in_words,
)
from service.inference.tuning_file import read_tuning_file
from service.settings import Settings

logger = logging.getLogger(__name__)

Load = Callable[[Settings], Detector]

# On a GPU a plan loads a session for each of its batch sizes, and half of the plans have theirs to record.
TIMES_ON_GPU: Final = 5


class TimedLoad:
    """Loads, and knows about how many seconds the next time takes, as far as that can be told.

    The first load on a GPU says nothing of others: a process pays once for CUDA's libraries and context.
    """

    def __init__(self, load: Load) -> None:
        self._load = load
        self._is_first = True
        self.seconds = 0.0

    def __call__(self, settings: Settings) -> Detector:
        started_s = time.monotonic()
        detector = self._load(settings)
        if not (self._is_first and is_on_gpu(detector)):
            self.seconds = time.monotonic() - started_s
        self._is_first = False
        return detector


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A detector whose session has the threads of its plan, and the plan."""

    detector: Detector
    execution: Execution


def load_with_plan(
    settings: Settings, load: Load, given: Execution | None = None, is_ending: IsEnding = never
) -> LoadedModel:
    """The detector and how it runs; with `given`, as another process of the service found out. Raises StartupError.

    Raises Draining soon after `is_ending` says so while plans are measured: a start does not outlast its process.
    `Execution.model_dump_json` and `model_validate_json` carry what one process measured to the others.
    """
    if given:
        return LoadedModel(load(pinned(settings, given.plan)), given)
    timed = TimedLoad(load)
    detector = timed(settings)
    execution = chosen_execution(settings, detector, timed, is_ending)
    if _session_parts(execution.plan) != _opened_parts(settings, detector):
        detector = load(pinned(settings, execution.plan))
    return LoadedModel(detector, execution)


def chosen_execution(settings: Settings, detector: Detector, load: TimedLoad, is_ending: IsEnding = never) -> Execution:
    """How the model runs, and why; `detector` has the threads of the settings, and `load` opens others."""
    cpus, on_gpu, pins = cpus_per_process(settings), is_on_gpu(detector), pins_of(settings, detector)
    default = default_plan(cpus, on_gpu, pins)
    if pins.whole:
        return Execution(plan=default, origin="pinned", reason="every part of it is set")
    if settings.tuning and (execution := _from_file(settings.tuning, settings, detector)):
        return execution
    if not settings.tuning_seconds:
        return Execution(plan=default, origin="default", reason="tuning_seconds is 0: nothing was measured")
    plans = candidate_plans(cpus, on_gpu, pins)
    frame = driving_frame(settings.max_frame_pixels)
    budget_s, in_short = settings.tuning_seconds * (TIMES_ON_GPU if on_gpu else 1), made_frame(frame)
    measurements = measured(settings, detector, load, plans, [frame], in_short, budget_s, is_ending)
    execution = decided(settings, detector, measurements, "measured")
    if on_gpu and execution.plan not in [figures.plan for figures in measurements.figures]:
        logger.warning(
            "a plan is taken unmeasured, perhaps the slowest on this GPU: allow more time, or set --tuning",
            extra={"plan": in_words(execution.plan), "seconds": budget_s},
        )
    return execution


def measured(
    settings: Settings,
    detector: Detector,
    load: TimedLoad,
    plans: Sequence[ExecutionPlan],
    frames: Sequence[bytes],
    frame_in_words: str,
    seconds: float,
    is_ending: IsEnding = never,
) -> Measurements:
    """Figures of the plans within so many seconds; raises Draining once `is_ending` says so.

    Raises ProviderUnavailable where a GPU does not answer the first plan's frames.
    """
    opener = _PlanOpener(settings, detector, load)
    try:
        found = measure_plans(plans, opener, frames, frame_in_words, seconds, is_ending=is_ending)
    except (StartupError, FrameError, Draining):
        raise
    except Exception as problem:
        # Whatever plan has brought CUDA down, the first fails then, too.
        if is_on_gpu(detector):
            raise cuda_failed(f"frames failed while plans were measured: {problem}") from problem
        raise
    del opener
    give_freed_memory_back()
    _log(found)
    return found


def decided(settings: Settings, detector: Detector, found: Measurements, origin: Origin) -> Execution:
    """The plan that figures speak for, under the settings' latency target and with the parts that they set."""
    cpus, on_gpu, pins = cpus_per_process(settings), is_on_gpu(detector), pins_of(settings, detector)
    target_ms = settings.latency_target_ms or None
    choice = choose(found.figures, target_ms, pins, computing_cpus(cpus, detector.session.provider))
    return Execution(
        plan=choice.plan if choice else default_plan(cpus, on_gpu, pins),
        reason=choice.reason if choice else "the default: there was no time to measure any plan",
        origin=origin,
        latency_target_ms=target_ms,
        measurements=found,
    )


def pinned(settings: Settings, plan: ExecutionPlan) -> Settings:
    """Settings that ask for exactly this plan."""
    parts = {
        "inference_workers": plan.inference_workers,
        "threads_per_worker": plan.threads_per_worker,
        "max_batch_frames": plan.largest_batch,
        "cuda_graphs": "on" if plan.cuda_graphs else "off",
        # Graphs are CUDA's: a session that falls back to the CPU would answer by another plan.
        "device": "cuda" if plan.cuda_graphs else settings.device,
    }
    return settings.model_copy(update=parts)


def pins_of(settings: Settings, detector: Detector) -> Pins:
    """The parts of the plan that are set; without a GPU there are no CUDA graphs to choose."""
    graphs = {"auto": None, "on": True, "off": False}[settings.cuda_graphs] if is_on_gpu(detector) else False
    return Pins(
        settings.inference_workers or None,
        settings.threads_per_worker or None,
        settings.max_batch_frames or None,
        graphs,
    )


def cpus_per_process(settings: Settings) -> int:
    """CPUs that each of the service's processes has for itself; at least 1."""
    return max(1, available_cpus() // settings.workers)


def computing_cpus(cpus: int, provider: str) -> float | None:
    """CPU seconds that a plan may use of so many CPUs in a second, the quota unrounded; None where others compute."""
    return min(cpus, granted_cpus()) if provider == CPU else None


def is_on_gpu(detector: Detector) -> bool:
    """Whether something else than the CPUs computes."""
    return detector.session.provider != CPU


def made_frame(frame: bytes) -> str:
    """The made frame, in words."""
    return f"a made street, JPEG of {len(frame)} bytes"


def machine_of(settings: Settings, detector: Detector) -> Machine:
    """What figures hold for."""
    return this_machine(settings.model, detector, cpus_per_process(settings))


class _PlanOpener:
    """Opens schedulers; plans with the same threads, all with or without graphs, share a detector.

    Its sessions are one for all batches, on a GPU one for each batch size.
    """

    def __init__(self, settings: Settings, detector: Detector, load: TimedLoad) -> None:
        self._settings, self._load = settings, load
        parts = _opened_parts(settings, detector)
        self._detectors, self._loaded = {parts: detector}, {(*parts, 1)}
        self._on_gpu = is_on_gpu(detector)

    def open(self, plan: ExecutionPlan) -> Scheduler:
        """A scheduler with room for what keeps the plan busy."""
        parts = _session_parts(plan)
        if parts not in self._detectors:
            self._detectors[parts] = self._load(pinned(self._settings, plan))
        scheduler = open_scheduler(self._detectors[parts], plan, max_queue_frames=2 * under_way(plan), breaks_off=False)
        self._loaded |= self._sessions(plan)
        return scheduler

    def loading_s(self, plan: ExecutionPlan) -> float:
        """As long as the load before, for each of the plan's sessions that is not there yet."""
        return self._load.seconds * len(self._sessions(plan) - self._loaded)

    def _sessions(self, plan: ExecutionPlan) -> set[tuple[int, bool, int]]:
        sizes = plan.batch_sizes if self._on_gpu else (1,)
        return {(*_session_parts(plan), size) for size in sizes}


def _session_parts(plan: ExecutionPlan) -> tuple[int, bool]:
    """What a session has of a plan from its beginning."""
    return plan.threads_per_worker, plan.cuda_graphs


def _opened_parts(settings: Settings, detector: Detector) -> tuple[int, bool]:
    """The same of a session that was opened by the settings, before there was a plan."""
    return settings.threads_per_worker or 1, detector.session.cuda_graphs


def _from_file(path: Path, settings: Settings, detector: Detector) -> Execution | None:
    file = read_tuning_file(path)
    if differences := machine_of(settings, detector).differences(file.machine):
        logger.warning(
            "tuning file passed over: it is of another model or machine",
            extra={"file": str(path), "differences": "; ".join(differences)},
        )
        return None
    if choose(file.measurements.figures, pins=pins_of(settings, detector)) is None:
        logger.warning("tuning file passed over: no plan in it has the parts that are set", extra={"file": str(path)})
        return None
    return decided(settings, detector, file.measurements, "file")


def _log(found: Measurements) -> None:
    for figures in found.figures:
        fields = figures.model_dump(exclude={"plan", "frames", "rounds"})
        logger.info("plan measured", extra={"plan": in_words(figures.plan), **fields})
    for left in found.left_out:
        logger.info("plan left out", extra={"plan": in_words(left.plan), "reason": left.reason})
