"""How the model is to run: pinned, from a file, measured or by default."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.app import detector_of
from service.errors import Draining, ProviderUnavailable, TuningFileUnusable
from service.inference.decoding import FrameLimits
from service.inference.detector import Detector
from service.inference.execution import ExecutionPlan
from service.inference.session import Outputs
from service.inference.tuning import Execution, Measurements, PlanFigures
from service.inference.tuning_file import write_tuning_file
from service.plan_choice import TimedLoad, _PlanOpener, decided, load_with_plan, machine_of, pinned
from service.settings import Settings
from tests.service.conftest import GatedSession
from tests.tiny_model import tiny_metadata

THREADED = ExecutionPlan(1, 2)


@pytest.fixture(autouse=True)
def _two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.plan_choice.available_cpus", lambda: 2)
    monkeypatch.setattr("service.plan_choice.granted_cpus", lambda: 2)


class CountingLoad:
    """Loads the real thing and notes with how many threads."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    def __call__(self, settings: Settings) -> Detector:
        self.threads.append(settings.threads_per_worker)
        return detector_of(settings)


def figures(plan: ExecutionPlan, speed: float, p99_ms: float) -> PlanFigures:
    return PlanFigures(
        plan=plan,
        frames_per_s=100 * speed,
        relative_speed=speed,
        latency_p50_ms=p99_ms / 2,
        latency_p99_ms=p99_ms,
        cpu_s_per_frame=0.02,
        frames=100,
        rounds=5,
    )


# With two CPUs, the batches are fastest and the two threads have the least latency.
MEASURED = Measurements(
    figures=(
        figures(ExecutionPlan(2), 1.0, 20),
        figures(THREADED, 0.9, 12),
        figures(ExecutionPlan(2, 2, (1, 2, 4, 8)), 1.5, 90),
    ),
    frame="made",
    seconds=3,
)


def settings_of(model: Path, **members: Any) -> Settings:
    return Settings(**{"model": model, "device": "cpu", "tuning_seconds": 0, **members})


def saved(model: Path, folder: Path, **differing: Any) -> Path:
    """A tuning file of this machine, or of one that differs in this."""
    settings = settings_of(model)
    machine = machine_of(settings, detector_of(settings)).model_copy(update=differing)
    write_tuning_file(folder / "tuning.json", machine, MEASURED)
    return folder / "tuning.json"


def test_a_wholly_set_plan_is_taken_without_measuring(model: Path) -> None:
    """Whatever the time for measuring; the session has its threads from the start."""
    load = CountingLoad()
    settings = settings_of(model, inference_workers=3, threads_per_worker=2, max_batch_frames=4, tuning_seconds=60)
    execution = load_with_plan(settings, load).execution
    assert execution == Execution(
        plan=ExecutionPlan(3, 2, (1, 2, 4)), origin="pinned", reason="every part of it is set"
    )
    assert load.threads == [2]


def test_without_time_the_default_is_taken(model: Path) -> None:
    execution = load_with_plan(settings_of(model), CountingLoad()).execution
    assert (execution.plan, execution.origin) == (ExecutionPlan(2), "default")
    assert execution.measurements is None


@pytest.mark.parametrize(("quota", "chosen"), [(0.5, ExecutionPlan(1, 1, (1, 2))), (1.0, ExecutionPlan(1))])
def test_a_quota_of_half_a_cpu_is_not_taken_for_other_programs(
    model: Path, monkeypatch: pytest.MonkeyPatch, quota: float, chosen: ExecutionPlan
) -> None:
    """25 frames/s of 20 ms are all of half a CPU, and half of a whole one."""
    monkeypatch.setattr("service.plan_choice.available_cpus", lambda: 1)
    monkeypatch.setattr("service.plan_choice.granted_cpus", lambda: quota)
    found = (figures(ExecutionPlan(1), 0.25, 20), figures(ExecutionPlan(1, 1, (1, 2)), 0.5, 20))
    settings = settings_of(model)
    execution = decided(settings, detector_of(settings), Measurements(figures=found, frame="", seconds=3), "measured")
    assert execution.plan == chosen


