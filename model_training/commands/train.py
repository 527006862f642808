"""roadcue-train train: labelled frames -> the folder of a run."""

import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import click
import numpy as np
import torch
import torch.distributed as distributed
from rich.console import Console

from model_training import checkpoints, data_description, recipes
from model_training.commands import labelled_data
from model_training.commands.arguments import (
    CLASSES,
    DATA,
    DETECTOR,
    FOLDER,
    TEACHER,
    check_empty,
    class_numbers,
    quoted,
    to_be_resumed,
)
from model_training.commands.device import DEVICE, training_device
from model_training.commands.result import RESULT_FORM, print_result
from model_training.configuration import TrainingConfiguration, with_changes
from model_training.errors import InvalidConfiguration
from model_training.label_table import ABSENT, PRESENT
from model_training.metrics import decidable
from model_training.teacher.cells import DetectorCells
from model_training.trainer import Processes, Trainer
from model_training.training_progress import shown
from model_training.training_rows import TrainingRows, assemble
from model_training.whole_files import unfinished_of


@click.command("train")
@DATA
@click.option("--recipe", "recipe_name", default="street", help=f"One of: {', '.join(recipes.RECIPES)}.")
@click.option("--output", type=FOLDER, default=Path("runs/street"), help="Folder of the run.")
@click.option("--resume", is_flag=True, help="Go on with the run in --output.")
@DEVICE
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change the recipe: epochs=3, network.trunk=tf_efficientnet_lite2.  [default: none]",
)
@TEACHER
@DETECTOR
@CLASSES
@RESULT_FORM
def command(
    data: Path,
    recipe_name: str,
    output: Path,
    resume: bool,
    device: str,
    changes: tuple[str, ...],
    teacher: Path | None,
    detector: Path | None,
    classes: tuple[str, ...],
) -> None:
    """Train on the rows of DATA that are not test rows.

    Keeps in --output what is needed to go on after a kill at any moment (resume.pt), the best network (best.pt), and a
    table and a plot of every epoch (metrics.csv, curves.png). On several GPUs or machines start it with torchrun.
    """
    _check_run_folder(output, resume)
    # Those that torchrun started would draw over each other.
    table, _ = labelled_data.read(data, Console(stderr=True, quiet=distributed.is_torchelastic_launched()))
    wanted = changed(recipes.recipe(recipe_name), table.labels, changes)
    to_imitate = imitated_detector(detector, classes, wanted)
    imitates_nobody = to_imitate is None and wanted.imitation_weight > 0
    if imitates_nobody:
        wanted = with_changes(wanted, {"imitation_weight": 0.0})
    rows = assemble(table, wanted, teacher or data_description.teacher(data))
    warnings = list(_warnings(rows))
    with _processes(device) as (processes, torch_device):
        trainer = Trainer(wanted, rows, output, torch_device, processes, to_imitate)
        console = Console(stderr=True, quiet=not processes.is_first)
        if imitates_nobody:
            console.print(
                f"{recipe_name} imitates a detector; without one (--detector FILE) it learns from labels",
                highlight=False,
                soft_wrap=True,
            )
        for warning in warnings:
            console.print(warning, style="yellow", highlight=False, soft_wrap=True)
        with to_be_resumed(), shown(wanted.labels, console) as observer:
            trainer.fit(observer)
    if processes.is_first:
        _report(trainer.history, output)
        taught = f" --teacher {quoted(teacher)}" if teacher else ""
        click.echo(f"Next: roadcue-train export {quoted(output, data)}{taught}", err=True)


