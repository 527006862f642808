"""Uncertain frames among scored files, kept for a person to label."""

import shlex
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import simplejpeg
from rich.console import Console

from service.errors import FrameError, UncertainFramesLost
from service.label_folder.intake import Outcome
from service.label_folder.keeper import FrameKeeper
from service.scoring.rows import Row

# A person who labels a video's frame shall see no difference.
JPEG_QUALITY: Final = 95
# So many rows wait for the disk, and what waits is written together; they are held without their frames.
ROWS_BEHIND: Final = 1000


@contextmanager
def kept(keeper: FrameKeeper | None, console: Console) -> Iterator[None]:
    """Writes what the keeper still holds, however the block ends, and says what became of the uncertain frames.

    Raises UncertainFramesLost where some could not be read again.
    """
    try:
        yield
    finally:
        if keeper:
            keeper.close()
    if keeper:
        _refuse_lost(keeper)
        _say(keeper, console)


def once_kept(rows: Iterable[Row], keeper: FrameKeeper, group: str | None) -> Iterator[Row]:
    """The rows in order, each once its frame is kept or need not be: a row says that nothing is left to do.

    Without a `group` a frame belongs to its folder, or to its video. Raises UncertainFramesLost.
    """
    behind: deque[tuple[Row, Future[Outcome] | None]] = deque()
    for row in rows:
        outcome = _offered(keeper, row, group)
        behind.append((replace(row, frame=replace(row.frame, frame_HWC=None), detection=None), outcome))
        while behind and (len(behind) > ROWS_BEHIND or (outcome := behind[0][1]) is None or outcome.done()):
            yield _settled(*behind.popleft(), keeper)
    while behind:
        yield _settled(*behind.popleft(), keeper)


def _offered(keeper: FrameKeeper, row: Row, group: str | None) -> Future[Outcome] | None:
    if row.detection is None or not keeper.is_near(row.detection):
        return None
    try:
        data = _bytes_of(row)
    except FrameError as error:
        keeper.fail(error, frames=1)
        return None
    path = Path(row.place.path).resolve()
    own = path.parent if row.place.video_frame is None else path
    return keeper.offer(data, row.detection, group or str(own), wait=True)


def _settled(row: Row, outcome: Future[Outcome] | None, keeper: FrameKeeper) -> Row:
    if outcome and outcome.result() in ("failed", "dropped"):
        raise UncertainFramesLost(
            f"{row.place}: uncertain frames cannot be kept in {keeper.folder.path}: {keeper.failure}. What has its row "
            "stays; --resume goes on"
        )
    return row


def _bytes_of(row: Row) -> bytes:
    if row.frame.frame_HWC is not None:
        return bytes(simplejpeg.encode_jpeg(row.frame.frame_HWC, JPEG_QUALITY, "RGB", "444"))
    # Read again: the bytes of all frames in work would fill the memory for the few that are uncertain.
    return row.frame.read()


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
