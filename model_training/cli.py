"""roadcue-train: from labelled frames to one model file, one subcommand per step."""

import json
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from model_training.curves import save_curves
from model_training.data_report import data_report, print_report, save_html
from model_training.errors import InvalidConfiguration, TrainingError
from model_training.evaluation import figures, network_logits, session_probabilities
from model_training.label_table import LabelTable
from model_training.model_card import FIGURE_COLUMNS, figure_rows, model_card
from model_training.network import PresenceNetwork
from model_training.onnx_export import ServedNetwork, describe, export, with_figures
from model_training.parity import verify
from model_training.thresholds import best_f1_thresholds
from model_training.trainer import Processes, Trainer
from model_training.training_progress import shown
from model_training.training_rows import assemble
from service import __version__
from service.errors import StartupError
from service.inference.artifact import Artifact, Calibration, Figure
from service.inference.session import ModelSession

_VERIFIED_FRAMES = 32

_DATA = click.argument("data", type=click.Path(exists=True, path_type=Path))
_RUN = click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
_MODEL = click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
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
@click.option("--output", type=click.Path(path_type=Path), default=Path("data-report.html"), help="HTML page to write.")
@click.option("--overwrite", is_flag=True, help="Replace the page if it is there.")
def data(data: Path, output: Path, overwrite: bool) -> None:
    """Say what is known about which label in DATA, and whether it is fit for one network on all labels."""
    _check_free(output, overwrite)
    table, problems = data_description.load(data)
    report = data_report(table, problems)
    print_report(report, Console())
    save_html(report, table, output)
    click.echo(f"Written: {output}\nNext: roadcue-train train {shlex.quote(str(data))}")


