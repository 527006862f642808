"""roadcue-train verify: a model file against the network that it was made of."""

from pathlib import Path
from typing import Final

import click
import numpy as np
from rich.console import Console

from model_training.commands import labelled_data
from model_training.commands.arguments import DATA, MODEL, RUN, quoted
from model_training.commands.measured_file import artifact_about
from model_training.commands.result import RESULT_FORM, print_result
from model_training.commands.trained_run import TrainedRun
from model_training.onnx_export import ServedNetwork
from model_training.parity import Parity, verify
from model_training.tracking import tracked_on

VERIFIED_FRAMES: Final = 32


@click.command("verify")
@MODEL
@RUN
@DATA
@click.option("--frames", type=click.IntRange(min=1), default=VERIFIED_FRAMES, help="Frames of DATA to compare on.")
@RESULT_FORM
def command(model: Path, run: Path, data: Path, frames: int) -> None:
    """Check a model file against the network of RUN.

    Holds their answers to each other on real frames of DATA, and checks the file's self-test vectors.
    """
    console = Console(stderr=True)
    table, _ = labelled_data.read(data, console)
    network = TrainedRun.read(run, table).network()
    served = ServedNetwork(network, table.labels, artifact_about(model, table).metadata.calibration)
    spread = np.linspace(0, len(table) - 1, min(frames, len(table))).astype(int)
    parity = verify(served, model, [table.images[row] for row in spread], tracked_on(console))
    print_result({"verified": verified(parity)}, lambda: say(parity))
    click.echo(f"Next: roadcue-train evaluate {quoted(model, data)} --run {quoted(run)}", err=True)


def verified(parity: Parity) -> dict[str, object]:
    """How far a file that has passed is from the network, for a JSON document."""
    largest = {"probabilities": parity.probabilities, "evidence": parity.evidence}
    return {"frames": parity.frames, "largest_differences": largest}


def say(parity: Parity) -> None:
    """Print that the file has passed, and how far it is from the network."""
    click.echo(
        f"Verified: self-test reproduced; on {parity.frames} frames probabilities differ from the network's by at most "
        f"{parity.probabilities:.1e}, evidence by {parity.evidence:.1e}"
    )
