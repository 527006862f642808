"""roadcue-train: from labelled frames to one model file, one subcommand per step."""

import click

from model_training.errors import TrainingError
from service import __version__
from service.command_line import CONTEXT_SETTINGS, Commands
from service.lazy_commands import lazy_commands
from service.shell_completion import completion_command

# What `roadcue-train --help` says of each, so that it need not import PyTorch; a test holds it to the command's own.
SUBCOMMANDS = {
    "data": "Report what DATA knows about each label.",
    "teach": "Let a YOLOX detector look at the frames of DATA.",
    "train": "Train on the rows of DATA that are not test rows.",
    "export": "Write the calibrated network of RUN as one ONNX file.",
    "evaluate": "Measure a model file on the test rows of DATA.",
    "compare": "Compare one network with one network per label.",
    "experiment": "Measure what each change of PLAN brings.",
    "verify": "Check a model file against the network of RUN.",
    "reproduces": "Compare a remade MODEL with the PUBLISHED file.",
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
