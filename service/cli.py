"""The command line: roadcue serve | predict | label | benchmark.

Exit codes: 0 done; 1 failed, with one line on standard error that says why; 2 called with wrong arguments.
"""

import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import click
from rich.console import Console

from service import __version__
from service.errors import RoadcueError
from service.settings import Settings, allowed_text, default_text, flag_name, read_settings, variable_name

Command = TypeVar("Command", bound=Callable[..., Any])

UNCERTAIN = ("uncertain", "uncertain_margin", "uncertain_most", "uncertain_most_bytes", "uncertain_licence")

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


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="roadcue")
def roadcue() -> None:
    """Tells which things are in driving frames."""


def settings_flags(*names: str) -> Callable[[Command], Command]:
    """One option for each named setting (all without names); values are validated by Settings, not by click."""

    def decorate(command: Command) -> Command:
        for name in reversed(names or tuple(Settings.model_fields)):
            field = Settings.model_fields[name]
            meaning = f"{field.description}.  [env: {variable_name(name)}; default: {default_text(field)}]"
            command = click.option(flag_name(name), name, metavar=f"<{allowed_text(field)}>", help=meaning)(command)
        return command

    return decorate


def given_settings(flags: dict[str, Any]) -> Settings:
    """The settings with the flags that were given laid over the environment."""
    return read_settings({name: value for name, value in flags.items() if value is not None})


@roadcue.command()
@settings_flags()
def serve(**flags: Any) -> None:
    """Serve the model over HTTP until SIGTERM or Ctrl-C.

    Next: curl -F file=@frame.jpg localhost:8000/predict, or open http://localhost:8000/docs
    """
    # The first process of a container ignores SIGTERM until it handles it; the server takes over once it runs.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    settings = given_settings(flags)
    from service.telemetry import configure_logging

    configure_logging(settings.log_format, settings.log_level)
    if settings.workers > 1:
        from service.processes.supervisor import supervise

        supervise(settings)
    else:
        # Imported here: neither `roadcue --help` nor the parent of several processes needs ONNX Runtime.
        from service.app import create_app
        from service.server import serve as serve_until_ended

        serve_until_ended(create_app(settings), settings)


@roadcue.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    help="How results are written.  [default: table on a terminal, else json]",
)
@settings_flags("model", "device", "variant", "inference_workers", "max_frame_pixels", *UNCERTAIN)
@click.option(
    "--uncertain-group",
    metavar="<text>",
    help="Group of the frames that are kept: all of it stays on one side of a split.  [default: each file's folder]",
)
def predict(
    paths: Sequence[Path], form: Literal["table", "json", "csv"] | None, uncertain_group: str | None, **flags: Any
) -> None:
    """Score images without a server. PATHS are files and folders; folders are searched for images at every depth.

    Results go to standard output, progress to standard error. Exit code 1 when an image could not be read.
    """
    settings = given_settings(flags)
    from service.file_scoring import image_files, score_files, writer_for

    files = image_files(paths)
    if not files:
        raise click.UsageError(f"no images in {', '.join(map(str, paths))}; .jpg, .jpeg, .png and .webp are looked for")
    on_terminal = sys.stdout.isatty()
    writer = writer_for(form or ("table" if on_terminal else "json"), sys.stdout)
    # Rows that appear on the terminal as they are scored are progress enough, and a bar would overwrite them.
    console = Console(stderr=True, quiet=on_terminal and form == "csv")
    failed = score_files(files, settings, writer, console, uncertain_group)
    if failed:
        raise click.ClickException(f"{failed} of {len(files)} images could not be read")


@roadcue.command()
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8001,
    show_default=True,
    help="TCP port to listen on; 0 takes a free one.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. On any but the loopback, whoever reaches it sees the frames and may answer.",
)
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
def label(folder: Path, port: int, host: str, opens: bool) -> None:
    """Answer by keyboard what frames show, in the browser. DIR holds a label table, as `predict --uncertain` makes it.

    The most uncertain frames come first; every answer is in DIR/labels.csv at once. Ctrl-C ends it.
    """
    from service.answer_page.server import serve_answer_page

    serve_answer_page(folder, host, port, click.launch if opens else None)


@roadcue.command()
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
    help="JSON file to write the figures to, for `roadcue serve --tuning`.",
)
@click.option("--overwrite", is_flag=True, help="Replace the file of --save where there is one.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    help="How results are written.  [default: table on a terminal, else json]",
)
def benchmark(
    seconds: float,
    frames: Sequence[Path],
    saved: Path | None,
    overwrite: bool,
    form: Literal["table", "json"] | None,
    **flags: Any,
) -> None:
    """Measure how the model runs best on this machine: workers, threads, batches; decoding included, HTTP not.

    What is set (--inference-workers, --threads-per-worker, --max-batch-frames) is the same in all plans. Run it on a
    machine that does nothing else.
    """
    settings = given_settings(flags)
    from service.plan_benchmark import REPORTS, benchmark_plans, refuse_to_overwrite, save

    if saved:
        refuse_to_overwrite(saved, overwrite)
    console = Console(stderr=True)
    machine, execution = benchmark_plans(settings, seconds, frames, console)
    REPORTS[form or ("table" if sys.stdout.isatty() else "json")](machine, execution, sys.stdout)
    if saved:
        save(saved, machine, execution)
    following = f"roadcue serve --tuning {saved}" if saved else "roadcue benchmark --save tuning.json"
    console.print(f"Next: {following}", markup=False, highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point `roadcue`: our errors become one line and exit code 1."""
    try:
        roadcue.main(arguments, prog_name="roadcue")
    except RoadcueError as error:
        click.echo(f"roadcue: {error}", err=True)
        sys.exit(1)
