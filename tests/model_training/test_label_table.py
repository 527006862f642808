import hashlib
import itertools

import numpy as np
import pytest

from model_training.errors import InvalidConfiguration
from model_training.label_table import Conflict, LabelTable, label_table
from model_training.sources import csv_table
from model_training.sources.annotated_frame import AnnotatedFrame
from model_training.sources.problems import Kind, Problems
from tests.model_training.images import write_image

LABELS = ("car", "stop_sign")
BOX, OTHER = (0.1, 0.1, 0.2, 0.2), (0.5, 0.5, 0.7, 0.7)


@pytest.fixture
def frame(tmp_path):
    """Makes frames; those of one shade are the same picture."""
    number = itertools.count()

    def make(shade, entries, source="a", group=None, **more):
        image = write_image(tmp_path / f"{next(number)}.png", shade)
        return AnnotatedFrame(image, entries, source, group or f"{source}:{image.stem}", **more)

    return make


def test_entries_are_1_present_0_absent_and_minus_1_unknown(frame):
    frames = [frame(1, {"car": 1}), frame(2, {"stop_sign": 0, "giraffe": 1})]
    table = label_table(frames, LABELS)
    assert table.entries_NL.tolist() == [[1, -1], [-1, 0]]
    assert table.entries_NL.dtype == np.int8
    assert table.known_NL.tolist() == [[True, False], [False, True]]
    assert table.images == tuple(one.image for one in frames)


def test_same_picture_from_two_sources_is_one_row_that_knows_what_both_know(frame):
    first = frame(1, {"car": 1}, "a", licence="CC0-1.0")
    table = label_table([first, frame(1, {"stop_sign": 0}, "b", licence="CC-BY-4.0")], LABELS)
    assert table.entries_NL.tolist() == [[1, 0]]
    assert table.images == (first.image,)
    assert (table.sources, table.licences) == (("a+b",), ("CC0-1.0 AND CC-BY-4.0",))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_contradiction_becomes_unknown_and_is_kept_whatever_the_order(frame, order):
    said = [frame(1, {"car": 1}, "a"), frame(1, {"car": 0}, "b"), frame(1, {"car": 1}, "c")]
    frames = [said[i] for i in order]
    table = label_table(frames, LABELS)
    assert table.entries_NL.tolist() == [[-1, -1]]
    (conflict,) = table.conflicts
    assert (conflict.label, set(conflict.present), conflict.absent) == ("car", {"a", "c"}, ("b",))
    assert conflict.image == frames[0].image


def test_conflict_names_both_sources_in_its_text(tmp_path):
    text = str(Conflict(tmp_path / "x.jpg", "car", ("a", "c"), ("b",)))
    assert text == f"{tmp_path}/x.jpg: car is present in a, c and absent in b"


def test_boxes_stay_where_the_merged_entry_is_present(frame):
    kept = frame(1, {"car": 1}, "a", boxes={"car": (BOX,)})
    lost = frame(2, {"car": 1}, "a", boxes={"car": (BOX,)})
    table = label_table([kept, frame(1, {}, "b"), lost, frame(2, {"car": 0}, "b")], LABELS)
    assert table.boxes == ({"car": (BOX,)}, {})


def test_of_two_complete_sets_of_boxes_the_larger_stays(frame):
    frames = [frame(1, {"car": 1}, "a", boxes={"car": (BOX,)}), frame(1, {"car": 1}, "b", boxes={"car": (BOX, OTHER)})]
    assert label_table(frames, LABELS).boxes == ({"car": (BOX, OTHER)},)
    assert label_table(frames[::-1], LABELS).boxes == ({"car": (BOX, OTHER)},)


def test_identity_by_path_merges_files_and_not_contents(frame):
    one, copy = frame(1, {"car": 1}), frame(1, {"car": 0})
    assert len(label_table([one, copy], LABELS, "path")) == 2
    assert len(label_table([one, one], LABELS, "path")) == 1


def test_merge_is_noted(frame):
    problems = Problems()
    label_table([frame(1, {}), frame(1, {})], LABELS, problems=problems)
    assert problems.note_counts() == {Kind.SAME_FRAME: 1}


def test_scenes_that_share_a_frame_become_one_group(frame):
    """x and y share picture 1, y and z share picture 2; w stands alone."""
    frames = [frame(1, {}, group="x"), frame(1, {}, group="y"), frame(2, {}, group="y"), frame(2, {}, group="z"),
              frame(3, {}, group="z"), frame(4, {}, group="w")]  # fmt: skip
    assert label_table(frames, LABELS).groups == ("x", "x", "x", "w")


def test_splits_of_the_sources_are_kept(frame):
    frames = [frame(1, {}, split="train"), frame(2, {}, split="test"), frame(3, {}), frame(4, {}, split="fit")]
    assert label_table(frames, LABELS).splits == ("train", "test", "", "fit")


