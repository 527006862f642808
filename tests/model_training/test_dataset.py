import pickle
from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from model_training.augmentation.changes import Sample
from model_training.configuration import AugmentationConfiguration, TrainingConfiguration
from model_training.dataset import (
    BalancedBatches,
    Batch,
    Draw,
    EvaluationFrames,
    TrainingFrames,
    box_cells,
    collate,
    targets,
)
from model_training.errors import ImageChanged
from model_training.teacher.file import Hint
from model_training.teacher.soft_targets import SoftTargets
from service.inference.decoding import FrameLimits, decode_frame
from tests.model_training.images import write_image
from tests.model_training.tables import table_of

NAN = np.nan
OWN = tuple(name for name in Batch.__slots__ if name != "detected")
UNCHANGED = AugmentationConfiguration(crop=0, zoom_out=0, mirror=0, colour=0, blur=0, noise=0, jpeg=0)


def configuration(**changes):
    return TrainingConfiguration(**{"height": 16, "width": 24, "batch_size": 2, **changes})


# Cells: a grid of 2 rows and 4 columns has cells of 0.25 x 0.5.


def test_box_that_covers_whole_cells_marks_them():
    assert box_cells(((0.25, 0.0, 0.75, 0.5),), (2, 4)).tolist() == [[0, 1, 1, 0], [0, 0, 0, 0]]


def test_half_covered_cell_is_marked_and_a_less_covered_one_says_nothing():
    # Columns 0.5..1 and 1..1.4 of the grid: half of the first cell, 40 % of the second; centre in the first.
    assert box_cells(((0.125, 0.0, 0.35, 0.5),), (2, 4)).tolist() == [[1, -1, 0, 0], [0, 0, 0, 0]]


def test_exactly_half_covered_cell_is_marked_wherever_the_centre_is():
    # Half of the first and half of the second column; the centre is on their border, which belongs to the second.
    assert box_cells(((0.125, 0.0, 0.375, 0.5),), (2, 4)).tolist() == [[1, 1, 0, 0], [0, 0, 0, 0]]


def test_box_smaller_than_a_cell_marks_the_cell_of_its_centre():
    # Centre at 0.49 x 4 = 1.96; the box reaches into the third column and both rows do not touch.
    assert box_cells(((0.47, 0.1, 0.51, 0.2),), (2, 4)).tolist() == [[0, 1, -1, 0], [0, 0, 0, 0]]


def test_box_that_ends_on_a_border_does_not_reach_over_it():
    assert box_cells(((0.2, 0.2, 0.25, 0.5),), (2, 4)).tolist() == [[1, 0, 0, 0], [0, 0, 0, 0]]


def test_box_in_the_last_corner_marks_the_last_cell():
    assert box_cells(((0.999, 0.999, 1.0, 1.0),), (2, 4)).tolist() == [[0, 0, 0, 0], [0, 0, 0, 1]]
    assert box_cells(((1 - 1e-12, 1 - 1e-12, 1.0, 1.0),), (2, 4))[1, 3] == 1


def test_cell_that_one_box_grazes_and_another_covers_is_marked():
    grazing, covering = (0.125, 0.0, 0.3, 0.5), (0.25, 0.0, 0.5, 0.5)
    for boxes in ((grazing, covering), (covering, grazing)):
        assert box_cells(boxes, (2, 4)).tolist() == [[1, 1, 0, 0], [0, 0, 0, 0]]


def test_frame_without_boxes_has_no_marked_cell():
    assert box_cells((), (2, 4)).tolist() == [[0] * 4, [0] * 4]


def sample_of(entries, boxes=None, soft=None):
    return Sample(np.zeros((16, 32, 3), np.uint8), entries, boxes or {}, soft or {})


def test_targets_of_present_absent_unknown_and_taught_labels():
    entries = {"a": 1, "b": 0, "c": -1, "d": -1}
    found = targets(sample_of(entries, soft={"d": 0.75}), ("a", "b", "c", "d"), (16, 32))
    assert found["targets_BL"].tolist() == [1, 0, 0, 0]
    assert found["known_BL"].tolist() == [True, True, False, False]
    assert found["soft_BL"].tolist() == [0, 0, 0, 0.75]
    assert found["soft_known_BL"].tolist() == [False, False, False, True]


