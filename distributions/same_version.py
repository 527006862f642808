"""The distribution `roadcue-training` needs the `roadcue` of its own version: they share a format and its reader."""

from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class SameVersion(MetadataHookInterface):
    """Adds the dependency."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Called with the table `project`, once its version is known."""
        metadata["dependencies"] = [f"roadcue[training]=={metadata['version']}"]
