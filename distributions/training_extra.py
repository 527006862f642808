"""Where the code behind `roadcue[training]` comes from; the libraries that it needs stand in pyproject.toml.

pip install -e '.[training]'    the checkout itself, which has the command `roadcue-train` too
pip install '.[training]'       the distribution `roadcue-training`, built from the checkout beside it
a release                       the distribution `roadcue-training` of the same version
"""

from pathlib import Path
from typing import Any

import backend
from hatchling.metadata.plugin.interface import MetadataHookInterface

SERVE = {"roadcue": "service.cli:main"}
TRAIN = {"roadcue-train": "model_training.entry_point:main"}


class TrainingExtra(MetadataHookInterface):
    """Adds the code to the extra, and the commands."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Called with the table `project`, once its version is known."""
        metadata["scripts"] = SERVE | (TRAIN if backend.built == "editable" else {})
        if backend.built != "editable":
            metadata["optional-dependencies"]["training"].append(self._distribution(metadata["version"]))

    def _distribution(self, version: str) -> str:
        project = Path(self.root) / "model_training"
        # What pip unpacks from a release has a PKG-INFO; its parts are released together.
        is_release = backend.built == "sdist" or (Path(self.root) / "PKG-INFO").exists()
        if is_release or not (project / "pyproject.toml").exists():
            return f"roadcue-training=={version}"
        return f"roadcue-training @ {project.as_uri()}"
