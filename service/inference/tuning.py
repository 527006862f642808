"""Which execution plan is best for this model on this machine: what is worth measuring, and the choice from figures.

    candidate_plans -> plan_timing.measure_plans -> Measurements -> choose -> Choice

What is measured is the whole way of a frame, from encoded bytes to its answer, without HTTP.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.inference.execution import ExecutionPlan

CLEARLY_FASTER: Final = 1.03
"""A simpler plan goes before one that is faster by less: so much differs between two measurements of the same."""
LEAST_CPU_SHARE: Final = 2 / 3
"""Single-threaded workers keep their CPUs busy; where they got less of them, other programs decided the figures."""
MOST_THREADS: Final = 8
"""More threads than that no frame of this size keeps busy."""
BATCHES_ON_CPU: Final = 8
BATCHES_ON_GPU: Final = (16, 1, 4, 32)
"""Largest batches worth measuring, the default first."""


Origin = Literal["pinned", "measured", "file", "default"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PlanFigures(_Record):
    """What one plan did with as many frames under way as it works on at once."""

    plan: ExecutionPlan
    frames_per_s: float = Field(gt=0, description="Median over the rounds")
    relative_speed: float = Field(
        gt=0, description="Times as fast as the first plan measured: median of the ratios within a round"
    )
    latency_p50_ms: float = Field(gt=0, description="From a frame's bytes to its answer, median over all frames")
    latency_p99_ms: float = Field(gt=0, description="The same, which 99 of 100 frames keep to")
    cpu_s_per_frame: float = Field(ge=0, description="CPU seconds that the process spent on a frame, over all threads")
    frames: int = Field(gt=0, description="Frames that were counted")
    rounds: int = Field(gt=0, description="Rounds in which all plans took turns")


class LeftOut(_Record):
    """A plan that has no figures, and why."""

    plan: ExecutionPlan
    reason: str


class Measurements(_Record):
    """The figures of every plan that was measured, and what they hold for."""

    figures: tuple[PlanFigures, ...]
    left_out: tuple[LeftOut, ...] = ()
    frame: str = Field(description="What was answered while measuring")
    seconds: float = Field(ge=0, description="How long measuring took")


class Execution(_Record):
    """How the model runs here, why so, and the figures that decided it."""

    plan: ExecutionPlan
    reason: str = Field(description="Why it is this plan")
    origin: Origin = Field(
        description="`pinned` by settings, `measured` at the start, taken from a `file` of `roadcue benchmark --save`, "
        "or the `default` where nothing was measured"
    )
    latency_target_ms: float | None = Field(None, description="What 99 of 100 frames were to keep to; null without")
    measurements: Measurements | None = Field(None, description="Null where nothing was measured")


@dataclass(frozen=True, slots=True)
class Choice:
    """A plan, and why it is this one."""

    plan: ExecutionPlan
    reason: str


@dataclass(frozen=True, slots=True)
class Pins:
    """The parts of a plan that are set and not to be measured; None leaves a part free."""

    inference_workers: int | None = None
    threads_per_worker: int | None = None
    max_batch_frames: int | None = None
    cuda_graphs: bool | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing is left to choose."""
        return None not in (self.inference_workers, self.threads_per_worker, self.max_batch_frames, self.cuda_graphs)

    def on(self, plan: ExecutionPlan) -> ExecutionPlan:
        """The plan with the set parts put in."""
        return replace(
            plan,
            inference_workers=self.inference_workers or plan.inference_workers,
            threads_per_worker=self.threads_per_worker or plan.threads_per_worker,
            batch_sizes=batch_sizes(self.max_batch_frames) if self.max_batch_frames else plan.batch_sizes,
            cuda_graphs=plan.cuda_graphs if self.cuda_graphs is None else self.cuda_graphs,
        )


NO_PINS: Final = Pins()


def batch_sizes(largest: int) -> tuple[int, ...]:
    """Sizes that batches are filled up to: a batch is never filled up to more than twice its frames.

    >>> batch_sizes(8), batch_sizes(6), batch_sizes(1)
    ((1, 2, 4, 8), (1, 2, 4, 6), (1,))
    """
    return (*(2**power for power in range(largest.bit_length()) if 2**power < largest), largest)


def default_plan(cpus: int, on_gpu: bool, pins: Pins = NO_PINS) -> ExecutionPlan:
    """The plan where nothing is measured: on a CPU a single-threaded worker on each, on a GPU batches."""
    return candidate_plans(cpus, on_gpu, pins)[0]