def test_targets_stand_in_the_order_of_the_labels():
    found = targets(sample_of({"a": 1, "b": 0}), ("b", "a"), (16, 32))
    assert found["targets_BL"].tolist() == [0, 1]


def test_teacher_never_overrides_a_label():
    found = targets(sample_of({"a": 1, "b": 0}, soft={"a": 0.1, "b": 0.9}), ("a", "b"), (16, 32))
    assert found["soft_known_BL"].tolist() == [False, False]


def test_cells_follow_what_is_known():
    """Absent: nothing anywhere. Present: by its boxes, or unknown without them. Unknown: unknown."""
    entries = {"absent": 0, "boxed": 1, "unboxed": 1, "unknown": -1}
    box = (0.0, 0.0, 0.5, 0.5)
    # Boxes of an unknown label are not all there are.
    sample = sample_of(entries, {"boxed": (box,), "unknown": (box,)})
    cells = dict(zip(entries, targets(sample, tuple(entries), (16, 32))["cells_BLhw"].tolist(), strict=True))
    assert cells == {
        "absent": [[0] * 4] * 2,
        "boxed": [[1, 1, 0, 0], [0, 0, 0, 0]],
        "unboxed": [[-1] * 4] * 2,
        "unknown": [[-1] * 4] * 2,
    }


HINT_LEFT, HINT_RIGHT = (0.0, 0.0, 0.25, 1.0), (0.75, 0.0, 1.0, 1.0)
"""Of 16 x 32 pixels, 2 x 4 cells: the first and the last column."""


@pytest.mark.parametrize(
    ("entry", "soft", "hints", "row"),
    [
        (-1, 0.9, ((HINT_LEFT, 0.9),), [1, 0, 0, 0]),
        (-1, 0.9, ((HINT_LEFT, 0.9), (HINT_RIGHT, 0.4)), [1, 0, 0, -1]),
        (-1, 0.9, ((HINT_LEFT, 0.9), (HINT_RIGHT, 0.05)), [1, 0, 0, 0]),
        (-1, 0.4, ((HINT_RIGHT, 0.4),), [0, 0, 0, -1]),
        (-1, 0.05, (), [0, 0, 0, 0]),
        # A teacher that only scores frames cannot say where.
        (-1, 0.9, (), [-1, -1, -1, -1]),
        (-1, None, (), [-1, -1, -1, -1]),
        (1, None, ((HINT_LEFT, 0.9),), [1, 0, 0, 0]),
        # Somebody saw it and the teacher did not, so it may be anywhere.
        (1, None, ((HINT_RIGHT, 0.4),), [-1, -1, -1, -1]),
    ],
)
def test_sure_hints_are_inside_doubtful_ones_unknown_and_the_rest_outside(entry, soft, hints, row):
    told = {} if soft is None else {"car": soft}
    suggested = {"car": tuple(Hint(box, p) for box, p in hints)}
    sample = replace(sample_of({"car": entry}), soft=told, hints=suggested)
    assert targets(sample, ("car",), (16, 32))["cells_BLhw"].tolist() == [[row, row]]


def test_grid_has_a_cell_for_every_begun_stride():
    assert targets(sample_of({"a": 0}), ("a",), (17, 25))["cells_BLhw"].shape == (1, 3, 4)


@pytest.fixture
def table(tmp_path):
    """Six frames with a different shade each, every label known or taught somewhere."""
    images = [write_image(tmp_path / f"{row}.png", shade=40 * row) for row in range(6)]
    boxes = [{"car": ((0.1, 0.1, 0.9, 0.9),)} if row < 2 else {} for row in range(6)]
    entries = [[1, -1], [1, 0], [0, 1], [0, 0], [-1, 0], [-1, -1]]
    return table_of(entries, ("car", "stop_sign"), images, boxes=boxes, sources=("a",) * 4 + ("b",) * 2)


def taught(table):
    soft_NL = np.full(table.entries_NL.shape, NAN, np.float32)
    soft_NL[5] = (0.25, NAN)
    return SoftTargets(soft_NL, ({},) * len(table), np.ones(len(table.labels), np.float32))


def test_unchanged_training_frame_is_the_frame_that_is_served(table):
    frames = TrainingFrames(table, taught(table), configuration(augmentation=UNCHANGED))
    for row, image in enumerate(table.images):
        served = decode_frame(image.read_bytes(), 16, 24, FrameLimits()).frame_HWC
        assert (frames[Draw((row,) * 4, (0,))]["frames_BHWC"] == served).all()


