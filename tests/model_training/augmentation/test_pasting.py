"""Objects are white squares, frames are black, so that what was pasted can be seen."""

import numpy as np
import pytest

from model_training.augmentation.changes import Sample
from model_training.augmentation.pasting import Donor, cut_out, donors, pasted
from model_training.label_table import ABSENT, PRESENT, UNKNOWN
from model_training.teacher.file import Hint
from tests.model_training.tables import table_of

WHITE_HWC = np.full((24, 24, 3), 255, np.uint8)


def sample_of(entry=ABSENT, boxes=None, hints=None, soft=None):
    frame_HWC = np.zeros((100, 200, 3), np.uint8)
    return Sample(frame_HWC, {"stop_sign": entry}, boxes or {}, soft or {}, hints or {})


def test_donors_are_whole_boxes_of_the_labels_asked_for():
    whole, at_the_edge, tiny = (0.2, 0.2, 0.4, 0.4), (0.0, 0.2, 0.4, 0.4), (0.5, 0.5, 0.52, 0.52)
    boxes = ({"stop_sign": (whole, at_the_edge), "car": (whole,)}, {"stop_sign": (tiny,)})
    table = table_of([[1, 1], [0, 1]], ("car", "stop_sign"), boxes=boxes)
    assert donors(table, ("stop_sign", "traffic_light")) == (Donor(0, "stop_sign", whole),)


def test_object_is_cut_out_with_a_tenth_around_it():
    frame_HWC = np.zeros((100, 200, 3), np.uint8)
    frame_HWC[18:42, 36:84] = 255
    # The box is 40 by 20 pixels from (40, 20); a tenth is 4 and 2.
    assert cut_out(frame_HWC, (0.2, 0.2, 0.4, 0.4)).shape == (24, 48, 3)
    assert cut_out(frame_HWC, (0.2, 0.2, 0.4, 0.4)).min() == 255


@pytest.mark.parametrize("seed", range(10))
def test_pasted_object_is_where_its_box_is_and_keeps_its_shape(seed):
    changed = pasted(sample_of(), "stop_sign", WHITE_HWC, np.random.default_rng(seed))
    ((x0, y0, x1, y1),) = changed.boxes["stop_sign"]
    assert changed.entries == {"stop_sign": PRESENT}
    assert (x1 - x0) * 200 == pytest.approx((y1 - y0) * 100)
    left, top, right, bottom = round(x0 * 200) + 1, round(y0 * 100) + 1, round(x1 * 200) - 1, round(y1 * 100) - 1
    assert changed.frame_HWC[top:bottom, left:right].min() >= 200
    # Beyond the margin, a tenth and a rounding, nothing is changed.
    outside_HW = np.ones((100, 200), bool)
    across, down = 0.1 * (right - left) + 4, 0.1 * (bottom - top) + 4
    outside_HW[
        max(0, int(top - down)) : int(bottom + down) + 1, max(0, int(left - across)) : int(right + across) + 1
    ] = 0
    assert not changed.frame_HWC[outside_HW].any()


def test_margin_fades():
    changed = pasted(sample_of(), "stop_sign", WHITE_HWC, np.random.default_rng(3))
    values = np.unique(changed.frame_HWC)
    assert ((values > 0) & (values < 255)).any()


def test_frame_that_came_in_is_not_written_to():
    sample = sample_of()
    pasted(sample, "stop_sign", WHITE_HWC, np.random.default_rng(0))
    assert not sample.frame_HWC.any()


def test_boxes_of_the_label_stay_complete():
    before = (0.9, 0.9, 0.95, 0.95)
    changed = pasted(sample_of(PRESENT, {"stop_sign": (before,)}), "stop_sign", WHITE_HWC, np.random.default_rng(1))
    assert changed.boxes["stop_sign"][0] == before
    assert len(changed.boxes["stop_sign"]) == 2


@pytest.mark.parametrize("entry", [UNKNOWN, PRESENT])
def test_frame_in_which_the_label_may_be_without_a_box_stays_as_it_is(entry):
    """Nobody looked for it, or somebody saw one and drew no box: around a pasted one its map would say that there is
    none."""
    suggested = {"stop_sign": (Hint((0.9, 0.9, 0.95, 0.95), 0.4),)}
    sample = sample_of(entry, hints=suggested)
    assert pasted(sample, "stop_sign", WHITE_HWC, np.random.default_rng(1)) is sample


def test_object_never_hides_another():
    """A box that fills the frame is covered by a tenth at most; many tiny ones leave no room anywhere."""
    tiny = tuple((x / 40, y / 40, (x + 1) / 40, (y + 1) / 40) for x in range(40) for y in range(40))
    sample = sample_of(PRESENT, {"stop_sign": tiny})
    assert pasted(sample, "stop_sign", WHITE_HWC, np.random.default_rng(0)) is sample
