"""Frames here are scaled to 100 x 200 pixels, so that a box of 0.1 x 0.1 is 10 x 20 pixels: 14.1 by its area."""

import numpy as np
import pytest

from model_training.augmentation.changes import Sample
from model_training.augmentation.frame_sizes import FrameSizes, resolvable
from model_training.configuration import TrainingConfiguration
from model_training.dataset import targets
from model_training.label_table import ABSENT, PRESENT, UNKNOWN
from model_training.teacher.file import Hint

SIZE = (100, 200)
LARGE = (0.1, 0.1, 0.2, 0.2)
SMALL = (0.5, 0.5, 0.52, 0.52)


BATCHES = 200


def sizes(**changes):
    return FrameSizes.of(TrainingConfiguration(**{"height": 320, "width": 480, "epochs": 8, **changes}))


def sample_of(entry, boxes=None, soft=None, hints=None):
    return Sample(
        np.zeros((10, 20, 3), np.uint8),
        {"car": entry},
        {} if boxes is None else {"car": boxes},
        {} if soft is None else {"car": soft},
        {} if hints is None else {"car": hints},
    )


def test_without_scaling_every_batch_has_the_full_size():
    assert {sizes().at(0, epoch, 3, BATCHES) for epoch in range(8)} == {(320, 480)}


def test_batches_are_scaled_down_to_the_smallest_scale_in_steps_of_the_stride():
    drawn = {sizes(smallest_scale=0.5).at(0, 0, batch, BATCHES) for batch in range(BATCHES)}
    # A scale s gives round(10 s) and round(15 s) strides of 32 pixels.
    assert {height // 32 for height, _ in drawn} == {5, 6, 7, 8, 9, 10}
    assert {width // 32 for _, width in drawn} == set(range(8, 16))
    assert all(side % 32 == 0 for size in drawn for side in size)


def test_last_epochs_have_the_full_size():
    of_eight = sizes(smallest_scale=0.5, full_size_share=0.25)
    drawn = [{of_eight.at(0, epoch, batch, BATCHES) for batch in range(BATCHES)} for epoch in range(8)]
    assert [len(seen) > 1 for seen in drawn] == [True] * 6 + [False] * 2


@pytest.mark.parametrize(("epochs", "share", "scaled"), [(1, 0.5, 100), (1, 0.25, 150), (2, 0.25, 300), (3, 1.0, 0)])
def test_the_share_counts_steps_in_short_runs_too(epochs, share, scaled):
    """Half of a single epoch is at full size; with a smallest side of 32 pixels no drawn size is by chance."""
    of_all = sizes(epochs=epochs, smallest_scale=0.01, full_size_share=share)
    drawn = [of_all.at(0, epoch, batch, BATCHES) for epoch in range(epochs) for batch in range(BATCHES)]
    assert drawn[scaled:] == [(320, 480)] * (epochs * BATCHES - scaled)
    assert drawn[:scaled].count((320, 480)) < 0.1 * scaled or scaled == 0


def test_the_same_batch_has_the_same_size_in_every_process():
    assert sizes(smallest_scale=0.5).at(1, 2, 3, BATCHES) == sizes(smallest_scale=0.5).at(1, 2, 3, BATCHES)


@pytest.mark.parametrize(("smallest_px", "kept"), [(14.1, (LARGE,)), (14.2, ())])
def test_object_is_visible_from_the_square_root_of_its_area_on(smallest_px, kept):
    assert resolvable(sample_of(PRESENT, (LARGE,)), SIZE, smallest_px).boxes.get("car", ()) == kept


def test_label_stays_present_while_one_object_can_be_seen():
    seen = resolvable(sample_of(PRESENT, (LARGE, SMALL)), SIZE, 6)
    assert (seen.entries, seen.boxes) == ({"car": PRESENT}, {"car": (LARGE,)})


def test_label_of_which_only_small_objects_are_there_is_unknown():
    assert resolvable(sample_of(PRESENT, (SMALL,)), SIZE, 6).entries == {"car": UNKNOWN}


def test_absent_label_stays_absent():
    assert resolvable(sample_of(ABSENT, ()), SIZE, 6).entries == {"car": ABSENT}


def test_present_label_without_boxes_stays_present():
    assert resolvable(sample_of(PRESENT), SIZE, 6).entries == {"car": PRESENT}


def test_teacher_says_nothing_of_what_is_too_small():
    taught = sample_of(UNKNOWN, soft=0.9, hints=(Hint(SMALL, 0.9),))
    assert resolvable(taught, SIZE, 6).soft == {}


def test_teacher_still_says_that_there_is_nothing():
    taught = sample_of(UNKNOWN, soft=0.02, hints=(Hint(SMALL, 0.02),))
    assert resolvable(taught, SIZE, 6).soft == {"car": 0.02}


def test_map_is_neither_inside_nor_outside_where_a_small_object_is():
    """One cell of 8 x 8 pixels for the small box; the large one covers 10 to 20 down and 20 to 40 across."""
    cells_hw = targets(resolvable(sample_of(PRESENT, (LARGE, SMALL)), SIZE, 6), ("car",), SIZE)["cells_BLhw"][0]
    assert cells_hw[6, 12] == -1
    assert cells_hw[1, 3] == 1
    assert (cells_hw[8:] == 0).all()


def test_map_of_a_label_that_became_unknown_is_outside_around_the_small_object():
    cells_hw = targets(resolvable(sample_of(PRESENT, (SMALL,)), SIZE, 6), ("car",), SIZE)["cells_BLhw"][0]
    assert cells_hw[6, 12] == -1
    assert not (cells_hw == 1).any()
    assert (cells_hw[:6] == 0).all()
