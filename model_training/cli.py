"""roadcue-train: from labelled frames to one model file, one subcommand per step."""

import click

from model_training.errors import TrainingError
from service import __version__
from service.command_line import CONTEXT_SETTINGS, Commands
from service.lazy_commands import lazy_commands
from service.shell_completion import completion_command

# What `roadcue-train --help` says of each, so that it need not import PyTorch; a test holds it to the command's own.
SUBCOMMANDS = {
    "data": "Say what is known about which label in DATA, and whether it is fit for one network on all labels.",
    "teach": "Let a YOLOX detector look at the frames of DATA: by default at those that are not test rows.",
    "train": "Train on the rows of DATA that are not test rows.",
    "export": "Calibrate the best network of RUN, write it as one ONNX file, verify it, measure it and write its card.",
    "evaluate": "Measure a model file on the test rows of DATA, as the service answers them.",
    "compare": "Train one network on all labels and one network per label alike, and measure which is better.",
    "experiment": "Train DATA by the base of PLAN and by each change to it, and measure what every change brings.",
    "verify": "Hold a model file to the network of RUN on real frames of DATA, and check its self-test vectors.",
    "reproduces": "Say whether MODEL, made again, agrees with the PUBLISHED file of the same recipe.",
}


class _Commands(Commands):
    """Training has errors of its own; one of the operating system, such as a full disk, names its file."""

    failures = (*Commands.failures, TrainingError, OSError)


@click.group(
    cls=_Commands,
    commands={
        **lazy_commands("model_training.commands", SUBCOMMANDS),
        "completion": completion_command("roadcue-train"),
    },
    context_settings={**CONTEXT_SETTINGS, "show_default": True},
    epilog="Exit codes: 0 done; 1 failed; 2 wrong arguments; 130 stopped by Ctrl-C.",
)
@click.version_option(__version__, prog_name="roadcue-train")
def main() -> None:
    """Train a network on labelled frames and export it as the one file that the service serves.

    DATA is a folder with labels.csv (and boxes.csv, teacher.csv), or a TOML file that names several sources.
    """