@main.command()
@_DATA
@click.option("--recipe", "recipe_name", default="street", help=f"One of: {', '.join(recipes.RECIPES)}.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("runs/street"), help="Folder of the run.")
@click.option("--resume", is_flag=True, help="Go on with the run in --output.")
@click.option("--device", type=click.Choice(["auto", "cuda", "cpu"]), default="auto", help="Where to train.")
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change the recipe: epochs=3, network.trunk=resnet18."
)
@click.option(
    "--teacher",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV of presence scores for unknown entries.  [default: teacher.csv in DATA, where there is one]",
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
    if not resume and output.exists() and any(output.iterdir()):
        raise InvalidConfiguration(f"{output} is not empty: --resume goes on with it, --output chooses another folder")
    table, _ = data_description.load(data)
    wanted = _changed(recipes.recipe(recipe_name), table.labels, changes)
    rows = assemble(table, wanted, teacher or _teacher_in(data))
    with _processes() as processes:
        trainer = Trainer(wanted, rows, output, _device(device), processes)
        with shown(wanted.labels, Console(stderr=True, quiet=not processes.is_first)) as observer:
            trainer.fit(observer)
    if processes.is_first:
        save_curves(trainer.history, wanted.labels, output / "curves.png")
        click.echo(f"Next: roadcue-train export {_quoted(output, data)}")


@main.command("export")
@_RUN
@_DATA
@click.option("--output", type=click.Path(path_type=Path), default=Path("street.onnx"), help="Model file to write.")
@click.option("--name", default="street", help="Name of the model.")
@click.option("--model-version", default="1.0.0", help="Version of the model.")
@click.option("--overwrite", is_flag=True, help="Replace the file and its card if they are there.")
@click.option(
    "--remarks", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Markdown to put into the card."
)
@_TEST_SETS
def export_command(
    run: Path,
    data: Path,
    output: Path,
    name: str,
    model_version: str,
    overwrite: bool,
    remarks: Path | None,
    test_sets: tuple[str, ...],
) -> None:
    """Calibrate the best network of RUN, write it as one ONNX file, verify it, measure it and write its card."""
    card = output.with_suffix(".md")
    _check_free(output, overwrite)
    _check_free(card, overwrite)
    table, _ = data_description.load(data)
    chosen = _chosen(test_sets, table)
    wanted, network = _best(run, table)
    rows = assemble(table, wanted)
    held_out = table.rows(rows.calibration)
    logits_NL = network_logits(network, held_out.images, (wanted.height, wanted.width), torch.device("cpu"))
    calibration = calibrate(held_out, logits_NL)
    thresholds = best_f1_thresholds(held_out, calibrated(logits_NL, table.labels, calibration))
    served = ServedNetwork(network, table.labels, calibration)
    learned = table.rows(np.concatenate([rows.train, rows.validation, rows.calibration]))
    metadata = describe(served, wanted, learned, calibration, thresholds, name, model_version)
    export(served, metadata, output)
    _verified(served, output, held_out.images)
    measured = _measured(output, table, chosen)
    metadata = with_figures(output, tuple(measured), metadata)
    command = f"roadcue-train evaluate {output.name} DATA" + "".join(
        f" --test-set {shlex.quote(choice)}" for choice in test_sets
    )
    card.write_text(model_card(metadata, command, remarks.read_text() if remarks else ""))
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
    _, network = _best(run, table)
    served = ServedNetwork(network, table.labels, _calibration_of(model, table))
    spread = np.linspace(0, len(table) - 1, min(frames, len(table))).astype(int)
    _verified(served, model, [table.images[row] for row in spread])


def _calibration_of(model: Path, table: LabelTable) -> dict[str, Calibration]:
    metadata = Artifact.read(model).metadata
    if metadata.label_keys != table.labels:
        raise InvalidConfiguration(f"{model} answers {metadata.label_keys}, the data is about {table.labels}")
    return metadata.calibration


def _verified(served: ServedNetwork, path: Path, images: Sequence[Path]) -> None:
    parity = verify(served, path, images[:_VERIFIED_FRAMES] if len(images) > _VERIFIED_FRAMES else images)
    click.echo(
        f"Verified: self-test reproduced; on {parity.frames} frames probabilities differ from the network's by at most "
        f"{parity.probabilities:.1e}, evidence by {parity.evidence:.1e}"
    )


def _best(run: Path, table: LabelTable) -> tuple[TrainingConfiguration, PresenceNetwork]:
    """The configuration and the best network of a run that was trained on the table's labels."""
    trained, state = checkpoints.load(run / checkpoints.BEST)
    if trained.labels != table.labels:
        raise InvalidConfiguration(f"{run} was trained on {trained.labels}, the data is about {table.labels}")
    # The trunk's start is overwritten, so it need not be had.
    start = trained.network.model_copy(update={"pretrained": "none"})
    network = PresenceNetwork(start, len(trained.labels))
    network.load_state_dict(state["network"])
    return trained, network.eval()


def _measured(model: Path, table: LabelTable, test_sets: Mapping[str, Sequence[str]]) -> list[Figure]:
    artifact = Artifact.read(model)
    _calibration_of(model, table)
    tested = table.rows(np.asarray(table.splits) == "test")
    size = (artifact.metadata.input.height, artifact.metadata.input.width)
    session = ModelSession(artifact, intra_op_threads=torch.get_num_threads())
    probabilities_NL = session_probabilities(session, tested.images, size)
    thresholds = {label.key: label.threshold for label in artifact.metadata.labels}
    return figures(tested, probabilities_NL, thresholds, test_sets)


def _chosen(choices: Sequence[str], table: LabelTable) -> dict[str, tuple[str, ...]]:
    """Test sets by name; raises InvalidConfiguration where a source has no test rows."""
    sources = sorted({source for source, split in zip(table.sources, table.splits, strict=True) if split == "test"})
    if not sources:
        raise InvalidConfiguration("the data has no test rows: give some of its sources or rows split = test")
    if not choices:
        return {source: (source,) for source in sources}
    chosen = {name: tuple(members.split("+")) for name, _, members in (choice.partition("=") for choice in choices)}
    missing = sorted({source for members in chosen.values() for source in members} - set(sources))
    if missing:
        raise InvalidConfiguration(f"--test-set names {missing}; sources with test rows are {', '.join(sources)}")
    return chosen


def _print_figures(measured: Sequence[Figure]) -> None:
    table = Table(*FIGURE_COLUMNS)
    for row in figure_rows(measured):
        table.add_row(*row)
    Console().print(table)


def _changed(base: TrainingConfiguration, labels: tuple[str, ...], changes: Sequence[str]) -> TrainingConfiguration:
    """The recipe with `KEY=VALUE` changes: dots reach into its parts, values are read as TOML, else as text."""
    document = {**base.model_dump(mode="json"), "labels": list(labels)}
    for change in changes:
        key, separator, text = change.partition("=")
        if not separator:
            raise InvalidConfiguration(f"--set {change!r} has no '='; write KEY=VALUE, such as epochs=3")
        _place(document, key.strip().split("."), _value(text))
    return configuration.validated(document)


def _place(document: dict[str, Any], path: list[str], value: object) -> None:
    *parents, last = path
    for parent in parents:
        document = document.setdefault(parent, {})
    document[last] = value


def _value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _teacher_in(data: Path) -> Path | None:
    found = data / "teacher.csv"
    return found if found.is_file() else None


def _check_free(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise InvalidConfiguration(f"{path} is there already: --overwrite replaces it")


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise InvalidConfiguration("--device cuda: torch sees no CUDA device; use --device cpu or auto")
    use_cuda = name == "cuda" or (name == "auto" and torch.cuda.is_available())
    return torch.device("cuda", distributed.get_node_local_rank(0)) if use_cuda else torch.device("cpu")


@contextmanager
def _processes() -> Iterator[Processes]:
    """This process among those torchrun started; alone without torchrun."""
    if not distributed.is_torchelastic_launched():
        yield Processes()
        return
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def _quoted(*paths: Path) -> str:
    return shlex.join(str(path) for path in paths)