def test_training_frame_carries_what_its_row_says(table):
    frames = TrainingFrames(table, taught(table), configuration(augmentation=UNCHANGED))
    boxed, taught_frame = frames[Draw((0,) * 4, (0,))], frames[Draw((5,) * 4, (0,))]
    assert (boxed["targets_BL"].tolist(), boxed["known_BL"].tolist()) == ([1, 0], [True, False])
    # 16 x 24 pixels at stride 8 are 2 x 3 cells; the box covers at least 0.7 of each.
    assert boxed["cells_BLhw"].tolist() == [[[1] * 3] * 2, [[-1] * 3] * 2]
    assert taught_frame["soft_BL"].tolist() == [0.25, 0]
    assert taught_frame["soft_known_BL"].tolist() == [True, False]


def test_mosaic_holds_the_frames_of_all_four_rows(table):
    """Shades 0, 40, 80 and 120 around a point in the middle third; the labels are those of rows 0 to 3."""
    mosaics = UNCHANGED.model_copy(update={"mosaic": 1.0})
    sample = TrainingFrames(table, taught(table), configuration(augmentation=mosaics))[Draw((0, 1, 2, 3), (5,))]
    corners = sample["frames_BHWC"][[0, 0, -1, -1], [0, -1, 0, -1], 0]
    assert corners.tolist() == [0, 40, 80, 120]
    assert sample["frames_BHWC"].shape == (16, 24, 3)
    assert (sample["targets_BL"].tolist(), sample["known_BL"].tolist()) == ([1, 1], [True, True])


class Onlooker:
    """Stands for a detector: keeps what it is shown and answers with two levels that say which is which."""

    def __init__(self):
        self.shown = []

    def levels(self, frame_HWC, height, width):
        self.shown.append((frame_HWC, height, width))
        return np.full((3, 2, 3), 8, np.float16), np.full((3, 1, 2), 16, np.float16)


def test_detector_sees_the_view_as_it_was_recorded(table):
    """Colours, noise and compression are for the network alone."""
    harsh = UNCHANGED.model_copy(update={"colour": 1.0, "noise": 1.0})
    detector = Onlooker()
    sample = TrainingFrames(table, taught(table), configuration(augmentation=harsh), detector)[Draw((3,) * 4, (0,))]
    (shown_HWC, height, width) = detector.shown[0]
    assert shown_HWC[0, 0, 0] == 120
    assert (shown_HWC == shown_HWC[0, 0]).all()
    assert (sample["frames_BHWC"] != shown_HWC[0, 0]).any()
    assert (height, width) == (16, 24)


def test_detector_sees_the_same_part_of_the_frame_as_the_network(tmp_path):
    """A frame whose left is dark, mirrored: its right is dark for both."""
    columns = np.zeros((16, 24, 3), np.uint8)
    columns[:, 12:] = 200
    image = tmp_path / "a.png"
    cv2.imwrite(str(image), columns)
    table = table_of([[0, 0]], ("car", "stop_sign"), [image])
    mirrored = UNCHANGED.model_copy(update={"mirror": 1.0})
    detector = Onlooker()
    sample = TrainingFrames(table, SoftTargets.none(table), configuration(augmentation=mirrored), detector)[
        Draw((0,) * 4, (0,))
    ]
    assert (sample["frames_BHWC"] == detector.shown[0][0]).all()
    assert detector.shown[0][0][0, [0, -1], 0].tolist() == [200, 0]


def test_detector_sees_a_mosaic_whole(table):
    mosaics = UNCHANGED.model_copy(update={"mosaic": 1.0, "colour": 1.0})
    detector = Onlooker()
    TrainingFrames(table, taught(table), configuration(augmentation=mosaics), detector)[Draw((0, 1, 2, 3), (5,))]
    shown_HWC = detector.shown[0][0]
    assert shown_HWC.shape == (16, 24, 3)
    assert shown_HWC[[0, 0, -1, -1], [0, -1, 0, -1], 0].tolist() == [0, 40, 80, 120]
    assert len(detector.shown) == 1


