"""One JPEG to one answer per label, on one core and one thread: our files against the detector people would use.

    python benchmarks/per_frame.py

takes every file of the model (float32, int8, float16) through the service's own decoder and session, and YOLOX-nano
through OpenCV and its own preprocessing. Decoding and resizing, which all our files need alike, is timed by itself
too; what a frame takes beyond it is the network's. All answer the same real frames in the same run, frame by frame in
an order drawn anew each time, so that whatever else the machine does harms all alike; what is reported is the median
of the ratios within a frame, with a 95 % interval from resampling frames. Time is what the one thread spent on its
core, which on an idle machine is what passed on the wall; what other programs take meanwhile does not count (--clock
wall counts it). Writes per_frame.json and per_frame.md.

# R = rounds, one frame each; V = contenders
"""

import csv
import hashlib
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from model_training.metrics import interval
from service.inference.artifact import Artifact
from service.inference.decoding import FrameLimits
from service.inference.detector import load_detector
from service.inference.machine import cpu_name
from service.inference.variants import files_beside
from service.settings import DEFAULT_MODEL

HERE: Final = Path(__file__).parent
SHARED: Final = HERE.parent.parent / "shared"
YARDSTICK: Final = "yolox_nano"
DECODING: Final = "decoding and resizing"
# Not counted: caches are cold, memory is not yet reserved.
WARM_UP_ROUNDS: Final = 10

CLOCKS: Final = {"core": time.thread_time, "wall": time.perf_counter}

Answer = Callable[[bytes], object]
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Contender:
    """Something that takes an encoded frame, and is timed."""

    name: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds that a JPEG's bytes take it: the median over frames, and where the middle half lies."""

    name: str
    median_ms: float
    lower_quartile_ms: float
    upper_quartile_ms: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as fast as `other` a contender is: the median over frames of the ratio of both times."""

    name: str
    other: str
    times_as_fast: float
    low: float
    high: float


class Detector:
    """YOLOX-nano read as presence: the largest objectness x class score of person, car, stop sign, traffic light."""

    SIDE: Final = 416
    CLASSES: Final = (0, 2, 11, 9)

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def __call__(self, data: bytes) -> list[float]:
        frame_HWC = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        cells = self._session.run(None, {self._input: self._letterboxed(frame_HWC)})[0][0]
        scores = (cells[:, 4:5] * cells[:, 5:]).max(axis=0)
        return [float(scores[index]) for index in self.CLASSES]

    def _letterboxed(self, frame_HWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """At the top left of a grey square, BGR 0..255 as it is."""
        scale = self.SIDE / max(frame_HWC.shape[:2])
        rule = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        scaled_HWC = cv2.resize(frame_HWC, None, fx=scale, fy=scale, interpolation=rule)[: self.SIDE, : self.SIDE]
        canvas_HWC = np.full((self.SIDE, self.SIDE, 3), 114, np.float32)
        canvas_HWC[: scaled_HWC.shape[0], : scaled_HWC.shape[1]] = scaled_HWC
        return canvas_HWC.transpose(2, 0, 1)[np.newaxis]


def contenders(model: Path, yardstick: Path | None) -> list[Contender]:
    """Every file of the model, what they have in common, and the yardstick, each on one thread."""
    detectors = {name: load_detector(model, "cpu", 1, FrameLimits(), name) for name in files_beside(model)}
    ours = [Contender(f"roadcue {name}", detector.detect) for name, detector in detectors.items()]
    decoding = Contender(DECODING, next(iter(detectors.values())).decode)
    return [*ours, decoding, *([Contender(YARDSTICK, Detector(yardstick))] if yardstick else [])]


def measure(them: Sequence[Contender], frames: Sequence[bytes], rounds: int, clock: Clock) -> NDArray[np.float64]:
    """Seconds [R, V]; in each round all answer the same frame, in an order drawn anew."""
    random = np.random.default_rng(0)
    seconds_RV = np.empty((WARM_UP_ROUNDS + rounds, len(them)))
    for row in track(range(len(seconds_RV)), "rounds", console=Console(stderr=True), transient=True):
        frame = frames[row % len(frames)]
        for place in random.permutation(len(them)):
            started_s = clock()
            them[place].answer(frame)
            seconds_RV[row, place] = clock() - started_s
    return seconds_RV[WARM_UP_ROUNDS:]


def timings(them: Sequence[Contender], seconds_RV: NDArray[np.float64]) -> list[Timing]:
    """What each needs for a frame."""
    quartiles_ms = np.percentile(1000 * seconds_RV, [50, 25, 75], axis=0).round(3)
    return [Timing(one.name, *quartiles_ms[:, place].tolist()) for place, one in enumerate(them)]


def ratios(them: Sequence[Contender], seconds_RV: NDArray[np.float64]) -> list[Ratio]:
    """Ours against the yardstick, and the variants against float32, from the JPEG on and their networks alone."""
    seconds = {one.name: seconds_RV[:, place] for place, one in enumerate(them)}
    ours = [name for name in seconds if name not in (YARDSTICK, DECODING)]
    networks = {f"{name}, network alone": seconds[name] - seconds[DECODING] for name in ours if DECODING in seconds}
    against_yardstick = [(name, YARDSTICK) for name in ours if YARDSTICK in seconds]
    against_float32 = [(name, some[0]) for some in (ours, list(networks)) for name in some[1:]]
    measured = seconds | networks
    return [_ratio(name, other, measured[name], measured[other]) for name, other in against_yardstick + against_float32]


def _ratio(name: str, other: str, own_R: NDArray[np.float64], other_R: NDArray[np.float64]) -> Ratio:
    ratios_R = other_R / own_R
    low, high = interval(lambda rows: float(np.median(ratios_R[rows])), [str(row) for row in range(len(ratios_R))])
    return Ratio(name, other, round(float(np.median(ratios_R)), 3), round(low, 3), round(high, 3))


def spread_frames(folder: Path, most: int) -> list[bytes]:
    """Real frames of every source of a label table in turn, as the bytes that lie on disk."""
    by_source: dict[str, list[str]] = {}
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            by_source.setdefault(row["source"], []).append(row["image"])
    turns = max(map(len, by_source.values()))
    drawn = [images[turn] for turn in range(turns) for images in by_source.values() if turn < len(images)]
    return [(folder / image).read_bytes() for image in drawn[:most]]


@dataclass(frozen=True, slots=True)
class Run:
    """What the figures hold for; `files` has the SHA-256 of each of the model's."""

    command: str
    date: str
    cpu: str
    onnxruntime: str
    model: str
    files: dict[str, str]
    frames: str
    rounds: int
    clock: str


