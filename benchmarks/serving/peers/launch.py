"""How a server is told what to serve: by its environment, so that its worker processes know it too."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

Body = Literal["raw", "multipart"]

FIELD = "request"
"""The form's field that holds the frame. LitServe names it after its argument; the others do not care."""


@dataclass(frozen=True, slots=True)
class Launch:
    """The model's file, where to listen, how many workers (one inference thread each), and how frames arrive."""

    model: Path
    port: int
    workers: int
    body: Body

    def environment(self) -> dict[str, str]:
        """The variables that tell it."""
        return {
            "BENCHMARK_MODEL": str(self.model),
            "BENCHMARK_PORT": str(self.port),
            "BENCHMARK_WORKERS": str(self.workers),
            "BENCHMARK_BODY": self.body,
        }

    @classmethod
    def from_environment(cls) -> Self:
        """What was told. Raises KeyError where it was not."""
        model, port, workers, body = (os.environ[f"BENCHMARK_{key}"] for key in ("MODEL", "PORT", "WORKERS", "BODY"))
        return cls(Path(model), int(port), int(workers), "raw" if body == "raw" else "multipart")
