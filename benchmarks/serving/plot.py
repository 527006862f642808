"""results.svg: throughput as a share of the in-process limit, and what rates do to latency."""

from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from benchmarks.serving.contenders import LIMIT
from benchmarks.serving.figures import Ratio, frames_per_s, ratio
from benchmarks.serving.overload import HALF, NINE_TENTHS, OVERLOAD
from benchmarks.serving.plan import THROUGHPUT_CLIENTS, Cell
from benchmarks.serving.report import Results

PHASES: Final = (HALF, NINE_TENTHS, OVERLOAD)


def write_plot(results: Results, path: Path) -> None:
    """Both pictures, as SVG without a date, so that the same figures give the same file."""
    mpl.rcParams["svg.hashsalt"] = "serving"
    canvas = Canvas(figsize=(12, 4.5), layout="constrained")
    left, right = canvas.subplots(1, 2)
    _throughput(left, results)
    _latency(right, results)
    canvas.savefig(path, metadata={"Date": None})


def _throughput(axes: Axes, results: Results) -> None:
    names = [name for name in results.names if name != LIMIT]
    height = 0.8 / len(THROUGHPUT_CLIENTS)
    for turn, clients in enumerate(THROUGHPUT_CLIENTS):
        cell = Cell(results.plan.key_size, "raw", clients)
        found = [ratio(results.record.measurements, name, LIMIT, cell, frames_per_s) for name in names]
        places = np.arange(len(names)) + turn * height
        axes.barh(places, [one.value if one else 0.0 for one in found], height, label=f"{clients} clients")
        _whiskers(axes, places.tolist(), found)
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_yticks(np.arange(len(names)) + height / 2, names)
    axes.invert_yaxis()
    axes.set_xlabel(f"answered frames per second of the in-process limit (float32), {results.plan.key_size} raw")
    axes.legend()


def _whiskers(axes: Axes, places: list[float], found: list[Ratio | None]) -> None:
    for place, one in zip(places, found, strict=True):
        if one:
            axes.plot([one.low, one.high], [place, place], color="black", linewidth=1)


def _latency(axes: Axes, results: Results) -> None:
    for loop in results.open_loops:
        points = [(100 * loop.phases[number].share, loop.phases[number].p99_ms) for number in PHASES]
        answered = [(share, p99_ms) for share, p99_ms in points if p99_ms is not None]
        if answered:
            axes.plot(*zip(*answered, strict=True), marker="o", label=loop.contender)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks([50, 90, 300], ["50 %", "90 %", "300 %"])
    axes.minorticks_off()
    axes.set_xlabel("arrivals, of each server's own capacity")
    axes.set_ylabel("p99 of answered frames in ms, from the intended time")
    if results.open_loops:
        axes.legend(fontsize="small")
