"""roadcue-train: from labelled frames to one model file, one subcommand per step."""

import json
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import torch.distributed as distributed
from rich.console import Console
from rich.table import Table

from model_training import checkpoints, configuration, data_description, recipes
from model_training.calibration import calibrate, calibrated
from model_training.configuration import TrainingConfiguration
from model_training.data_report import data_report, print_report, save_html
from model_training.errors import InvalidConfiguration, TrainingError
from model_training.evaluation import figures, network_logits, session_probabilities
from model_training.label_table import LabelTable
from model_training.model_card import FIGURE_COLUMNS, figure_rows, model_card
from model_training.network import PresenceNetwork
from model_training.onnx_export import Identity, ServedNetwork, describe, export, with_figures
from model_training.parity import Parity, verify
from model_training.thresholds import best_f1_thresholds
from model_training.trainer import Processes, Trainer
from model_training.training_progress import shown
from model_training.training_rows import TrainingRows, assemble
from service import __version__
from service.errors import StartupError
from service.inference.artifact import Artifact, Figure
from service.inference.session import ModelSession

_VERIFIED_FRAMES = 32

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FILE_TO_WRITE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)
_DATA = click.argument("data", type=click.Path(exists=True, path_type=Path))
_RUN = click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
_MODEL = click.argument("model", type=_FILE)
_TEST_SETS = click.option(
    "--test-set",
    "test_sets",
    multiple=True,
    metavar="NAME=SOURCE[+SOURCE...]",
    help="Test rows of these sources are one test set.  [default: each source that has test rows by itself]",
)


