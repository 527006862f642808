"""The command line: roadcue serve | predict | inspect | label | benchmark | completion.

Exit codes: 0 done; 1 failed, with one line on standard error that says why; 2 called with wrong arguments;
130 stopped by Ctrl-C.
"""

from collections.abc import Sequence

import click

from service import __version__
from service.command_line import CONTEXT_SETTINGS, Commands
from service.lazy_commands import lazy_commands

# What `roadcue --help` says of each, so that it need not import ONNX Runtime; a test holds it to the command's own.
SUBCOMMANDS = {
    "serve": "Serve the model over HTTP until SIGTERM or Ctrl-C.",
    "predict": "Score images and videos.",
    "inspect": "Print a model file's card and run its self-test.",
    "label": "Answer by keyboard what frames show, in the browser.",
    "benchmark": "Measure how the model runs best on this machine.",
    "completion": "Print what makes a shell complete commands, flags and files.",
}


@click.group(
    cls=Commands,
    commands=lazy_commands("service.commands", SUBCOMMANDS),
    context_settings=CONTEXT_SETTINGS,
    epilog="Exit codes: 0 done; 1 failed; 2 wrong arguments; 130 stopped by Ctrl-C.",
)
@click.version_option(__version__, prog_name="roadcue")
def roadcue() -> None:
    """Tells which things are in driving frames."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point `roadcue`."""
    roadcue.main(arguments, prog_name="roadcue")