def test_what_was_chosen_for_being_hard_measures_nothing_in_a_scene_with_test_rows(frame):
    """It stays what it is, and no split takes it."""
    problems = Problems()
    frames = [frame(1, {}, split="test", group="street"), frame(2, {}, split="fit", group="street")]
    assert label_table(frames, LABELS, problems=problems).splits == ("test", "fit")
    assert problems.note_counts()[Kind.LEAKAGE] == 1


def test_row_without_a_split_that_moves_to_test_is_noted(frame):
    problems = Problems()
    frames = [frame(1, {}, split="test", group="street"), frame(2, {}, group="street")]
    assert label_table(frames, LABELS, problems=problems).splits == ("test", "test")
    assert problems.note_counts()[Kind.LEAKAGE] == 1


@pytest.mark.parametrize(("other", "kept"), [("train", "train"), (None, ""), ("test", "test"), ("fit", "fit")])
def test_frame_that_another_source_has_too_is_not_only_to_learn_from(frame, other, kept):
    """That source did not choose it for being hard."""
    frames = [frame(1, {}, "a", split="fit"), frame(1, {}, "b", split=other)]
    assert label_table(frames, LABELS).splits == (kept,)


def test_hard_frames_of_a_folder_join_no_drives_that_lie_in_it(frame):
    """Drives x (in test) and y lie in one folder, from where hard frames were kept: one of each, and a third one of
    which nobody knows whether it is like a test frame.
    """
    problems = Problems()
    drives = [frame(1, {}, "a", group="x", split="test"), frame(2, {}, "a", group="x", split="test"),
              frame(3, {}, "a", group="y"), frame(4, {}, "a", group="y")]  # fmt: skip
    hard = [frame(shade, {"car": 1}, "hard", group="folder", split="fit") for shade in (1, 3, 5)]
    table = label_table(drives + hard, LABELS, problems=problems)
    assert (table.groups, table.splits) == (("x", "x", "y", "y"), ("test", "test", "", ""))
    assert table.entries_NL[:, 0].tolist() == [1, -1, 1, -1]
    (left_out,) = [note for note in problems.notes if note.kind is Kind.AMBIGUOUS_SCENE]
    assert left_out.file == hard[2].image
    assert "group folder shares frames with scenes x, y" in left_out.message


def test_hard_frames_of_several_folders_join_no_drives_either(frame):
    """Folders f and g have a frame of drives x and y; what they share with a third one would link them."""
    drives = [frame(1, {}, "a", group="x"), frame(2, {}, "a", group="y")]
    of_drives = [frame(1, {}, "f", group="f", split="fit"), frame(2, {}, "g", group="g", split="fit")]
    shared = [frame(shade, {}, group, group=group, split="fit") for shade in (5, 6) for group in ("h", "fg"[shade - 5])]
    table = label_table([*drives, *of_drives, *shared], LABELS)
    assert table.groups == ("x", "y")


def test_hard_frames_belong_to_the_one_drive_that_their_folder_shares_frames_with(frame):
    drive = [frame(1, {}, "a", group="x"), frame(2, {}, "a", group="x")]
    hard = [frame(shade, {"car": 1}, "hard", group="folder", split="fit") for shade in (1, 5)]
    other = frame(6, {"car": 0}, "hard", group="elsewhere", split="fit")
    table = label_table([*drive, *hard, other], LABELS)
    first, *rest = table.groups
    assert rest == [first, first, "elsewhere"]
    assert table.splits == ("", "", "fit", "fit")


def test_test_wins_over_train_for_a_frame_and_for_its_whole_group_and_is_noted(frame):
    problems = Problems()
    frames = [
        frame(1, {}, "a", split="train", group="street"),
        frame(1, {}, "b", split="test", group="other"),
        frame(2, {}, "a", split="train", group="street"),
        frame(3, {}, "a", split="train", group="elsewhere"),
    ]
    assert label_table(frames, LABELS, problems=problems).splits == ("test", "test", "train")
    assert problems.note_counts()[Kind.LEAKAGE] == 2


def test_rows_gives_a_sub_table_by_position_or_by_mask(frame):
    table = label_table([frame(1, {"car": 1}), frame(2, {"car": 0}, "b"), frame(3, {})], LABELS)
    chosen = table.rows([2, 0])
    assert (chosen.images, chosen.sources) == ((table.images[2], table.images[0]), ("a", "a"))
    assert chosen.entries_NL.tolist() == [[-1, -1], [1, -1]]
    assert table.rows(np.array([False, True, False])).sources == ("b",)
    assert len(table.rows([])) == 0


def test_rows_keep_the_conflicts_of_their_frames(frame):
    table = label_table([frame(1, {"car": 1}), frame(1, {"car": 0}, "b"), frame(2, {"car": 0})], LABELS)
    assert len(table.rows([0]).conflicts) == 1
    assert table.rows([1]).conflicts == ()


