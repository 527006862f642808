"""roadcue-train export: the folder of a run -> one calibrated, verified and measured model file with its card."""

import shlex
from pathlib import Path

import click
import torch

from model_training import data_description
from model_training.calibration import calibrate, calibrated
from model_training.commands.arguments import (
    DATA,
    FILE,
    FILE_TO_WRITE,
    RUN,
    TEST_SETS,
    check_free,
    chosen_test_sets,
    quoted,
)
from model_training.commands.measured_file import measured, print_figures
from model_training.commands.trained_run import TrainedRun
from model_training.commands.verify import VERIFIED_FRAMES, say
from model_training.evaluation import network_logits
from model_training.label_table import LabelTable
from model_training.model_card import model_card
from model_training.network import PresenceNetwork
from model_training.onnx_export import Identity, ServedNetwork, describe, export, with_figures
from model_training.parity import verify
from model_training.thresholds import best_f1_thresholds


@click.command("export")
@RUN
@DATA
@click.option("--output", type=FILE_TO_WRITE, default=Path("street.onnx"), help="Model file to write.")
@click.option("--name", default="street", help="Name of the model.")
@click.option("--model-version", default="1.0.0", help="Version of the model.")
@click.option("--licence", default="unstated", help="Licence of the model file, as an SPDX identifier.")
@click.option("--overwrite", is_flag=True, help="Replace the file and its card if they are there.")
@click.option("--remarks", type=FILE, help="Markdown to put into the card.")
@TEST_SETS
def command(
    run: Path,
    data: Path,
    output: Path,
    name: str,
    model_version: str,
    licence: str,
    overwrite: bool,
    remarks: Path | None,
    test_sets: tuple[str, ...],
) -> None:
    """Calibrate the best network of RUN, write it as one ONNX file, verify it, measure it and write its card.

    Nothing is left at --output unless the file has passed. Without test rows the file carries no figures.
    """
    card = output.with_suffix(".md")
    check_free(output, overwrite)
    check_free(card, overwrite)
    table, _ = data_description.load(data)
    chosen = chosen_test_sets(test_sets, table)
    trained = TrainedRun.read(run, table)
    wanted, rows = trained.configuration, trained.rows
    held_out = table.rows(rows.calibration)
    served, thresholds = _calibrated(trained.network(), held_out, (wanted.height, wanted.width))
    identity = Identity(name, model_version, licence)
    metadata = describe(served, wanted, table.rows(rows.used()), thresholds, identity)
    unproven = output.with_suffix(".unproven.onnx")
    export(served, metadata, unproven)
    say(verify(served, unproven, held_out.images[:VERIFIED_FRAMES]))
    found = measured(unproven, table, chosen)
    metadata = with_figures(unproven, tuple(found), metadata)
    unproven.replace(output)
    again = shlex.join(["roadcue-train", "evaluate", output.name, "DATA"]) + "".join(
        f" --test-set {shlex.quote(choice)}" for choice in test_sets
    )
    said = remarks.read_text(encoding="utf-8") if remarks else ""
    card.write_text(model_card(metadata, again, said), encoding="utf-8")
    print_figures(found)
    click.echo(f"Written: {output}, {card}\nNext: roadcue serve --model {quoted(output)}")


def _calibrated(
    network: PresenceNetwork, held_out: LabelTable, size: tuple[int, int]
) -> tuple[ServedNetwork, dict[str, float]]:
    """The network with its calibration, and the thresholds, both from the same held-out rows."""
    logits_NL = network_logits(network, held_out.images, size, torch.device("cpu"))
    calibration = calibrate(held_out, logits_NL)
    thresholds = best_f1_thresholds(held_out, calibrated(logits_NL, held_out.labels, calibration))
    return ServedNetwork(network, held_out.labels, calibration), thresholds
