"""Frames here are dark but for coloured rectangles at their boxes, so that pixels and boxes can be compared."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_training.augmentation.changes import (
    Sample,
    can_be_cropped,
    can_be_mirrored,
    crop,
    mirror,
    recorded_differently,
    seen_differently,
    zoom_out,
)
from model_training.configuration import AugmentationConfiguration
from model_training.label_table import ABSENT, PRESENT, UNKNOWN
from model_training.teacher.file import Hint

HEIGHT, WIDTH = 80, 120
NEVER = AugmentationConfiguration(crop=0, zoom_out=0, mirror=0, colour=0, blur=0, noise=0, jpeg=0)
GREY = np.array([90, 90, 90])


def augmented(sample, configuration, random):
    return recorded_differently(seen_differently(sample, configuration, random), configuration, random)


def sample_of(entries, boxes=None, soft=None, frame_HWC=None):
    frame_HWC = np.zeros((HEIGHT, WIDTH, 3), np.uint8) if frame_HWC is None else frame_HWC
    return Sample(frame_HWC, entries, boxes or {}, soft or {})


def painted(box):
    """A sample with one car whose box is painted red."""
    frame_HWC = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    x0, y0, x1, y1 = (round(edge * size) for edge, size in zip(box, (WIDTH, HEIGHT) * 2, strict=True))
    frame_HWC[y0:y1, x0:x1] = (255, 0, 0)
    return sample_of({"car": PRESENT}, {"car": (box,)}, frame_HWC=frame_HWC)


def red_box_px(frame_HWC):
    """x0, y0, x1, y1 in pixels of what is red."""
    rows, columns = np.nonzero((frame_HWC == (255, 0, 0)).all(axis=2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def assert_pixels_agree(sample, within_px=2.0):
    """The box lies where the red is: painting rounds by half a pixel, a change by up to one and a half."""
    height, width = sample.frame_HWC.shape[:2]
    ((x0, y0, x1, y1),) = sample.boxes["car"]
    assert red_box_px(sample.frame_HWC) == pytest.approx(
        (x0 * width, y0 * height, x1 * width, y1 * height), abs=within_px
    )


BOX = (0.2, 0.25, 0.4, 0.5)


def after_crop(window, entry=PRESENT, boxes=(BOX,), soft=None):
    return crop(sample_of({"car": entry}, {"car": boxes} if boxes else {}, soft), window)


def test_crop_that_holds_a_box_keeps_the_label():
    cut = after_crop((0.0, 0.0, 0.5, 0.5))
    assert cut.entries == {"car": PRESENT}
    assert cut.boxes["car"] == (pytest.approx((0.4, 0.5, 0.8, 1.0)),)


def test_crop_that_no_box_reaches_into_makes_the_label_absent():
    cut = after_crop((0.5, 0.0, 1.0, 1.0))
    assert cut.entries == {"car": ABSENT}
    assert cut.boxes.get("car", ()) == ()


def test_crop_that_only_touches_a_box_makes_the_label_absent():
    assert after_crop((0.4, 0.0, 1.0, 1.0)).entries == {"car": ABSENT}


def test_crop_that_shows_less_than_half_of_a_box_makes_the_label_unknown_without_boxes():
    # From x = 0.32 on: 0.08 of 0.2, which is 40 %.
    cut = after_crop((0.32, 0.0, 1.0, 1.0))
    assert cut.entries == {"car": UNKNOWN}
    assert "car" not in cut.boxes


def test_crop_that_shows_half_of_a_box_keeps_the_label_and_clips_the_box():
    cut = after_crop((0.3, 0.0, 0.8, 1.0))
    assert cut.entries == {"car": PRESENT}
    # The visible half is 0.3..0.4; in the window of width 0.5 that begins at 0.3 it is 0..0.2.
    assert cut.boxes["car"] == (pytest.approx((0.0, 0.25, 0.2, 0.5)),)


def test_exactly_half_of_a_box_is_seen():
    # Corners that binary fractions hold exactly.
    assert after_crop((0.5, 0.0, 1.0, 1.0), boxes=((0.25, 0.25, 0.75, 0.5),)).entries == {"car": PRESENT}


def test_one_seen_box_is_enough_and_what_is_partly_seen_stays_clipped():
    second = (0.7, 0.0, 0.9, 0.2)
    cut = after_crop((0.0, 0.0, 0.75, 1.0), boxes=(BOX, second))
    assert cut.entries == {"car": PRESENT}
    # Of the second a quarter is inside: 0.7..0.75 of 0.75.
    assert cut.boxes["car"][1] == pytest.approx((0.7 / 0.75, 0.0, 1.0, 0.2))


def test_lost_boxes_of_a_present_label_go():
    cut = after_crop((0.0, 0.0, 0.5, 1.0), boxes=(BOX, (0.7, 0.0, 0.9, 0.2)))
    assert cut.boxes["car"] == (pytest.approx((0.4, 0.25, 0.8, 0.5)),)


@pytest.mark.parametrize("entry", [ABSENT, UNKNOWN])
def test_absent_and_unknown_labels_stay_so_in_a_crop(entry):
    assert after_crop((0.1, 0.2, 0.7, 0.8), entry, boxes=()).entries == {"car": entry}


def test_crop_keeps_a_teachers_score_only_where_it_says_absent():
    entries = dict.fromkeys(("pedestrian", "car", "stop_sign"), UNKNOWN)
    soft = {"pedestrian": 0.02, "car": 0.97, "stop_sign": 0.3}
    assert crop(sample_of(entries, soft=soft), (0, 0, 0.5, 0.5)).soft == {"pedestrian": 0.02}


def test_present_label_without_boxes_keeps_the_frame_from_being_cropped():
    assert not can_be_cropped(sample_of({"car": PRESENT, "stop_sign": ABSENT}))
    assert not can_be_cropped(sample_of({"car": PRESENT, "stop_sign": PRESENT}, {"car": (BOX,)}))
    assert can_be_cropped(sample_of({"car": PRESENT, "stop_sign": UNKNOWN}, {"car": (BOX,)}))
    always = NEVER.model_copy(update={"crop": 1.0})
    for seed in range(20):
        changed = augmented(sample_of({"car": PRESENT}), always, np.random.default_rng(seed))
        assert changed.frame_HWC.shape == (HEIGHT, WIDTH, 3)
        assert changed.entries == {"car": PRESENT}


def test_cropped_pixels_are_those_of_the_window():
    frame_HWC = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    cut = crop(sample_of({"car": ABSENT}, frame_HWC=frame_HWC), (0.25, 0.5, 0.75, 1.0))
    assert (cut.frame_HWC == frame_HWC[40:80, 30:90]).all()


def test_smallest_window_still_holds_a_pixel():
    assert after_crop((0.5, 0.5, 0.5001, 0.5001), ABSENT, boxes=()).frame_HWC.shape == (1, 1, 3)


corner = st.floats(0, 0.5)
length = st.floats(0.2, 0.5)
boxes = st.tuples(corner, corner, length, length).map(lambda c: (c[0], c[1], c[0] + c[2], c[1] + c[3]))


@given(boxes, boxes)
def test_share_in_sight_decides_by_counted_points(box, window):
    """The share of a grid of points in the box that is also in the window decides, away from the limits."""
    x, y = (np.linspace(box[axis], box[axis + 2], 101) for axis in (0, 1))
    inside = np.outer((y > window[1]) & (y < window[3]), (x > window[0]) & (x < window[2])).mean()
    entry = after_crop(window, boxes=(box,)).entries["car"]
    if inside > 0.53:
        assert entry == PRESENT
    elif 0.03 < inside < 0.47:
        assert entry == UNKNOWN
    elif inside == 0:
        assert entry in (ABSENT, UNKNOWN)


@settings(max_examples=50)
@given(boxes)
def test_boxes_and_pixels_agree_after_a_crop(box):
    cut = crop(painted(box), (max(0, box[0] - 0.1), 0.05, 1.0, 0.97))
    assert_pixels_agree(cut)


def test_zoom_out_puts_the_frame_on_a_larger_canvas():
    sample = sample_of({"car": PRESENT}, {"car": ((0.0, 0.0, 1.0, 0.5),)})
    small = zoom_out(sample, left=0.25, top=0.5, side=2.0, colour=GREY)
    # Half as large: the frame spans 0.25..0.75 and 0.5..1, the box the upper half of that.
    assert small.boxes["car"] == (pytest.approx((0.25, 0.5, 0.75, 0.75)),)
    assert small.frame_HWC.shape == (2 * HEIGHT, 2 * WIDTH, 3)
    assert (small.frame_HWC[HEIGHT:, WIDTH // 2 : WIDTH // 2 + WIDTH] == 0).all()
    assert (small.frame_HWC == 90).all(axis=2).sum() == 3 * HEIGHT * WIDTH


def test_zoom_out_leaves_what_is_known_and_what_the_teacher_says():
    sample = sample_of({"car": PRESENT, "stop_sign": UNKNOWN}, soft={"stop_sign": 0.8})
    small = zoom_out(sample, 0.1, 0.1, 1.3, GREY)
    assert (small.entries, small.soft) == (sample.entries, sample.soft)


@settings(max_examples=50)
@given(boxes, st.floats(1, 1.6), st.floats(0, 1), st.floats(0, 1))
def test_boxes_and_pixels_agree_after_a_zoom_out(box, side, across, down):
    room = 1 - 1 / side
    assert_pixels_agree(zoom_out(painted(box), across * room, down * room, side, GREY))


def test_mirror_by_hand():
    frame_HWC = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    flipped = mirror(sample_of({"car": PRESENT}, {"car": ((0.1, 0.2, 0.4, 0.6),)}, frame_HWC=frame_HWC))
    assert flipped.boxes["car"] == (pytest.approx((0.6, 0.2, 0.9, 0.6)),)
    assert flipped.frame_HWC[0].tolist() == [[6, 7, 8], [3, 4, 5], [0, 1, 2]]


@given(boxes)
def test_mirroring_twice_changes_nothing(box):
    sample = painted(box)
    assert_pixels_agree(mirror(sample))
    again = mirror(mirror(sample))
    assert (again.frame_HWC == sample.frame_HWC).all()
    assert again.boxes["car"] == (pytest.approx(box),)
    assert (again.entries, again.soft) == (sample.entries, sample.soft)


@pytest.mark.parametrize(
    ("entry", "soft", "allowed"),
    [(PRESENT, {}, False), (ABSENT, {}, True), (UNKNOWN, {}, True), (UNKNOWN, {"stop_sign": 0.5}, False),
     (UNKNOWN, {"stop_sign": 0.49}, True)],
)  # fmt: skip
def test_frame_with_a_stop_sign_is_never_mirrored(entry, soft, allowed):
    sample = sample_of({"car": ABSENT, "stop_sign": entry}, soft=soft)
    sample.frame_HWC[:, 0] = 255
    assert can_be_mirrored(sample, ("stop_sign",)) is allowed
    always = NEVER.model_copy(update={"mirror": 1.0})
    changed = augmented(sample, always, np.random.default_rng(0))
    assert changed.frame_HWC[0, -1, 0] == (255 if allowed else 0)


@pytest.mark.parametrize("change", ["colour", "blur", "noise", "jpeg"])
def test_another_camera_keeps_size_type_boxes_and_labels(change):
    frame_HWC = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    sample = replace(painted(BOX), frame_HWC=frame_HWC)
    changed = augmented(sample, NEVER.model_copy(update={change: 1.0}), np.random.default_rng(2))
    assert (changed.frame_HWC.shape, changed.frame_HWC.dtype) == (frame_HWC.shape, np.uint8)
    assert (changed.frame_HWC != frame_HWC).any()
    assert (changed.boxes, changed.entries, changed.soft) == (sample.boxes, sample.entries, sample.soft)


def test_another_camera_keeps_the_order_of_channels():
    """Red stays the strongest channel of a red frame under every change at once."""
    frame_HWC = np.full((HEIGHT, WIDTH, 3), (220, 60, 30), np.uint8)
    every = NEVER.model_copy(update=dict.fromkeys(("colour", "blur", "noise", "jpeg"), 1.0))
    for seed in range(20):
        changed = augmented(sample_of({"car": ABSENT}, frame_HWC=frame_HWC), every, np.random.default_rng(seed))
        means_C = changed.frame_HWC.reshape(-1, 3).mean(axis=0)
        assert means_C[0] > means_C[1] > means_C[2]


def test_without_any_change_a_sample_stays_as_it_is():
    sample = painted(BOX)
    unchanged = augmented(sample, NEVER, np.random.default_rng(0))
    assert (unchanged.frame_HWC == sample.frame_HWC).all()
    assert (unchanged.boxes, unchanged.entries) == (sample.boxes, sample.entries)


def test_the_frame_that_came_in_is_never_written_to():
    sample = painted(BOX)
    before_HWC = sample.frame_HWC.copy()
    for seed in range(20):
        augmented(sample, AugmentationConfiguration(), np.random.default_rng(seed))
    assert (sample.frame_HWC == before_HWC).all()


def test_same_generator_state_gives_the_same_sample():
    first, second, other = (
        augmented(painted(BOX), AugmentationConfiguration(), np.random.default_rng(seed)) for seed in (4, 4, 5)
    )
    assert (first.frame_HWC.shape, first.boxes, first.entries) == (second.frame_HWC.shape, second.boxes, second.entries)
    assert (first.frame_HWC == second.frame_HWC).all()
    assert first.frame_HWC.shape != other.frame_HWC.shape or (first.frame_HWC != other.frame_HWC).any()


@settings(max_examples=60, deadline=None)
@given(boxes, st.integers(0, 10_000))
def test_boxes_and_pixels_agree_after_all_geometric_changes(box, seed):
    geometric = NEVER.model_copy(update={"crop": 0.5, "zoom_out": 1.0, "mirror": 0.5, "smallest_crop": 0.4})
    changed = augmented(painted(box), geometric, np.random.default_rng(seed))
    if changed.entries["car"] == PRESENT:
        assert_pixels_agree(changed, within_px=3.5)
        assert all(0 <= edge <= 1 + 1e-9 for edge in changed.boxes["car"][0])


def test_crops_are_no_smaller_than_configured():
    always = NEVER.model_copy(update={"crop": 1.0, "smallest_crop": 0.5})
    areas = []
    for seed in range(60):
        changed = augmented(sample_of({"car": ABSENT}), always, np.random.default_rng(seed))
        areas.append(changed.frame_HWC.shape[0] * changed.frame_HWC.shape[1] / (HEIGHT * WIDTH))
    # Whole pixels cost up to one row and one column.
    assert min(areas) > 0.5 * 0.96
    assert max(areas) <= 1


def with_hints(*hints, entry=UNKNOWN, soft=None):
    return replace(sample_of({"car": entry}, soft=soft), hints={"car": tuple(Hint(box, p) for box, p in hints)})


LEFT_HALF, RIGHT_HALF = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
RIGHT_BOX = (0.6, 0.25, 0.8, 0.5)


def test_crop_makes_an_unknown_label_as_likely_as_the_best_hint_left():
    both = with_hints((BOX, 0.9), (RIGHT_BOX, 0.4), soft={"car": 0.9})
    assert crop(both, LEFT_HALF).soft == {"car": 0.9}
    assert crop(both, RIGHT_HALF).soft == {"car": 0.4}


def test_crop_without_any_hint_is_as_good_as_empty():
    assert crop(with_hints((BOX, 0.9), soft={"car": 0.9}), RIGHT_HALF).soft == {"car": 0.03}


def test_teacher_says_nothing_of_a_crop_that_cuts_its_best_hint():
    # 0.32..0.4 of 0.2..0.4 is in sight, which is 40 %.
    cut = crop(with_hints((BOX, 0.9), (RIGHT_BOX, 0.4), soft={"car": 0.9}), (0.32, 0.0, 1.0, 1.0))
    assert cut.soft == {}
    # What is left of it is neither inside nor outside.
    assert sorted(hint.probability for hint in cut.hints["car"]) == [0.4, pytest.approx(0.69)]


def test_hint_that_is_cut_does_not_matter_beside_a_likelier_one_in_sight():
    cut = crop(with_hints((BOX, 0.4), (RIGHT_BOX, 0.9), soft={"car": 0.9}), (0.32, 0.0, 1.0, 1.0))
    assert cut.soft == {"car": 0.9}


def test_hints_move_with_the_frame():
    sample = with_hints((BOX, 0.9))
    assert crop(sample, LEFT_HALF).hints["car"] == (Hint(pytest.approx((0.4, 0.25, 0.8, 0.5)), 0.9),)
    assert mirror(sample).hints["car"] == (Hint(pytest.approx((0.6, 0.25, 0.8, 0.5)), 0.9),)
    on_canvas = zoom_out(sample, 0.5, 0.0, 2.0, GREY)
    assert on_canvas.hints["car"] == (Hint(pytest.approx((0.6, 0.125, 0.7, 0.25)), 0.9),)


def test_sure_hint_tells_what_a_crop_leaves_of_a_label_that_is_present_without_boxes():
    sample = with_hints((BOX, 0.9), (RIGHT_BOX, 0.4), entry=PRESENT)
    assert can_be_cropped(sample)
    assert crop(sample, LEFT_HALF).entries == {"car": PRESENT}
    lost = crop(sample, RIGHT_HALF)
    assert (lost.entries, lost.soft) == ({"car": UNKNOWN}, {"car": 0.4})
    assert not can_be_cropped(with_hints((RIGHT_BOX, 0.4), entry=PRESENT))


def test_hints_never_change_an_entry_that_is_absent():
    cut = crop(with_hints((BOX, 0.9), entry=ABSENT), LEFT_HALF)
    assert (cut.entries, cut.soft) == ({"car": ABSENT}, {})
