"""One training run in a folder of its own, what its network says of rows held out from it, and what it cost.

A run that has finished is not trained again; one that was killed goes on from its last checkpoint.

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
from model_training.configuration import TrainingConfiguration, all_errors
from model_training.errors import CheckpointError
from model_training.evaluation import network_logits
from model_training.label_table import LabelTable
from model_training.network import PresenceNetwork
from model_training.teacher.cells import DetectorCells
from model_training.trainer import Observer, Progress, Trainer
from model_training.training_rows import TrainingRows
from model_training.whole_files import write_whole, written_whole

HELD_OUT: Final = "held_out.npz"
_RESULT: Final = "result.json"


class RunResult(BaseModel):
    """What is known of a finished run beside its scores; its file is written last."""

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
    def load(cls, folder: Path, configuration: TrainingConfiguration) -> "RunResult | None":
        """The result in `folder`, None where it has not finished; raises CheckpointError for one of other settings."""
        path = folder / _RESULT
        if not path.exists():
            return None
        try:
            result = cls.model_validate_json(path.read_bytes())
        except ValidationError as problem:
            raise CheckpointError(f"{path} is no result of this version: {all_errors(problem)}") from problem
        checkpoints.check_same(path, configuration, result.configuration)
        return result


@dataclass(frozen=True)
class Scores:
    """A network's logits on some rows, beside all that is needed to measure them."""

    logits_NL: NDArray[np.float32]
    entries_NL: NDArray[np.int8]
    groups_N: NDArray[np.str_]
    sources_N: NDArray[np.str_]
    images_N: NDArray[np.str_]

    def save(self, path: Path) -> None:
        with written_whole(path) as unfinished, unfinished.open("wb") as file:
            np.savez_compressed(file, **{field.name: getattr(self, field.name) for field in fields(self)})

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
class MeasuredRun:
    """A run by `configuration`, which makes one pass over its rows; `data` identifies all that it learns from."""

    folder: Path
    configuration: TrainingConfiguration
    data: str
    device: torch.device
    detector: DetectorCells | None = None

    def train(self, rows: TrainingRows, held_out: LabelTable, observer: Observer) -> None:
        """Train one pass to its end and keep what the network says of `held_out`, unless that has been done."""
        if self.is_finished():
            return
        watch = _Stopwatch(observer)
        Trainer(self.configuration, rows, self.folder, self.device, detector=self.detector).fit(watch)
        network = self.score(held_out, HELD_OUT)
        result = RunResult(
            configuration=self.configuration,
            data=self.data,
            frames_seen=len(rows.train),
            distinct_frames=len(np.unique(rows.train)),
            known_entries_seen=int(rows.table.known_NL[rows.train].sum()),
            parameters=parameter_count(network),
            seconds_per_frame=watch.seconds_per_frame(self.configuration.batch_size),
        )
        write_whole(self.folder / _RESULT, result.model_dump_json(indent=2))
        # It is as large as four networks, and no longer needed.
        (self.folder / checkpoints.RESUME).unlink()

    def is_finished(self) -> bool:
        """Whether the result is there; raises CheckpointError for one of other settings or data."""
        result = RunResult.load(self.folder, self.configuration)
        if result is not None and result.data != self.data:
            raise CheckpointError(
                f"{self.folder} was trained on other data or another number of frames; use both as they were, or "
                "another --output"
            )
        return result is not None

    def score(self, table: LabelTable, name: str) -> PresenceNetwork:
        """The trained network, once what it says of the rows of `table` is written down under `name`."""
        configuration, state = checkpoints.load(self.folder / checkpoints.BEST)
        network = PresenceNetwork.restored(configuration.network, len(configuration.labels), state["network"])
        size = (configuration.height, configuration.width)
        logits_NL = network_logits(network.to(self.device), table.images, size, self.device)
        columns = (np.asarray(column, np.str_) for column in (table.groups, table.sources, _names(table.images)))
        Scores(logits_NL, np.asarray(table.entries_NL), *columns).save(self.folder / name)
        return network


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


def _names(images: tuple[Path, ...]) -> list[str]:
    """Images by their path below the folder that all of them are in."""
    top = os.path.commonpath([image.parent for image in images])
    return [Path(os.path.relpath(image, top)).as_posix() for image in images]
