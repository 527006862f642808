"""roadcue-train experiment: what each ingredient of training brings."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from model_training import data_description, recipes
from model_training.commands import labelled_data
from model_training.commands.arguments import (
    CLASSES,
    DATA,
    DETECTOR,
    FILE,
    FOLDER,
    TEACHER,
    check_empty,
    quoted,
    to_be_resumed,
)
from model_training.commands.device import DEVICE, training_device
from model_training.commands.result import RESULT_FORM, print_result
from model_training.commands.train import imitated_detector
from model_training.comparison.rows import data_digest
from model_training.configuration import with_changes
from model_training.errors import InvalidConfiguration
from model_training.experiments.plan import Arm, Plan, planned, read
from model_training.experiments.report import FILE as MARKDOWN
from model_training.experiments.report import markdown
from model_training.experiments.results import FILE as RESULTS
from model_training.experiments.results import frame_times, gathered
from model_training.experiments.rows import SeedRows, said_by
from model_training.experiments.runs import Runs
from model_training.label_table import LabelTable
from model_training.markdown import around, fill_in
from model_training.measured_run import parameter_count
from model_training.network import PresenceNetwork
from model_training.teacher.cells import DetectorCells
from model_training.training_progress import in_turn, shown
from model_training.whole_files import write_whole


@dataclass(frozen=True, slots=True)
class ArmWork:
    """What one arm changes, and how large its network is."""

    name: str
    changes: Mapping[str, object]
    teacher: str
    parameters: int


@dataclass(frozen=True, slots=True)
class Work:
    """What experiments are going to train, and on how many rows of a seed each run is measured."""

    seeds: tuple[int, ...]
    arms: tuple[ArmWork, ...]
    runs: int
    frames_per_run: int
    frames: int
    held_out_rows: int


@click.command("experiment")
@click.argument("plan", type=FILE)
@DATA
@click.option("--output", type=FOLDER, default=Path("runs/experiments"), help="Folder of the experiments.")
@TEACHER
@DETECTOR
@CLASSES
@DEVICE
@click.option("--dry-run", is_flag=True, help="Say what would be trained, and train nothing.")
@click.option("--resume", is_flag=True, help="Go on with the experiments in --output; what has finished is kept.")
@click.option("--report-only", is_flag=True, help="Write the results of what has finished anew, and train nothing.")
@click.option(
    "--document",
    type=FILE,
    help="Markdown file to put the results into, between its marks, which bear the name of PLAN without its ending.  "
    "[default: none]",
)
@RESULT_FORM
def command(
    plan: Path,
    data: Path,
    output: Path,
    teacher: Path | None,
    detector: Path | None,
    classes: tuple[str, ...],
    device: str,
    dry_run: bool,
    resume: bool,
    report_only: bool,
    document: Path | None,
) -> None:
    """Measure what each change of PLAN brings.

    Trains DATA by the base of PLAN and by each change to it. All runs of one seed learn from the same split, see as
    many frames and are measured on the same held-out scenes, of which none are test rows. Keeps every run in --output
    with what it says of those; writes each change's difference from the base, with intervals and costs, to results.json
    and results.md.
    """
    console = Console(stderr=True)
    if document:
        around(document, plan.stem)
    if report_only:
        _report(Plan.load(output), output, plan.stem, document, console)
        return
    if resume:
        Plan.load(output)
    elif not dry_run:
        check_empty(output)
    table, _ = labelled_data.read(data, console)
    teacher = teacher or data_description.teacher(data)
    wanted = _planned(plan, table, teacher)
    to_imitate = _imitated(detector, classes, wanted)
    rows = {seed: SeedRows.of(wanted, table, teacher, seed) for seed in wanted.seeds}
    work = _work(wanted, rows)
    if dry_run:
        print_result(asdict(work), lambda: _say(work, Console()))
        return
    _say(work, console)
    runs = Runs(wanted, table, data_digest(table), output, training_device(device), to_imitate)
    _train(runs, rows, console)
    _report(wanted, output, plan.stem, document, console)
    click.echo(f"Next: look at {quoted(output / MARKDOWN)}; --report-only writes it anew", err=True)


def _planned(file: Path, table: LabelTable, teacher: Path | None) -> Plan:
    declaration = read(file)
    recipe = with_changes(recipes.recipe(declaration.recipe), {"labels": list(table.labels)})
    try:
        return planned(declaration, recipe, said_by(teacher, table))
    except InvalidConfiguration as problem:
        raise InvalidConfiguration(f"{file}: {problem}") from problem


def _imitated(detector: Path | None, classes: tuple[str, ...], plan: Plan) -> DetectorCells | None:
    """The detector of the arms that imitate one; raises InvalidConfiguration where it is missing, or not wanted."""
    imitating = [arm for arm in plan.arms if arm.configuration.imitation_weight]
    if detector is None and imitating:
        raise InvalidConfiguration(
            f"{imitating[0].name} has an imitation_weight and nothing to imitate: name it with --detector FILE"
        )
    arm = imitating[0] if imitating else plan.base
    return imitated_detector(detector, classes, arm.configuration)


def _train(runs: Runs, rows: Mapping[int, SeedRows], console: Console) -> None:
    """Train what has not finished; the plan is written once it is known to fit to what has."""
    left = {
        str(arm.folder(seed)): (arm, seed)
        for seed in runs.plan.seeds
        for arm in runs.plan.arms
        if not runs.is_finished(arm, rows[seed])
    }
    runs.plan.save(runs.folder)
    for name in in_turn(list(left), console):
        arm, seed = left[name]
        with to_be_resumed(), shown(runs.plan.labels, console) as observer:
            runs.train(arm, rows[seed], observer)


def _report(plan: Plan, output: Path, mark: str, document: Path | None, console: Console) -> None:
    with console.status("measuring"):
        results = gathered(plan, output, frame_times)
    results.save(output)
    text = markdown(results)
    write_whole(output / MARKDOWN, text)
    if document is not None:
        fill_in(document, text, mark)
    written = [output / name for name in (RESULTS, MARKDOWN)]
    print_result({**dict(results), "written": written}, lambda: Console().print(Markdown(text)))
    click.echo(f"Written: {', '.join(map(str, written))}", err=True)


def _work(plan: Plan, rows: Mapping[int, SeedRows]) -> Work:
    each = [len(rows[seed].of_arm(plan.base).train) for seed in plan.seeds]
    return Work(
        seeds=plan.seeds,
        arms=tuple(ArmWork(arm.name, arm.changes, arm.teacher, _parameters(arm)) for arm in plan.arms),
        runs=len(plan.arms) * len(plan.seeds),
        frames_per_run=each[0],
        frames=sum(each) * len(plan.arms),
        held_out_rows=len(rows[plan.seeds[0]].held_out),
    )


def _say(work: Work, console: Console) -> None:
    tabled = Table("change", "sets", "teacher says", "parameters")
    for arm in work.arms:
        values = ", ".join(f"{key} = {value}" for key, value in arm.changes.items())
        tabled.add_row(arm.name, values, arm.teacher, f"{arm.parameters:,}")
    console.print(tabled)
    console.print(
        f"{work.runs} runs over {len(work.seeds)} seeds; {work.frames_per_run:,} frames a run, {work.frames:,} in all; "
        f"measured on {work.held_out_rows:,} held-out rows a seed",
        highlight=False,
        soft_wrap=True,
    )


def _parameters(arm: Arm) -> int:
    """Numbers of the arm's network; raises InvalidConfiguration where its trunk cannot be had, before all training."""
    try:
        return parameter_count(PresenceNetwork(arm.configuration.network, len(arm.configuration.labels)))
    except InvalidConfiguration as problem:
        raise InvalidConfiguration(f"{arm.name}: {problem}") from problem