def test_entries_cannot_be_written_to(frame):
    with pytest.raises(ValueError, match="read-only"):
        label_table([frame(1, {})], LABELS).entries_NL[0, 0] = 1


def test_content_hash_is_sha256_over_labels_entries_and_image_bytes(frame):
    """Built by hand: labels in the alphabet's order, then one line a frame in order of its hash."""
    one, two = frame(1, {"stop_sign": 1}), frame(2, {"car": 0})
    digest = [hashlib.sha256(item.image.read_bytes()).hexdigest() for item in (one, two)]
    lines = ["car,stop_sign", *sorted([f"{digest[0]}:-1,1", f"{digest[1]}:0,-1"])]
    expected = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert label_table([one, two], LABELS).content_hash() == expected


def test_content_hash_does_not_depend_on_order_or_names_but_on_every_entry(frame):
    one, two, copy = frame(1, {"car": 1}), frame(2, {"car": 0}), frame(1, {"car": 1}, "elsewhere")
    digest = label_table([one, two], LABELS).content_hash()
    assert label_table([two, copy], LABELS[::-1]).content_hash() == digest
    assert label_table([one, frame(2, {"car": 1})], LABELS).content_hash() != digest
    assert label_table([one, frame(3, {"car": 0})], LABELS).content_hash() != digest


def test_content_hash_with_boxes_tells_where_things_are(frame):
    """Built by hand as above, with each label's boxes in order behind a frame's entries."""
    signs = {"stop_sign": ((0.5, 0.25, 0.75, 1.0), (0.125, 0.0, 0.25, 1 / 3))}
    one, two = frame(1, {"stop_sign": 1}, boxes=signs), frame(2, {"car": 0})
    digest = [hashlib.sha256(item.image.read_bytes()).hexdigest() for item in (one, two)]
    boxes = "stop_sign,0.125000 0.000000 0.250000 0.333333,0.500000 0.250000 0.750000 1.000000"
    lines = ["car,stop_sign", *sorted([f"{digest[0]}:-1,1:{boxes}", f"{digest[1]}:0,-1"])]
    expected = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    table = label_table([one, two], LABELS)
    assert table.content_hash(with_boxes=True) == expected
    bare = label_table([frame(1, {"stop_sign": 1}), two], LABELS)
    assert table.content_hash() == bare.content_hash() == bare.content_hash(with_boxes=True)


@pytest.mark.parametrize(
    ("boxes", "is_other"),
    [((2, 1), False), ((1,), True), ((), True), ((1, 3), True)],
    ids=["in another order", "one fewer", "none", "one moved"],
)
def test_content_hash_with_boxes_depends_on_every_box(frame, boxes, is_other):
    places = {1: (0.0, 0.0, 0.5, 1.0), 2: (0.5, 0.0, 1.0, 1.0), 3: (0.5, 0.0, 1.0, 0.9)}
    digests = [
        label_table([frame(1, {"car": 1}, boxes={"car": tuple(places[n] for n in those)})], LABELS).content_hash(True)
        for those in ((1, 2), boxes)
    ]
    assert (digests[0] != digests[1]) is is_other


@pytest.mark.parametrize("labels", [[], ["car", "car"], ["Stop Sign"], ["car", ""], ["traffic-light"]])
def test_labels_must_be_distinct_snake_case_keys(labels):
    with pytest.raises(InvalidConfiguration, match="they must be one or more distinct snake_case keys"):
        label_table([], labels)


def test_no_frame_makes_an_empty_table():
    assert label_table([], LABELS).entries_NL.shape == (0, 2)


def test_columns_of_other_lengths_are_refused(tmp_path):
    with pytest.raises(ValueError, match="1 elements"):
        LabelTable(("car",), np.zeros((1, 1), np.int8), (tmp_path,), (), ("a",), ("g",), ("",), ("x",))
    with pytest.raises(ValueError, match=r"must be int8 \(1, 1\)"):
        LabelTable(("car",), np.zeros((1, 1)), (tmp_path,), ({},), ("a",), ("g",), ("",), ("x",))


def test_real_table_has_the_counts_of_its_file(streetframes):
    """Independent count by numpy straight from labels.csv."""
    labels = ["pedestrian", "car", "stop_sign", "traffic_light"]
    rows = [line.split(",") for line in (streetframes / "labels.csv").read_text().splitlines()[1:]]
    table = label_table(csv_table.frames(streetframes, Problems()), labels)
    expected = np.array([[{"1": 1, "0": 0, "": -1}[cell] for cell in row[1:5]] for row in rows])
    np.testing.assert_array_equal(table.entries_NL, expected)
    assert table.groups == tuple(row[6] for row in rows)
    assert table.conflicts == ()
