"""The build backend (PEP 517, PEP 660) of the distribution `roadcue`: hatchling, which also learns what is being built.

`training_extra` asks for it: the code behind `roadcue[training]` comes from another place for each.
"""

from typing import Any, Literal

from hatchling import build
from hatchling.build import *  # noqa: F403 - some of its hooks are there for some callers only

built: Literal["wheel", "sdist", "editable"] = "wheel"


def build_editable(*arguments: Any, **named: Any) -> str:
    """As hatchling does it."""
    return str(_building("editable").build_editable(*arguments, **named))


def build_sdist(*arguments: Any, **named: Any) -> str:
    """As hatchling does it."""
    return str(_building("sdist").build_sdist(*arguments, **named))


if hasattr(build, "prepare_metadata_for_build_editable"):

    def prepare_metadata_for_build_editable(*arguments: Any, **named: Any) -> str:
        """As hatchling does it."""
        return str(_building("editable").prepare_metadata_for_build_editable(*arguments, **named))


def _building(what: Literal["sdist", "editable"]) -> Any:
    global built  # noqa: PLW0603 - a build is a process of its own, and hatchling passes nothing to its hooks
    built = what
    return build
