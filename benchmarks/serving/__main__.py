"""The command: everything in one run, then table, plot and JSON."""

import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from benchmarks.marked_section import write_section
from benchmarks.serving.answers import reference
from benchmarks.serving.closed_loop import GeneratorFailed, find_wrk
from benchmarks.serving.contenders import CONTENDERS, LIMIT, NAMES, OURS
from benchmarks.serving.figures import asked
from benchmarks.serving.frames import SIZES, write_frames
from benchmarks.serving.overload import run_open_loop
from benchmarks.serving.plan import FULL, QUICK, Plan
from benchmarks.serving.plot import write_plot
from benchmarks.serving.profile import run_profile
from benchmarks.serving.provenance import this_run
from benchmarks.serving.report import SECTION, Results, page, read_json, write_json
from benchmarks.serving.rounds import CHECKED_FRAMES, FAILURES, Record, Setting, run_rounds
from service.inference.execution import available_cpus
from service.settings import DEFAULT_MODEL

HERE: Final = Path(__file__).parents[1]
STREETFRAMES: Final = HERE.parent.parent / "shared" / "streetframes"
CACHE: Final = Path("~/.cache/roadcue-benchmark").expanduser()

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Options:
    """The flags, as they came."""

    quick: bool
    names: tuple[str, ...]
    sizes: tuple[str, ...]
    clients: tuple[int, ...]
    seconds: int | None
    rounds: int | None
    open_loop: bool
    profile: bool
    model: Path
    frames: Path
    environments: Path
    output: Path
    seed: int
    report_only: bool

    @property
    def chosen(self) -> tuple[str, ...]:
        """Who is measured, in the order of the table."""
        return tuple(name for name in NAMES if name in (self.names or NAMES))

    @property
    def source(self) -> Path | None:
        """Where real frames lie; None where there are none."""
        return self.frames if self.frames.exists() else None

    @property
    def plan(self) -> Plan:
        """The full plan or the quick one, with what the flags say otherwise."""
        plan = QUICK if self.quick else FULL
        return replace(
            plan,
            sizes=self.sizes or plan.sizes,
            clients=self.clients or plan.clients,
            seconds=self.seconds or plan.seconds,
            key_seconds=self.seconds or plan.key_seconds,
            rounds=self.rounds or plan.rounds,
            key_rounds=self.rounds or plan.key_rounds,
        )


def run(options: Options) -> Results:
    """Measure everything; what fails is told in the record."""
    started_s, load_before, record = time.monotonic(), os.getloadavg()[0], Record()
    with setting_of(options) as setting:
        order = random.Random(options.seed)  # noqa: S311 - an order, not a secret
        for body in setting.plan.bodies:
            run_rounds(setting, body, record, order)
        tried = partial(_tried, setting, record)
        asked_at_rates = setting.contenders if options.open_loop else ()
        loops = [
            tried(f"open loop: {one.name}", partial(run_open_loop, setting, one, record)) for one in asked_at_rates
        ]
        ours = [one for one in setting.contenders if one.name == OURS and options.profile]
        profiles = [tried(f"profile: {one.name}", partial(run_profile, setting, one, record)) for one in ours]
    names, peers = options.chosen, tuple(one.name for one in setting.contenders if not one.is_ours)
    open_loops = [loop for loop in loops if loop]
    figures = asked(record.measurements, open_loops, peers, setting.plan)
    described = this_run(options.model, options.source, names, started_s, load_before)
    (profile,) = profiles or [None]
    functions, cpu = (profile.functions, profile.cpu) if profile else ([], None)
    return Results(described, setting.plan, names, peers, record, open_loops, figures, functions, cpu)


@contextmanager
def setting_of(options: Options) -> Iterator[Setting]:
    """What all measurements share; the frames lie there until the end."""
    contenders = tuple(one for one in CONTENDERS if one.name in options.chosen)
    plan = options.plan
    with tempfile.TemporaryDirectory(prefix="roadcue-frames-") as folder:
        frames = write_frames(options.source, Path(folder), plan.sizes)
        checked = frames[plan.key_size][:CHECKED_FRAMES]
        variants = {one.variant for one in contenders}
        yield Setting(
            model=options.model,
            folder=Path(folder),
            frames=frames,
            cache=options.environments,
            workers=available_cpus(),
            contenders=contenders,
            with_limit=LIMIT in options.chosen,
            plan=plan,
            expected={variant: reference(options.model, variant, checked) for variant in variants},
            tell=tell,
        )


def _tried(setting: Setting, record: Record, what: str, measure: Callable[[], Found]) -> Found | None:
    setting.tell(what)
    try:
        return measure()
    except FAILURES as problem:
        record.problems.append(f"{what}: {problem}")
        setting.tell(record.problems[-1])
        return None


def tell(said: str) -> None:
    """Progress, with the time of day: a run may be looked at hours later."""
    click.echo(f"{time.strftime('%H:%M:%S')} {said}", err=True)


def write(results: Results, output: Path) -> str:
    """RESULTS.md, results.json and results.svg; returns what stands in the first."""
    output.mkdir(parents=True, exist_ok=True)
    text = page(results, "results.svg")
    write_json(results, output / "results.json")
    write_plot(results, output / "results.svg")
    write_section(output / "RESULTS.md", SECTION, text)
    return text


AGAIN: Final = "else all; may be repeated."


@click.command(context_settings={"show_default": True})
@click.option("--quick", is_flag=True, help="Everything once and shortly: whether it works, not how fast it is.")
@click.option("--contender", "names", multiple=True, type=click.Choice(NAMES), help=f"Whom to measure; {AGAIN}")
@click.option("--size", "sizes", multiple=True, type=click.Choice(SIZES), help=f"Of frames, in pixels; {AGAIN}")
@click.option("--clients", multiple=True, type=click.IntRange(1, 4096), help=f"In the closed loop; {AGAIN}")
@click.option(
    "--seconds",
    type=click.IntRange(1, 600),
    help="Of a measurement in the closed loop; three times that with 256 clients.",
)
@click.option("--rounds", type=click.IntRange(1, 1000), help="How often each is measured.")
@click.option("--open-loop/--no-open-loop", default=True, help="Whether to measure at constant rates.")
@click.option("--profile/--no-profile", default=True, help="Whether to sample where the service's time goes.")
@click.option("--model", type=click.Path(exists=True, path_type=Path), default=DEFAULT_MODEL, help="float32 file.")
@click.option("--frames", type=click.Path(path_type=Path), default=STREETFRAMES, help="Folder with labels.csv.")
@click.option("--environments", type=click.Path(path_type=Path), default=CACHE, help="Where peers are installed.")
@click.option("--output", type=click.Path(path_type=Path), default=HERE, help="Folder of RESULTS.md and its files.")
@click.option("--seed", default=0, help="Of the orders.")
@click.option("--report-only", is_flag=True, help="Write the page and the plot anew from results.json.")
def main(**flags: Any) -> None:
    """Measure the service beside the machine's limit and other servers."""
    options = Options(**flags)
    if options.report_only:
        found = read_json(options.output / "results.json")
        judged = asked(found.record.measurements, found.open_loops, found.peers, found.plan)
        click.echo(write(replace(found, figures=judged), options.output))
        return
    try:
        find_wrk()
    except GeneratorFailed as problem:
        raise click.ClickException(str(problem)) from problem
    click.echo(write(run(options), options.output))


if __name__ == "__main__":
    main()