def _warnings(rows: TrainingRows) -> Iterator[str]:
    """What these rows cannot teach; raises InvalidConfiguration for a label of which they say nothing at all."""
    learned_NL = rows.table.entries_NL[rows.train]
    for label, entries_N in zip(rows.table.labels, learned_NL.T, strict=True):
        present, absent = np.count_nonzero(entries_N == PRESENT), np.count_nonzero(entries_N == ABSENT)
        if not present and not absent:
            raise InvalidConfiguration(
                f"no train row says whether {label} is there, so nothing would learn it: name a source that knows it, "
                "or leave it out of `labels`; roadcue-train data shows what is known"
            )
        if not absent:
            yield (
                f"{label}: {present} present and 0 absent among the train rows: the network learns that it is always "
                "there. A source that annotates each one is `exhaustive` on it"
            )
        if not present:
            yield (
                f"{label}: 0 present and {absent} absent among the train rows: the network learns that it is never "
                "there. Name a source that shows it"
            )
    if not decidable(rows.table.entries_NL[rows.validation]):
        yield (
            "no label has both kinds of known entries on the validation rows: the last epoch is kept, and training "
            "does not stop early"
        )


def _report(history: Sequence[Mapping[str, float]], output: Path) -> None:
    """Print the epoch whose network is kept: of those with the highest mean average precision, the first.

    The last where validation decides nothing.
    """
    best = history[-1] if math.isnan(history[-1]["map"]) else max(history, key=lambda row: row["map"])
    written = [output / name for name in (checkpoints.BEST, checkpoints.RESUME, "metrics.csv", "curves.png")]
    document = {"epochs": len(history), "best": best, "written": written}
    print_result(document, lambda: _say(len(history), best))


def _say(epochs: int, best: Mapping[str, float]) -> None:
    if math.isnan(best["map"]):
        click.echo(f"kept is epoch {best['epoch']:.0f}, the last of {epochs}")
        return
    precisions = "  ".join(f"{key.removeprefix('ap_')} {best[key]:.3f}" for key in best if key.startswith("ap_"))
    click.echo(f"best of {epochs} epochs is {best['epoch']:.0f}: mAP {best['map']:.3f}  {precisions}")


def imitated_detector(
    detector: Path | None, classes: Sequence[str], configuration: TrainingConfiguration
) -> DetectorCells | None:
    """The detector with its classes for the labels of a run; raises InvalidConfiguration where nobody would ask it."""
    if detector is None:
        if classes:
            raise InvalidConfiguration(f"--class {classes[0]} says what a detector knows: name it with --detector FILE")
        return None
    if not configuration.imitation_weight:
        raise InvalidConfiguration(f"--detector {detector} would not be imitated: imitation_weight is 0; --set it")
    return DetectorCells(detector, class_numbers(classes, configuration.labels))


def changed(base: TrainingConfiguration, labels: tuple[str, ...], changes: Sequence[str]) -> TrainingConfiguration:
    """The recipe with `KEY=VALUE` changes: dots reach into its parts, values are read as TOML, else as text."""
    values: dict[str, object] = {}
    for change in changes:
        key, separator, text = change.partition("=")
        if not separator:
            raise InvalidConfiguration(f"--set {change!r} has no '='; write KEY=VALUE, such as epochs=3")
        if key.strip() == "labels":
            raise InvalidConfiguration("--set labels=...: the labels are those of DATA; name them in its TOML file")
        values[key.strip()] = _value(text)
    return with_changes(base, {**values, "labels": list(labels)})


def _value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _check_run_folder(folder: Path, resume: bool) -> None:
    saved = folder / checkpoints.RESUME
    # Stopped while it wrote the first checkpoint, a run has left nothing else and begins anew.
    has_begun = folder.is_dir() and set(folder.iterdir()) <= {unfinished_of(saved)}
    if resume and not (saved.exists() or has_begun):
        raise InvalidConfiguration(f"{folder} holds no run to go on with; start one without --resume")
    if not resume:
        check_empty(folder)


@contextmanager
def _processes(device: str) -> Iterator[tuple[Processes, torch.device]]:
    """This process among those torchrun started, alone without it; and the device that is its own."""
    kind = training_device(device).type
    if not distributed.is_torchelastic_launched():
        yield Processes(), torch.device(kind)
        return
    own = torch.device(kind, distributed.get_node_local_rank()) if kind == "cuda" else torch.device(kind)
    if kind == "cuda":
        torch.cuda.set_device(own)
    # The others wait while the first one validates, however long that takes.
    distributed.init_process_group("nccl" if kind == "cuda" else "gloo", timeout=timedelta(hours=6))
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size()), own
    finally:
        distributed.destroy_process_group()
