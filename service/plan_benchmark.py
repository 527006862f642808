"""`roadcue benchmark`: which way to run the model is best here, measured for longer than a start may take."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TextIO

from rich import box
from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task, TextColumn
from rich.progress_bar import ProgressBar
from rich.table import Table

from service.app import detector_of
from service.errors import FrameError, TuningFileUnusable, UnreadableFile
from service.inference.detector import Detector
from service.inference.driving_frame import driving_frame
from service.inference.machine import Machine
from service.inference.tuning import Execution, PlanFigures, candidate_plans, disturbance, in_words
from service.inference.tuning_file import write_tuning_file
from service.plan_choice import (
    TimedLoad,
    computing_cpus,
    cpus_per_process,
    decided,
    is_on_gpu,
    machine_of,
    made_frame,
    measured,
    pins_of,
)
from service.settings import Settings

COLUMNS: Final = ("workers", "threads", "batch", "frames/s", "relative", "p50 ms", "p99 ms", "CPU ms", "frames")


class Report(Protocol):
    """Writes what was found in one format."""

    def __call__(self, machine: Machine, execution: Execution, stream: TextIO) -> None: ...


def benchmark_plans(
    settings: Settings, seconds: float, frames: Sequence[Path], console: Console
) -> tuple[Machine, Execution]:
    """Figures of every plan that fits the settings, within so many seconds, and the plan that they speak for.

    Raises StartupError, and UnreadableFile for a frame that cannot be answered.
    """
    with console.status("loading the model"):
        load = TimedLoad(detector_of)
        detector = load(settings)
        given = [_checked(path, detector) for path in frames]
    made = driving_frame(settings.max_frame_pixels)
    plans = candidate_plans(cpus_per_process(settings), is_on_gpu(detector), pins_of(settings, detector))
    in_short = ", ".join(path.name for path in frames) or made_frame(made)
    with _bar_of(f"measuring {len(plans)} plans", seconds, console):
        found = measured(settings, detector, load, plans, given or [made], in_short, seconds)
    return machine_of(settings, detector), decided(settings, detector, found, "measured")


def refuse_to_overwrite(path: Path, overwrite: bool) -> None:
    """Raises TuningFileUnusable where a file is there already: asked before measuring."""
    if path.exists() and not overwrite:
        raise TuningFileUnusable(f"{path} is there already; name another file, or add --overwrite")


def save(path: Path, machine: Machine, execution: Execution) -> None:
    """Write the figures for `roadcue serve --tuning`. Raises TuningFileUnusable, also where they tell nothing."""
    measurements = execution.measurements
    if measurements is None or not measurements.figures:
        raise TuningFileUnusable(f"{path} was not written: there was no time to measure any plan; add --seconds")
    if hindrance := disturbance(measurements.figures, computing_cpus(machine.cpus, machine.provider)):
        raise TuningFileUnusable(f"{path} was not written: {hindrance}; measure again when nothing else runs")
    write_tuning_file(path, machine, measurements)


def write_table(machine: Machine, execution: Execution, stream: TextIO) -> None:
    """A table for people; the plan that is chosen is bold."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, justify="right")
    found = execution.measurements
    for figures in found.figures if found else ():
        table.add_row(*_cells(figures), style="bold green" if figures.plan == execution.plan else None)
    console = Console(file=stream)
    console.print(table)
    said = [f"left out: {in_words(left.plan)}: {left.reason}" for left in (found.left_out if found else ())]
    said += [
        f"{machine.model}, {machine.precision} on {machine.provider}; {machine.cpus} x {machine.cpu}"
        + "".join(f"; {gpu}" for gpu in machine.gpus),
        f"{found.frame if found else ''}; decoding included, HTTP not; CPU ms are those of a frame",
        f"chosen: {in_words(execution.plan)} ({execution.reason})",
    ]
    for line in said:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def write_json(machine: Machine, execution: Execution, stream: TextIO) -> None:
    """One JSON object: the machine, the choice and every plan's figures."""
    document: dict[str, Any] = {"machine": machine.model_dump(mode="json")}
    json.dump(document | {"execution": execution.model_dump(mode="json")}, stream, indent=2)
    stream.write("\n")


REPORTS: Final[dict[str, Report]] = {"table": write_table, "json": write_json}


def _bar_of(work: str, seconds: float, console: Console) -> Progress:
    """A bar for work that is over after so many seconds; it goes then."""
    columns = (TextColumn("{task.description}"), _SecondsColumn(), TextColumn("{task.elapsed:.0f} of {task.total:g} s"))
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    bar.add_task(work, total=seconds)
    return bar


class _SecondsColumn(ProgressColumn):
    """As full as time has gone: nothing that is measured has to say how far it is."""

    def render(self, task: Task) -> ProgressBar:
        total_s = task.total or 0.0
        return ProgressBar(total_s, min(task.elapsed or 0.0, total_s), width=40)


def _checked(path: Path, detector: Detector) -> bytes:
    try:
        data = path.read_bytes()
        detector.detect(data)
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read: {error.strerror}") from error
    except FrameError as error:
        raise UnreadableFile(f"{path} cannot be measured with: {error}") from error
    return data


def _cells(figures: PlanFigures) -> tuple[str, ...]:
    return (
        str(figures.plan.inference_workers),
        str(figures.plan.threads_per_worker),
        f"{figures.plan.largest_batch}{' graphs' if figures.plan.cuda_graphs else ''}",
        f"{figures.frames_per_s:.1f}",
        f"{figures.relative_speed:.2f}",
        f"{figures.latency_p50_ms:.1f}",
        f"{figures.latency_p99_ms:.1f}",
        f"{1000 * figures.cpu_s_per_frame:.1f}",
        str(figures.frames),
    )
