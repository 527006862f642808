"""The folder of a run, read again on the data that it was trained on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_training import checkpoints
from model_training.configuration import TrainingConfiguration
from model_training.errors import InvalidConfiguration
from model_training.label_table import LabelTable
from model_training.network import PresenceNetwork
from model_training.training_rows import TrainingRows, assemble


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """What a run was trained by and on, and the state of its best network."""

    configuration: TrainingConfiguration
    rows: TrainingRows
    network_state: dict[str, Any]

    @classmethod
    def read(cls, folder: Path, table: LabelTable, teacher: Path | None = None) -> "TrainedRun":
        """The run in `folder`; raises InvalidConfiguration or CheckpointError where `table` is not its data.

        Without `teacher`, the rows come without soft targets; with one that is not the run's it raises too.
        """
        path = folder / checkpoints.BEST
        trained, state = checkpoints.load(path)
        if trained.labels != table.labels:
            raise InvalidConfiguration(f"{folder} was trained on {trained.labels}, the data is about {table.labels}")
        rows = assemble(table, trained, teacher)
        found = rows.fingerprint()
        wanted = {name: found[name] for name in found if teacher or name != "teacher"}
        checkpoints.check_same_rows(path, wanted, state["rows"])
        return cls(trained, rows, state["network"])

    def network(self) -> PresenceNetwork:
        """The best network, in evaluation mode."""
        configuration = self.configuration
        return PresenceNetwork.restored(configuration.network, len(configuration.labels), self.network_state).eval()
