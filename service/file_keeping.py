"""Uncertain frames among scored files, kept for a person to label."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from service.errors import UncertainFramesLost
from service.inference.detector import Detection
from service.label_folder.keeper import FrameKeeper


@contextmanager
def kept(keeper: FrameKeeper | None, console: Console) -> Iterator[None]:
    """Writes what the keeper still holds, however the block ends, and says what became of the uncertain frames.

    Raises UncertainFramesLost where some could not be kept.
    """
    try:
        yield
    finally:
        if keeper:
            keeper.close()
    if keeper:
        _refuse_lost(keeper)
        _say(keeper, console)


def offer_file(keeper: FrameKeeper, path: Path, detection: Detection, group: str | None) -> None:
    """Keep the file if it is uncertain; without a `group` it belongs to its folder."""
    if not keeper.is_near(detection):
        return
    try:
        # Read again: the bytes of all frames in work would fill the memory for the few that are uncertain.
        data = path.read_bytes()
    except OSError as error:
        keeper.fail(error, frames=1)
    else:
        keeper.offer(data, detection, group or str(path.resolve().parent), wait=True)


def _refuse_lost(keeper: FrameKeeper) -> None:
    failed, folder = keeper.outcomes["failed"], keeper.folder.path
    if failed:
        raise UncertainFramesLost(f"uncertain frames that could not be kept in {folder}: {failed} ({keeper.failure})")


def _say(keeper: FrameKeeper, console: Console) -> None:
    folder, full = keeper.folder.path, keeper.outcomes["no_room"]
    rest = f", {full} less uncertain ones without room" if full else ""
    said = (
        f"Uncertain frames in {folder}: {keeper.outcomes['kept']} new, {keeper.outcomes['known']} there already{rest}"
    )
    following = f"Next: roadcue label {shlex.quote(str(folder))}"
    console.print(f"{said}\n{following}", markup=False, highlight=False, soft_wrap=True)