def test_a_set_part_stands_in_the_default(model: Path) -> None:
    execution = load_with_plan(settings_of(model, inference_workers=5), CountingLoad()).execution
    assert execution.plan == ExecutionPlan(5)


def test_on_a_gpu_the_default_is_batches(model: Path) -> None:
    execution = load_with_plan(
        settings_of(model), lambda _: Detector(tiny_metadata(), OnCuda(False, 0), FrameLimits())
    ).execution
    assert (execution.plan.largest_batch, execution.plan.cuda_graphs) == (16, False)


class OnCuda(GatedSession):
    """Runs at once, where CUDA would; `bind` takes the part of the provider."""

    provider = "CUDAExecutionProvider"

    def __init__(self, cuda_graphs: bool, wait_s: float) -> None:
        super().__init__()
        self.cuda_graphs, self._wait_s = cuda_graphs, wait_s
        self.gate.set()

    def bind(self, _: Sequence[int]) -> Callable[[Sequence[NDArray[np.uint8]]], Outputs]:
        def run(frames_HWC: Sequence[NDArray[np.uint8]]) -> Outputs:
            time.sleep(self._wait_s)
            return self.run(np.stack(frames_HWC))

        return run


def test_graphs_compete_with_plain_runs_and_the_faster_one_serves(model: Path) -> None:
    """A session is opened for them, on CUDA and nowhere else, and once more for the plan that is chosen."""
    loaded: list[tuple[str, str]] = []

    def load(settings: Settings) -> Detector:
        loaded.append((settings.cuda_graphs, settings.device))
        graphs = settings.cuda_graphs == "on"
        return Detector(tiny_metadata(), OnCuda(graphs, 0.001 if graphs else 0.01), FrameLimits())

    settings = settings_of(model, device="auto", max_batch_frames=2, tuning_seconds=0.4)
    chosen = load_with_plan(settings, load)
    assert chosen.execution.plan.cuda_graphs
    assert chosen.detector.session.cuda_graphs
    assert loaded == [("auto", "auto"), ("on", "cuda"), ("on", "cuda")]


@pytest.mark.parametrize(("asked", "expected"), [("on", True), ("off", False)])
def test_graphs_that_are_set_are_not_measured(model: Path, asked: str, expected: bool) -> None:
    settings = settings_of(
        model, inference_workers=1, threads_per_worker=1, max_batch_frames=2, cuda_graphs=asked, tuning_seconds=60
    )
    loaded = load_with_plan(
        settings, lambda given: Detector(tiny_metadata(), OnCuda(given.cuda_graphs == "on", 0), FrameLimits())
    )
    assert (loaded.execution.origin, loaded.execution.plan.cuda_graphs) == ("pinned", expected)


def test_a_session_that_loads_too_slowly_is_not_loaded_for_measuring(model: Path) -> None:
    """Half of 0.4 seconds is for opening plans; the session that is there took more, so another would as well."""
    load = CountingLoad()

    def slowly(settings: Settings) -> Detector:
        time.sleep(0.25)
        return load(settings)

    execution = load_with_plan(settings_of(model, tuning_seconds=0.4), slowly).execution
    assert len(load.threads) == 1
    assert execution.measurements
    left = execution.measurements.left_out
    assert {one.plan.threads_per_worker for one in left} == {2}
    assert {one.reason for one in left} == {"no time was left of 0.4 seconds"}


def test_the_first_load_on_a_gpu_says_nothing_of_the_next(model: Path) -> None:
    """It paid for what a process loads once."""

    def load(settings: Settings) -> Detector:
        time.sleep(0.05)
        return Detector(tiny_metadata(), OnCuda(False, 0), FrameLimits())

    timed = TimedLoad(load)
    timed(settings_of(model))
    assert timed.seconds == 0
    timed(settings_of(model))
    assert timed.seconds >= 0.05


