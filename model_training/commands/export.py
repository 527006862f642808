"""roadcue-train export: the folder of a run -> one calibrated, verified and measured model file, its variants, card."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console

from model_training import data_description
from model_training.calibration import calibrate, calibrated
from model_training.commands import labelled_data
from model_training.commands.arguments import (
    DATA,
    FILE,
    FILE_TO_WRITE,
    RUN,
    TEST_SETS,
    check_free,
    chosen_test_sets,
    quoted,
    text_of,
)
from model_training.commands.measured_file import measured, print_figures
from model_training.commands.result import RESULT_FORM, print_result
from model_training.commands.trained_run import TrainedRun
from model_training.commands.verify import VERIFIED_FRAMES, say, verified
from model_training.evaluation import network_logits, rows_from
from model_training.held_out import HeldOut
from model_training.label_table import LabelTable
from model_training.model_card import model_card
from model_training.onnx_export import Identity, ServedNetwork, describe, export, with_figures
from model_training.parity import LARGEST_MAP_DIFFERENCE, Parity, verify
from model_training.thresholds import FORM, UNDECIDED, name_of, not_chosen, rules, thresholds
from model_training.tracking import Tracking, tracked_on
from model_training.training_rows import TrainingRows
from model_training.variants.judging import (
    VARIANTS,
    RuleReached,
    Variant,
    VariantMaker,
    VariantPrecision,
    unproven_path,
)
from model_training.whole_files import write_whole
from service.inference.artifact import Artifact, Figure, ThresholdRule, variant_path


@click.command("export")
@RUN
@DATA
@click.option("--output", type=FILE_TO_WRITE, default=Path("street.onnx"), help="Model file to write.")
@click.option("--name", default="street", help="Name of the model.")
@click.option("--model-version", default="1.0.0", help="Version of the model.")
@click.option("--licence", default="unstated", help="Licence of the model file, as an SPDX identifier.")
@click.option(
    "--threshold",
    "threshold_choices",
    multiple=True,
    metavar="RULE",
    help=f"How thresholds are chosen on the rows for calibration, for all labels or for one: {FORM}: the best F1, the "
    "lowest threshold with this precision, the highest with this recall.  [default: f1]",
)
@click.option(
    "--variant",
    "variants",
    multiple=True,
    type=click.Choice([*VARIANTS, "none"]),
    default=VARIANTS,
    help="Files to make beside it: int8 for CPUs, float16 for GPUs, or none.",
)
@click.option(
    "--teacher",
    type=FILE,
    help="The CSV that RUN was trained with; it counts in the calibration where nobody labelled.  [default: the one "
    "that DATA names]",
)
@click.option("--overwrite", is_flag=True, help="Replace the files and the card if they are there.")
@click.option("--remarks", type=FILE, help="Markdown to put into the card.  [default: none]")
@TEST_SETS
@RESULT_FORM
def command(
    run: Path,
    data: Path,
    output: Path,
    name: str,
    model_version: str,
    licence: str,
    threshold_choices: tuple[str, ...],
    variants: tuple[str, ...],
    teacher: Path | None,
    overwrite: bool,
    remarks: Path | None,
    test_sets: tuple[str, ...],
) -> None:
    """Write the calibrated network of RUN as one ONNX file.

    Verifies it, measures it and writes its card. Beside it come its int8 and float16 variants, as far as they rank
    frames like it: a variant whose mean average precision differs by more than 0.005 on the validation rows or on a
    test set is not written.

    Nothing is left at --output unless the file has passed. Without test rows the file carries no figures.
    """
    card = output.with_suffix(".md")
    said = text_of(remarks)
    for path in (output, *(variant_path(output, precision) for precision in VARIANTS), card):
        check_free(path, overwrite)
    console = Console(stderr=True)
    tracking = tracked_on(console)
    table, _ = labelled_data.read(data, console)
    chosen = chosen_test_sets(test_sets, table)
    wanted_rules = rules(threshold_choices, table.labels)
    trained = TrainedRun.with_teacher(run, table, teacher or data_description.teacher(data))
    wanted, rows = trained.configuration, trained.rows
    held_out = table.rows(rows.calibration)
    served, found_thresholds, undecided = _calibrated(trained, wanted_rules, tracking)
    identity = Identity(name, model_version, licence)
    metadata = describe(served, wanted, table.rows(rows.used()), found_thresholds, identity, wanted_rules)
    unproven = unproven_path(output)
    with console.status(f"writing {output}"):
        export(served, metadata, unproven)
    parity = verify(served, unproven, held_out.images[:VERIFIED_FRAMES], tracking)
    found = measured(unproven, table, chosen, tracking)
    metadata = with_figures(unproven, tuple(found), metadata)
    precisions = [precision for precision in VARIANTS if precision in variants]
    made = _variants(unproven, output, rows, chosen, precisions, tracking)
    unproven.replace(output)
    written = [output, *_put_in_place(made, output), card]
    again = shlex.join(["roadcue-train", "evaluate", output.name, "DATA"]) + "".join(
        f" --test-set {shlex.quote(choice)}" for choice in test_sets
    )
    write_whole(card, model_card(metadata, again, said, made, undecided))
    document = {**_document(parity, found, made, written), "thresholds_not_chosen": undecided}
    print_result(document, lambda: _say(parity, found, made, undecided))
    click.echo(f"Written: {', '.join(map(str, written))}\nNext: roadcue serve --model {quoted(output)}", err=True)


def _calibrated(
    trained: TrainedRun, wanted_rules: Mapping[str, ThresholdRule], tracking: Tracking
) -> tuple[ServedNetwork, dict[str, float], dict[str, str]]:
    """The network with its calibration, and the thresholds, both from the same held-out rows; which were not chosen."""
    configuration, rows, network = trained.configuration, trained.rows, trained.network()
    table, held_out = rows.table.rows(rows.calibration), _held_out(rows)
    size = (configuration.height, configuration.width)
    logits_NL = network_logits(network, table.images, size, torch.device("cpu"), tracking)
    calibration = calibrate(held_out, logits_NL)
    probabilities_NL = calibrated(logits_NL, table.labels, calibration)
    found = thresholds(held_out, probabilities_NL, wanted_rules)
    return ServedNetwork(network, table.labels, calibration), found, not_chosen(held_out, probabilities_NL)


def _held_out(rows: TrainingRows) -> HeldOut:
    return HeldOut.of(rows.table.rows(rows.calibration), rows.soft.rows(rows.calibration))


def _variants(
    float32: Path,
    output: Path,
    rows: TrainingRows,
    test_sets: Mapping[str, Sequence[str]],
    precisions: Sequence[VariantPrecision],
    tracking: Tracking,
) -> list[Variant]:
    """Every variant asked for, measured on the test sets where it may be kept."""
    if not precisions:
        return []
    table = rows.table
    tested = table.rows(np.asarray(table.splits) == "test")
    tests = {name: tested.rows(rows_from(tested, sources)) for name, sources in test_sets.items()}
    calibration = table.rows(rows.calibration).images, _held_out(rows)
    train, validation = table.rows(rows.train), table.rows(rows.validation)
    maker = VariantMaker(float32, output, train, validation, calibration, tests, tracking)
    made = [maker.made(precision) for precision in precisions]
    return [_with_own_figures(one, table, test_sets, tracking) if one.holds else one for one in made]


def _with_own_figures(
    variant: Variant, table: LabelTable, test_sets: Mapping[str, Sequence[str]], tracking: Tracking
) -> Variant:
    found = tuple(measured(variant.path, table, test_sets, tracking))
    with_figures(variant.path, found, Artifact.read(variant.path).metadata)
    return replace(variant, figures=found)


def _put_in_place(made: Sequence[Variant], output: Path) -> list[Path]:
    """The variants that hold take their places; one of an older export is removed, the service would refuse it."""
    for precision in VARIANTS:
        variant_path(output, precision).unlink(missing_ok=True)
    for variant in made:
        if not variant.holds:
            variant.path.unlink()
    return [variant.path.replace(variant_path(output, variant.precision)) for variant in made if variant.holds]


def _document(
    parity: Parity, figures: Sequence[Figure], made: Sequence[Variant], written: Sequence[Path]
) -> dict[str, object]:
    """What `_say` tells, for a program."""
    variants = [
        {
            "precision": one.precision,
            "holds": one.holds,
            "bytes": one.size_bytes,
            "distances": one.distances,
            "parity": one.parity,
            "reached": one.reached,
        }
        for one in made
    ]
    return {"verified": verified(parity), "figures": figures, "variants": variants, "written": written}


def _say(parity: Parity, figures: Sequence[Figure], made: Sequence[Variant], undecided: Mapping[str, str]) -> None:
    """Print how near the file is to the network, its figures, and what became of its thresholds and variants."""
    say(parity)
    for label, why in undecided.items():
        click.echo(f"{label}: the threshold {UNDECIDED:g} was {why}")
    print_figures(figures)
    for variant in made:
        click.echo(_judgement(variant))
        if variant.distances:
            click.echo(f"{variant.precision}: {_distances(variant)}")
        for one in variant.reached:
            click.echo(f"{variant.precision}: {_reached(one)}")


def _distances(variant: Variant) -> str:
    told = ", ".join(f"{method} {distance:.4f}" for method, distance in variant.distances.items())
    return f"probabilities are off float32's on validation rows, by the ranges: {told}; {variant.method} is taken"


def _reached(one: RuleReached) -> str:
    return (
        f"{one.label} has {name_of(one.rule)} {one.variant:.4f} at its threshold, on the rows that chose it, where "
        f"float32 has {one.float32:.4f}"
    )


def _judgement(variant: Variant) -> str:
    """What became of a variant, with its figures."""
    if not variant.parity:
        return f"{variant.precision}: not written, no label has both kinds of known entries on the validation rows"
    sets = ", ".join(f"{found.name} {found.variant:.4f} ({found.difference:+.4f})" for found in variant.parity)
    told = f"{variant.precision}: mean average precision (and its difference from float32's): {sets}"
    if variant.holds:
        return told
    return f"{told}. Not written: it differs by more than {LARGEST_MAP_DIFFERENCE:g}"
