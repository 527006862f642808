import pytest

from model_training.errors import InvalidConfiguration
from model_training.sources.class_mapping import BDD100K, COCO, COMMON, ClassMapping, Meaning, class_key

LABELS = ("pedestrian", "car", "stop_sign", "traffic_light")


def meaning(present="", maybe=""):
    return Meaning(frozenset(present.split()), frozenset(maybe.split()))


@pytest.mark.parametrize("name", ["traffic light", "Traffic-Light", "traffic_light", " TRAFFIC  LIGHT"])
def test_spelling_of_a_class_does_not_matter(name):
    assert class_key(name) == "traffic_light"


def test_coco_has_80_classes():
    assert len(COCO) == 80


@pytest.mark.parametrize(
    ("classes", "name", "expected"),
    [
        (COCO, "person", meaning("pedestrian")),
        (COCO, "stop sign", meaning("stop_sign")),
        (COCO, "truck", meaning(maybe="car")),
        (COCO, "giraffe", meaning()),
        (BDD100K, "person", meaning("pedestrian")),
        (BDD100K, "pedestrian", meaning("pedestrian")),
        (BDD100K, "rider", meaning(maybe="pedestrian")),
        (BDD100K, "traffic sign", meaning(maybe="stop_sign")),
        (BDD100K, "lane/single white", meaning()),
        (COMMON, "trafficlight", meaning("traffic_light")),
        (COMMON, "speedlimit", meaning()),
    ],
)
def test_default_tables_say_what_a_class_shows(classes, name, expected):
    assert ClassMapping(classes, {}, LABELS).meaning(name) == expected


def test_class_that_no_table_has_is_unknown():
    assert ClassMapping(COCO, {}, LABELS).meaning("spaceship") is None


def test_configured_classes_go_over_the_defaults():
    mapping = ClassMapping(COCO, {"Truck": "car", "person": ["?pedestrian"], "car": "ignore"}, LABELS)
    assert mapping.meaning("truck") == meaning("car")
    assert mapping.meaning("person") == meaning(maybe="pedestrian")
    assert mapping.meaning("car") == meaning()


def test_new_label_takes_the_class_of_its_own_name():
    assert ClassMapping({}, {}, [*LABELS, "cyclist"]).meaning("Cyclist") == meaning("cyclist")
    assert ClassMapping(COCO, {}, [*LABELS, "bicycle"]).meaning("bicycle") == meaning("bicycle")


def test_new_label_takes_the_class_of_its_own_name_though_a_table_passes_it_over_or_reads_it_otherwise():
    """Road signs' crosswalks are nobody's by default, and `stop` is how they call a stop sign."""
    mapping = ClassMapping(COMMON, {}, [*LABELS, "crosswalk", "stop"])
    assert mapping.meaning("crosswalk") == meaning("crosswalk")
    assert mapping.meaning("stop") == Meaning(frozenset({"stop", "stop_sign"}))
    overridden = ClassMapping(COMMON, {"crosswalk": "ignore"}, [*LABELS, "crosswalk"])
    assert overridden.meaning("crosswalk") == meaning()


def test_star_stands_for_every_class_not_named():
    mapping = ClassMapping(COCO, {"*": "ignore"}, LABELS)
    assert mapping.meaning("spaceship") == meaning()
    assert mapping.meaning("car") == meaning("car")


@pytest.mark.parametrize("bad", ["Stop Sign", "", [], ["car", "??bus"], "?", "stop__sign", "car_"])
def test_meaning_that_is_no_label_is_refused(bad):
    with pytest.raises(InvalidConfiguration, match="class 'sign' maps to"):
        ClassMapping(COCO, {"sign": bad}, LABELS)


@pytest.mark.parametrize("slip", ["stop_sgin", "?stop_sgin", ["car", "stop_sgin"]])
def test_meaning_that_nothing_else_knows_is_a_slip(slip):
    """Objects of the class would show no label, and an exhaustive source would call what is there absent."""
    said = r"'sign' maps to stop_sgin, which is neither a label of this run \(car, pedestrian, stop_sign"
    with pytest.raises(InvalidConfiguration, match=said):
        ClassMapping(COMMON, {"sign": slip}, LABELS)


def test_class_may_map_to_what_the_formats_table_knows_though_it_is_no_label_of_this_run():
    """So one description serves runs on fewer labels."""
    mapping = ClassMapping(COMMON, {"sign": "stop_sign", "cycle": ["bicycle", "?car"], "dog": "ignore"}, ["car"])
    assert mapping.meaning("sign") == meaning()
    assert mapping.meaning("cycle") == meaning(maybe="car")


def test_label_that_no_class_shows_cannot_be_declared_exhaustive():
    mapping = ClassMapping(COCO, {}, LABELS)
    mapping.check_known(["car", "giraffe"], "coco")
    with pytest.raises(InvalidConfiguration, match="coco is declared exhaustive on stop_sing"):
        mapping.check_known(["stop_sing"], "coco")
