"""A training run on disk: written whole or not at all, so that it can be resumed after a kill at any moment."""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from model_training.configuration import TrainingConfiguration
from model_training.errors import CheckpointError
from model_training.whole_files import written_whole

RESUME, BEST = "resume.pt", "best.pt"


def save(path: Path, configuration: TrainingConfiguration, state: dict[str, Any]) -> None:
    """Write `state` beside its configuration; a kill while writing leaves the previous file."""
    # In memory first: on a full disk torch.save raises a RuntimeError that says nothing of a disk.
    content = io.BytesIO()
    torch.save({"configuration": configuration.model_dump(mode="json"), **state}, content)
    with written_whole(path) as unfinished, unfinished.open("wb") as file:
        file.write(content.getbuffer())
        file.flush()
        os.fsync(file.fileno())


def load(path: Path) -> tuple[TrainingConfiguration, dict[str, Any]]:
    """The configuration and the state that `save` wrote; raises CheckpointError if it cannot be read."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        configuration = TrainingConfiguration.model_validate(state.pop("configuration"))
    except FileNotFoundError as problem:
        raise CheckpointError(f"there is no checkpoint {path}; train first: roadcue-train train") from problem
    except Exception as problem:  # a damaged file raises whatever the reader stumbled over
        raise CheckpointError(f"{path} is not a checkpoint of this version: {problem}") from problem
    return configuration, state


def check_same(path: Path, wanted: TrainingConfiguration, found: TrainingConfiguration) -> None:
    """Raise CheckpointError naming the settings in which a run to resume differs from what was asked for."""
    new, old = wanted.model_dump(mode="json"), found.model_dump(mode="json")
    different = [f"{key}: {old[key]} there, {new[key]} asked for" for key in new if new[key] != old[key]]
    if different:
        raise CheckpointError(
            f"{path} was trained with other settings ({'; '.join(different)}); "
            "give the same --recipe and --set as at its start, or choose another folder"
        )


def check_same_rows(path: Path, wanted: Mapping[str, str], found: Mapping[str, str]) -> None:
    """Raise CheckpointError naming the splits whose rows, or the teacher, are not those that the run was trained with.

    A row that was trained on must not come back as one to choose by or to calibrate on.
    """
    different = [name for name, value in wanted.items() if found.get(name) != value]
    if different:
        raise CheckpointError(
            f"{path} was trained with other data: {', '.join(different)} differ (frames, entries, boxes or files have "
            "changed since, or --teacher or --detector is not what it was); use the data as it was, or train anew in "
            "another folder"
        )
