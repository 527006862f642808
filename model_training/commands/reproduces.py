"""roadcue-train reproduces: whether a model trained anew is as good as the published one."""

from pathlib import Path

import click

from model_training.commands.arguments import FILE, MODEL
from model_training.commands.result import RESULT_FORM, print_result
from model_training.errors import InvalidConfiguration, NotReproduced
from model_training.reproduction import METRIC, disagreements, has_same_weights
from service.inference.artifact import Artifact


@click.command("reproduces")
@MODEL
@click.argument("published", type=FILE)
@RESULT_FORM
def command(model: Path, published: Path) -> None:
    """Compare a remade MODEL with the PUBLISHED file.

    Says whether the one that was made again by the same recipe agrees with it. It does where both learned from the same
    data and each of its average precisions lies within the published interval; weights that are the same bit for bit,
    as on the machine that the published one was made on, are told but not asked for.
    """
    again, other = Artifact.read(model).metadata, Artifact.read(published).metadata
    count = sum(figure.metric == METRIC for figure in other.figures)
    if not count:
        raise InvalidConfiguration(f"{published} states no average precision, so nothing can be held to it")
    found = list(disagreements(again, other))
    same = has_same_weights(model, published)
    document = {
        "reproduces": not found,
        "disagreements": found,
        "average_precisions": count,
        "same_weights": same,
    }
    print_result(document, lambda: None if found else _say(count, same))
    if found:
        raise NotReproduced(f"{model} does not reproduce {published}: " + "; ".join(found))


def _say(count: int, same_weights: bool) -> None:
    click.echo(f"Reproduced: the same data, and all {count} average precisions lie within the published intervals")
    if same_weights:
        click.echo("All weights are the same, bit for bit")