def test_batch_holds_a_detectors_levels_in_their_order(table):
    frames = TrainingFrames(table, taught(table), configuration(), Onlooker())
    batch = collate([frames[Draw((row,) * 4, (0, row))] for row in (0, 1)]).to(torch.device("cpu"))
    assert [(tuple(level.shape), float(level.mean())) for level in batch.detected] == [
        ((2, 3, 2, 3), 8),
        ((2, 3, 1, 2), 16),
    ]
    assert batch.frames_BHWC.shape == (2, 16, 24, 3)


def test_same_draw_gives_the_same_sample_and_another_seed_another(table):
    frames = TrainingFrames(table, taught(table), configuration())
    first, again, other = (frames[Draw((3,) * 4, (0, seed, 7))]["frames_BHWC"] for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def batches_of(table, workers):
    sampler = BalancedBatches(table.sources, exponent=0.5, batch_size=2, seed=3)
    frames = TrainingFrames(table, taught(table), configuration())
    return list(DataLoader(frames, batch_sampler=sampler, collate_fn=collate, num_workers=workers))


def test_process_that_loads_does_not_change_what_is_loaded(table):
    here, elsewhere = batches_of(table, workers=0), batches_of(table, workers=1)
    assert len(here) == len(elsewhere) == 3
    for one, other in zip(here, elsewhere, strict=True):
        for name in OWN:
            assert torch.equal(getattr(one, name), getattr(other, name))


def test_batch_has_the_promised_shapes_and_types(table):
    batch = batches_of(table, workers=0)[0].to(torch.device("cpu"))
    found = {name: (tuple(getattr(batch, name).shape), getattr(batch, name).dtype) for name in OWN}
    assert found == {
        "frames_BHWC": ((2, 16, 24, 3), torch.uint8),
        "targets_BL": ((2, 2), torch.float32),
        "known_BL": ((2, 2), torch.bool),
        "soft_BL": ((2, 2), torch.float32),
        "soft_known_BL": ((2, 2), torch.bool),
        "cells_BLhw": ((2, 2, 2, 3), torch.int8),
    }


class PinnableTensor:
    """Page-locked memory without a GPU."""

    def __init__(self, name, is_pinned=False):
        self.name, self.is_pinned = name, is_pinned

    def pin_memory(self):
        return PinnableTensor(self.name, is_pinned=True)


def test_pinned_batch_has_every_tensor_pinned_in_its_place():
    levels = (PinnableTensor("fine"), PinnableTensor("coarse"))
    pinned = Batch(*(PinnableTensor(name) for name in OWN), levels).pin_memory()
    assert isinstance(pinned, Batch)
    everything = [*(getattr(pinned, name) for name in OWN), *pinned.detected]
    assert [(tensor.name, tensor.is_pinned) for tensor in everything] == [
        (name, True) for name in (*OWN, "fine", "coarse")
    ]


@pytest.mark.gpu
def test_loader_that_pins_hands_out_pinned_batches(table):
    sampler = BalancedBatches(table.sources, exponent=0.5, batch_size=2, seed=3)
    frames = TrainingFrames(table, taught(table), configuration())
    for batch in DataLoader(frames, batch_sampler=sampler, collate_fn=collate, pin_memory=True):
        assert all(getattr(batch, name).is_pinned() for name in OWN)


def check_names_in_one_line(raised, image):
    assert str(raised).startswith(f"{image}: could be decoded when the data was loaded, now it cannot: ")
    assert (raised.file, raised.line) == (image, None)
    assert "\n" not in str(raised)


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n", b"<html>", None])
def test_image_that_is_damaged_replaced_or_deleted_after_loading_is_named_in_one_line(table, content):
    broken = table.images[4]
    broken.unlink() if content is None else broken.write_bytes(content)
    with pytest.raises(ImageChanged) as raised:
        TrainingFrames(table, taught(table), configuration())[Draw((4,) * 4, (0,))]
    check_names_in_one_line(raised.value, broken)
    with pytest.raises(ImageChanged) as raised:
        EvaluationFrames(table.images, 16, 24)[4]
    check_names_in_one_line(raised.value, broken)


def test_changed_image_is_named_in_one_line_also_where_another_process_meets_it(table):
    table.images[4].write_bytes(b"<html>")
    with pytest.raises(ImageChanged) as raised:
        batches_of(table, workers=1)
    check_names_in_one_line(raised.value, table.images[4])


def test_changed_image_is_the_same_error_after_a_journey_between_processes():
    """Also where the path itself holds a colon."""
    error = ImageChanged("a: b/c.png: now: gone")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "a: b/c.png: now: gone"


def test_evaluation_frames_are_those_that_are_served(street_photograph, tmp_path):
    images = (street_photograph, write_image(tmp_path / "small.png", size=(7, 5)))
    frames = EvaluationFrames(images, 48, 64)
    assert len(frames) == 2
    for row, image in enumerate(images):
        assert (frames[row] == decode_frame(image.read_bytes(), 48, 64, FrameLimits()).frame_HWC).all()


def sampler_of(counts, batch_size=10, exponent=0.5, seed=0, **ranks):
    sources = tuple(name for name, count in counts.items() for _ in range(count))
    return BalancedBatches(sources, exponent, batch_size, seed, **ranks), sources


def test_sources_are_drawn_by_the_power_of_their_size():
    """Of 100 frames, sources of 64 and 36 with exponent 0.5 are drawn as 8 : 6, which is 57 and 43."""
    sampler, sources = sampler_of({"large": 64, "small": 36})
    drawn = Counter(sources[row] for row in sampler.epoch_rows(0))
    assert drawn == {"large": 57, "small": 43}


def test_exponent_one_draws_every_frame_once():
    sampler, _ = sampler_of({"large": 64, "small": 36}, exponent=1)
    assert sorted(sampler.epoch_rows(0)) == list(range(100))


def test_exponent_zero_draws_sources_alike():
    sampler, sources = sampler_of({"large": 90, "small": 10}, exponent=0)
    assert Counter(sources[row] for row in sampler.epoch_rows(0)) == {"large": 50, "small": 50}


def test_frames_of_a_source_are_drawn_equally_often_give_or_take_one():
    sampler, sources = sampler_of({"large": 90, "small": 7, "single": 1}, exponent=0.3)
    times = Counter(sampler.epoch_rows(0).tolist())
    for name in ("large", "small", "single"):
        counts = [times[row] for row, source in enumerate(sources) if source == name]
        assert max(counts) - min(counts) <= 1
        assert name == "large" or min(counts) >= 1


def test_epoch_has_all_whole_batches():
    sampler, _ = sampler_of({"only": 35})
    batches = list(sampler)
    assert len(sampler) == len(batches) == 3
    assert all(len(batch) == 10 for batch in batches)


def test_batch_larger_than_the_data_repeats_it():
    sampler, _ = sampler_of({"only": 4})
    (batch,) = sampler
    assert Counter(draw.rows[0] for draw in batch).most_common()[-1][1] >= 2
    assert len({draw.seed for draw in batch}) == 10


def test_run_that_resumes_within_an_epoch_draws_the_remaining_batches():
    whole, _ = sampler_of({"a": 40, "b": 20}, seed=5)
    whole.epoch = 2
    resumed, _ = sampler_of({"a": 40, "b": 20}, seed=5)
    resumed.epoch, resumed.first_batch = 2, 4
    assert list(resumed) == list(whole)[4:]


def test_processes_share_every_batch():
    alone, _ = sampler_of({"a": 40, "b": 20}, batch_size=12)
    shares = [sampler_of({"a": 40, "b": 20}, batch_size=12, rank=rank, processes=3)[0] for rank in range(3)]
    for batch, *parts in zip(alone, *shares, strict=True):
        assert [len(part) for part in parts] == [4, 4, 4]
        assert [draw for part in parts for draw in part] == batch


def test_epochs_differ_and_the_same_seed_agrees():
    first, _ = sampler_of({"a": 40, "b": 20}, seed=1)
    same, _ = sampler_of({"a": 40, "b": 20}, seed=1)
    other, _ = sampler_of({"a": 40, "b": 20}, seed=2)
    assert list(first) == list(same)
    assert list(first) != list(other)
    earlier = list(first)
    first.epoch = 1
    assert list(first) != earlier
    assert first.epoch_rows(0).tolist() != first.epoch_rows(1).tolist()


def test_no_two_draws_of_a_run_share_a_seed():
    sampler, _ = sampler_of({"a": 40, "b": 20})
    seeds = []
    for sampler.epoch in range(3):
        seeds += [draw.seed for batch in sampler for draw in batch]
    assert len(set(seeds)) == len(seeds) == 180