def test_graphs_that_cannot_be_had_are_left_out_and_the_service_starts(model: Path) -> None:
    def load(settings: Settings) -> Detector:
        if settings.cuda_graphs == "on":
            raise ProviderUnavailable("device=cuda was asked for, but a node of the graph is on the CPU")
        return Detector(tiny_metadata(), OnCuda(False, 0.001), FrameLimits())

    execution = load_with_plan(settings_of(model, max_batch_frames=2, tuning_seconds=0.2), load).execution
    assert not execution.plan.cuda_graphs
    assert execution.measurements
    assert [left.plan.cuda_graphs for left in execution.measurements.left_out] == [True]
    assert "a node of the graph is on the CPU" in execution.measurements.left_out[0].reason


@pytest.mark.parametrize(("on_gpu", "seconds"), [(True, 10.0), (False, 2.0)])
def test_on_a_gpu_there_is_five_times_as_long_and_a_plan_without_figures_is_a_warning(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, on_gpu: bool, seconds: float
) -> None:
    """The default there is the slowest kind of plan."""
    budgets: list[float] = []

    def nothing_measured(*given: Any) -> Measurements:
        budgets.append(given[6])
        return Measurements(figures=(), frame="made", seconds=0)

    monkeypatch.setattr("service.plan_choice.measured", nothing_measured)
    load = CountingLoad()
    on_cuda = Detector(tiny_metadata(), OnCuda(False, 0), FrameLimits())
    execution = load_with_plan(settings_of(model, tuning_seconds=2), lambda given: on_cuda if on_gpu else load(given))
    assert execution.execution.reason == "the default: there was no time to measure any plan"
    assert budgets == [seconds]
    warned = any("a plan is taken unmeasured" in message for message in caplog.messages)
    assert warned is on_gpu


def test_on_a_gpu_every_batch_size_loads_a_session(model: Path) -> None:
    """Half a second each: 1 is there, 2 and 4 are not; once they are, a plan up to 8 lacks one. With graphs all do."""
    load = TimedLoad(lambda _: Detector(tiny_metadata(), OnCuda(True, 0), FrameLimits()))
    load.seconds = 0.5
    opener = _PlanOpener(settings_of(model), Detector(tiny_metadata(), OnCuda(False, 0), FrameLimits()), load)
    up_to_4, up_to_8 = ExecutionPlan(1, 1, (1, 2, 4)), ExecutionPlan(1, 1, (1, 2, 4, 8))
    assert opener.loading_s(up_to_4) == 1.0
    with opener.open(up_to_4):
        assert (opener.loading_s(up_to_4), opener.loading_s(up_to_8)) == (0.0, 0.5)
        assert opener.loading_s(replace(up_to_8, cuda_graphs=True)) == 2.0


def test_processes_share_the_cpus(model: Path) -> None:
    """Two CPUs over two processes; a third process gets one too."""
    for workers in (2, 3):
        execution = load_with_plan(settings_of(model, workers=workers), CountingLoad()).execution
        assert execution.plan == ExecutionPlan(1)