def this_run(model: Path, frames: Path, rounds: int, clock: str) -> Run:
    """The machine, the versions and the arguments."""
    return Run(
        command=shlex.join(["python", "benchmarks/per_frame.py", *sys.argv[1:]]),
        date=datetime.now(UTC).date().isoformat(),
        cpu=cpu_name(),
        onnxruntime=onnxruntime.__version__,
        model=_named(model),
        files={name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files_beside(model).items()},
        frames=frames.name,
        rounds=rounds,
        clock=clock,
    )


def _named(model: Path) -> str:
    metadata = Artifact.read(model).metadata
    return f"{metadata.name} {metadata.version} ({metadata.input.height} x {metadata.input.width} pixels)"


def page(run: Run, found: Sequence[Timing], compared: Sequence[Ratio]) -> str:
    """The report as Markdown."""
    return "\n".join(
        [
            "# From a JPEG to an answer per label, on one core",
            "",
            f"{run.rounds} frames of {run.frames}, one thread pinned to one core ({run.cpu}), time on the {run.clock}, "
            f"ONNX Runtime {run.onnxruntime}, {run.date}.",
            f"roadcue is {run.model}; its float16 file is for GPUs, on a CPU it is a fallback.",
            "",
            f"    {run.command}",
            "",
            "| | median ms | middle half |",
            "|---|---|---|",
            *(
                f"| {t.name} | {t.median_ms:.2f} | {t.lower_quartile_ms:.2f} to {t.upper_quartile_ms:.2f} |"
                for t in found
            ),
            "",
            "| | against | times as fast (95 %) |",
            "|---|---|---|",
            *(f"| {r.name} | {r.other} | {r.times_as_fast:.2f} ({r.low:.2f} to {r.high:.2f}) |" for r in compared),
            "",
        ]
    )


def pin_to_one_core() -> None:
    """Keep this process on one of the cores that it may use, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)


@click.command(context_settings={"show_default": True})
@click.option(
    "--model", type=click.Path(exists=True, path_type=Path), default=DEFAULT_MODEL, help="float32 model file."
)
@click.option(
    "--frames",
    type=click.Path(exists=True, path_type=Path),
    default=SHARED / "streetframes",
    help="Folder with labels.csv and the frames it names.",
)
@click.option(
    "--yardstick",
    type=click.Path(path_type=Path),
    default=SHARED / "yardstick" / "yolox_nano.onnx",
    help="YOLOX-nano as ONNX; left out where it is not there.",
)
@click.option("--rounds", type=click.IntRange(min=20), default=400, help="Frames that each answers.")
@click.option("--clock", type=click.Choice(list(CLOCKS)), default="core", help="Time on the core, or on the wall.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=HERE / "per_frame",
    help="Name of the files to write, without .json and .md.",
)
def main(model: Path, frames: Path, yardstick: Path, rounds: int, clock: str, output: Path) -> None:
    """Measure the time from a JPEG to an answer per label."""
    pin_to_one_core()
    them = contenders(model, yardstick if yardstick.exists() else None)
    seconds_RV = measure(them, spread_frames(frames, rounds), rounds, CLOCKS[clock])
    found, compared = timings(them, seconds_RV), ratios(them, seconds_RV)
    run = this_run(model, frames, rounds, clock)
    report = {**asdict(run), "timings": [asdict(t) for t in found], "ratios": [asdict(r) for r in compared]}
    output.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    text = page(run, found, compared)
    output.with_suffix(".md").write_text(text, encoding="utf-8")
    click.echo(text)


if __name__ == "__main__":
    main()
