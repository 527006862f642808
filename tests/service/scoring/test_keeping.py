"""A row is told once its frame is kept: it is what says that nothing is left to do for the frame."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from service.errors import UncertainFramesLost
from service.inference.detector import Detection
from service.label_folder.keeper import FrameKeeper
from service.scoring.keeping import once_kept
from service.scoring.rows import Answer, FrameToScore, Place, Row
from tests.service.conftest import encoded
from tests.service.label_folder.frames import ROOMY
from tests.service.label_folder.gated_folder import DETECTOR, GatedFolder, detection


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[GatedFolder]:
    with GatedFolder(tmp_path / "uncertain") as made:
        yield made


@pytest.fixture
def keeper(folder: GatedFolder) -> Iterator[FrameKeeper]:
    made = FrameKeeper(folder, DETECTOR, margin=1.0, bounds=ROOMY)
    yield made
    folder.gate.set()
    made.close()


def scored(path: Path, red: float, frame_HWC: np.ndarray | None = None) -> Row:
    """What became of the frame; near its threshold from 0.27 to 0.73."""
    found: Detection = detection(red)
    place = Place(str(path)) if frame_HWC is None else Place(str(path), 0, 0.0)
    return Row(FrameToScore(place, 1, frame_HWC), Answer.of(found), found)


def test_rows_wait_for_the_disk_where_their_frame_or_an_earlier_one_is_to_be_kept(
    tmp_path: Path, folder: GatedFolder, keeper: FrameKeeper
) -> None:
    """Six rows are taken, and the first of them told: the second one is being written."""
    taken: list[str] = []
    for number in range(6):
        (tmp_path / f"{number}.png").write_bytes(encoded(number, 0, 0))

    def rows() -> Iterator[Row]:
        for number, red in enumerate((0.9, 0.5, 0.9, 0.9, 0.4, 0.9)):
            taken.append(f"{number}.png")
            if number == 5:
                folder.gate.set()
            yield scored(tmp_path / f"{number}.png", red)

    told = once_kept(rows(), keeper, None)
    assert next(told).place.path.endswith("0.png")
    assert len(taken) == 1
    assert [Path(row.place.path).name for row in told] == ["1.png", "2.png", "3.png", "4.png", "5.png"]
    assert keeper.outcomes == {"kept": 2}


def test_rows_that_wait_do_not_hold_their_pixels(tmp_path: Path, folder: GatedFolder, keeper: FrameKeeper) -> None:
    """A thousand frames in 4K would be 25 GB."""
    folder.gate.set()
    frame_HWC = np.zeros((6, 9, 3), np.uint8)
    (row,) = once_kept([scored(tmp_path / "drive.mp4", 0.5, frame_HWC)], keeper, "drive")
    assert row.frame.frame_HWC is None
    assert row.detection is None
    assert keeper.outcomes == {"kept": 1}


def test_a_frame_that_cannot_be_kept_ends_it_before_its_row(
    tmp_path: Path, folder: GatedFolder, keeper: FrameKeeper
) -> None:
    folder.failure = OSError(28, "No space left on device")
    folder.gate.set()
    (tmp_path / "a.png").write_bytes(encoded(1, 0, 0))
    rows = once_kept([scored(tmp_path / "a.png", red) for red in (0.9, 0.5, 0.9)], keeper, None)
    assert next(rows)
    with pytest.raises(UncertainFramesLost, match=r"a\.png: .* kept in .*uncertain: .*No space.* --resume goes on"):
        next(rows)
