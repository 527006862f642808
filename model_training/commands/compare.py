"""roadcue-train compare: one network on all labels against one network per label."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from model_training import checkpoints, recipes
from model_training.commands import labelled_data
from model_training.commands.arguments import (
    DATA,
    FILE,
    FOLDER,
    TEST_SETS,
    check_empty,
    chosen_test_sets,
    quoted,
    to_be_resumed,
)
from model_training.commands.device import DEVICE, training_device
from model_training.commands.result import RESULT_FORM, print_result
from model_training.commands.train import changed
from model_training.comparison.costs import frame_times, parameters_of
from model_training.comparison.plan import CONTROLS, Plan, planned
from model_training.comparison.report import MARK, MARKDOWN, PLOT, markdown, save_plot
from model_training.comparison.results import FILE as RESULTS
from model_training.comparison.results import Results, gathered
from model_training.comparison.rows import SeedRows, data_digest, frames_per_network
from model_training.comparison.runs import Runs
from model_training.errors import InvalidConfiguration
from model_training.label_table import LabelTable
from model_training.markdown import around, fill_in
from model_training.tracking import tracked_on
from model_training.training_progress import in_turn, shown
from model_training.whole_files import write_whole


@dataclass(frozen=True, slots=True)
class ArmWork:
    """What is to be trained for one arm in one setting with each seed."""

    trunk: str
    fraction: float
    arm: str
    networks_per_seed: int
    parameters: int


@dataclass(frozen=True, slots=True)
class Work:
    """What a comparison is going to train; arms share networks, so there are fewer than theirs together."""

    seeds: tuple[int, ...]
    arms: tuple[ArmWork, ...]
    networks: int
    frames_per_network: int
    frames: int


@click.command("compare")
@DATA
@click.option("--recipe", "recipe_name", default="comparison", help=f"One of: {', '.join(recipes.RECIPES)}.")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change the recipe: epochs=3, height=256.  [default: none]",
)
@click.option("--output", type=FOLDER, default=Path("runs/comparison"), help="Folder of the comparison.")
@click.option("--seeds", type=click.IntRange(min=1), default=3, help="Seeds, from the recipe's on; each splits anew.")
@click.option("--fractions", default="0.25,0.5,1", help="Shares of the labelled scenes to learn from, ascending.")
@click.option("--larger-trunk", default="tf_efficientnet_lite2", help="Compared on the largest share too, or `none`.")
@click.option("--controls", default=",".join(CONTROLS), help="Further arms on the largest share, or `none`.")
@DEVICE
@click.option("--dry-run", is_flag=True, help="Say what would be trained, and train nothing.")
@click.option("--resume", is_flag=True, help="Go on with the comparison in --output; what has finished is kept.")
@click.option("--report-only", is_flag=True, help="Write the results of what has finished anew, and train nothing.")
@click.option("--test", "tests", is_flag=True, help="Report test rows too; nothing is chosen by them.")
@TEST_SETS
@click.option(
    "--document", type=FILE, help="Markdown file to put the results into, between its marks.  [default: none]"
)
@RESULT_FORM
def command(
    data: Path,
    recipe_name: str,
    changes: tuple[str, ...],
    output: Path,
    seeds: int,
    fractions: str,
    larger_trunk: str,
    controls: str,
    device: str,
    dry_run: bool,
    resume: bool,
    report_only: bool,
    tests: bool,
    test_sets: tuple[str, ...],
    document: Path | None,
) -> None:
    """Compare one network with one network per label.

    Trains one network on all labels and one network per label alike, and measures which is better. Every network starts
    alike, sees as many frames and is measured on the same held-out scenes of its seed, test rows excepted. Keeps every
    network in --output with what it says of those rows; writes the paired differences with intervals and the costs to
    results.json, results.md and results.png. No teacher is used: labels are compared.
    """
    console = Console(stderr=True)
    if document:
        around(document, MARK)
    if report_only:
        _report(Plan.load(output), output, document, console)
        return
    if not dry_run:
        _check_folder(output, resume)
    table, _ = labelled_data.read(data, console)
    wanted = planned(
        changed(recipes.recipe(recipe_name), table.labels, changes),
        seeds,
        _shares(fractions),
        None if larger_trunk == "none" else larger_trunk,
        _listed(controls),
        chosen_test_sets(test_sets, table) if tests or test_sets else {},
    )
    rows = {seed: SeedRows.of(wanted, table, seed) for seed in wanted.seeds}
    work = _work(wanted, table, rows)
    if dry_run:
        print_result(asdict(work), lambda: _say(work, Console()))
        return
    _say(work, console)
    if resume:
        checkpoints.check_same(output, wanted.configuration, Plan.load(output).configuration)
    _train(Runs(wanted, table, data_digest(table), output, training_device(device)), rows, console)
    _report(wanted, output, document, console)
    click.echo(f"Next: look at {quoted(output / PLOT)}; --report-only writes it anew", err=True)


def _check_folder(folder: Path, resume: bool) -> None:
    if resume:
        Plan.load(folder)
    else:
        check_empty(folder)


def _train(runs: Runs, rows: Mapping[int, SeedRows], console: Console) -> None:
    """Train what has not finished; the plan is written once it is known to fit to what has."""
    cells = [cell for cell in runs.plan.cells() if not runs.is_finished(cell)]
    runs.plan.save(runs.folder)
    for cell in in_turn(cells, console):
        with to_be_resumed(), shown(cell.labels, console) as observer:
            runs.train(cell, rows[cell.seed], observer)
    if runs.plan.test_sets:
        for cell in tracked_on(console)(runs.plan.cells(), "networks on test rows", len(runs.plan.cells())):
            runs.score_test(cell)


def _report(plan: Plan, output: Path, document: Path | None, console: Console) -> None:
    with console.status("measuring"):
        results = gathered(plan, output, lambda setting: frame_times(plan, setting))
    results.save(output)
    text = markdown(results)
    write_whole(output / MARKDOWN, text)
    save_plot(results, output / PLOT)
    if document is not None:
        _into(document, text, results)
    written = [output / name for name in (RESULTS, MARKDOWN, PLOT)]
    print_result({**dict(results), "written": written}, lambda: Console().print(Markdown(text)))
    click.echo(f"Written: {', '.join(map(str, written))}", err=True)


def _into(document: Path, text: str, results: Results) -> None:
    """The plot goes beside the document, under its name."""
    plot = document.with_suffix(".png")
    save_plot(results, plot)
    fill_in(document, f"![average precision and paired differences]({plot.name})\n\n{text}", MARK)


def _work(plan: Plan, table: LabelTable, rows: Mapping[int, SeedRows]) -> Work:
    parameters = {trunk: parameters_of(plan, trunk) for trunk in dict.fromkeys(s.trunk for s in plan.settings())}
    arms = []
    for setting in plan.settings():
        for arm in setting.arms:
            cells = plan.networks(setting, arm, plan.seeds[0])
            total = sum(parameters[setting.trunk][len(cell.labels)] for cell in cells)
            arms.append(ArmWork(setting.trunk, setting.fraction, arm, len(cells), total))
    frames = sum(len(rows[cell.seed].of_cell(cell).train) for cell in plan.cells())
    each = frames_per_network(plan.configuration, table)
    return Work(plan.seeds, tuple(arms), len(plan.cells()), each, frames)


def _say(work: Work, console: Console) -> None:
    tabled = Table("trunk", "scenes", "arm", "networks a seed", "parameters")
    for one in work.arms:
        tabled.add_row(one.trunk, f"{one.fraction:.0%}", one.arm, str(one.networks_per_seed), f"{one.parameters:,}")
    console.print(tabled)
    console.print(
        f"{work.networks} networks (arms share some) over {len(work.seeds)} seeds; {work.frames_per_network:,} frames "
        f"a network, with the same entries fewer; {work.frames:,} frames in all",
        highlight=False,
        soft_wrap=True,
    )


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as problem:
        raise InvalidConfiguration(f"--fractions is {text!r}; write shares of 1, such as 0.25,0.5,1") from problem


def _listed(text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(text.split(","))
