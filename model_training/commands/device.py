"""The option that says where to train."""

import click
import torch

from model_training.errors import InvalidConfiguration

DEVICE = click.option("--device", type=click.Choice(["auto", "cuda", "cpu"]), default="auto", help="Where to train.")


def training_device(wanted: str) -> torch.device:
    """The device for `auto`, `cuda` or `cpu`; raises InvalidConfiguration where CUDA is wanted and not there."""
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise InvalidConfiguration("--device cuda: torch sees no CUDA device; use --device cpu or auto")
    return torch.device("cuda" if there and wanted != "cpu" else "cpu")