def test_plans_are_measured_within_the_time(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    """For real, with the tiny model; every plan is in the log, with figures or with why it has none."""
    caplog.set_level(logging.INFO, "service.plan_choice")
    loaded = load_with_plan(settings_of(model, tuning_seconds=2.0, latency_target_ms=10_000), CountingLoad())
    execution, found = loaded.execution, loaded.execution.measurements
    assert found is not None
    assert (execution.origin, execution.latency_target_ms) == ("measured", 10_000)
    assert execution.plan in [one.plan for one in found.figures]
    assert found.figures[0].plan == ExecutionPlan(2)
    assert found.frame.startswith("a made street, JPEG of 1")
    logged = [record for record in caplog.records if record.message in ("plan measured", "plan left out")]
    assert len(logged) == len(found.figures) + len(found.left_out) == 3
    assert vars(logged[0])["plan"] == "2 workers x 1 thread"
    assert vars(logged[0])["frames_per_s"] == found.figures[0].frames_per_s


def test_a_process_that_is_about_to_end_measures_nothing(model: Path) -> None:
    """However long measuring may take."""
    load = CountingLoad()
    with pytest.raises(Draining):
        load_with_plan(settings_of(model, tuning_seconds=60), load, is_ending=lambda: True)
    assert load.threads == [0]


def test_a_plan_with_other_threads_is_loaded_with_them(model: Path, tmp_path: Path) -> None:
    load = CountingLoad()
    settings = settings_of(model, tuning=saved(model, tmp_path), latency_target_ms=15)
    loaded = load_with_plan(settings, load)
    assert loaded.execution.plan == THREADED
    assert load.threads == [0, 2]


def test_figures_of_a_file_decide_under_the_settings_of_now(model: Path, tmp_path: Path) -> None:
    """The same file, with another target or with batches ruled out, speaks for other plans."""
    file = saved(model, tmp_path)
    fastest = load_with_plan(settings_of(model, tuning=file), CountingLoad()).execution
    swift = load_with_plan(settings_of(model, tuning=file, latency_target_ms=15), CountingLoad()).execution
    single = load_with_plan(settings_of(model, tuning=file, max_batch_frames=1), CountingLoad()).execution
    assert {one.origin for one in (fastest, swift, single)} == {"file"}
    assert [one.plan.largest_batch for one in (fastest, swift, single)] == [8, 1, 1]
    assert (swift.plan, single.plan) == (THREADED, ExecutionPlan(2))
    assert fastest.measurements == MEASURED


@pytest.mark.parametrize(
    ("differing", "told"),
    [
        ({"model_sha256": "00"}, "model_sha256 is "),
        ({"cpu": "Another CPU"}, ", not Another CPU"),
        ({"cpus": 64}, "cpus is 2, not 64"),
        ({"onnxruntime": "1.0"}, ", not 1.0"),
    ],
)
def test_a_file_of_another_model_or_machine_is_passed_over_with_a_warning(
    model: Path, tmp_path: Path, differing: dict[str, Any], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_of(model, tuning=saved(model, tmp_path, **differing))
    assert load_with_plan(settings, CountingLoad()).execution.origin == "default"
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.message == "tuning file passed over: it is of another model or machine"
    assert told in vars(warning)["differences"]


def test_a_file_without_the_parts_that_are_set_is_passed_over_with_a_warning(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_of(model, tuning=saved(model, tmp_path), inference_workers=7)
    assert load_with_plan(settings, CountingLoad()).execution.plan == ExecutionPlan(7)
    assert "tuning file passed over: no plan in it has the parts that are set" in caplog.messages


def test_a_file_that_cannot_be_read_ends_the_start(model: Path, tmp_path: Path) -> None:
    with pytest.raises(TuningFileUnusable, match="cannot be read"):
        load_with_plan(settings_of(model, tuning=tmp_path / "absent.json"), CountingLoad())


def test_one_process_finds_out_for_all(model: Path, tmp_path: Path) -> None:
    """As JSON, which may pass between processes; the others load once, with its threads, and measure nothing."""
    settings = settings_of(model, tuning=saved(model, tmp_path), latency_target_ms=15)
    told = load_with_plan(settings, CountingLoad()).execution.model_dump_json()
    load = CountingLoad()
    loaded = load_with_plan(settings_of(model, tuning_seconds=60), load, Execution.model_validate_json(told))
    assert loaded.execution.plan == THREADED
    assert loaded.execution.measurements == MEASURED
    assert load.threads == [2]


def test_pinned_settings_leave_nothing_to_measure(model: Path) -> None:
    plan = ExecutionPlan(2, 2, (1, 2, 4))
    execution = load_with_plan(pinned(settings_of(model, tuning_seconds=60), plan), CountingLoad()).execution
    assert (execution.plan, execution.origin) == (plan, "pinned")
