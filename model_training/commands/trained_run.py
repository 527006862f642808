"""The folder of a run, read again on the data that it was trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_training import checkpoints
from model_training.configuration import TrainingConfiguration
from model_training.errors import InvalidConfiguration
from model_training.label_table import LabelTable
from model_training.network import PresenceNetwork
from model_training.training_rows import SPLITS, TEACHER, TrainingRows, assemble


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """What a run was trained by and on, and the state of its best network."""

    configuration: TrainingConfiguration
    rows: TrainingRows
    network_state: dict[str, Any]

    @classmethod
    def read(cls, folder: Path, table: LabelTable) -> "TrainedRun":
        """The run in `folder`, its rows without soft targets.

        Raises InvalidConfiguration or CheckpointError where `table` is not its data.
        """
        return cls._read(folder, table, None, compared=SPLITS)

    @classmethod
    def with_teacher(cls, folder: Path, table: LabelTable, teacher: Path | None) -> "TrainedRun":
        """The run in `folder`; raises too where `teacher` is not what it was trained with, be it none."""
        return cls._read(folder, table, teacher, compared=(*SPLITS, TEACHER))

    @classmethod
    def _read(cls, folder: Path, table: LabelTable, teacher: Path | None, compared: Sequence[str]) -> "TrainedRun":
        path = folder / checkpoints.BEST
        trained, state = checkpoints.load(path)
        if trained.labels != table.labels:
            raise InvalidConfiguration(f"{folder} was trained on {trained.labels}, the data is about {table.labels}")
        rows = assemble(table, trained, teacher)
        found = rows.fingerprint()
        checkpoints.check_same_rows(path, {name: found[name] for name in compared}, state["rows"])
        return cls(trained, rows, state["network"])

    def network(self) -> PresenceNetwork:
        """The best network, in evaluation mode."""
        configuration = self.configuration
        return PresenceNetwork.restored(configuration.network, len(configuration.labels), self.network_state).eval()
