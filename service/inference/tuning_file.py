"""Figures of execution plans on disk: `roadcue benchmark --save` writes them, `roadcue serve --tuning` reads them.

A file holds for one model on one machine; which plan they speak for is decided when they are read, so that a latency
target and pinned parts of a plan count then.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from service.errors import TuningFileUnusable
from service.inference.machine import Machine
from service.inference.tuning import Measurements

SCHEMA_VERSION: Final = 1
AGAIN: Final = "write it again: roadcue benchmark --save"


class TuningFile(BaseModel):
    """The figures, and what they hold for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = SCHEMA_VERSION
    created: str
    machine: Machine
    measurements: Measurements


def write_tuning_file(path: Path, machine: Machine, measurements: Measurements) -> None:
    """Write the figures. Raises TuningFileUnusable."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    document = TuningFile(created=created, machine=machine, measurements=measurements)
    try:
        path.write_text(document.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise TuningFileUnusable(f"the tuning file {path} cannot be written: {error.strerror}") from error


def read_tuning_file(path: Path) -> TuningFile:
    """The figures. Raises TuningFileUnusable where they cannot be read, or are of a schema that is not known here."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TuningFileUnusable(f"the tuning file {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise TuningFileUnusable(f"the tuning file {path} is not JSON ({error}); {AGAIN}") from error
    return _validated(path, document)


def _validated(path: Path, document: Any) -> TuningFile:
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version != SCHEMA_VERSION:
        raise TuningFileUnusable(
            f"the tuning file {path} has schema {version!r}; this version of roadcue reads schema {SCHEMA_VERSION}; "
            f"{AGAIN}"
        )
    try:
        return TuningFile.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise TuningFileUnusable(f"the tuning file {path} is not valid: {place}: {first['msg']}; {AGAIN}") from error
