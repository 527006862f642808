"""Each network of a comparison trained in a folder of its own, and what it says of the rows that measure it.

A finished network is not trained again; one that was killed goes on from its last checkpoint.

# N = frames, L = labels
"""

import os
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from model_training import checkpoints
from model_training.comparison.plan import Cell, Plan
from model_training.comparison.rows import Rows, SeedRows, labels_only
from model_training.configuration import TrainingConfiguration, all_errors
from model_training.errors import CheckpointError
from model_training.evaluation import network_logits
from model_training.label_table import LabelTable
from model_training.network import PresenceNetwork
from model_training.trainer import Observer, Progress, Trainer

HELD_OUT: Final = "held_out.npz"
TEST: Final = "test.npz"
_RESULT: Final = "result.json"


class CellResult(BaseModel):
    """What is known of a finished network beside its scores; its file is written last."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    configuration: TrainingConfiguration
    data: str
    frames_seen: int
    distinct_frames: int
    known_entries_seen: int
    parameters: int
    seconds_per_frame: float | None

    @property
    def training_seconds(self) -> float | None:
        return None if self.seconds_per_frame is None else self.seconds_per_frame * self.frames_seen

    @classmethod
    def load(cls, folder: Path) -> "CellResult | None":
        """The result in `folder`, None where its training has not finished."""
        path = folder / _RESULT
        try:
            return cls.model_validate_json(path.read_bytes()) if path.exists() else None
        except ValidationError as problem:
            raise CheckpointError(f"{path} is no result of this version: {all_errors(problem)}") from problem


@dataclass(frozen=True)
class Scores:
    """A network's logits on some rows, beside all that is needed to measure them."""

    logits_NL: NDArray[np.float32]
    entries_NL: NDArray[np.int8]
    groups_N: NDArray[np.str_]
    sources_N: NDArray[np.str_]
    images_N: NDArray[np.str_]

    def save(self, path: Path) -> None:
        unfinished = path.with_suffix(".unfinished")
        with unfinished.open("wb") as file:
            np.savez_compressed(file, **{field.name: getattr(self, field.name) for field in fields(self)})
        unfinished.replace(path)

    def of_rows(self, chosen_N: NDArray[np.bool_]) -> "Scores":
        return Scores(*(getattr(self, field.name)[chosen_N] for field in fields(self)))

    @classmethod
    def load(cls, path: Path) -> "Scores":
        """Raises CheckpointError where `path` holds no scores."""
        try:
            # Opened here: numpy leaves a damaged file open.
            with path.open("rb") as file, np.load(file) as stored:
                return cls(**{field.name: stored[field.name] for field in fields(cls)})
        except (OSError, KeyError, ValueError, BadZipFile) as problem:
            raise CheckpointError(
                f"{path} cannot be read ({problem}); delete its folder and go on with --resume"
            ) from problem


@dataclass(frozen=True)
class Runs:
    """Trains and scores the cells of `plan` in `folder`; `data` identifies the table."""

    plan: Plan
    table: LabelTable
    data: str
    folder: Path
    device: torch.device

    def train(self, cell: Cell, rows: SeedRows, observer: Observer) -> None:
        """Train one network to the end of its budget and score the held-out rows."""
        folder, configuration = self.folder / cell.folder, self.plan.configuration_of(cell)
        if self.is_finished(cell):
            return
        watch, drawn = _Stopwatch(observer), rows.of_cell(cell)
        Trainer(configuration, drawn, folder, self.device).fit(watch)
        network = self._score(cell, rows.held_out, HELD_OUT)
        result = CellResult(
            configuration=configuration,
            data=self.data,
            frames_seen=len(drawn.train),
            distinct_frames=len(np.unique(drawn.train)),
            known_entries_seen=int(drawn.table.known_NL[drawn.train].sum()),
            parameters=parameter_count(network),
            seconds_per_frame=watch.seconds_per_frame(configuration.batch_size),
        )
        _write(folder / _RESULT, result.model_dump_json(indent=2))
        # It is as large as four networks, and no longer needed.
        (folder / checkpoints.RESUME).unlink()

    def is_finished(self, cell: Cell) -> bool:
        """Whether the cell's result is there; raises CheckpointError for one of other settings or data."""
        result = _result(self.plan, self.folder, cell)
        if result is not None and result.data != self.data:
            raise CheckpointError(
                f"{self.folder / cell.folder} was trained on other data; use the data as it was, or another --output"
            )
        return result is not None

    def score_test(self, cell: Cell) -> None:
        """What a finished network says of the test rows; they are reported, and nothing is chosen by them."""
        if not (self.folder / cell.folder / TEST).exists():
            self._score(cell, np.flatnonzero(np.asarray(self.table.splits) == "test"), TEST)

    def _score(self, cell: Cell, rows: Rows, name: str) -> PresenceNetwork:
        """The cell's network, once what it says of `rows` is written down."""
        folder, shown = self.folder / cell.folder, labels_only(self.table.rows(rows), cell.labels)
        configuration, network = _trained(folder / checkpoints.BEST)
        size = (configuration.height, configuration.width)
        logits_NL = network_logits(network.to(self.device), shown.images, size, self.device)
        top = os.path.commonpath(self.table.images)
        names = [Path(os.path.relpath(image, top)).as_posix() for image in shown.images]
        columns = (np.asarray(column, np.str_) for column in (shown.groups, shown.sources, names))
        Scores(logits_NL, np.asarray(shown.entries_NL), *columns).save(folder / name)
        return network


def finished(plan: Plan, folder: Path) -> dict[Cell, CellResult]:
    """The cells of `plan` whose training has finished; raises CheckpointError for other settings or mixed data."""
    results = {cell: _result(plan, folder, cell) for cell in plan.cells()}
    there = {cell: result for cell, result in results.items() if result is not None}
    if len({result.data for result in there.values()}) > 1:
        raise CheckpointError(f"{folder} holds networks that were trained on different data; start anew in another")
    return there


def _result(plan: Plan, folder: Path, cell: Cell) -> CellResult | None:
    result = CellResult.load(folder / cell.folder)
    if result is not None:
        checkpoints.check_same(folder / cell.folder / _RESULT, plan.configuration_of(cell), result.configuration)
    return result


class _Stopwatch:
    """Passes progress on, and times the steps of this process: a run may have begun in an earlier one."""

    def __init__(self, observer: Observer) -> None:
        self._observer, self._seen = observer, list[tuple[float, int]]()

    def __call__(self, progress: Progress) -> None:
        if not self._seen or progress.step > self._seen[-1][1]:
            self._seen.append((time.monotonic(), progress.step))
        self._observer(progress)

    def seconds_per_frame(self, batch_size: int) -> float | None:
        """From the end of the first step on, whose time is the start-up's; None where one process saw no two steps."""
        if len(self._seen) < 2:
            return None
        (began, first), (ended, last) = self._seen[0], self._seen[-1]
        return (ended - began) / (last - first) / batch_size


def parameter_count(network: PresenceNetwork) -> int:
    """Numbers that a network consists of, frozen ones too."""
    return sum(parameter.numel() for parameter in network.parameters())


def _trained(path: Path) -> tuple[TrainingConfiguration, PresenceNetwork]:
    configuration, state = checkpoints.load(path)
    # The trunk's start is overwritten, so it need not be had.
    start = configuration.network.model_copy(update={"pretrained": "none"})
    network = PresenceNetwork(start, len(configuration.labels))
    network.load_state_dict(state["network"])
    return configuration, network


def _write(path: Path, text: str) -> None:
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
