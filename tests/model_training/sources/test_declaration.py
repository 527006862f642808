import re
from pathlib import Path

import pytest

from model_training.errors import AnnotationError
from model_training.sources.class_mapping import COCO, ClassMapping
from model_training.sources.declaration import AnnotatedObject, Declaration, annotated_frame
from model_training.sources.problems import Kind, Problems

LABELS = ("pedestrian", "car", "stop_sign", "traffic_light")
BOX, OTHER_BOX = (0.1, 0.2, 0.3, 0.4), (0.5, 0.5, 0.75, 0.75)
FILE, IMAGE = Path("a.json"), Path("a.jpg")


def declared(*exhaustive, **more):
    return Declaration("src", ClassMapping(COCO, {}, LABELS), frozenset(exhaustive), **more)


def item(name, box=BOX):
    return AnnotatedObject(name, box, FILE, 5)


def frame_of(declaration, *objects, problems=None):
    return annotated_frame(IMAGE, "scene", objects, declaration, problems or Problems())


def test_label_not_annotated_is_absent_where_exhaustive_and_unknown_elsewhere():
    frame = frame_of(declared("car", "stop_sign"), item("car"))
    assert frame.entries == {"car": 1, "stop_sign": 0}


def test_label_that_is_annotated_is_present_even_where_not_exhaustive():
    """But its boxes are not said to be complete."""
    frame = frame_of(declared(), item("car"))
    assert frame.entries == {"car": 1}
    assert frame.boxes == {}


def test_object_that_may_be_a_label_makes_it_unknown():
    assert frame_of(declared("car", "stop_sign"), item("truck")).entries == {"stop_sign": 0}


def test_certain_object_outweighs_one_that_may_be():
    frame = frame_of(declared("car"), item("truck"), item("car"))
    assert frame.entries == {"car": 1}
    assert frame.boxes == {}, "the truck may be a car without a box"


def test_all_boxes_of_an_exhaustive_label_are_kept():
    assert frame_of(declared("car"), item("car"), item("car", OTHER_BOX)).boxes == {"car": (BOX, OTHER_BOX)}


def test_object_without_a_box_leaves_its_label_without_boxes():
    frame = frame_of(declared("car"), item("car"), item("car", None))
    assert (frame.entries, frame.boxes) == ({"car": 1}, {})


def test_unknown_class_stops_the_run_with_file_line_and_remedy():
    with pytest.raises(AnnotationError, match=r"a\.json:5: class 'ufo' is unknown to source src; map it"):
        frame_of(declared("car"), item("ufo"))


def test_skipped_unknown_class_takes_absences_but_not_presences_with_it():
    problems = Problems("skip")
    frame = frame_of(declared("car", "stop_sign"), item("ufo"), item("car"), problems=problems)
    assert (frame.entries, frame.boxes) == ({"car": 1}, {})
    assert problems.counts() == {Kind.UNKNOWN_CLASS: 1}


def test_degenerate_box_is_reported_and_leaves_its_label_unknown():
    problems = Problems("skip")
    frame = frame_of(declared("car", "stop_sign"), item("car", (0.2, 0.2, 0.2, 0.9)), problems=problems)
    assert frame.entries == {"stop_sign": 0}
    assert problems.counts() == {Kind.DEGENERATE_BOX: 1}


def test_box_that_leaves_the_frame_is_clipped_and_noted():
    problems = Problems()
    frame = frame_of(declared("car"), item("car", (-1, 0, 0.5, 2)), problems=problems)
    assert frame.boxes == {"car": ((0, 0, 0.5, 1),)}
    assert problems.note_counts() == {Kind.CLIPPED_BOX: 1}


def test_complete_source_is_exhaustive_on_what_its_file_shows():
    assert declared(complete=True).in_file(["car", "person", "truck"]).exhaustive == {"car", "pedestrian"}
    assert declared("stop_sign").in_file(["car"]).exhaustive == {"stop_sign"}


@pytest.mark.parametrize(
    ("pattern", "scene"),
    [(r"^(seq\d+)_", "src:seq7"), (r"seq\d", "src:seq7"), ("nowhere", "src:own"), (None, "src:own")],
)
def test_group_pattern_names_the_scene(pattern, scene):
    declaration = declared(group=re.compile(pattern) if pattern else None)
    assert declaration.scene("seq7_0001.jpg", "own") == scene


def test_split_and_licence_of_the_declaration_go_to_every_frame():
    frame = frame_of(declared(split="test", licence="CC0-1.0"))
    assert (frame.split, frame.licence, frame.source, frame.group) == ("test", "CC0-1.0", "src", "scene")