def candidate_plans(cpus: int, on_gpu: bool, pins: Pins = NO_PINS) -> list[ExecutionPlan]:
    """The plans worth measuring, the default first; all use every CPU.

    >>> [(p.inference_workers, p.threads_per_worker, p.largest_batch) for p in candidate_plans(4, on_gpu=False)]
    [(4, 1, 1), (2, 2, 1), (1, 4, 1), (4, 4, 8)]
    """
    plans = _plans_on_gpu(cpus) if on_gpu else _plans_on_cpu(cpus, pins.threads_per_worker)
    batched = None if pins.max_batch_frames is None else pins.max_batch_frames > 1
    return list(dict.fromkeys(pins.on(plan) for plan in plans if batched in (None, plan.batched)))


def choose(
    figures: Sequence[PlanFigures],
    latency_target_ms: float | None = None,
    pins: Pins = NO_PINS,
    cpus: float | None = None,
) -> Choice | None:
    """The simplest plan that no other beats clearly, of those that honour the target; None where no plan fits the pins.

    Where none honours the target, it is the one that comes nearest. `cpus` are those that the plans had for themselves,
    a quota unrounded: where other programs took them, it is the first plan. None where the CPUs do not compute.
    """
    fitting = [figure for figure in figures if pins.on(figure.plan) == figure.plan]
    if not fitting:
        return None
    if hindrance := disturbance(figures, cpus):
        return Choice(fitting[0].plan, hindrance)
    if latency_target_ms is None:
        return _simplest_of_fastest(fitting, "")
    honouring = [figure for figure in fitting if figure.latency_p99_ms <= latency_target_ms]
    if honouring:
        return _simplest_of_fastest(honouring, f" of those that answer 99 % of frames within {latency_target_ms:g} ms")
    nearest = min(fitting, key=lambda figure: figure.latency_p99_ms)
    return Choice(
        nearest.plan,
        f"no plan answers 99 % of frames within {latency_target_ms:g} ms; this one comes nearest, with "
        f"{nearest.latency_p99_ms:.3g} ms",
    )


def disturbance(figures: Sequence[PlanFigures], cpus: float | None) -> str | None:
    """Why the figures tell nothing about the plans, or None where they do; `cpus` as in `choose`."""
    share = cpu_share(figures[0], cpus) if figures and cpus else None
    if share is None or share >= LEAST_CPU_SHARE:
        return None
    return f"the figures tell nothing: other programs were busy and left {100 * share:.0f} % of the CPUs"


def cpu_share(figure: PlanFigures, cpus: float) -> float | None:
    """The share of its CPUs that a plan of single-threaded workers got; None for a plan that does not fill them."""
    plan = figure.plan
    if plan.batched or plan.threads_per_worker > 1:
        return None
    return figure.frames_per_s * figure.cpu_s_per_frame / min(plan.inference_workers, cpus)


def in_words(plan: ExecutionPlan) -> str:
    """A plan for people.

    >>> in_words(ExecutionPlan(2, 1)), in_words(ExecutionPlan(1, 4, (1, 2, 4)))
    ('2 workers x 1 thread', '1 worker, batches up to 4 x 4 threads')
    """
    workers = f"{plan.inference_workers} worker{'s' * (plan.inference_workers > 1)}"
    threads = f"{plan.threads_per_worker} thread{'s' * (plan.threads_per_worker > 1)}"
    batches = f", batches up to {plan.largest_batch}" if plan.batched else ""
    return f"{workers}{batches} x {threads}{', CUDA graphs' if plan.cuda_graphs else ''}"


def _plans_on_cpu(cpus: int, pinned_threads: int | None) -> Iterator[ExecutionPlan]:
    thread_counts = [2**power for power in range(min(cpus, MOST_THREADS).bit_length())]
    for threads in [pinned_threads] if pinned_threads else thread_counts:
        yield ExecutionPlan(max(1, cpus // threads), threads)
    yield ExecutionPlan(cpus, cpus, batch_sizes(BATCHES_ON_CPU))


def _plans_on_gpu(cpus: int) -> Iterator[ExecutionPlan]:
    for largest in BATCHES_ON_GPU:
        yield from (ExecutionPlan(cpus, 1, batch_sizes(largest), graphs) for graphs in (False, True))


def _simplest_of_fastest(figures: Sequence[PlanFigures], among: str) -> Choice:
    fastest = max(figure.relative_speed for figure in figures)
    near = [figure for figure in figures if fastest <= figure.relative_speed * CLEARLY_FASTER]
    chosen = min(near, key=lambda figure: _complexity(figure.plan))
    margin = f"{100 * (CLEARLY_FASTER - 1):.0f} %"
    if len(figures) == 1:
        return Choice(chosen.plan, f"the only one{among or ' that was measured'}")
    if chosen.relative_speed == fastest:
        return Choice(chosen.plan, f"the fastest{among}")
    return Choice(chosen.plan, f"the simplest{among}: none is more than {margin} faster")


def _complexity(plan: ExecutionPlan) -> tuple[int, ...]:
    """What makes a plan harder to reason about, the gravest first."""
    return plan.largest_batch, plan.cuda_graphs, plan.threads_per_worker, plan.inference_workers
