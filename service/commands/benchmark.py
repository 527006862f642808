"""roadcue benchmark."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import click
from rich.console import Console

from service.command_line import result_form
from service.commands.settings_flags import given_settings, settings_flags

# What decides how the model runs, and what it is measured with.
MEASURED = (
    "model",
    "device",
    "variant",
    "cuda_graphs",
    "workers",
    "inference_workers",
    "threads_per_worker",
    "max_batch_frames",
    "latency_target_ms",
    "max_frame_pixels",
)


@click.command("benchmark")
@settings_flags(*MEASURED)
@click.option(
    "--seconds",
    type=click.FloatRange(1, 3600),
    default=30.0,
    show_default=True,
    help="Seconds in which all plans take turns.",
)
@click.option(
    "--frame",
    "frames",
    multiple=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Image to measure with; may be given several times.  [default: a made street of 1280 x 720 pixels]",
)
@click.option(
    "--save",
    "saved",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="JSON file to write the figures to, for `roadcue serve --tuning`.  [default: none]",
)
@click.option("--overwrite", is_flag=True, help="Replace the file of --save where there is one.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    help="How results are written.  [default: table on a terminal, else json]",
)
def command(
    seconds: float,
    frames: Sequence[Path],
    saved: Path | None,
    overwrite: bool,
    form: Literal["table", "json"] | None,
    **flags: Any,
) -> None:
    """Measure how the model runs best on this machine.

    With how many workers and threads, in which batches; decoding included, HTTP not. What is set (--inference-workers,
    --threads-per-worker, --max-batch-frames) is the same in all plans. Run it on a machine that does nothing else.
    """
    settings = given_settings(flags)
    from service.plan_benchmark import REPORTS, benchmark_plans, refuse_to_overwrite, save

    if saved:
        refuse_to_overwrite(saved, overwrite)
    console = Console(stderr=True)
    machine, execution = benchmark_plans(settings, seconds, frames, console)
    REPORTS[result_form(form)](machine, execution, sys.stdout)
    if saved:
        save(saved, machine, execution)
    following = f"roadcue serve --tuning {saved}" if saved else "roadcue benchmark --save tuning.json"
    console.print(f"Next: {following}", markup=False, highlight=False, soft_wrap=True)
