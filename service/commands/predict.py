"""roadcue predict."""

import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from service.command_line import result_form
from service.commands.settings_flags import given, given_settings, settings_flags
from service.scoring.paths import IMAGE_SUFFIXES, VIDEO_SUFFIXES, ListedFile, listed_files, listed_names, nameless
from service.settings import Settings, flag_name

if TYPE_CHECKING:
    from service.scoring.resuming import WrittenRows
    from service.scoring.rows import Keep
    from service.scoring.run import Scorer, Tally

UNCERTAIN = ("uncertain", "uncertain_margin", "uncertain_most", "uncertain_most_bytes", "uncertain_licence")


@click.command("predict")
@click.argument("paths", nargs=-1, required=True, type=click.Path(allow_dash=True))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write rows to, as they are scored: .csv, .jsonl or .parquet.  [default: standard output]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "jsonl", "csv", "parquet"]),
    help="How rows are written.  [default: by the suffix of --output; else table on a terminal and json in a pipe]",
)
@click.option("--resume", is_flag=True, help="Go on with --output where an earlier run with these PATHS was stopped.")
@click.option("--overwrite", is_flag=True, help="Replace the file of --output where there is one.")
@click.option(
    "--every-seconds",
    type=click.FloatRange(min=0, min_open=True),
    help="Of a video, take a frame every so many seconds.  [default: 1]",
)
@click.option(
    "--every-frames", type=click.IntRange(min=1), help="Of a video, take every so many-th frame.  [default: off]"
)
@click.option("-0", "--null", is_flag=True, help="Names on standard input end with NUL instead of a line's end.")
@click.option(
    "--url",
    help="Send the frames to the service at this address, such as http://localhost:8000.  [default: score here]",
)
@settings_flags("model", "device", "variant", "inference_workers", "max_frame_pixels", *UNCERTAIN)
@click.option(
    "--uncertain-group",
    metavar="<text>",
    help="Group of the frames that are kept: all of it stays on one side of a split.  [default: each file's folder, "
    "each video]",
)
def command(
    paths: Sequence[str],
    output: Path | None,
    form: Any,
    resume: bool,
    overwrite: bool,
    every_seconds: float | None,
    every_frames: int | None,
    null: bool,
    url: str | None,
    uncertain_group: str | None,
    **flags: Any,
) -> None:
    """Score images and videos. PATHS are files, folders, patterns in quotes, and - for a list on standard input.

    Folders are searched at every depth. A row is written for each frame, in order; a file that cannot be read has a row
    that says why, and the exit code is 1 then. Rows go to standard output or --output, everything else to standard
    error.
    """
    local = {**flags, "uncertain_group": uncertain_group}
    _refuse_contradictions(output, resume, overwrite, every_seconds, every_frames, given(local) if url else {})
    settings = None if url else given_settings(flags)
    files = _found(paths, _names_on_standard_input(b"\0" if null else b"\n"))
    from service.inference.decoding import FrameLimits
    from service.scoring.outputs import file_writer, rows_there, stream_writer
    from service.scoring.run import progress_over, score
    from service.scoring.sources import frames_to_score
    from service.scoring.videos import Sampling

    # Rows that appear on the terminal as they are scored are progress enough, and a bar would overwrite them.
    console = Console(stderr=True, quiet=output is None and form in ("csv", "jsonl") and sys.stdout.isatty())
    writer = (
        file_writer(output, form, resume=resume, overwrite=overwrite) if output else stream_writer(result_form(form))
    )
    written = rows_there(writer)
    limits = FrameLimits(settings.max_frame_pixels) if settings else FrameLimits()
    frames = frames_to_score(files, Sampling(every_frames, every_seconds or 1.0), written, limits)
    with _scorer(url, settings, console, uncertain_group) as (scorer, keep):
        tally = score(frames, scorer, writer, progress_over(paths, console), keep)
    _end(tally, output, written, console)


def _refuse_contradictions(
    output: Path | None,
    resume: bool,
    overwrite: bool,
    every_seconds: float | None,
    every_frames: int | None,
    local_flags: Mapping[str, Any],
) -> None:
    if every_seconds and every_frames:
        raise click.UsageError("--every-seconds and --every-frames exclude each other")
    if resume and overwrite:
        raise click.UsageError("--resume and --overwrite exclude each other")
    if (resume or overwrite) and not output:
        raise click.UsageError(f"--{'resume' if resume else 'overwrite'} needs --output FILE")
    if local_flags:
        names = ", ".join(flag_name(name) for name in local_flags)
        raise click.UsageError(f"{names}: not with --url, where the service's own settings hold")


def _found(paths: Sequence[str], names: Iterable[str]) -> Iterator[ListedFile]:
    """The files, of which there is at least one."""
    if absent := nameless(paths):
        raise click.UsageError(f"there is no {', no '.join(absent)}")
    files = listed_files(paths, names)
    first = next(files, None)
    if first is None:
        images, videos = (", ".join(sorted(suffixes)) for suffixes in (IMAGE_SUFFIXES, VIDEO_SUFFIXES))
        raise click.UsageError(
            f"no images in {', '.join(paths)}, and no videos; looked for are {images} and, as videos, {videos}"
        )
    return chain([first], files)


def _names_on_standard_input(separator: bytes) -> Iterator[str]:
    yield from listed_names(sys.stdin.buffer, separator)


def _scorer(
    url: str | None, settings: Settings | None, console: Console, group: str | None
) -> AbstractContextManager[tuple["Scorer", "Keep"]]:
    if settings is None:
        from service.scoring.remote import remote_scorer

        return remote_scorer(str(url), console)
    from service.scoring.local import local_scorer

    return local_scorer(settings, console, group)


def _end(tally: "Tally", output: Path | None, before: "WrittenRows", console: Console) -> None:
    """Say how it went, and end with the code that tells: of all rows of the output, whichever run wrote them."""
    if tally.stopped:
        rest = f"Go on with: {_resuming_command()}" if output else "Without --output there is nothing to go on with"
        raise KeyboardInterrupt(f"Stopped after {tally.rows} rows. {rest}")
    rows, failed = before.count + tally.rows, before.failed + tally.failed
    if output:
        more = f", {tally.rows} of them new" if before.count else ""
        console.print(f"{output}: {rows} rows{more}", markup=False, highlight=False, soft_wrap=True)
    if failed:
        raise click.ClickException(f"{failed} of {rows} frames could not be read; their rows say why")


def _resuming_command() -> str:
    arguments = [argument for argument in sys.argv[1:] if argument not in ("--overwrite", "--resume")]
    return shlex.join(["roadcue", *arguments, "--resume"])