class _Commands(click.Group):
    """Prints errors that we raise on purpose as one line, and exits with code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (TrainingError, StartupError) as problem:
            raise click.ClickException(str(problem)) from problem


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__, prog_name="roadcue-train")
def main() -> None:
    """Train a network on labelled frames and export it as the one file that the service serves.

    DATA is a folder with labels.csv (and boxes.csv, teacher.csv), or a TOML file that names several sources.
    """


@main.command()
@_DATA
@click.option("--output", type=_FILE_TO_WRITE, default=Path("data-report.html"), help="HTML page to write.")
@click.option("--overwrite", is_flag=True, help="Replace the page if it is there.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON instead of tables.")
def data(data: Path, output: Path, overwrite: bool, as_json: bool) -> None:
    """Say what is known about which label in DATA, and whether it is fit for one network on all labels."""
    _check_free(output, overwrite)
    table, problems = data_description.load(data)
    report = data_report(table, problems)
    save_html(report, table, output)
    if as_json:
        click.echo(report.to_json())
        return
    print_report(report, Console())
    click.echo(f"Written: {output}\nNext: roadcue-train train {_quoted(data)}")


@main.command()
@_DATA
@click.option("--recipe", "recipe_name", default="street", help=f"One of: {', '.join(recipes.RECIPES)}.")
@click.option("--output", type=_FOLDER, default=Path("runs/street"), help="Folder of the run.")
@click.option("--resume", is_flag=True, help="Go on with the run in --output.")
@click.option("--device", type=click.Choice(["auto", "cuda", "cpu"]), default="auto", help="Where to train.")
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change the recipe: epochs=3, network.trunk=resnet18."
)
@click.option(
    "--teacher", type=_FILE, help="CSV of presence scores for unknown entries.  [default: the one that DATA names]"
)
def train(
    data: Path,
    recipe_name: str,
    output: Path,
    resume: bool,
    device: str,
    changes: tuple[str, ...],
    teacher: Path | None,
) -> None:
    """Train on the rows of DATA that are not test rows.

    Keeps in --output what is needed to go on after a kill at any moment (resume.pt), the best network (best.pt), and a
    table and a plot of every epoch (metrics.csv, curves.png). On several GPUs or machines start it with torchrun.
    """
    _check_run_folder(output, resume)
    table, _ = data_description.load(data)
    wanted = _changed(recipes.recipe(recipe_name), table.labels, changes)
    rows = assemble(table, wanted, teacher or data_description.teacher(data))
    with _processes(device) as (processes, torch_device):
        trainer = Trainer(wanted, rows, output, torch_device, processes)
        with shown(wanted.labels, Console(stderr=True, quiet=not processes.is_first)) as observer:
            trainer.fit(observer)
    if processes.is_first:
        click.echo(f"Next: roadcue-train export {_quoted(output, data)}")


@main.command("export")
@_RUN
@_DATA
@click.option("--output", type=_FILE_TO_WRITE, default=Path("street.onnx"), help="Model file to write.")
@click.option("--name", default="street", help="Name of the model.")
@click.option("--model-version", default="1.0.0", help="Version of the model.")
@click.option("--licence", default="unstated", help="Licence of the model file, as an SPDX identifier.")
@click.option("--overwrite", is_flag=True, help="Replace the file and its card if they are there.")
@click.option("--remarks", type=_FILE, help="Markdown to put into the card.")
@_TEST_SETS
def export_command(
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
    _check_free(output, overwrite)
    _check_free(card, overwrite)
    table, _ = data_description.load(data)
    chosen = _chosen(test_sets, table)
    wanted, network, rows = _best(run, table)
    held_out = table.rows(rows.calibration)
    served, thresholds = _calibrated(network, held_out, (wanted.height, wanted.width))
    identity = Identity(name, model_version, licence)
    metadata = describe(served, wanted, table.rows(rows.used()), thresholds, identity)
    unproven = output.with_suffix(".unproven.onnx")
    export(served, metadata, unproven)
    _echo(verify(served, unproven, held_out.images[:_VERIFIED_FRAMES]))
    measured = _measured(unproven, table, chosen)
    metadata = with_figures(unproven, tuple(measured), metadata)
    unproven.replace(output)
    command = shlex.join(["roadcue-train", "evaluate", output.name, "DATA"]) + "".join(
        f" --test-set {shlex.quote(choice)}" for choice in test_sets
    )
    said = remarks.read_text(encoding="utf-8") if remarks else ""
    card.write_text(model_card(metadata, command, said), encoding="utf-8")
    _print_figures(measured)
    click.echo(f"Written: {output}, {card}\nNext: roadcue serve --model {_quoted(output)}")


@main.command()
@_MODEL
@_DATA
@_TEST_SETS
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def evaluate(model: Path, data: Path, test_sets: tuple[str, ...], as_json: bool) -> None:
    """Measure a model file on the test rows of DATA, as the service answers them."""
    table, _ = data_description.load(data)
    measured = _measured(model, table, _chosen(test_sets, table))
    if not measured:
        raise InvalidConfiguration("the data has no test rows: give some of its sources or rows split = test")
    if as_json:
        click.echo(json.dumps([figure.model_dump() for figure in measured], indent=2))
    else:
        _print_figures(measured)


@main.command("verify")
@_MODEL
@_RUN
@_DATA
@click.option("--frames", type=click.IntRange(min=1), default=_VERIFIED_FRAMES, help="Frames of DATA to compare on.")
def verify_command(model: Path, run: Path, data: Path, frames: int) -> None:
    """Hold a model file to the network of RUN on real frames of DATA, and check its self-test vectors."""
    table, _ = data_description.load(data)
    _, network, _ = _best(run, table)
    served = ServedNetwork(network, table.labels, _artifact_about(model, table).metadata.calibration)
    spread = np.linspace(0, len(table) - 1, min(frames, len(table))).astype(int)
    _echo(verify(served, model, [table.images[row] for row in spread]))


def _calibrated(
    network: PresenceNetwork, held_out: LabelTable, size: tuple[int, int]
) -> tuple[ServedNetwork, dict[str, float]]:
    """The network with its calibration, and the thresholds, both from the same held-out rows."""
    logits_NL = network_logits(network, held_out.images, size, torch.device("cpu"))
    calibration = calibrate(held_out, logits_NL)
    thresholds = best_f1_thresholds(held_out, calibrated(logits_NL, held_out.labels, calibration))
    return ServedNetwork(network, held_out.labels, calibration), thresholds


def _artifact_about(model: Path, table: LabelTable) -> Artifact:
    """The model file; raises InvalidConfiguration where it answers other labels than the data is about."""
    artifact = Artifact.read(model)
    if artifact.metadata.label_keys != table.labels:
        raise InvalidConfiguration(f"{model} answers {artifact.metadata.label_keys}, the data is about {table.labels}")
    return artifact


def _echo(parity: Parity) -> None:
    click.echo(
        f"Verified: self-test reproduced; on {parity.frames} frames probabilities differ from the network's by at most "
        f"{parity.probabilities:.1e}, evidence by {parity.evidence:.1e}"
    )


def _best(run: Path, table: LabelTable) -> tuple[TrainingConfiguration, PresenceNetwork, TrainingRows]:
    """Configuration, best network and rows of a run; raises where `table` is not what it was trained on."""
    path = run / checkpoints.BEST
    trained, state = checkpoints.load(path)
    if trained.labels != table.labels:
        raise InvalidConfiguration(f"{run} was trained on {trained.labels}, the data is about {table.labels}")
    rows = assemble(table, trained)
    found = rows.fingerprint()
    checkpoints.check_same_rows(path, {name: found[name] for name in found if name != "teacher"}, state["rows"])
    # The trunk's start is overwritten, so it need not be had.
    start = trained.network.model_copy(update={"pretrained": "none"})
    network = PresenceNetwork(start, len(trained.labels))
    network.load_state_dict(state["network"])
    return trained, network.eval(), rows


def _measured(model: Path, table: LabelTable, test_sets: Mapping[str, Sequence[str]]) -> list[Figure]:
    artifact = _artifact_about(model, table)
    if not test_sets:
        return []
    tested, size = table.rows(np.asarray(table.splits) == "test"), artifact.metadata.input
    session = ModelSession(artifact, intra_op_threads=torch.get_num_threads())
    probabilities_NL = session_probabilities(session, tested.images, (size.height, size.width))
    thresholds = {label.key: label.threshold for label in artifact.metadata.labels}
    return figures(tested, probabilities_NL, thresholds, test_sets)


def _chosen(choices: Sequence[str], table: LabelTable) -> dict[str, tuple[str, ...]]:
    """Test sets by name, none where there are no test rows; raises InvalidConfiguration for a source without any."""
    named = zip(table.sources, table.splits, strict=True)
    sources = sorted({part for source, split in named if split == "test" for part in source.split("+")})
    if not choices:
        return {source: (source,) for source in sources}
    chosen = dict(_test_set(choice) for choice in choices)
    missing = sorted({source for members in chosen.values() for source in members} - set(sources))
    if missing:
        raise InvalidConfiguration(
            f"--test-set names {', '.join(missing)}; sources with test rows are {', '.join(sources) or 'none'}"
        )
    return chosen


def _test_set(choice: str) -> tuple[str, tuple[str, ...]]:
    name, separator, members = choice.partition("=")
    if not (name and separator and members):
        raise InvalidConfiguration(f"--test-set {choice!r} is not NAME=SOURCE[+SOURCE...]")
    return name, tuple(members.split("+"))


def _print_figures(measured: Sequence[Figure]) -> None:
    table = Table(*FIGURE_COLUMNS)
    for row in figure_rows(measured):
        table.add_row(*row)
    Console().print(table)


def _changed(base: TrainingConfiguration, labels: tuple[str, ...], changes: Sequence[str]) -> TrainingConfiguration:
    """The recipe with `KEY=VALUE` changes: dots reach into its parts, values are read as TOML, else as text."""
    document = base.model_dump(mode="json")
    for change in changes:
        key, separator, text = change.partition("=")
        if not separator:
            raise InvalidConfiguration(f"--set {change!r} has no '='; write KEY=VALUE, such as epochs=3")
        if key.strip() == "labels":
            raise InvalidConfiguration("--set labels=...: the labels are those of DATA; name them in its TOML file")
        _place(document, key.strip(), _value(text))
    return configuration.validated({**document, "labels": list(labels)})


def _place(document: dict[str, Any], key: str, value: object) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        document = document.setdefault(parent, {})
        if not isinstance(document, dict):
            raise InvalidConfiguration(f"--set {key}: {parent} is a value, it has no part {last}")
    document[last] = value


def _value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _check_free(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise InvalidConfiguration(f"{path} is there already: --overwrite replaces it")
    path.parent.mkdir(parents=True, exist_ok=True)


def _check_run_folder(folder: Path, resume: bool) -> None:
    if resume and not (folder / checkpoints.RESUME).exists():
        raise InvalidConfiguration(f"{folder} holds no run to go on with; start one without --resume")
    if not resume and folder.exists() and any(folder.iterdir()):
        raise InvalidConfiguration(f"{folder} is not empty: --resume goes on with it, --output chooses another folder")


@contextmanager
def _processes(device: str) -> Iterator[tuple[Processes, torch.device]]:
    """This process among those torchrun started, alone without it; and the device that is its own."""
    if device == "cuda" and not torch.cuda.is_available():
        raise InvalidConfiguration("--device cuda: torch sees no CUDA device; use --device cpu or auto")
    kind = "cpu" if device == "cpu" or not torch.cuda.is_available() else "cuda"
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


def _quoted(*paths: Path) -> str:
    return shlex.join(str(path) for path in paths)
